"""What the application decides about other users: trust, verification, blocking (messaging section 9, point 7)."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from e2ee.errors import InvalidArgument, SeveralIdentities, UnknownIdentity, VerificationFailed
from e2ee.identities import BY_SAFETY_NUMBER, BY_SCAN, Identity
from e2ee.ids import UserId, parse_user_id
from e2ee.trust import DISTRUSTED, TRUSTED
from ratchet import MalformedMessage, SafetyNumberMismatch

from .identities import adopt, number_with, undecided
from .receiving import reopen

if TYPE_CHECKING:
    from ratchet import SafetyNumber
    from store import IdentityRecord

    from .step import Step

__all__ = ["block", "blocked", "distrust", "history", "number_of", "trust", "unblock", "verify"]

_DIGITS: Final = 60  # of a safety number


def history(step: Step, user: str) -> tuple[Identity, ...]:
    """Every key that a user has shown, oldest first."""
    user_id = parse_user_id(user)
    return tuple(
        Identity(
            user=user_id,
            identity_key=one.identity_key,
            first_seen_at=one.first_seen_at,
            on_record=one.current,
            verification=one.verification,
            decision=one.decision,
        )
        for one in step.unit.identities.history(user_id)
    )


def number_of(step: Step, user: str, identity_key: bytes | None) -> SafetyNumber:
    """Our safety number with a user: under a key that it has shown, or the one on record. Raises UnknownIdentity."""
    user_id = parse_user_id(user)
    shown = step.unit.identities.history(user_id)
    if identity_key is not None:
        return number_with(step, user_id, _shown(user_id, shown, identity_key).identity_key)
    record = next((one for one in shown if one.current), None)
    if record is None:
        raise UnknownIdentity("no identity key of this user is known: send it a message first", user_id)
    return number_with(step, user_id, record.identity_key)


def trust(step: Step, user: str, identity_key: bytes | None, verification: str = "") -> None:
    """Put a key that the user has shown on record, and let go what was held.

    Without a key, the one that waits for a decision, or else the one on record. Raises UnknownIdentity,
    SeveralIdentities.
    """
    user_id = parse_user_id(user)
    shown = step.unit.identities.history(user_id)
    record = _meant(user_id, shown) if identity_key is None else _shown(user_id, shown, identity_key)
    adopt(step, user_id, record.identity_key)
    step.unit.identities.decide(
        user_id, record.identity_key, verification=verification or record.verification, decision=TRUSTED
    )
    step.memory.lane(user_id).decided()
    step.memory.active[user_id] = None
    reopen(step, user_id)


def distrust(step: Step, user: str, identity_key: bytes | None) -> None:
    """Stay with the key on record: what another key has sent stays held, and what is for the user goes to the old.

    Without a key, the one that waits for a decision. Raises UnknownIdentity, SeveralIdentities.
    """
    user_id = parse_user_id(user)
    shown = step.unit.identities.history(user_id)
    record = _meant(user_id, shown) if identity_key is None else _shown(user_id, shown, identity_key)
    if record.current:
        keys = tuple(one.identity_key for one in undecided(shown))
        raise UnknownIdentity("this is the key on record: block the user, or trust another key", user_id, keys)
    step.unit.identities.decide(user_id, record.identity_key, verification="", decision=DISTRUSTED)
    step.memory.lane(user_id).decided()
    step.memory.active[user_id] = None


def verify(step: Step, user: str, digits: str | None, scanned: bytes | None) -> bytes:
    """Compare a safety number with those of the key on record and the keys that wait; trust the one it belongs to.

    Returns that key. Raises VerificationFailed if it belongs to none, UnknownIdentity if there is none,
    InvalidArgument for what is no safety number.
    """
    user_id = parse_user_id(user)
    if (digits is None) == (scanned is None):
        raise InvalidArgument("a safety number is compared by its digits or by what was scanned: give one of the two")
    read_out = None if digits is None else _read_out(digits)
    shown = step.unit.identities.history(user_id)
    candidates = [one.identity_key for one in shown if one.current] + [one.identity_key for one in undecided(shown)]
    if not candidates:
        raise UnknownIdentity("no identity key of this user is known: send it a message first", user_id)
    found = None
    for identity_key in candidates:  # all of them, whichever it is
        if _agrees(number_with(step, user_id, identity_key), read_out, scanned):
            found = identity_key
    if found is None:
        raise VerificationFailed("the safety numbers differ: do not trust this identity", user_id, tuple(candidates))
    trust(step, user_id, found, BY_SCAN if digits is None else BY_SAFETY_NUMBER)
    return found


def _read_out(digits: str) -> str:
    """The digits without the spaces between their groups. Raises InvalidArgument."""
    found = "".join(digits.split())
    if len(found) != _DIGITS or not (found.isascii() and found.isdigit()):
        raise InvalidArgument(f"a safety number has {_DIGITS} digits")
    return found


def _agrees(number: SafetyNumber, digits: str | None, scanned: bytes | None) -> bool:
    if digits is not None:
        return compare_digest(number.digits, digits)
    try:
        number.check_scanned(scanned if isinstance(scanned, bytes) else b"")
    except SafetyNumberMismatch:
        return False
    except MalformedMessage as cause:
        raise InvalidArgument("what was scanned is no safety number") from cause
    return True


def _shown(user_id: UserId, shown: list[IdentityRecord], identity_key: bytes) -> IdentityRecord:
    for one in shown:
        if one.identity_key == identity_key:
            return one
    keys = tuple(one.identity_key for one in shown)
    raise UnknownIdentity("the user has not shown this identity key", user_id, keys)


def _meant(user_id: UserId, shown: list[IdentityRecord]) -> IdentityRecord:
    """The key that somebody means who names none."""
    waiting = undecided(shown)
    if len(waiting) > 1:
        keys = tuple(one.identity_key for one in waiting)
        raise SeveralIdentities("several identity keys of this user wait for a decision: name one", user_id, keys)
    found = waiting or [one for one in shown if one.current]
    if not found:
        raise UnknownIdentity("no identity key of this user is known: send it a message first", user_id)
    return found[0]


def block(step: Step, user: str) -> None:
    """Take nothing more from a user. What it sends is acknowledged and dropped; it learns nothing of that."""
    user_id = parse_user_id(user)
    if user_id == step.user_id:
        raise InvalidArgument("nobody blocks oneself: remove a device instead")
    step.unit.blocked.add(user_id)


def unblock(step: Step, user: str) -> None:
    """Take mail from a user again; nothing happens if it was not blocked."""
    step.unit.blocked.remove(parse_user_id(user))


def blocked(step: Step) -> frozenset[str]:
    """Everybody who is blocked."""
    return step.unit.blocked.all()
