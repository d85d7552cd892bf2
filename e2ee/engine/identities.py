"""Identity keys of other users: judged when they are shown, recorded, told, compared by safety numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.events import IdentityChanged
from e2ee.ids import UserId, service_id
from e2ee.trust import (
    ADOPTED_RECEIVING,
    ADOPTED_SENDING,
    ADOPTION_INTERVAL_S,
    ADOPTIONS_MAX,
    DISTRUSTED,
    HELD,
    REPLACED,
    UNDECIDED_KEYS_MAX,
    Decision,
    Direction,
    IdentityChange,
    IdentityPolicy,
    KnownKey,
    Policy,
    Verdict,
    decide,
    judge,
)
from ratchet import safety_number
from store import Heal

from .step import QUEUED, SUBMITTED, Step, lane_of
from .unasked import drop_envelopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratchet import SafetyNumber
    from store import IdentityRecord

__all__ = ["adopt", "adoption_allowed_at", "judge_identity", "number_with", "shows", "undecided"]

_SUBMITTED_MAX: Final = 64  # messages of one lane whose fate is unknown: one frame's
_NO_DEVICE: Final = 0  # no device has this id: the row of a user that says when its changes are forgotten


def judge_identity(step: Step, user_id: str, shown: bytes, direction: Direction) -> Verdict:
    """Judge an identity key that a user shows. Our own user's is ours, whatever the policy."""
    if user_id == step.user_id:
        return Verdict.USE if shown == step.account.identity.public_key else Verdict.HOLD_CHANGED
    record = step.unit.identities.current(user_id)
    if record is not None and record.identity_key != shown:
        record = next((one for one in step.unit.identities.history(user_id) if one.identity_key == shown), None)
    known = None if record is None else KnownKey(record.current, bool(record.verification), record.decision)
    return judge(step.policies.towards(direction), direction, known)


def shows(step: Step, user_id: str, shown: bytes, direction: Direction, *, again: bool = False) -> Verdict:
    """A user shows a key: judge it, and decide about a new one, record that and tell of it. Returns no NEW.

    A key that comes with a message must have been proved by it: the relay makes up what it likes. With *again* it is
    the key that the user has now, by the relay's word or by proof. Then one that was replaced is decided about anew:
    somebody may have trusted a key that the user has no more, and would never learn of it.
    """
    verdict = judge_identity(step, user_id, shown, direction)
    history = step.unit.identities.history(user_id)
    known = next((one for one in history if one.identity_key == shown), None)
    record = next((one for one in history if one.current), None)
    policy = step.policies.towards(direction)
    returns = again and known is not None and record is not None and _returns(policy, direction, known, record)
    if verdict is not Verdict.NEW and not returns:
        return verdict
    waiting = undecided(history)
    full = len(waiting) >= UNDECIDED_KEYS_MAX
    if policy is not IdentityPolicy.ALWAYS and full:
        return Verdict.HOLD_CHANGED
    change = IdentityChange(
        user=UserId(user_id),
        on_record=None if record is None else record.identity_key,
        verified=record is not None and bool(record.verification),
        shown=shown,
        direction=direction,
    )
    decision = decide(policy, change)
    if decision is Decision.TRUST and record is not None and not _count_adoption(step, user_id):
        if full or known in waiting:
            return Verdict.HOLD_CHANGED  # told already, or too much was
        decision = Decision.HOLD
    verification = "" if known is None else known.verification
    if decision is Decision.TRUST:
        adopt(step, user_id, shown)
        note = _adopted(step, change)
    else:
        step.unit.identities.see(user_id, shown, expendable=(REPLACED,))
        note = HELD if record is None else DISTRUSTED if decision is Decision.DISTRUST else ""
    step.unit.identities.decide(user_id, shown, verification=verification, decision=note)
    if record is not None:
        _tell(step, user_id, record.identity_key, shown, adopted=decision is Decision.TRUST)
    if decision is Decision.TRUST:
        return Verdict.USE
    return Verdict.HOLD_UNVERIFIED if record is None else Verdict.HOLD_CHANGED


