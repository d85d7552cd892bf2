"""One account at work: everything here happens on one event loop, except the engine's steps.

These run on the writer thread. The loop never waits for a database or a ratchet.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, assert_never

from e2ee.errors import ClientEnded, ConnectionEnded, E2eeError, InvalidArgument, StoreGone, StoreRolledBack
from e2ee.events import ClientFault, ConnectionFailed, Disconnected
from e2ee.frames import Published, UserNotices
from e2ee.link_events import Challenged, LinkDown, LinkUp, Pushed, RawReceived, Replied
from store import Full, TooLarge

from .answers import Answers
from .backoff import BackOff
from .beside import Beside
from .connection import Connection, wait
from .guard import guarded
from .waiting import WaitingCalls
from .wakeup import WakeUp
from .writer import Signal, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.carrier import Carrier
    from e2ee.events import LiveEvent
    from e2ee.frames import ClientFrame, Reply
    from e2ee.ids import MessageId
    from e2ee.link_events import LinkEvent

    from .connection import Timers
    from .steps import EngineSteps, Output
    from .surroundings import Surroundings
    from .writer import Worker

__all__ = ["Shell"]

# Ours: they may change in any release.
RELAY_STEPS_MAX: Final = 8  # of the engine under way before the next message is read: bounds memory
LIVE_EVENTS_MAX: Final = 1_000  # kept for a slow listener; the oldest go first
GOODBYE_MAX_S: Final = 5.0  # for the end of the last connection; then it is cut

# What whoever asked has to correct; the engine goes on.
_CALLERS: Final = (E2eeError, Full, TooLarge)

_LOG: Final = logging.getLogger("e2ee")
_T = TypeVar("_T")


class Shell:
    """One account: an engine on its thread, and a connection whenever there can be one."""

    def __init__(self, carrier: Carrier, surroundings: Surroundings, worker: Worker | None = None) -> None:
        self._carrier = carrier
        self._pid = os.getpid()  # whose threads run the steps
        self._timers: Timers = surroundings.timers or asyncio.get_running_loop()
        self._back_off = BackOff(surroundings.dice)
        self._writer = Writer(worker)
        self._engine: EngineSteps | None = None  # None: not open
        self._ended: ClientEnded | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._connection: Connection | None = None  # None: between two
        self._welcomed = False  # the engine was told of this connection
        self._online = False  # and has taken it
        self._ready = False  # and others can write to this device
        self._answers = Answers()
        self._parting = False  # this connection is the last
        self._last_reason = "the relay has not answered yet"
        self._wake_up = WakeUp(self._timers, surroundings.wall_clock, self._tick)
        self._live: deque[LiveEvent] = deque(maxlen=LIVE_EVENTS_MAX)
        self.beside = Beside(self._tell)
        self.group_calls = WaitingCalls()
        self.inbox_version = 0  # counts the steps that put something into the inbox
        self.changed = Signal()  # given after every step, and when the client is connected, ends or closes

    @property
    def is_open(self) -> bool:
        """Whether the engine is open, ended or not."""
        return self._engine is not None

    @property
    def ended(self) -> ClientEnded | None:
        """What has ended the client; None: it goes on."""
        return self._ended

    async def open(self, open_engine: Callable[[], EngineSteps]) -> None:
        """Open the engine on its thread and begin to connect. Raises what *open_engine* raises."""
        try:
            self._engine = await self._writer.run(open_engine, lambda _engine: None)
        except BaseException:
            await self._writer.close()
            raise
        self.inbox_version += 1  # what earlier runs have left
        self._keeper = asyncio.create_task(self._keep_connected())

    async def close(self, drain_s: float) -> None:
        """Wait up to *drain_s* for what is still to be sent, part from the relay, release the store."""
        engine = self._require()
        try:
            if self._ended is None:
                # A step that fails is noted where it runs; what was not sent goes at the next opening.
                with suppress(Exception):
                    async with asyncio.timeout(drain_s):
                        await self._drain()
        finally:
            try:
                await self._part()
            finally:
                await self._release(engine)

    async def wait_connected(self, timeout_s: float | None) -> None:
        """Wait until the relay has accepted the login and has prekeys of this device.

        Raises TimeoutError with the last reason, ClientEnded.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    changed = self.changed.next
                    self.require_going()
                    if self._online and self._ready:
                        return
                    await changed.wait()
        except TimeoutError:
            reason = "the relay has no prekeys of this device yet" if self._online else self._last_reason
            raise TimeoutError(f"not connected: {reason}") from None

    async def perform(self, step: Callable[[EngineSteps], Output]) -> None:
        """Run a step that the application asks for. Raises ClientEnded, and what the step raises."""
        await self._run(step, self._apply)

    async def send(self, to: str, content: str | bytes) -> MessageId:
        """Queue a message; return its id."""
        return await self.do(lambda engine: engine.send(to, content))

    async def ask(self, step: Callable[[EngineSteps], _T]) -> _T:
        """Run a step that has an answer and no consequences. Raises ClientEnded, and what the step raises."""
        return await self._run(step, lambda _answer: None)

    async def do(self, step: Callable[[EngineSteps], tuple[_T, Output]]) -> _T:
        """Run a step that has an answer and consequences. Raises ClientEnded, and what the step raises."""
        answer, _output = await self._run(step, lambda done: self._apply(done[1]))
        return answer

    async def request(self, step: Callable[[EngineSteps], tuple[ClientFrame, Output]], timeout_s: float) -> Reply:
        """Run a step that asks the relay for something; return the reply, when what follows from it is committed.

        Raises TimeoutError; Refused; ConnectionEnded if the connection is lost meanwhile (as after a timeout, it is
        not known what became of the request); ClientEnded, and what the step raises.
        """
        expected: list[asyncio.Future[Reply]] = []

        def apply(asked: tuple[ClientFrame, Output]) -> None:
            expected.append(self._answers.expect(asked[0]))
            self._apply(asked[1])
            if self._connection is None or not self._connection.is_up:
                self._answers.lose()

        deadline = asyncio.get_running_loop().time() + timeout_s
        await self.wait_connected(timeout_s)  # by itself, since it says what is in the way
        async with asyncio.timeout_at(deadline):
            await self._run(step, apply)
            try:
                return await expected[0]
            except ConnectionEnded:
                self.require_going()
                raise

    async def finish_with(self, last: Callable[[], None], error: ClientEnded) -> None:
        """Run *last* as the last step on the thread of the steps; every later call raises *error*."""
        self._ended = error  # whatever ended it before
        self.changed.give()
        await self._part()
        await self._writer.run(last, lambda _none: None)

    async def accept_rollback(self) -> None:
        """Let the next rollback be recovered from; if one has ended the client, go on. Raises another ClientEnded."""
        if not isinstance(ended := self._ended, StoreRolledBack):
            self.require_going()
        await asyncio.shield(self._start(self._require().accept_rollback, lambda _none: None))
        if ended is not None and self._keeper is not None:
            await asyncio.wait({self._keeper})  # its connection ends with it
            if self._ended is ended and self.is_open:
                self._ended, self._keeper = None, asyncio.create_task(self._keep_connected())

    def take_live(self) -> LiveEvent | None:
        """Return the next live event; None if there is none. Raises ClientEnded."""
        self.require_going()
        return self._live.popleft() if self._live else None

    # Steps of the engine.

    def _require(self) -> EngineSteps:
        if self._engine is None:
            raise InvalidArgument("the client is not open: use it inside its `async with`")
        if self._pid != os.getpid():
            raise StoreGone("the process has forked since the client was opened: open one in the child")
        return self._engine

    def require_going(self) -> EngineSteps:
        """The engine, unless the client is not open or has ended. Raises InvalidArgument, ClientEnded."""
        engine = self._require()
        if self._ended is not None:
            # A new one each time: an exception that is raised again and again collects tracebacks.
            raise type(self._ended)(*self._ended.args) from self._ended.__cause__
        return engine

    async def _run(self, step: Callable[[EngineSteps], _T], apply: Callable[[_T], None]) -> _T:
        engine = self.require_going()
        # Shielded: a caller who is cancelled leaves the step as it is, and a failure is noted all the same.
        return await asyncio.shield(self._start(lambda: step(engine), apply))

    def _drive(self, step: Callable[[], _T], apply: Callable[[_T], None]) -> None:
        """Run a step that nobody waits for."""
        _future = self._start(step, apply)

    def _start(self, step: Callable[[], _T], apply: Callable[[_T], None]) -> asyncio.Future[_T]:
        future = self._writer.run(partial(guarded, step), apply)
        future.add_done_callback(self._note_failure)
        return future

    def _note_failure(self, future: asyncio.Future[_T]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, ClientEnded):
            self._end(error)
        elif error is not None and not isinstance(error, _CALLERS):
            # Its text may hold what nobody should read; the type and the place are enough to find it.
            _LOG.error("a step of the engine failed with %s; connecting anew", type(error).__name__)
            self._last_reason = "a step of the engine failed"
            self._tell(ClientFault(type(error).__name__))
            if self._connection is not None:
                self._connection.close()

    def _apply(self, output: Output) -> None:
        connection = self._connection
        if connection is not None:
            if output.acknowledge is not None:
                connection.acknowledge(output.acknowledge)  # first: it rides on the requests
            for request in output.requests:
                connection.request(request)
            if output.reconnect:
                self._back_off.begin_anew()
                connection.close()
        self._ready = self._ready or output.ready
        self._live.extend(output.events)
        self.group_calls.settle(output.outcomes)
        if output.durable:
            self.inbox_version += 1
        if self._engine is not None:
            self._wake_up.at(output.wake_at)
        self.changed.give()

    def _tick(self, now: float) -> None:
        if self._engine is not None and self._ended is None:
            self._drive(partial(self._engine.tick, now), self._apply)

    # Connections, one after the other.

    async def _keep_connected(self) -> None:
        engine = self._require()
        try:
            while True:
                pause = await self._one_connection(engine)
                if self._parting:
                    return
                await wait(self._timers, pause)
        except ClientEnded as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - a carrier of the application's own may raise anything
            ended = ClientEnded("the carrier failed; its cause says how")
            ended.__cause__ = error
            self._end(ended)

    async def _one_connection(self, engine: EngineSteps) -> float:
        """Connect once; return after the end, with the seconds to wait before the next. Raises ClientEnded."""
        started = self._timers.time()
        connection = Connection(
            self._carrier,
            self._timers,
            on_event=partial(self._handle, engine),
            ready=partial(self._writer.fewer_than, RELAY_STEPS_MAX),
        )
        self._connection = connection
        try:
            down = await connection.run()
        finally:
            self._connection = None
        was_online, self._online = self._online, False
        self.beside.went_offline()
        if self._welcomed:
            self._welcomed = False
            # Requests of steps before this one find no connection; those after it belong to the next.
            with suppress(Exception):  # it is noted where every failure is
                await self._start(engine.disconnected, partial(self._went_offline, down))
        self._ready = False
        self._answers.lose()
        self.require_going()
        self._last_reason = down.reason
        self.changed.give()
        lasted_s = self._timers.time() - started
        pause = self._back_off.after(down, was_online=was_online, lasted_s=lasted_s)
        if pause and not was_online:
            self._tell(ConnectionFailed(down.reason, pause))
        _LOG.info("not connected: %s; next attempt in %.1f s", down.reason, pause)
        return pause

    def _handle(self, engine: EngineSteps, event: LinkEvent) -> None:
        connection = self._connection
        match event:
            case Challenged(challenge=challenge):
                if connection is not None:
                    self._drive(partial(engine.login, challenge), connection.login)
            case LinkUp(welcome=welcome):
                self._welcomed = True
                self._drive(partial(engine.connected, welcome), partial(self._came_online, connection))
            case Pushed(frame=frame):
                if isinstance(frame, Published | UserNotices):
                    self.beside.pushed(frame)
                else:
                    self._drive(partial(engine.push, frame), self._apply)
            case RawReceived(data=data):
                self.beside.raw(data)
            case Replied(request=request, reply=reply) if self.beside.takes(request, reply):
                pass
            case Replied(request=request, reply=reply):
                self._drive(partial(engine.reply, request, reply), partial(self._answered, request, reply))
            case LinkDown():
                pass  # what `Connection.run` returns
            case _:
                assert_never(event)

    def _came_online(self, connection: Connection | None, output: Output) -> None:
        self._online = connection is not None and connection is self._connection and not output.reconnect
        self._apply(output)
        if self._online and connection is not None:
            self.beside.came_online(connection)

    def _went_offline(self, down: LinkDown, output: Output) -> None:
        self._apply(output)
        if self._live and isinstance(self._live[-1], Disconnected):
            self._live[-1] = Disconnected(down.code, down.reason)

    def _tell(self, event: LiveEvent) -> None:
        self._live.append(event)
        self.changed.give()

    def _answered(self, request: ClientFrame, reply: Reply, output: Output) -> None:
        self._apply(output)
        self._answers.give(request, reply)

    # The end.

    def _end(self, error: ClientEnded) -> None:
        if self._ended is None:
            self._ended = error
            _LOG.warning("the client has ended: %s", type(error).__name__)
            if self._connection is not None:
                self._connection.close()
            self.changed.give()

    async def _drain(self) -> None:
        await self.perform(lambda engine: engine.finish())
        while True:
            changed = self.changed.next
            await self._writer.fewer_than(1)
            idle = self._connection is None or self._connection.is_idle
            if idle and not await self.ask(lambda engine: engine.unsent()):
                return
            await changed.wait()

    async def _release(self, engine: EngineSteps) -> None:
        self._engine = None
        self._answers.lose()
        self._wake_up.stop()
        self.changed.give()
        released = self._writer.run(engine.close, lambda _none: None)
        await self._writer.close()
        await released

    async def _part(self) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        self._parting = True
        if self._connection is not None and self._connection.is_up:
            self._connection.close()
            await asyncio.wait({keeper}, timeout=GOODBYE_MAX_S)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
