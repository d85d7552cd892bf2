"""One step of the engine: a unit of work, what it loaded, and what is to leave after its commit."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee.content import Content, ContentKind, Destination, decode_content, encode_content
from e2ee.diagnostics import Diagnostics, Reason
from e2ee.events import (
    DeliveryState,
    DurableEvent,
    LiveEvent,
    MessageHealed,
    MessageLost,
    MessageState,
    pack_event,
)
from e2ee.ids import MESSAGE_ID_SIZE, GroupId, MessageId, UserId, service_id
from e2ee.limits import DEVICES_PER_USER_MAX, ENVELOPES_PER_FRAME_MAX
from e2ee.options import ClientOptions, InboxMode
from e2ee.trust import Policies
from ratchet import Address
from store import Full, LoadedSession

from .groups.in_use import GroupsInUse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from e2ee.engine.groups.outcome import GroupOutcome
    from e2ee.frames import ClientFrame
    from ratchet import Session
    from store import OutgoingMessage, StoredAccount, Unit

    from .memory import DeviceName, Memory

__all__ = [
    "DELIVERED",
    "QUEUED",
    "ROWS_MAX",
    "SENT",
    "SUBMITTED",
    "Output",
    "Step",
    "conversation_with",
    "lane_of",
    "user_of",
]

# States of a message in the outbox, as stored.
QUEUED: Final = "queued"  # nothing has been encrypted; with a reason: it is held
SUBMITTED: Final = "submitted"  # its envelopes are stored here, their fate at the relay is not known
SENT: Final = "sent"  # the relay has stored them
DELIVERED: Final = "delivered"  # a device has it; kept here a while, so that a read mark finds it

_LANE: Final = "user:"
_NOT_WORTH_STOPPING: Final = (MessageState, MessageLost, MessageHealed)
RETIRED_AT_ONCE: Final = 64  # sessions in memory at a time, of as many as there are
ROWS_MAX: Final = ENVELOPES_PER_FRAME_MAX * DEVICES_PER_USER_MAX  # envelopes of one lane; no frame makes more
HELD_AT_ONCE_MAX: Final = 64  # messages of a lane whose waiting is told: those that would go next


def lane_of(user_id: str) -> str:
    """The store's name for the lane to a user; a group's begins with another word."""
    return _LANE + user_id


def user_of(lane: str) -> UserId | None:
    """Undo `lane_of`; None for another lane."""
    return UserId(lane[len(_LANE) :]) if lane.startswith(_LANE) else None


def conversation_with(user_id: str) -> bytes:
    """The store's name for the direct conversation with a user."""
    return lane_of(user_id).encode()


@dataclass(frozen=True, slots=True)
class Output:
    """What a step wants done, now that it is committed."""

    requests: tuple[ClientFrame, ...] = ()  # to be sent in this order; acknowledged and request are the link's to fill
    acknowledge: int | None = None  # the delivery number up to which everything is committed
    events: tuple[LiveEvent, ...] = ()
    durable: int = 0  # how many durable events were added to the inbox
    ready: bool = False  # the relay has prekeys of this device: others can write to it
    wake_at: float | None = None  # seconds since 1970, when `tick` is next due; None: there is nothing to wait for
    outcomes: tuple[GroupOutcome, ...] = ()  # of group calls that somebody waits for
    reconnect: bool = False  # this connection is to end, and the next one to be made


