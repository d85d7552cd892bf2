"""The steps of one account: each one unit of work, whose Output leaves only after its commit."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from e2ee.diagnostics import Diagnostics
from e2ee.errors import GroupError, IdentityError, InvalidArgument, InvalidUserId, RefusalCode, Refused
from e2ee.events import CaughtUp, Disconnected, InboxFull, PreKeysLow, unpack_event
from e2ee.frames import PROTOCOL_VERSION, Deliver, Drained, Login, LowPreKeys
from e2ee.ids import MessageId, parse_user_id
from e2ee.options import ClientOptions
from ratchet.labels import SIGN_LOGIN
from store import Full, seen_envelope

from . import account, receipts, stock
from .conversation import claim, take_reply, take_welcome
from .groups import old_chains
from .groups.calls import GroupCalls
from .groups.lane import group_of
from .groups.operations import pump_groups
from .healing import pump_heals
from .memory import Memory
from .numbers import find_gaps
from .pumping import pump_lanes
from .quarantine import take_one_by_one, uses_up_an_attempt
from .receiving import open_delivery, reopen_moved
from .reporting import report
from .step import QUEUED, SUBMITTED, Output, Step, user_of
from .timing import do_what_is_due, next_due_at
from .upgrade import number_outbox
from .wishes import mark_read, queue_message, queue_to_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from e2ee.diagnostics import Report
    from e2ee.events import DirectMessage, DurableEvent, GroupMessage
    from e2ee.frames import Challenge, ClientFrame, Delivery, RelayFrame, Welcome
    from e2ee.groups import Group
    from ratchet import IdentityKeyPair
    from store import ClientStore

__all__ = ["Engine"]

_T = TypeVar("_T")


class Engine:
    """One account in its store. Synchronous, for one thread; `steps.EngineSteps` says what each step is for.

    A step that raises has changed nothing in the store, and leaves the engine as if there were no connection:
    the shell ends the connection and makes a new one, unless the error says that the client has ended.
    """

    def __init__(
        self,
        store: ClientStore,
        *,
        relay: str,
        token: bytes | None = None,
        options: ClientOptions | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._relay = relay
        self._token = token
        self._options = ClientOptions() if options is None else options
        self._entropy = entropy
        self._accepts_rollback = False
        self._memory = Memory()
        self._diagnostics = Diagnostics()
        self._callers: set[bytes] = set()
        self.groups = GroupCalls(self._run, self._callers)

    @classmethod
    def open(
        cls,
        store: ClientStore,
        user_id: str,
        device_id: int = 1,
        *,
        relay: str,
        identity: IdentityKeyPair | None = None,
        token: bytes | None = None,
        options: ClientOptions | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> Engine:
        """Take up the account in *store*, which is made on first use: with *identity* (from an export), or a new one.

        *relay* is host:port as dialled, which logins are signed for. Raises InvalidUserId, InvalidArgument if the
        store is another device's or has another identity, and the store's errors.
        """
        user_id = parse_user_id(user_id)
        with store.begin() as unit:
            known = unit.account.load()
            if known is None:
                unit.account.create(user_id, device_id, identity=identity)
            elif (known.user_id, known.device_id) != (user_id, device_id):
                raise InvalidArgument("the store belongs to another device or user: open it as that one")
            elif identity is not None and identity.public_key != known.identity.public_key:
                raise InvalidArgument("the store has another identity than the one given")
            number_outbox(unit)
        return cls(store, relay=relay, token=token, options=options, entropy=entropy)

    # The connection.

    def login(self, challenge: Challenge) -> Login:
        """Answer the relay's challenge. Raises Refused if the relay does not speak our version."""
        if PROTOCOL_VERSION not in challenge.versions:
            raise Refused(RefusalCode.UNSUPPORTED_VERSION)
        with self._store.begin() as unit:
            identity = unit.account.require().identity
            signed = claim(unit, self._relay, challenge.nonce)
        self._memory.nonce = challenge.nonce
        signature = identity.sign(SIGN_LOGIN, signed, entropy=self._entropy)
        return Login(signed, identity.public_key, signature, self._token, ())

    def connected(self, welcome: Welcome) -> Output:
        """Take up the connection, or give up old keys and ask for the next one. Raises StoreRolledBack (`rollback`)."""
        self._memory = Memory(nonce=self._memory.nonce)
        return self._run(lambda step: take_welcome(step, welcome))

    def accept_rollback(self) -> None:
        """Let the next rollback be recovered from, however soon after another."""
        self._accepts_rollback = True

    def disconnected(self) -> Output:
        """Forget the connection: what was sent without a reply has an unknown fate, and goes again as it is."""
        was_online = self._memory.online
        self._memory = Memory()
        return Output(events=(Disconnected(),) if was_online else ())

    # What the relay says.

    def push(self, frame: Deliver | Drained | LowPreKeys) -> Output:
        """Take mail, the news that there is no more, or that prekeys run out."""
        if isinstance(frame, Deliver):
            self._memory.waiting.extend(frame.deliveries)
            return self._take_mail()

        def work(step: Step) -> None:
            if isinstance(frame, LowPreKeys):
                if stock.found_left(step, frame.one_time_prekeys, frame.one_time_kem_prekeys):
                    step.tell(PreKeysLow(frame.one_time_prekeys, frame.one_time_kem_prekeys))
                return
            if not step.memory.caught_up:
                step.memory.caught_up = True
                find_gaps(step)
                step.tell(CaughtUp())
            if not step.memory.waiting:
                old_chains.mailbox_drained(step)
            receipts.flush(step)

        return self._run(work)

    def _take_mail(self) -> Output:
        """Open what waits, as far as the inbox has room; one unit for all, or one each if our code fails."""
        memory = self._memory
        if not memory.waiting:
            return Output(ready=memory.ready, wake_at=self._wake_at())
        taken: list[Delivery] = []

        def work(step: Step) -> None:
            taken[:] = self._fitting(step)
            step.seen |= step.unit.seen.known(
                [seen_envelope(one.sender_user_id, one.sender_device_id, one.envelope_id) for one in taken]
            )
            step.sessions.load([(one.sender_user_id, one.sender_device_id) for one in taken])
            for one in taken:
                open_delivery(step, one)
                step.unit.counters.delivery_number = max(step.unit.counters.delivery_number, one.number)

        try:
            try:
                output = self._run(work, pumps=False)
            except Exception as error:
                if not uses_up_an_attempt(error):
                    raise
                output = take_one_by_one(self._run, taken)  # the connection goes on
        except BaseException:
            self._memory = Memory()
            raise
        for _ in taken:
            memory.waiting.popleft()
        memory.deliveries_taken += len(taken)
        if taken:
            output = replace(output, acknowledge=taken[-1].number)
        due = self._wake_at()
        return replace(output, wake_at=due)

    def _fitting(self, step: Step) -> list[Delivery]:
        """As many of the deliveries that wait as the inbox has room for, in order."""
        waiting = self._memory.waiting
        room = min(len(waiting), step.unit.inbox.room())
        full = room < len(waiting)
        if full and not self._memory.inbox_full:
            step.tell(InboxFull())
        self._memory.inbox_full = full
        return [waiting[index] for index in range(room)]

    def reply(self, request: ClientFrame, reply: RelayFrame) -> Output:
        """Take the answer to a request of this connection; of another kind, it is passed over."""
        if not self._memory.online:
            return Output()

        return self._run(lambda step: take_reply(step, request, reply))

    # What the application wants.

    def send(self, to: str, content: str | bytes) -> tuple[MessageId, Output]:
        """Queue a message durably; what can leave at once is in the Output.

        Raises InvalidUserId, InvalidArgument for a content that is too large, and `store.Full`.
        """
        made: list[bytes] = []
        output = self._run(lambda step: made.append(queue_message(step, to, content)))
        return MessageId(made[-1].hex()), output

    def send_group(self, group: str | Group, content: str | bytes) -> tuple[MessageId, Output]:
        """Queue a message to a group durably; what can leave at once is in the Output.

        Raises GroupError for a group that we are no member of, InvalidArgument for a content that is too large, and
        `store.Full`.
        """
        made, output = self.do(lambda step: queue_to_group(step, group, content))
        return MessageId(made.hex()), output

    def mark_read(self, messages: Iterable[DirectMessage | GroupMessage | MessageId]) -> Output:
        """Tell the senders that messages were read; as events, or by id while they are in the inbox.

        Raises InvalidArgument for an id that is not (or no longer) in the inbox.
        """
        wanted = list(messages)
        return self._run(lambda step: mark_read(step, wanted))

    def do(self, work: Callable[[Step], _T]) -> tuple[_T, Output]:
        """Do *work* in a unit of its own; return its answer with what follows. Raises what *work* raises."""
        answers: list[_T] = []
        output = self._run(lambda step: answers.append(work(step)))
        return answers[-1], output

    def ask_for_identity(self) -> tuple[ClientFrame, Output]:
        """Ask the relay to bind our user id to a new identity key (`reset_identity`)."""
        return self.do(lambda step: account.ask_for_identity(step, self._relay))

    def delete_store(self) -> None:
        """Delete the store with everything in it, and close it; nothing follows."""
        self._memory = Memory()
        self._store.delete_account()

    def next_events(self, limit: int, after: int = 0) -> tuple[DurableEvent, ...]:
        """Return the first *limit* events of the inbox behind number *after*. Only the first counts as handed out."""
        with self._store.begin() as unit:
            found = unit.inbox.after(after, limit=limit)
            if found:
                unit.inbox.delivered(found[0].number)
        return tuple(unpack_event(one.kind, one.body, number=one.number, redelivered=one.deliveries) for one in found)

    def acknowledge_event(self, event: DurableEvent) -> Output:
        """Take an event out of the inbox; nothing happens if it is gone."""
        return self._move_on(event, None)

    def hand_out(self, event: DurableEvent, before: DurableEvent | None) -> Output:
        """Count that *event* is handed out, and take the one *before* out of the inbox, if there is one."""
        return self._move_on(before, event)

    def _move_on(self, done: DurableEvent | None, event: DurableEvent | None) -> Output:
        def work(step: Step) -> None:
            if event is not None:
                step.unit.inbox.delivered(event.number)
            if done is not None:
                step.unit.inbox.acknowledge(done.number)

        output = self._run(work)
        return _joined(output, self._take_mail()) if self._memory.waiting else output

    # Time.

    def tick(self, now: float) -> Output:
        """Do what is due at *now*, seconds since 1970."""
        due = self._wake_at()
        if due is None or now < due:
            return Output(ready=self._memory.ready, wake_at=due)
        return self._run(do_what_is_due)

    def finish(self) -> Output:
        """Let what waits for company go without: receipts."""
        return self._run(receipts.flush)

    def unsent(self) -> bool:
        """Whether something that could be sent now waits for the relay to store it."""
        with self._store.begin() as unit:
            lanes = {*unit.envelopes.lanes(), *unit.outgoing.lanes(QUEUED), *unit.outgoing.lanes(SUBMITTED)}
            now = unit.now
        memory = self._memory
        users = [user_id for user_id in map(user_of, lanes) if user_id is not None]
        groups = [group_id for group_id in map(group_of, lanes) if group_id is not None]
        if not memory.online:
            return bool(users or groups)
        # A lane that is held for a decision is not among the active ones.
        return any(one in memory.active and memory.lane(one).not_before <= now for one in users) or any(
            one in memory.active_groups and memory.lane_to(one).not_before <= now for one in groups
        )

    def report(self) -> Report:
        """Return what may be handed to whoever helps: counts, reasons and correlations, nothing of anybody."""
        with self._store.begin() as unit:
            return report(unit, self._diagnostics)

    def close(self) -> None:
        """Close the store; nothing follows."""
        self._memory = Memory()
        self._store.close()

    # Below.

    def _run(self, work: Callable[[Step], None], *, pumps: bool = True) -> Output:
        """Do *work* and whatever it makes possible, in one unit; return what may leave now that it is committed."""
        try:
            with self._store.begin() as unit:
                step = Step(
                    unit,
                    self._memory,
                    self._options,
                    self._entropy,
                    self._callers,
                    accepts_rollback=self._accepts_rollback,
                )
                work(step)
                reopen_moved(step)
                if pumps:
                    pump_heals(step)
                    pump_groups(step)
                    pump_lanes(step)
                    stock.pump_stock(step)
                step.sessions.write()
                step.groups.write()
        except (GroupError, IdentityError, InvalidArgument, InvalidUserId, Full):
            raise  # the caller's to correct: work raises it before it touches what is remembered
        except BaseException:
            if pumps:  # mail leaves nothing in memory that would contradict the store
                self._memory = Memory()
            raise
        self._diagnostics.add(step.tally)
        for device in step.proven:
            self._memory.healing.unproven.pop(device, None)
        if step.reconnect:
            self._accepts_rollback = False
            self._memory = Memory()
        return Output(
            requests=() if step.reconnect else tuple(step.requests),
            events=tuple(step.events),
            durable=step.durable,
            ready=self._memory.ready,
            wake_at=self._wake_at(),
            outcomes=tuple(step.outcomes),
            reconnect=step.reconnect,
        )

    def _wake_at(self) -> float | None:
        """When something is due by time alone; None while there is no connection."""
        return next_due_at(self._memory)


def _joined(first: Output, second: Output) -> Output:
    return Output(
        (*first.requests, *second.requests),
        second.acknowledge,
        (*first.events, *second.events),
        first.durable + second.durable,
        second.ready,
        second.wake_at,
        (*first.outcomes, *second.outcomes),
    )
