"""Whether an identity key may be used: pure policy, for both directions (messaging section 9, point 7)."""

from __future__ import annotations

from enum import Enum

__all__ = ["IdentityPolicy", "Verdict", "judge"]


class IdentityPolicy(Enum):
    """What to do with an identity key that nobody has verified."""

    TRUST_ON_FIRST_USE = "trust_on_first_use"  # the first key of a user is taken, a change is held
    VERIFIED_ONLY = "verified_only"  # nothing goes or comes before the key is verified
    ALWAYS = "always"  # every key is taken: for programs that nobody watches; a change is still an event


class Verdict(Enum):
    """What a policy says of a key that a user shows."""

    USE = "use"  # it is the key on record
    ADOPT = "adopt"  # put it on record, then use it
    HOLD_CHANGED = "identity changed"  # another key is on record: somebody has to decide
    HOLD_UNVERIFIED = "identity not verified"

    @property
    def holds(self) -> bool:
        """Whether messages wait, both ways, until somebody decides."""
        return self in (Verdict.HOLD_CHANGED, Verdict.HOLD_UNVERIFIED)


def judge(policy: IdentityPolicy, *, on_record: bytes | None, verified: bool, shown: bytes) -> Verdict:
    """Judge the key that a user *shows* against the one *on record* (None: a stranger), which may be *verified*."""
    if on_record == shown:
        return Verdict.HOLD_UNVERIFIED if policy is IdentityPolicy.VERIFIED_ONLY and not verified else Verdict.USE
    if on_record is not None and policy is not IdentityPolicy.ALWAYS:
        return Verdict.HOLD_CHANGED
    return Verdict.HOLD_UNVERIFIED if policy is IdentityPolicy.VERIFIED_ONLY else Verdict.ADOPT
