"""The client's side of one connection to the relay: bytes in, bytes and events out (`docs/protocol.md` section 4).

No socket, clock, store or ratchet: time is an argument, and whoever owns the carrier asks for the bytes to send, the
events to handle and the moment to call again. One link serves one connection; the next connection has a new one.

    link.receive(data, now)
    events, data = link.take_events(), link.take_data()
    wake_at = link.deadline                                    # None: nothing to wait for
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, assert_never

from .errors import InvalidArgument, MalformedFrame, RefusalCode
from .frames import (
    PROTOCOL_VERSION,
    AccountDeleted,
    Acknowledge,
    AppendEntry,
    Bundles,
    Challenge,
    ClientFrame,
    Closing,
    DeleteAccount,
    Deliver,
    DeviceList,
    Done,
    Drained,
    GetBundles,
    GetGroupDevices,
    GetGroupLog,
    GroupDevices,
    GroupLog,
    GroupSubmitted,
    IdentityReplaced,
    ListDevices,
    Login,
    LowPreKeys,
    Ping,
    Pong,
    Publish,
    Published,
    RefusedRequest,
    RelayFrame,
    Removed,
    RemoveDevice,
    ReplaceIdentity,
    Reply,
    Request,
    Submit,
    SubmitGroup,
    Submitted,
    Subscribe,
    UnknownFrame,
    Unsubscribe,
    Uploaded,
    UploadPreKeys,
    UserNotices,
    WatchUsers,
    Welcome,
)
from .limits import (
    CHALLENGE_AGE_MAX_S,
    FRAME_SIZE_MAX,
    HEARTBEAT_S,
    REPLY_AGE_MAX_S,
    REQUEST_NUMBER_MAX,
    REQUESTS_OPEN_MAX,
    UNACKNOWLEDGED_DELIVERIES_MAX,
)
from .link_events import Challenged, LinkDown, LinkEvent, LinkUp, Pushed, RawReceived, Replied
from .raw import is_raw, raw_message, take_raw
from .wire import decode_relay_frame, encode_frame

__all__ = ["Challenged", "Link", "LinkDown", "LinkEvent", "LinkUp", "Pushed", "Replied"]

# Ours: they may change in any release.
REQUESTS_WAITING_MAX: Final = 1_024  # behind the open ones: a client with as many busy lanes; bounds memory
REQUEST_BYTES_OPEN_MAX: Final = FRAME_SIZE_MAX  # sent and unanswered before more is sent: a slow line stays responsive
OVERFLOW_WAIT_MS: Final = 1_000  # after which a request that found the queue full may be made again
ACKNOWLEDGE_DELAY_S: Final = 0.05  # for another frame that carries the acknowledgement
# So many acknowledged deliveries are told at once: waiting longer would stop the relay's window.
ACKNOWLEDGE_AT_ONCE: Final = UNACKNOWLEDGED_DELIVERIES_MAX // 2

_REPLY_TO: Final[dict[type[Request], type[Reply]]] = {
    Ping: Pong,
    UploadPreKeys: Uploaded,
    GetBundles: Bundles,
    Submit: Submitted,
    RemoveDevice: Removed,
    AppendEntry: GroupLog,
    GetGroupLog: GroupLog,
    GetGroupDevices: GroupDevices,
    SubmitGroup: GroupSubmitted,
    Subscribe: Done,
    Unsubscribe: Done,
    Publish: Done,
    WatchUsers: Done,
    DeleteAccount: AccountDeleted,
    ReplaceIdentity: IdentityReplaced,
    ListDevices: DeviceList,
}
_HEARTBEAT: Final = Ping(0, 0)  # this very value: what the link asks on its own account


class _State(Enum):
    """What the conversation waits for."""

    CHALLENGE = auto()
    LOGIN = auto()  # ours
    WELCOME = auto()
    UP = auto()
    DOWN = auto()


_OVERDUE: Final = {
    _State.CHALLENGE: "the relay sent no challenge in time",
    _State.LOGIN: "the challenge was not answered in time",
    _State.WELCOME: "the relay did not answer the login",
}


@dataclass(frozen=True, slots=True)
class _Open:
    """A request on its way."""

    request: Request
    size: int  # bytes of its frame
    sent_at: float


class Link:
    """One conversation: authenticate, match replies, acknowledge, notice when the other end is gone.

    *now* is everywhere the same clock in seconds, which never goes back. Nothing here raises for what the relay says:
    a frame that is malformed or out of turn ends the link (rules R1.3, R4.1).
    """

    def __init__(self, *, now: float) -> None:
        self._state = _State.CHALLENGE
        self._since = now  # of the state, while it is one that must not last
        self._heard_at = now
        self._open: dict[int, _Open] = {}  # by number, oldest first
        self._open_bytes = 0
        self._waiting: deque[Request] = deque()
        self._last_request = 0
        self._acknowledged = 0
        self._told = 0  # the acknowledgement that the last frame carried
        self._tell_at: float | None = None  # when the acknowledgement goes alone
        self._data: list[bytes] = []
        self._events: list[LinkEvent] = []

    @property
    def is_up(self) -> bool:
        """Whether the login is accepted and the link has not ended."""
        return self._state is _State.UP

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was asked waits for a reply; the link's own sign of life does not count."""
        return not self._waiting and all(one.request is _HEARTBEAT for one in self._open.values())

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None: only the other side can change anything."""
        match self._state:
            case _State.CHALLENGE | _State.LOGIN:
                return self._since + CHALLENGE_AGE_MAX_S
            case _State.WELCOME:
                return self._since + REPLY_AGE_MAX_S
            case _State.UP:
                oldest = next(iter(self._open.values()), None)
                alive = self._heard_at + HEARTBEAT_S if oldest is None else oldest.sent_at + REPLY_AGE_MAX_S
                return alive if self._tell_at is None else min(alive, self._tell_at)
            case _State.DOWN:
                return None
            case _:
                assert_never(self._state)

    def take_data(self) -> list[bytes]:
        """Return the frames to send, each as one message, in order; they are not returned again."""
        data, self._data = self._data, []
        return data

    def take_events(self) -> list[LinkEvent]:
        """Return what happened, in order; it is not returned again."""
        events, self._events = self._events, []
        return events

    def receive(self, data: bytes, now: float) -> None:
        """Take one message of the carrier. After the link has ended it is ignored."""
        if self._state is _State.DOWN:
            return
        self._heard_at = now
        try:
            if is_raw(data) and self._state is _State.UP:
                self._events.append(RawReceived(take_raw(data)))
                return
            frame = decode_relay_frame(data)
        except MalformedFrame as error:
            self._end(None, None, f"the relay sent no frame: {error}")
            return
        if not isinstance(frame, UnknownFrame):  # a newer relay may say what this release need not know (R1.5)
            self._take(frame, now)

    def login(self, login: Login, now: float) -> None:
        """Answer the challenge; ignored if the link has ended. Raises InvalidArgument if none waits for an answer."""
        if self._state is _State.DOWN:
            return
        if self._state is not _State.LOGIN:
            raise InvalidArgument("a login answers a challenge, once")
        self._enter(_State.WELCOME, now)
        self._data.append(encode_frame(login))

    def request(self, request: ClientFrame, now: float) -> None:
        """Send *request*, or let it wait for its turn; its numbers are set here. Raises InvalidArgument for no request.

        The reply comes as `Replied`. While the link is not up nothing is sent: whoever asks was or will be told. If
        too many wait, the reply is made here and says what holds: nothing was stored, the same bytes may go later.
        """
        if isinstance(request, Login | Acknowledge):
            raise InvalidArgument("a frame that has no reply is no request")
        if self._state is not _State.UP:
            return
        if len(self._waiting) >= REQUESTS_WAITING_MAX:
            self._events.append(Replied(request, RefusedRequest(0, RefusalCode.UNAVAILABLE, OVERFLOW_WAIT_MS)))
            return
        self._waiting.append(request)
        self._send_waiting(now)

    def write_raw(self, data: str | bytes) -> bool:
        """Send raw text or bytes; False, and nothing is sent, while the link is not up. Raises InvalidArgument."""
        message = raw_message(data)
        if self._state is _State.UP:
            self._data.append(message)
        return self._state is _State.UP

    def acknowledge(self, number: int, now: float) -> None:
        """Tell the relay that everything up to delivery *number* is committed: with the next frame, or soon alone."""
        if self._state is not _State.UP or number <= self._acknowledged:
            return
        self._acknowledged = number
        if self._tell_at is None:
            self._tell_at = now + ACKNOWLEDGE_DELAY_S
        if number - self._told >= ACKNOWLEDGE_AT_ONCE:
            self._tell()

    def tick(self, now: float) -> None:
        """Do what is due at *now*; harmless at any time."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if self._state is _State.UP:
            self._tick_up(now)
        else:
            self._end(None, None, _OVERDUE[self._state])

    def lost(self, reason: str) -> None:
        """Say that the carrier has ended."""
        self._end(None, None, reason)

    def close(self) -> None:
        """End the link from this side; an acknowledgement that waits for company is sent first."""
        if self._tell_at is not None:
            self._tell()
        self._end(None, None, "closed by this client")

    def _take(self, frame: RelayFrame, now: float) -> None:
        match frame:
            case Closing(code=code, retry_after_ms=wait_ms):
                # The explanation is the relay's text, up to a kilobyte of anything: it stays out of our logs.
                retry_after_s = None if wait_ms is None else wait_ms / 1000
                self._end(_known(code), retry_after_s, f"the relay closed the connection with code {code}")
            case Challenge() if self._state is _State.CHALLENGE:
                self._challenged(frame, now)
            case Welcome() if self._state is _State.WELCOME:
                self._enter(_State.UP, now)
                self._events.append(LinkUp(frame))
            case Deliver() | Drained() | LowPreKeys() | Published() | UserNotices() if self._state is _State.UP:
                self._events.append(Pushed(frame))
            case (
                Pong()
                | Uploaded()
                | Bundles()
                | Submitted()
                | Removed()
                | GroupLog()
                | GroupDevices()
                | GroupSubmitted()
                | Done()
                | AccountDeleted()
                | IdentityReplaced()
                | DeviceList()
                | RefusedRequest()
            ):
                self._reply(frame, now)
            case _:
                self._end(None, None, f"the relay sent a {type(frame).__name__} out of turn")

    def _challenged(self, challenge: Challenge, now: float) -> None:
        if PROTOCOL_VERSION not in challenge.versions:
            self._end(RefusalCode.UNSUPPORTED_VERSION, None, "the relay does not speak this version of the protocol")
            return
        self._enter(_State.LOGIN, now)
        self._events.append(Challenged(challenge))

    def _reply(self, reply: Reply, now: float) -> None:
        opened = self._open.pop(reply.request, None)
        if opened is None or not isinstance(reply, RefusedRequest | _REPLY_TO[type(opened.request)]):
            # Taking it for the answer to something else could mark mail as stored that is not.
            self._end(None, None, f"the relay sent a {type(reply).__name__} to nothing that was asked")
            return
        self._open_bytes -= opened.size
        if opened.request is not _HEARTBEAT:
            self._events.append(Replied(opened.request, reply))
        self._send_waiting(now)

    def _tick_up(self, now: float) -> None:
        oldest = next(iter(self._open.values()), None)
        if oldest is not None and now >= oldest.sent_at + REPLY_AGE_MAX_S:
            self._end(None, None, f"no reply to a {type(oldest.request).__name__} in time")
            return
        if oldest is None and now >= self._heard_at + HEARTBEAT_S:
            self._send(_HEARTBEAT, now)
        if self._tell_at is not None and now >= self._tell_at:
            self._tell()

    def _send_waiting(self, now: float) -> None:
        while self._waiting and len(self._open) < REQUESTS_OPEN_MAX and self._open_bytes < REQUEST_BYTES_OPEN_MAX:
            self._send(self._waiting.popleft(), now)

    def _send(self, request: Request, now: float) -> None:
        # At most REQUESTS_OPEN_MAX numbers are in use, so after the last one the first is free again.
        number = self._last_request % REQUEST_NUMBER_MAX + 1
        self._last_request = number
        data = encode_frame(replace(request, acknowledged=self._acknowledged, request=number))
        self._open[number] = _Open(request, len(data), now)
        self._open_bytes += len(data)
        self._data.append(data)
        self._have_told()

    def _tell(self) -> None:
        self._data.append(encode_frame(Acknowledge(self._acknowledged)))
        self._have_told()

    def _have_told(self) -> None:
        self._told = self._acknowledged
        self._tell_at = None

    def _enter(self, state: _State, now: float) -> None:
        self._state = state
        self._since = now

    def _end(self, code: RefusalCode | None, retry_after_s: float | None, reason: str) -> None:
        if self._state is _State.DOWN:
            return
        self._state = _State.DOWN
        self._open.clear()
        self._waiting.clear()
        self._tell_at = None
        self._events.append(LinkDown(code, retry_after_s, reason))


def _known(code: int) -> RefusalCode | None:
    """Return the code, or None for one of a later release: the connection has ended all the same."""
    return RefusalCode(code) if code in RefusalCode.__members__.values() else None
