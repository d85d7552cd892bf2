"""Whether an identity key may be used: pure policy, for each direction (messaging section 9, point 7).

A key is judged when it is first shown, and what is decided then is recorded with it. So a policy is asked once for
each key, and once more for one that another had replaced and that the user shows again. A program that starts again
with another policy judges no past key anew, except that `VERIFIED_ONLY` always wants a verification and `ALWAYS` takes
what waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from .errors import InvalidArgument

if TYPE_CHECKING:
    from .ids import UserId

__all__ = [
    "ADOPTED_RECEIVING",
    "ADOPTED_SENDING",
    "ADOPTIONS_MAX",
    "ADOPTION_INTERVAL_S",
    "DISTRUSTED",
    "HELD",
    "REPLACED",
    "TRUSTED",
    "UNDECIDED_KEYS_MAX",
    "Decision",
    "Direction",
    "IdentityChange",
    "IdentityPolicy",
    "KnownKey",
    "Policies",
    "Policy",
    "Verdict",
    "decide",
    "judge",
]

# Ours: it may change in any release.
UNDECIDED_KEYS_MAX: Final = 10  # of one user: a relay that makes keys up fills neither the inbox nor the history
# Changes of one user's key that a policy takes by itself, in a row; then one for each interval, and the others wait for
# somebody: a relay that names two keys in turn would end sessions and fill the inbox as fast as it answers.
ADOPTIONS_MAX: Final = 10
ADOPTION_INTERVAL_S: Final = 3600.0  # seconds

# What is recorded with a key; empty: nothing was decided (the first key of a user is then in use).
TRUSTED: Final = "trusted"
DISTRUSTED: Final = "distrusted"
REPLACED: Final = "replaced"  # it was on record, and is no more
HELD: Final = "held"  # the first key that a user showed, when the policy wanted to wait
ADOPTED_SENDING: Final = "adopted for sending"  # by the policy of that direction; the other one waits
ADOPTED_RECEIVING: Final = "adopted for receiving"


class Direction(Enum):
    """Which way messages go; an identity may be judged differently for each."""

    SENDING = "sending"
    RECEIVING = "receiving"

    @property
    def other(self) -> Direction:
        """The opposite."""
        return Direction.RECEIVING if self is Direction.SENDING else Direction.SENDING


class IdentityPolicy(Enum):
    """What to do with an identity key that nobody has verified."""

    TRUST_ON_FIRST_USE = "trust_on_first_use"  # the first key of a user is taken, a change is held
    VERIFIED_ONLY = "verified_only"  # nothing goes or comes before the key is verified
    ALWAYS = "always"  # every key is taken: for programs that nobody watches; a change is still an event


class Decision(Enum):
    """What an application's own policy says of a key."""

    TRUST = "trust"  # put it on record and use it
    HOLD = "hold"  # let messages wait, both ways, until `trust`, `verify` or `distrust` is called
    DISTRUST = "distrust"  # stay with the key on record; what the new one has sent stays held. A first key: as HOLD


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """A key that a user shows for the first time, as a policy of the application's own gets to see it."""

    user: UserId
    on_record: bytes | None  # 33 bytes; None: the user was a stranger
    verified: bool  # whether the key on record was verified
    shown: bytes  # 33 bytes
    direction: Direction


Policy: TypeAlias = IdentityPolicy | Callable[[IdentityChange], Decision]
"""One of the three, or a function of the application's own. It is called on the writer thread, in the middle of a
transaction: it must be quick and must not call the client. Whatever it raises or returns amiss means HOLD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """A policy for each direction. Raises InvalidArgument for what is no policy."""

    sending: Policy = IdentityPolicy.TRUST_ON_FIRST_USE
    receiving: Policy = IdentityPolicy.TRUST_ON_FIRST_USE

    def __post_init__(self) -> None:
        for policy in (self.sending, self.receiving):
            if not isinstance(policy, IdentityPolicy) and not callable(policy):
                raise InvalidArgument("a policy is a member of IdentityPolicy, or a function")

    @classmethod
    def of(cls, policy: Policy | Policies) -> Policies:
        """Return *policy*, for both directions if it is one for all."""
        return policy if isinstance(policy, Policies) else cls(sending=policy, receiving=policy)

    def towards(self, direction: Direction) -> Policy:
        """The policy of one direction."""
        return self.sending if direction is Direction.SENDING else self.receiving


class Verdict(Enum):
    """What becomes of messages under a key that a user shows."""

    USE = "use"  # it is the key on record
    NEW = "new"  # it was never shown before: `decide`
    HOLD_CHANGED = "identity changed"  # another key is on record: somebody has to decide
    HOLD_UNVERIFIED = "identity not verified"

    @property
    def holds(self) -> bool:
        """Whether messages wait, both ways, until somebody decides."""
        return self in (Verdict.HOLD_CHANGED, Verdict.HOLD_UNVERIFIED)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What is recorded of a key that a user has shown."""

    current: bool  # it is the one on record
    verified: bool
    decision: str


def judge(policy: Policy, direction: Direction, known: KnownKey | None) -> Verdict:
    """Judge a key of which *known* is recorded; None: it was never shown before."""
    if known is None:
        return Verdict.NEW
    if not known.current:
        # A key that nobody has decided about may be what a more generous policy takes now.
        # One that was replaced is no more than that, until the user shows it again (`engine.identities.shows`).
        takes = policy is IdentityPolicy.ALWAYS and known.decision not in (DISTRUSTED, REPLACED)
        return Verdict.NEW if takes else Verdict.HOLD_CHANGED
    if known.verified or policy is IdentityPolicy.ALWAYS:
        return Verdict.USE
    if policy is IdentityPolicy.VERIFIED_ONLY or known.decision == HELD:
        return Verdict.HOLD_UNVERIFIED
    elsewhere = ADOPTED_RECEIVING if direction is Direction.SENDING else ADOPTED_SENDING
    return Verdict.HOLD_CHANGED if known.decision == elsewhere else Verdict.USE


def decide(policy: Policy, change: IdentityChange) -> Decision:
    """Let *policy* say what to do with a key that a user shows for the first time."""
    match policy:
        case IdentityPolicy.ALWAYS:
            return Decision.TRUST
        case IdentityPolicy.TRUST_ON_FIRST_USE:
            return Decision.TRUST if change.on_record is None else Decision.HOLD
        case IdentityPolicy.VERIFIED_ONLY:
            return Decision.HOLD
        case _:
            return _asked(policy, change)


def _asked(policy: Callable[[IdentityChange], object], change: IdentityChange) -> Decision:
    try:
        decision = policy(change)
    except Exception:  # noqa: BLE001 - the application's own code: what it breaks must not lose a message
        return Decision.HOLD
    return decision if isinstance(decision, Decision) else Decision.HOLD
