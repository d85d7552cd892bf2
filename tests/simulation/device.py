"""One device: the real engine on a real file, the real link, and an application that reads its inbox.

What the asyncio shell does is done here step by step. At any storage call, and between a commit and what follows from
it, the process can die; what is in its file is what it goes on from.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar

from e2ee.engine import Engine, Output, decisions
from e2ee.errors import ClientEnded, IdentityError, NotAuthorized, OpenElsewhere, RefusalCode, StoreRolledBack
from e2ee.link import Link
from e2ee.link_events import Challenged, LinkDown, LinkUp, Pushed, Replied
from e2ee.options import ClientOptions
from store import ClientStore
from tests.support.counting_driver import counting_driver

from .files import Backup, copy_database, replace_database
from .judge import Account
from .line import Line
from .relay import NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee.link_events import LinkEvent
    from ratchet import IdentityKeyPair

    from .judge import Judge
    from .relay import SimulatedRelay
    from .schedule import Schedule

__all__ = ["Crash", "Device"]

RECONNECT_MIN_S: Final = 0.2
RECONNECT_MAX_S: Final = 3.0
_T = TypeVar("_T")


class Crash(BaseException):
    """The process is gone."""


class Device:
    """A device of a user; *path* is its store's file."""

    def __init__(
        self,
        schedule: Schedule,
        dice: Random,
        relay: SimulatedRelay,
        judge: Judge,
        user_id: str,
        device_id: int,
        path: Path,
        *,
        options: ClientOptions | None = None,
        identity: IdentityKeyPair | None = None,
    ) -> None:
        self.name = (user_id, device_id)
        self._schedule = schedule
        self._dice = dice
        self._relay = relay
        self._judge = judge
        self._entropy = Random(dice.random()).randbytes
        self.path = path
        self._driver = counting_driver(f"sqlite:///{path}", self._called)
        self._options = options or ClientOptions(one_time_prekeys=3)
        self._identity = identity
        self._link: Link | None = None
        self._line: Line | None = None
        self._life = 0  # counts connections: what was planned for an earlier one is void
        self._entered = 0  # the connection that the relay has let in last
        self._calls_left: int | None = None  # storage calls until the process dies; None: it lives
        self.engine: Engine | None = None
        self.cut_off = False  # by a partition
        self.ended: ClientEnded | None = None
        self.account = Account()  # what the application has been told
        self.crashes = 0
        self._ready = False
        self._is_new = False  # under its identity, to the relay
        self.start()

    def choose(self, options: ClientOptions) -> None:
        """Open with other options from the next time on."""
        self._options = options

    def is_connected(self) -> bool:
        """Whether the relay has let it in."""
        return self._link is not None and self._entered == self._life

    def is_ready(self) -> bool:
        """Whether others can write to it."""
        return self._ready

    # The process.

    def start(self) -> None:
        """Open the store and connect."""
        try:
            self._open()
        except Crash:
            self.crashes += 1
            self._note("dies while it starts")
            self._schedule.after(self._dice.uniform(0.1, 2.0), self.start)
        else:
            self._connect_soon()

    def _open(self) -> None:
        url = f"sqlite:///{self.path}"
        self.store = ClientStore.open(url, clock=self._schedule.wall, entropy=self._entropy, dbapi=self._driver)
        try:
            self.engine = Engine.open(
                self.store,
                *self.name,
                relay=NAME,
                identity=self._identity,
                options=self._options,
                entropy=self._entropy,
            )
        except Crash:
            self._let_go()
            raise
        self.ended = None

    def _called(self) -> None:
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left < 0:
                self._calls_left = None
                raise Crash

    def crash_at_call(self, calls: int | None) -> None:
        """Die at the storage call that comes after so many; None: not at all."""
        self._calls_left = calls

    def crash(self) -> None:
        """Die, and start again after a moment. Nothing but the file is left."""
        if self.engine is None:
            return
        self.crashes += 1
        self._note("dies")
        self._stop()
        self._schedule.after(self._dice.uniform(0.1, 2.0), self.start)

    def stop(self) -> None:
        """Close as an application does."""
        self._drop_line()
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    def _stop(self) -> None:
        self._drop_line()
        self.engine = None
        self._calls_left = None
        self._let_go()

    def _let_go(self) -> None:
        # No farewell: the connection to the database is cut, the lock falls, as at the end of a process.
        store = self.store
        store._disconnect()
        store._opened.ownership.release()
        store.engine.dispose()

    def back_up(self, to: Path) -> Backup:
        """Keep the machine as it is: the store, open or not, and what the application has been told."""
        copy_database(self.path, to)
        return Backup(to, self.account.copy(), len(self._judge.sent))

    def put_back(self, backup: Backup) -> None:
        """Go on from a backup, or from another copy of the store that was used meanwhile."""
        self.crash()
        replace_database(self.path, backup.path)
        self._judge.rolled_back(self.name, backup.sent)
        self.account = backup.account.copy()

    def begin_anew(self) -> None:
        """Lose everything, the identity too, and come back under another one."""
        self.crash()
        replace_database(self.path, None)
        self._judge.rolled_back(self.name, 0)
        self.account = Account(gaps=1)
        self._is_new = True

    # Connections.

    def _connect_soon(self) -> None:
        self._schedule.after(self._dice.uniform(RECONNECT_MIN_S, RECONNECT_MAX_S), self._connect)

    def _connect(self) -> None:
        if self.engine is None or self._line is not None or self.ended is not None:
            return
        if self.cut_off:
            self._connect_soon()
            return
        self._life = life = self._life + 1
        self._link = Link(now=self._schedule.now)
        self._line = line = Line(
            self._schedule,
            self._dice,
            to_relay=lambda data: self._arrive(life, data),
            to_client=lambda data: self._receive(life, data),
            ended=lambda: self._line_ended(life, line),
        )
        self._to_relay = self._relay.accept(line)
        self._plan_tick(life)

    def _arrive(self, life: int, data: bytes) -> None:
        if life == self._life:
            self._to_relay(data)

    def cut(self) -> None:
        """Break the connection, if there is one."""
        if self._line is not None:
            self._line.cut()

    def _drop_line(self) -> None:
        self._life += 1
        line, self._line, self._link = self._line, None, None
        if line is not None:
            line.cut()
            self._relay.ended(line)

    def _line_ended(self, life: int, line: Line) -> None:
        self._relay.ended(line)
        if life != self._life or self._link is None:
            return
        self._link.lost("the line was cut")
        self._turn()

    def _receive(self, life: int, data: bytes) -> None:
        if life == self._life and self._link is not None:
            self._link.receive(data, self._schedule.now)
            self._turn()

    def _turn(self) -> None:
        link, line = self._link, self._line
        if link is None or line is None:
            return
        for data in link.take_data():
            line.send_to_relay(data)
        for event in link.take_events():
            self._handle(event)
        self._plan_tick(self._life)

    def _plan_tick(self, life: int) -> None:
        deadline = None if self._link is None else self._link.deadline
        if deadline is not None:
            self._schedule.at(deadline, lambda: self._tick_link(life, deadline))

    def _tick_link(self, life: int, deadline: float) -> None:
        if life == self._life and self._link is not None and self._link.deadline == deadline:
            self._link.tick(self._schedule.now)
            self._turn()

    def _handle(self, event: LinkEvent) -> None:
        engine = self.engine
        if engine is None:
            return
        match event:
            case Challenged(challenge=challenge):
                login = self._step(lambda: engine.login(challenge))
                if login is not None and self._link is not None:
                    self._link.login(login, self._schedule.now)
                    self._turn()
            case LinkUp(welcome=welcome):
                self._entered = self._life
                if self._is_new:  # what was for the identity before it went with its mailbox
                    self._is_new = False
                    self._judge.forget(self.name)
                self._apply(self._step(lambda: engine.connected(welcome)))
            case Pushed(frame=frame):
                self._apply(self._step(lambda: engine.push(frame)))  # type: ignore[arg-type]
            case Replied(request=request, reply=reply):
                self._apply(self._step(lambda: engine.reply(request, reply)))
            case LinkDown():
                self._disconnected(engine, event)
            case _:
                pass

    def _disconnected(self, engine: Engine, down: LinkDown) -> None:
        self._line = self._link = None
        self._life += 1
        self._note(f"is disconnected: {down.reason}")
        self._apply(self._step(engine.disconnected))
        if down.code is RefusalCode.NOT_AUTHORIZED:  # as in the shell
            self.ended = NotAuthorized(down.reason)
        elif self.ended is None and self.engine is not None:
            self._connect_soon()

    # Steps of the engine.

    def _step(self, work: Callable[[], _T]) -> _T | None:
        """Run a step; None if the process died in it, or the client ended."""
        try:
            return work()
        except Crash:
            self.crash()
        except OpenElsewhere:
            self._drop_line()
        except StoreRolledBack:
            self._note("accepts that it was rolled back")
            if self.engine is not None:
                self.engine.accept_rollback()
            self._drop_line()
            self._connect_soon()
        except ClientEnded as error:
            self._note(f"ends: {error!r}")
            self.ended = error
            self._drop_line()
        return None

    def _apply(self, output: Output | None) -> None:
        if output is None or self.engine is None:
            return
        link = self._link
        if link is not None:
            if output.acknowledge is not None:
                link.acknowledge(output.acknowledge, self._schedule.now)
            for request in output.requests:
                link.request(request, self._schedule.now)
        for event in output.events:
            self._note(f"tells {type(event).__name__}")
        self._ready = output.ready
        if output.wake_at is not None:
            life, engine = self._life, self.engine
            self._schedule.after(max(0.0, output.wake_at - self._schedule.wall()), lambda: self._tick(life, engine))
        if output.reconnect:
            self._drop_line()
            self._connect_soon()
            return
        self._turn()

    def _tick(self, life: int, engine: Engine) -> None:
        if life == self._life and engine is self.engine and self.ended is None:
            self._apply(self._step(lambda: engine.tick(self._schedule.wall())))

    # The application.

    def perform(self, work: Callable[[Engine], Output]) -> bool:
        """Ask the engine for something; False if it could not be said whether it was done."""
        engine = self.engine
        if engine is None or self.ended is not None:
            return False
        self._apply(output := self._step(lambda: work(engine)))
        return output is not None

    def ask(self, work: Callable[[Engine], tuple[_T, Output]]) -> _T | None:
        """Ask the engine for something with an answer; None if it is not known."""
        engine = self.engine
        if engine is None or self.ended is not None:
            return None
        if (done := self._step(lambda: work(engine))) is not None:
            self._apply(done[1])
        return None if done is None else done[0]

    def look(self, work: Callable[[Engine], _T]) -> _T | None:
        """Ask the engine for something that changes nothing; None if it is not known."""
        engine = self.engine
        return None if engine is None or self.ended is not None else self._step(lambda: work(engine))

    def read(self) -> None:
        """Take what is in the inbox, an event at a time; a crash in between gives one again."""
        while self._read_one():
            pass
        for user, identity_key in list(self.account.undecided):
            trust = partial(decisions.trust, user=user, identity_key=identity_key)
            with suppress(IdentityError):
                if not self.perform(lambda engine, trust=trust: engine.do(trust)[1]):  # type: ignore[misc]
                    continue
            del self.account.undecided[user, identity_key]
        for group in list(self.account.forks):
            if self.perform(lambda engine, group=group: engine.groups.accept_fork(group)):  # type: ignore[misc]
                del self.account.forks[group]

    def _read_one(self) -> bool:
        engine = self.engine
        if engine is None or self.ended is not None:
            return False
        if not (found := self._step(lambda: engine.next_events(1, 0))):
            return False
        self._note(f"is told {type(found[0]).__name__}")
        self._judge.told(self.name, self.account, found[0])
        return self.perform(lambda one: one.acknowledge_event(found[0]))

    def _note(self, what: str) -> None:
        self._schedule.note(f"{self.name[0]}.{self.name[1]} {what}")