class SessionsInUse:
    """The sessions of one step: each loaded once and written once, whatever happens to it in between."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._loaded: dict[tuple[str, int], LoadedSession | None] = {}
        self._changed: dict[tuple[str, int], None] = {}

    def load(self, devices: list[tuple[str, int]]) -> None:
        """Load the sessions with several devices in few statements."""
        wanted = [device for device in dict.fromkeys(devices) if device not in self._loaded]
        if wanted:
            found = self._unit.sessions.load_many(wanted)
            self._loaded.update({device: found.get(device) for device in wanted})

    def get(self, user_id: str, device_id: int) -> Session | None:
        """The session with a device; None if there is none."""
        self.load([(user_id, device_id)])
        loaded = self._loaded[user_id, device_id]
        return None if loaded is None else loaded.session

    def put(self, user_id: str, device_id: int, session: Session) -> None:
        """Note that a session is new or has changed."""
        self.load([(user_id, device_id)])
        if self._loaded[user_id, device_id] is None:
            self._loaded[user_id, device_id] = LoadedSession(user_id, device_id, session, 0)
        self._changed[user_id, device_id] = None

    def forget(self, user_id: str, device_id: int | None = None) -> None:
        """Delete the session with a device that is removed; or all with a user, whose identity is another one now."""
        for device in self._unit.sessions.devices(user_id) if device_id is None else [device_id]:
            self._unit.sessions.delete(user_id, device)
        for known in [one for one in self._loaded if one[0] == user_id and device_id in (None, one[1])]:
            self._loaded[known] = None
            self._changed.pop(known, None)

    def forget_all(self) -> None:
        """Delete every session: our own identity is another one now."""
        self._unit.sessions.delete_all()
        self._loaded.clear()
        self._changed.clear()

    def retire(self) -> None:
        """Let no ratchet that is stored send again (`Session.retire`)."""
        self.write()
        self._loaded.clear()
        every = self._unit.sessions.everyone()
        for start in range(0, len(every), RETIRED_AT_ONCE):
            for loaded in self._unit.sessions.load_many(every[start : start + RETIRED_AT_ONCE]).values():
                loaded.session.retire()
                self._unit.sessions.save(loaded)

    def write(self) -> None:
        """Write what has changed."""
        for device in self._changed:
            loaded = self._loaded[device]
            if loaded is None:
                continue
            if loaded.version == 0:
                self._unit.sessions.add(loaded.user_id, loaded.device_id, loaded.session)
            else:
                self._unit.sessions.save(loaded)
        self._changed.clear()


class Step:
    """What the functions of one step share."""

    def __init__(
        self,
        unit: Unit,
        memory: Memory,
        options: ClientOptions,
        entropy: Callable[[int], bytes],
        callers: Collection[bytes] = (),
        *,
        accepts_rollback: bool = False,
    ) -> None:
        self.unit = unit
        self.accepts_rollback = accepts_rollback  # the application has said so, for once
        self.reconnect = False
        self.memory = memory
        self.options = options
        self.entropy = entropy
        self.account: StoredAccount = unit.account.require()
        self.sessions = SessionsInUse(unit)
        self.groups = GroupsInUse(unit, memory.memberships)
        self.callers = callers  # ids of group operations whose callers wait
        self.outcomes: list[GroupOutcome] = []
        self.moved_logs: dict[bytes, None] = {}  # groups whose logs went on: what waits for that is opened
        self.whole_logs: dict[bytes, None] = {}  # groups whose logs the relay has told to their ends
        self.requests: list[ClientFrame] = []
        self.events: list[LiveEvent] = []
        self.durable = 0
        self.seen: set[bytes] = set()  # keys added in this step, or found known
        self.copies: set[bytes] = set()  # ids of envelopes with a body that was asked for under another
        self.blocked: frozenset[str] | None = None  # None: not loaded
        self.tally = Diagnostics()  # what this step adds to the engine's
        self.proven: set[DeviceName] = set()  # whose heal has proved good

    @property
    def user_id(self) -> UserId:
        """Who we are."""
        return UserId(self.account.user_id)

    def is_seen(self, key: bytes) -> bool:
        """Whether a key of an envelope or a message is remembered, from this step or an earlier one."""
        return key in self.seen or bool(self.unit.seen.known([key]))

    @property
    def policies(self) -> Policies:
        """How identity keys of other users are judged."""
        return Policies.of(self.options.identities)

    @property
    def now(self) -> float:
        """Seconds since 1970, the same for the whole step."""
        return self.unit.now

    @property
    def local(self) -> Address:
        """Our end of every session."""
        return address(self.user_id, self.account.device_id)

    def tell(self, event: LiveEvent) -> None:
        """Tell an event once, after the commit."""
        self.events.append(event)

    def keep(self, event: DurableEvent) -> None:
        """Put an event into the inbox. Raises Full, unless it only tells what became of a message."""
        if self.options.inbox is InboxMode.DISCARD:
            return
        name, body = pack_event(event)
        if isinstance(event, _NOT_WORTH_STOPPING):
            # Nobody reads: mail is not taken either. What happened has happened, told or not.
            with suppress(Full):
                self.unit.inbox.add(name, body)
                self.durable += 1
            return
        self.unit.inbox.add(name, body)
        self.durable += 1

    def keep_for_certain(self, event: DurableEvent) -> None:
        """Put an event that comes at most once a day into the inbox, be it full."""
        if self.options.inbox is not InboxMode.DISCARD:
            self.unit.inbox.add(*pack_event(event), over=True)
            self.durable += 1

    def state(self, message: OutgoingMessage, state: DeliveryState, reason: Reason | None = None) -> None:
        """Tell the application how far a message came, if it is one of its own (not a receipt, not a copy)."""
        content = decode_content(message.content)
        if content.kind not in (ContentKind.TEXT, ContentKind.DATA):
            return
        user_id, group_id = content.destination.user_id, content.destination.group_id
        if reason is not None:
            self.tally.trouble(self.now, reason)
        self.keep(
            MessageState(
                message_id=MessageId(message.message_id.hex()),
                recipient=None if user_id is None else UserId(user_id),
                state=state,
                reason="" if reason is None else reason.value,
                group=None if group_id is None else GroupId(group_id.hex()),
            )
        )

    def hold(self, user_id: str, reason: Reason) -> None:
        """Note why the messages to a user wait, and tell it once for each message and reason."""
        self.memory.lane(user_id).held = reason
        for state in (SUBMITTED, QUEUED):
            for message in self.unit.outgoing.next_in(lane_of(user_id), state, limit=HELD_AT_ONCE_MAX):
                if message.reason != reason.value:
                    self.unit.outgoing.set_state(message.message_id, state, reason=reason.value)
                    self.state(message, DeliveryState.HELD, reason)

    def queue(self, kind: ContentKind, user_id: str, body: bytes, *, counted: bool = False) -> Content:
        """Queue a content at the end of the lane to a user. Raises Full, TooLarge."""
        number = self.unit.conversations.next_number(conversation_with(user_id)) if counted else 0
        content = Content(
            kind,
            self.entropy(MESSAGE_ID_SIZE),
            number,
            int(self.now * 1000),
            self.user_id,
            self.account.device_id,
            Destination(user_id),
            body,
        )
        self.unit.outgoing.add(
            content.message_id, lane_of(user_id), encode_content(content), state=QUEUED, conversation_number=number
        )
        self.memory.active[user_id] = None
        return content


def address(user_id: str, device_id: int) -> Address:
    """The end of a session: service ids as names, so that first messages are bound to both ends."""
    return Address(str(service_id(UserId(user_id))), device_id)
