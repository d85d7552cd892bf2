"""Why something is held, waits, was refused or lost, as a closed list; and a report that shows nothing of anybody.

Every reason that an event carries is a `Reason`: a text that can be stored and shown, whether the trouble ends by
itself, and what to do. A *correlation* is a short hash of an envelope's id: both ends of a conversation, and the
relay between them, can compare it without telling anything else.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .errors import RefusalCode

__all__ = ["Diagnostics", "Reason", "Report", "Trouble", "correlation_of"]

TROUBLES_MAX: Final = 100  # remembered for a report; the oldest go first
_CORRELATION_LABEL: Final = b"e2ee correlation v1\x00"
_CORRELATION_SIZE: Final = 8  # bytes of the hash: enough to find one envelope among a mailbox's


class Reason(Enum):
    """One reason, as its text; ``recoverable``: it ends by itself or by what ``what_to_do`` says, nothing is lost."""

    recoverable: bool
    what_to_do: str

    def __new__(cls, text: str, recoverable: bool, what_to_do: str) -> Self:  # noqa: FBT001 - a table of members
        """Make a member of its row in the table below."""
        member = object.__new__(cls)
        member._value_ = text
        member.recoverable = recoverable
        member.what_to_do = what_to_do
        return member

    # Why a message waits to be opened.
    NO_SESSION = "no session opens it", True, "nothing: the sender is asked for it"
    NOT_AUTHENTIC = "not authentic on any session", True, "nothing: the sender is asked for it"
    TOO_FAR_AHEAD = "too far ahead", True, "nothing: the sender is asked for it"
    UNKNOWN_PREKEY = "made for a prekey that is not here", True, "nothing: the sender is asked for it"
    NO_SENDER_KEY = "its sender key is not here", True, "nothing: the sender is asked for the key"
    BEFORE_KEY = "its sender key came from a later position", True, "nothing: the sender is asked for it"
    LOG_BEHIND = "its sender knows more of the group's log", True, "nothing: the log is fetched"
    LOG_FORKED = "its sender was shown another log", True, "compare the group's fingerprint, then leave or accept it"
    # Why one is held, either way.
    IDENTITY_CHANGED = "identity changed", True, "compare safety numbers, then trust or distrust the new key"
    IDENTITY_UNVERIFIED = "identity not verified", True, "compare safety numbers, then verify the user"
    # Why one waits to be sent.
    NO_DEVICE = "no device", True, "nothing: it goes when the user has a device"
    UNKNOWN_USER = "unknown_user", True, "check the user id; it goes when the user connects for the first time"
    DEVICES_CHANGED = "devices_changed", True, "nothing: it goes when the device list has settled"
    RATE_LIMITED = "rate_limited", True, "nothing: it goes after a while; send less"
    UNAVAILABLE = "unavailable", True, "nothing: the relay cannot store just now"
    NOT_TRIED = "not_tried", True, "nothing: it goes after what was refused is repaired"
    NOT_REGISTERED = "not_registered", True, "nothing: it goes after the prekeys are uploaded"
    REFUSED = "refused", True, "see the relay's log; it goes when the relay takes it"
    GROUP_CHANGED = "group_changed", True, "nothing: it goes when the group's log and devices have settled"
    RELAY_LOG_BEHIND = (
        "the relay has lost entries of the group's log",
        True,
        "nothing: any member that connects gives them back; if it stays, wait for who made them, or make another group",
    )
    # Why one was not sent.
    NO_OTHER_DEVICE = "no other device", False, "nothing: there is nobody to send it to"
    MAILBOX_FULL = "mailbox full", False, "send it again when the recipient has read its mail"
    BLOCKED = "blocked", False, "nothing: the recipient does not want it"
    TOO_LARGE = "too_large", False, "send less at once"
    MALFORMED_REQUEST = "malformed", False, "report it: one end has a bug"
    NOT_AUTHORIZED = "not_authorized", False, "check the relay's rules"
    NO_MEMBER = "no member of the group", False, "nothing: who is not in a group neither writes nor reads there"
    KEY_REPLACED = "the sender key was replaced", False, "nothing: the new one goes ahead of the next message"
    # Why one was refused on arrival.
    MALFORMED = "malformed message", False, "update the older end; if both are new, report it"
    UNSUPPORTED_VERSION = "unsupported version", False, "update the older end"
    CONTENT_MISMATCH = "its content does not belong to it", False, "report it: an attack, or a bug at the sender"
    KEY_USED = (
        "its message key was used before",
        False,
        "nothing: a repetition; if messages are missing, ask the sender",
    )
    OWN_DEVICE = "sent by this very device", False, "nothing; if it stays, the relay is at fault"
    BAD_ENTRY = "an entry that does not follow from its group's log", False, "nothing: who made it may not do that"
    UNKNOWN_GROUP = "of a group that is not known here", False, "nothing: a group that this device is not in"
    # Why one is lost.
    EXPIRED = "waited too long", False, "ask the sender to send it anew"
    CROWDED_OUT = "too many others wait", False, "ask the sender to send it anew; look for a sender in a loop"
    NOT_KEPT = "its sender has not kept it", False, "ask the sender to send it anew"
    ASKED_TOO_OFTEN = "sent again too often", False, "ask the sender to send it anew; compare both reports"
    NOT_KNOWN = "its sender does not know it", False, "nothing: the relay made it up, or the sender's store is older"
    SENT_TO_ANOTHER_IDENTITY = "sent to an earlier identity", False, "ask the sender to trust the new key, or send anew"
    NOT_A_MEMBER = "not a member then and now", False, "ask a member to send it anew"
    # Something of a later or earlier release.
    OTHER = "other", False, "see the text, and this release's notes"

    @classmethod
    def of(cls, text: str) -> Reason:
        """The reason with this text; OTHER for one that this release does not have."""
        return _BY_TEXT.get(text, cls.OTHER)

    @classmethod
    def of_refusal(cls, code: RefusalCode | int) -> Reason:
        """The reason for a message that the relay refused; REFUSED for a code that says nothing of a message."""
        name = getattr(code, "name", "").lower()
        return _BY_TEXT.get(name, cls.REFUSED)


_BY_TEXT: Final = {reason.value: reason for reason in Reason}


def correlation_of(envelope_id: bytes) -> str:
    """What both ends call an envelope in their reports: 16 hexadecimal digits."""
    return sha256(_CORRELATION_LABEL + envelope_id).digest()[:_CORRELATION_SIZE].hex()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that went wrong."""

    at: float  # seconds since 1970
    reason: Reason
    correlation: str  # of its envelope, as `correlation_of`; empty if it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What may be handed to whoever helps: numbers, reasons and correlations; no names, contents or keys.

    The counters are of this process; the other numbers are of the store, now.
    """

    deliveries: Mapping[str, int]  # how deliveries ended: opened, duplicate, pending, refused, quarantined
    reasons: Mapping[str, int]  # how often each reason was met, by its text
    heals: int  # sessions renewed because something did not open
    resent: int  # messages sent again on request
    waiting_to_be_sent: int  # messages
    waiting_to_be_opened: int  # envelopes
    in_quarantine: int  # envelopes
    unread: int  # durable events
    heals_in_last_hour: int
    troubles: tuple[Trouble, ...]  # the last 100, oldest first


@dataclass(slots=True)
class Diagnostics:
    """The counters of one engine; what a unit of work adds is added when it is committed."""

    deliveries: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    heals: int = 0
    resent: int = 0
    troubles: deque[Trouble] = field(default_factory=lambda: deque(maxlen=TROUBLES_MAX))

    def trouble(self, at: float, reason: Reason, envelope_id: bytes | None = None) -> None:
        """Count one trouble, and remember it."""
        self.reasons[reason.value] += 1
        self.troubles.append(Trouble(at, reason, "" if envelope_id is None else correlation_of(envelope_id)))

    def add(self, other: Diagnostics) -> None:
        """Add what one unit of work has counted."""
        self.deliveries += other.deliveries
        self.reasons += other.reasons
        self.heals += other.heals
        self.resent += other.resent
        self.troubles.extend(other.troubles)