def _returns(policy: Policy, direction: Direction, known: IdentityRecord, record: IdentityRecord) -> bool:
    """Whether a key that was replaced is the user's once more."""
    if known.current or known.decision != REPLACED:
        return False
    # Mail that was under way when the key was replaced is proved by it, and proves no return: a key that was seen
    # before the one on record waits until the relay names it.
    newer = known.first_seen_at >= record.first_seen_at
    return newer or direction is Direction.SENDING or policy is IdentityPolicy.ALWAYS


def _count_adoption(step: Step, user_id: str) -> bool:
    """Count a change that a policy takes by itself; whether it is not one too many."""
    if adoption_allowed_at(step, user_id) > step.now:
        return False
    forgotten_at = step.unit.heals.load(user_id, _NO_DEVICE).next_allowed_at
    step.unit.heals.save(user_id, _NO_DEVICE, Heal(max(forgotten_at, step.now) + ADOPTION_INTERVAL_S))
    return True


def adoption_allowed_at(step: Step, user_id: str) -> float:
    """When a policy may take another key of a user by itself, in seconds since 1970."""
    # The row says when all are forgotten. A clock that was set back does not shut anybody out for longer than that.
    forgotten_at = step.unit.heals.load(user_id, _NO_DEVICE).next_allowed_at
    latest = step.now + ADOPTIONS_MAX * ADOPTION_INTERVAL_S
    return min(forgotten_at, latest) - (ADOPTIONS_MAX - 1) * ADOPTION_INTERVAL_S


def _adopted(step: Step, change: IdentityChange) -> str:
    """What is recorded of a key that one direction takes: it holds for the other only if that one takes it too."""
    other = change.direction.other
    policy = step.policies.towards(other)
    if policy is step.policies.towards(change.direction):
        return ""
    if decide(policy, replace(change, direction=other)) is Decision.TRUST:
        return ""
    return ADOPTED_SENDING if change.direction is Direction.SENDING else ADOPTED_RECEIVING


def _tell(step: Step, user_id: str, on_record: bytes, shown: bytes, *, adopted: bool) -> None:
    step.keep(
        IdentityChanged(
            user=UserId(user_id),
            on_record=on_record,
            shown=shown,
            adopted=adopted,
            on_record_number=number_with(step, user_id, on_record).digits,
            shown_number=number_with(step, user_id, shown).digits,
        )
    )


def number_with(step: Step, user_id: str, identity_key: bytes) -> SafetyNumber:
    """Our safety number with a user who has this key; takes 5 ms."""
    ours, theirs = service_id(step.user_id).bytes, service_id(UserId(user_id)).bytes
    return safety_number(ours, step.account.identity.public_key, theirs, identity_key)


def undecided(history: Sequence[IdentityRecord]) -> list[IdentityRecord]:
    """Keys that a user has shown beside the one on record, and that nobody has decided about; oldest first."""
    return [one for one in history if not (one.current or one.decision)]


def adopt(step: Step, user_id: str, identity_key: bytes) -> None:
    """Put a key on record; what was agreed under another one ends, and what was under way is encrypted anew."""
    record = step.unit.identities.current(user_id)
    step.unit.identities.see(user_id, identity_key, current=True, expendable=(REPLACED,))
    if record is None or record.identity_key == identity_key:
        return
    step.unit.identities.decide(user_id, record.identity_key, verification=record.verification, decision=REPLACED)
    step.memory.overtake(user_id)
    step.sessions.forget(user_id)
    step.unit.sender_keys.delete_of_user(user_id)  # a chain is of the identity key that gave it
    for lane in step.memory.group_lanes.values():
        lane.replan()
    for device in step.unit.devices.of(user_id):
        step.unit.devices.delete(user_id, device.device_id)
        drop_envelopes(step, user_id, device.device_id)
    for message in step.unit.outgoing.next_in(lane_of(user_id), SUBMITTED, limit=_SUBMITTED_MAX):
        if not step.unit.envelopes.of_message(message.message_id):
            step.unit.outgoing.set_state(message.message_id, QUEUED)
