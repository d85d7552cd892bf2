"""The relay without sockets, threads and clocks: inputs of many connections in, one transaction, outputs out.

    outputs = core.handle([Arrived(connection, frame), …], now)

What a batch needs of the store is done in one transaction. What is returned may be sent: it tells only of what is
committed (R4.12). Memory changes after the commit and not before it, so a batch that fails can be done again.
One thread at a time may call `handle`; *now* is in seconds, of a clock that never goes back.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import Closing, GroupDevices, GroupLog, GroupSubmitted, RefusedRequest, Submitted
from store.errors import StaleWriter, StoreUnavailable

from . import mail
from .arrivals import Arrivals
from .audience import Audience
from .connection import (
    Announced,
    Arrived,
    Authorized,
    Close,
    Connection,
    Ended,
    Input,
    Malformed,
    Opened,
    Output,
    Phase,
    Send,
    Stopping,
    Sweep,
    SweepOn,
    Tick,
    TooSlow,
    Woken,
)
from .limits import SEEN_EVERY_S, UNIT_ATTEMPTS_MAX, UNIT_ENVELOPES_MAX, RelayOptions
from .plan import Entered, Plan, RollBack, Step
from .refusal import closing, replacement
from .statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from store.relay import DeviceKey, RelayStore, RelayUnit

    from .hooks import BeforeSubscription, MayCreateGroup, MaySend

__all__ = ["RelayCore"]

_log: Final = logging.getLogger("e2ee.relay")


class RelayCore:
    """All connections of one worker, on one store.

    *names* are those by which clients dial this relay. With *asks* each login is put to the application (`Ask`).
    """

    def __init__(
        self,
        store: RelayStore,
        *,
        names: Collection[str],
        options: RelayOptions | None = None,
        open_registration: bool = True,
        asks: bool = False,
        may_send: MaySend | None = None,
        may_create_group: MayCreateGroup | None = None,
        before_subscription: BeforeSubscription | None = None,
    ) -> None:
        self.statistics = Statistics()
        self._store = store
        self._options = options or RelayOptions()
        self._audience = Audience(self._options, before_subscription)
        self._arrivals = Arrivals(
            frozenset(names),
            self._options,
            self.statistics,
            open_registration=open_registration,
            asks=asks,
            may_send=may_send,
            may_create_group=may_create_group,
            audience=self._audience,
            shared=store.shared,
        )
        self._connections: dict[Connection, None] = {}
        self._strangers: dict[Connection, None] = {}  # not logged in, oldest first
        self._by_device: dict[DeviceKey, Connection] = {}
        self._seen_at: float | None = None

    def handle(self, inputs: Sequence[Input], now: float) -> list[Output]:
        """Do everything that *inputs* ask for, in their order, and return what to send."""
        outputs: list[Output] = []
        steps: list[Step] = []
        for one in inputs:
            steps.extend(self._take(one, outputs, now))
        if steps:
            destinations = self._arrivals.take_destinations()
            outputs.extend(self._run(steps, destinations, now))
        self.statistics.connections = len(self._connections)
        self.statistics.strangers = len(self._strangers)
        return outputs

    # What comes in.

    def _take(self, one: Input, outputs: list[Output], now: float) -> Iterator[Step]:  # noqa: C901, PLR0912 - a case for each input
        """Do what needs no store at once, and return the rest."""
        match one:
            case Arrived(connection=connection, frame=frame):
                if connection.phase is not Phase.DOWN:
                    connection.heard_at = now
                    self.statistics.frames += 1
                    yield from self._arrived(partial(self._arrivals.frame, connection, frame), connection, outputs, now)
            case Authorized(connection=connection, allowed=allowed):
                if connection.phase is Phase.LOGGING_IN:
                    yield from self._arrived(
                        partial(self._arrivals.authorized, connection, allowed), connection, outputs, now
                    )
            case Malformed(connection=connection, explanation=explanation):
                # In the order of what came: replies to the frames before it go first.
                yield Step(connection, partial(_close_in_turn, connection, closing(RefusalCode.MALFORMED, explanation)))
            case Opened(connection=connection):
                self._opened(connection, outputs)
            case Ended(connection=connection):
                self._forget(connection, outputs)
            case TooSlow(connection=connection):
                self._close(connection, closing(RefusalCode.TOO_SLOW), outputs)
            case Woken(devices=devices):
                connected = [key for key in devices if key in self._by_device]
                if connected:
                    yield Step(None, partial(self._look_again, connected))
            case Announced(announcements=announcements):
                for data in announcements:
                    self._audience.announced(data, outputs)
            case Tick(poll=poll):
                yield from self._tick(outputs, now, poll=poll)
            case Sweep():
                yield Step(None, _sweep)
            case Stopping():
                for connection in list(self._connections):
                    self._close(connection, closing(RefusalCode.SHUTTING_DOWN), outputs)
            case _:
                assert_never(one)

    def _arrived(
        self, take: partial[list[Step]], connection: Connection, outputs: list[Output], now: float
    ) -> list[Step]:
        try:
            return take(outputs, now)
        except MalformedFrame as error:
            return [Step(connection, partial(_close_in_turn, connection, closing(RefusalCode.MALFORMED, str(error))))]
        except Exception:  # noqa: BLE001 - a bug of ours or of a hook costs this connection, not the relay
            _log.exception("a frame could not be handled", extra={"connection": connection.number})
            self._close(connection, closing(RefusalCode.UNAVAILABLE), outputs)
            return []

    def _opened(self, connection: Connection, outputs: list[Output]) -> None:
        self._connections[connection] = None
        self._strangers[connection] = None
        if len(self._strangers) > self._options.strangers_max:
            # The oldest goes: whoever means to log in does so in a moment, a flood only waits.
            oldest = next(iter(self._strangers))
            self._close(oldest, closing(RefusalCode.UNAVAILABLE, "too many connections wait to log in"), outputs)

    def _tick(self, outputs: list[Output], now: float, *, poll: bool) -> Iterator[Step]:
        options = self._options
        for connection in list(self._connections):
            if connection.phase in (Phase.CHALLENGED, Phase.LOGGING_IN):
                if now - connection.opened_at > options.challenge_age_max_s:
                    self._close(connection, closing(RefusalCode.NOT_AUTHENTIC, "no login in time"), outputs)
            elif connection.full_since is not None and now - connection.full_since > options.acknowledge_age_max_s:
                self._close(connection, closing(RefusalCode.TOO_SLOW, "nothing was acknowledged"), outputs)
            elif now - connection.heard_at > options.silence_max_s:
                self._close(connection, closing(RefusalCode.TOO_SLOW, "nothing was heard"), outputs)
        if self._by_device:
            if self._seen_at is None or now - self._seen_at > SEEN_EVERY_S:
                self._seen_at = now
                yield Step(None, partial(_note_seen, list(self._by_device)))
            if poll:
                yield Step(None, partial(_look_for_mail, {key: one.pushed for key, one in self._by_device.items()}))

    def _look_again(self, devices: Sequence[DeviceKey], plan: Plan, unit: RelayUnit) -> None:
        """See what another worker has done with devices that are connected here."""
        for key in devices:
            session = self._by_device[key].session
            if session is None:
                continue
            state = unit.devices.find(session.device.user_id, session.device.device_id)
            if state is None or state.device.key != key:
                plan.gone[key] = RefusalCode.NOT_AUTHORIZED
            elif state.connection_number > session.connection_number:
                plan.gone[key] = RefusalCode.REPLACED
            else:
                plan.touched.add(key)

    # The transaction.

    def _run(self, steps: Sequence[Step], destinations: frozenset[str], now: float) -> list[Output]:
        """Do *steps* in one transaction; if one of them spoils it, each in its own."""
        for attempt in range(1, UNIT_ATTEMPTS_MAX + 1):
            plan = Plan(now, self._by_device, destinations)
            try:
                with self._store.begin() as unit:
                    done = self._work(plan, unit, steps)
            except StoreUnavailable as error:
                # It may have been committed all the same: nobody is told that nothing was stored (R4.14).
                return self._fail(steps, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is one step's, and that one pays
                if len(steps) > 1:
                    return [output for step in steps for output in self._run([step], destinations, now)]
                if isinstance(error, RollBack):
                    self._count_refusal(error.reply)
                    return [] if error.reply.connection.phase is Phase.DOWN else [error.reply]
                if not isinstance(error, StaleWriter) or attempt == UNIT_ATTEMPTS_MAX:
                    return self._fail(steps, error)
            else:
                outputs = self._apply(plan, now)
                rest = [one for one in steps[done:] if one.connection is None or one.connection.phase is not Phase.DOWN]
                return outputs + self._run(rest, destinations, now) if rest else outputs
        return []

    def _work(self, plan: Plan, unit: RelayUnit, steps: Sequence[Step]) -> int:
        """Do *steps*, up to what one unit may take; return how many were done."""
        ended: set[Connection] = set()
        done = 0
        for step in steps:
            if sum(plan.envelopes.values()) >= UNIT_ENVELOPES_MAX:
                break
            done += 1
            if step.connection in ended:  # what comes after the last frame of a connection is not looked at
                continue
            before = len(plan.outputs)
            step.run(plan, unit)
            ended |= {one.connection for one in plan.outputs[before:] if isinstance(one, Close)}
        mail.store(plan, unit)
        mail.record(plan, unit)
        if plan.acknowledged:
            mail.acknowledge(plan, unit)
        mail.push(plan, unit, self._options)
        self._audience.announce_notices(plan.notices, unit)
        return done

    def _fail(self, steps: Sequence[Step], error: Exception) -> list[Output]:
        self.statistics.failures += 1
        _log.error("the store did not take a batch", extra={"error": type(error).__name__, "steps": len(steps)})
        outputs: list[Output] = []
        for step in steps:
            if step.connection is not None:
                self._close(step.connection, closing(RefusalCode.UNAVAILABLE), outputs)
        return outputs

    def _apply(self, plan: Plan, now: float) -> list[Output]:
        """Let memory follow what is committed, and put the outputs into their order."""
        outputs: list[Output] = []
        self._count(plan)
        for entered in plan.entered.values():
            self._enter(entered, outputs)
        for connection in plan.uploaded:
            connection.registered = True
            connection.low_told = False
        for connection in plan.told_low:
            connection.low_told = True
        plan.note_sent()
        self._end(plan, outputs)
        for key, number in plan.acknowledged.items():
            if key in self._by_device:
                self._by_device[key].acknowledge(number)
        self._push(plan, outputs, now)
        self._audience.notices(plan.notices, outputs)
        for connection in plan.watching:
            if connection.phase is Phase.UP:
                self._audience.watch(connection, on=True)
        if plan.sweep_on:
            outputs.append(SweepOn())
        return outputs

    def _enter(self, entered: Entered, outputs: list[Output]) -> None:
        connection = entered.connection
        if connection.phase is Phase.DOWN:  # its carrier ended in the meantime
            return
        key = entered.session.device.key
        other = self._by_device.get(key)
        if other is not None:
            self._close(other, replacement(RefusalCode.REPLACED), outputs)
        connection.phase = Phase.UP
        connection.session = entered.session
        connection.claim = None
        connection.registered = entered.registered
        connection.pushed = connection.acknowledged = entered.start
        connection.submitted = entered.submitted
        self._strangers.pop(connection, None)
        self._by_device[key] = connection
        self.statistics.logins += 1

    def _end(self, plan: Plan, outputs: list[Output]) -> None:
        """Pass on the replies, and end the connections that this transaction has ended."""
        for reply in plan.outputs:
            if isinstance(reply, Close):
                self._close(reply.connection, reply.frame, outputs)
            elif not isinstance(reply, Send) or reply.connection.phase is not Phase.DOWN:
                outputs.append(reply)  # one that was replaced in this batch has had its last frame
        for connection in plan.replaced:
            self._close(connection, replacement(RefusalCode.REPLACED), outputs)
        for key, code in plan.gone.items():
            if key in self._by_device:
                self._close(self._by_device[key], replacement(code), outputs)

    def _push(self, plan: Plan, outputs: list[Output], now: float) -> None:
        for push in plan.pushes:
            connection = push.connection
            if connection.phase is not Phase.UP:
                continue
            outputs.extend(Send(connection, frame) for frame in mail.frames(push))
            connection.push(push.deliveries)
            if push.drained is not None:
                connection.drained = push.drained
            if connection.is_full(self._options):
                connection.full_since = connection.full_since or now

    def _count(self, plan: Plan) -> None:
        statistics = self.statistics
        statistics.envelopes.update(plan.envelopes)
        statistics.acknowledged += plan.removed_mail
        statistics.deliveries += sum(len(push.deliveries) for push in plan.pushes)
        statistics.bundles += plan.bundles
        statistics.one_time_keys_withheld += plan.withheld
        for output in plan.outputs:
            if isinstance(output, Send):
                self._count_refusal(output)

    def _count_refusal(self, reply: Send) -> None:
        match reply.frame:
            case (
                RefusedRequest(code=int(code))
                | Submitted(refusal=int(code))
                | GroupLog(refusal=int(code))
                | GroupDevices(refusal=int(code))
                | GroupSubmitted(refusal=int(code))
            ):
                self.statistics.refusals[RefusalCode(code).name.lower()] += 1
            case _:
                pass

    # The end of a connection.

    def _close(self, connection: Connection, frame: Closing, outputs: list[Output]) -> None:
        if connection.phase is Phase.DOWN:
            return
        self.statistics.closings[RefusalCode(frame.code).name.lower()] += 1
        self._forget(connection, outputs)
        outputs.append(Close(connection, frame))

    def _forget(self, connection: Connection, outputs: list[Output]) -> None:
        outputs.extend(self._audience.forget(connection))
        connection.phase = Phase.DOWN
        self._connections.pop(connection, None)
        self._strangers.pop(connection, None)
        session = connection.session
        if session is not None and self._by_device.get(session.device.key) is connection:
            del self._by_device[session.device.key]


def _close_in_turn(connection: Connection, frame: Closing, plan: Plan, _unit: RelayUnit) -> None:
    plan.outputs.append(Close(connection, frame))


def _note_seen(devices: Sequence[DeviceKey], _plan: Plan, unit: RelayUnit) -> None:
    unit.devices.seen(devices)


def _look_for_mail(cursors: dict[DeviceKey, int], plan: Plan, unit: RelayUnit) -> None:
    plan.touched.update(unit.mailboxes.waiting(cursors))


def _sweep(plan: Plan, unit: RelayUnit) -> None:
    swept = unit.sweep()
    for device in swept.devices:
        plan.gone[device.key] = RefusalCode.NOT_AUTHORIZED
    plan.sweep_on = swept.more
