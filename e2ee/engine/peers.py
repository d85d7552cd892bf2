"""Other users: whose identity key is on record, which devices may be written to, sessions from bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.diagnostics import Reason
from e2ee.frames import GetBundles, WantedDevices
from e2ee.limits import DEVICES_PER_USER_MAX
from e2ee.trust import Direction, IdentityPolicy, Verdict
from ratchet import MalformedMessage, NotAuthentic, PreKeyBundle, Session

from .identities import adoption_allowed_at, judge_identity, shows, undecided
from .step import Step, address

if TYPE_CHECKING:
    from e2ee.frames import Bundles, DeviceBundle, UserBundles

    from .lane import Lane

__all__ = [
    "REQUEST_ID_SIZE",
    "Target",
    "accepted",
    "ask_devices",
    "bundle_of",
    "learn_device",
    "take_bundles",
    "targets",
]

OWN_DEVICES_AGE_S: Final = 3600.0  # seconds for which "no other device" is believed; asking costs no prekey then
REQUEST_ID_SIZE: Final = 16  # bytes

Target = tuple[int, Session]
"""A device of the user, and the session that it is written to with."""


def targets(step: Step, user_id: str) -> list[Target] | None:
    """The devices to write to, with their sessions; None if that has to wait: for bundles, or for a decision."""
    own = user_id == step.user_id
    record = None if own else step.unit.identities.current(user_id)
    if record is not None:
        verdict = judge_identity(step, user_id, record.identity_key, Direction.SENDING)
        if _undecided(step, user_id):
            verdict = Verdict.HOLD_CHANGED
        if verdict.holds:
            step.hold(user_id, Reason.of(verdict.value))
            step.memory.active.pop(user_id, None)  # a decision brings it back, not the clock
            return None
    devices = step.unit.devices.of(user_id)
    if not devices and own and _believed_alone(step):
        return []
    if not devices or (record is None and not own):
        _ask(step, user_id, None)
        return None
    step.sessions.load([(user_id, device.device_id) for device in devices])
    found: list[Target] = []
    missing: list[int] = []
    for device in devices:
        session = step.sessions.get(user_id, device.device_id)
        if session is None or not _usable(step, session, user_id, device.device_id, device.registration_id):
            missing.append(device.device_id)
        else:
            found.append((device.device_id, session))
    if missing:
        _ask(step, user_id, tuple(missing[:DEVICES_PER_USER_MAX]))
        return None
    return found


def _undecided(step: Step, user_id: str) -> bool:
    """Whether the user has shown another key than the one on record, and nobody has said what that means."""
    if step.policies.sending is IdentityPolicy.ALWAYS:
        return False
    return bool(undecided(step.unit.identities.history(user_id)))


def _believed_alone(step: Step) -> bool:
    told = step.memory.own_devices_at
    return told is not None and step.now < told + OWN_DEVICES_AGE_S


def _usable(step: Step, session: Session, user_id: str, device_id: int, registration_id: int) -> bool:
    return (
        session.can_encrypt
        and session.remote_registration_id == registration_id
        and (user_id, device_id) not in step.memory.stale
    )


def ask_devices(step: Step, user_id: str) -> None:
    """Ask for a user's devices, unless that is under way: first of all for the user's identity key."""
    if not step.memory.lane(user_id).asking:
        _ask(step, user_id, None)


def _ask(step: Step, user_id: str, device_ids: tuple[int, ...] | None) -> None:
    step.memory.lane(user_id).ask()
    request_id = step.entropy(REQUEST_ID_SIZE)
    step.requests.append(GetBundles(0, 0, request_id, (WantedDevices(user_id, device_ids),)))


def take_bundles(step: Step, request: GetBundles, reply: Bundles) -> None:
    """Take the devices and keys that were asked for. Each user's lane goes on, or is held with a reason."""
    answers = {answer.user_id: answer for answer in reply.users}
    for wanted in request.wanted:
        lane = step.memory.lane(wanted.user_id)
        again, lane.asking, lane.overtaken = not lane.overtaken, False, False
        answer = answers.get(wanted.user_id)
        if answer is None or answer.identity_key is None:
            lane.wait(step.now)
            step.hold(wanted.user_id, Reason.UNKNOWN_USER)
        elif accepted(step, answer, answer.identity_key, again=again):
            _take_devices(step, wanted, answer, answer.identity_key, lane)


def accepted(step: Step, answer: UserBundles, shown: bytes, *, again: bool = True) -> bool:
    """Whether the identity key may be used; a held one leaves its reason with the lane.

    Not *again*: another key was put on record since the relay was asked, so it may have answered before the user did.
    """
    user_id, lane = answer.user_id, step.memory.lane(answer.user_id)
    verdict = shows(step, user_id, shown, Direction.SENDING, again=again)
    if verdict is Verdict.USE:
        lane.mismatches = 0
        return True
    # Each answer costs the user a prekey, and whoever decides may err, again and again.
    lane.mismatches += 1
    lane.wait(step.now)
    if not again:
        return False  # and ask once more
    step.hold(user_id, Reason.of(verdict.value))
    allowed_at = adoption_allowed_at(step, user_id)
    if step.policies.sending is IdentityPolicy.ALWAYS and allowed_at > step.now:
        lane.not_before = allowed_at  # nobody is there to decide
    else:
        step.memory.active.pop(user_id, None)
    return False


def _take_devices(step: Step, wanted: WantedDevices, answer: UserBundles, identity_key: bytes, lane: Lane) -> None:
    own_device = step.account.device_id if answer.user_id == step.user_id else None
    if own_device is not None and wanted.device_ids is None:
        step.memory.own_devices_at = step.now
    taken: set[int] = set()
    known = {device.device_id for device in step.unit.devices.of(answer.user_id)}
    for bundle in answer.bundles:
        if bundle.device_id == own_device or (wanted.device_ids and bundle.device_id not in wanted.device_ids):
            continue
        if bundle.device_id not in known and len(known) >= DEVICES_PER_USER_MAX:
            # Signatures do not cover a device's id: the relay could show one device under every id there is.
            continue
        try:
            _start(step, answer.user_id, bundle_of(bundle, identity_key))
        except (NotAuthentic, MalformedMessage):
            # Not a device of this user: it is not written to. If the relay insists on it, the lane waits.
            continue
        step.unit.devices.put(answer.user_id, bundle.device_id, bundle.registration_id)
        step.memory.stale.discard((answer.user_id, bundle.device_id))
        taken.add(bundle.device_id)
        known.add(bundle.device_id)
    for device_id in set(wanted.device_ids or ()) - taken:
        step.unit.devices.delete(answer.user_id, device_id)
    if own_device is None and not step.unit.devices.of(answer.user_id):
        lane.wait(step.now)
        step.hold(answer.user_id, Reason.NO_DEVICE)


def _start(step: Step, user_id: str, bundle: PreKeyBundle) -> None:
    """Start a session from a verified bundle, or renew one that cannot be used. A good one stays."""
    session = step.sessions.get(user_id, bundle.device_id)
    if session is None:
        session = Session.initiate(
            step.unit.prekeys,
            bundle,
            local=step.local,
            remote=address(user_id, bundle.device_id),
            now=step.now,
            entropy=step.entropy,
        )
    elif _usable(step, session, user_id, bundle.device_id, bundle.registration_id):
        bundle.verify()
        return
    else:
        session.renew(step.unit.prekeys, bundle, now=step.now, entropy=step.entropy)
    step.sessions.put(user_id, bundle.device_id, session)


def bundle_of(bundle: DeviceBundle, identity_key: bytes) -> PreKeyBundle:
    """The bundle as the protocol has it, under the identity key that the relay names for the user."""
    one_time = bundle.one_time_prekey
    return PreKeyBundle(
        registration_id=bundle.registration_id,
        device_id=bundle.device_id,
        identity_key=identity_key,
        signed_prekey_id=bundle.signed_prekey.id,
        signed_prekey=bundle.signed_prekey.public_key,
        signed_prekey_signature=bundle.signed_prekey.signature,
        kem_prekey_id=bundle.kem_prekey.id,
        kem_prekey=bundle.kem_prekey.public_key,
        kem_prekey_signature=bundle.kem_prekey.signature,
        one_time_prekey_id=None if one_time is None else one_time.id,
        one_time_prekey=None if one_time is None else one_time.public_key,
    )


def learn_device(step: Step, user_id: str, device_id: int, registration_id: int) -> None:
    """A device that has proved the identity on record belongs to the user, whatever the relay's list says."""
    known = {device.device_id: device.registration_id for device in step.unit.devices.of(user_id)}
    room = device_id in known or len(known) < DEVICES_PER_USER_MAX
    if known and room and known.get(device_id) != registration_id:
        # Only into a list that the relay has told before: else the first send would miss the user's other devices.
        step.unit.devices.put(user_id, device_id, registration_id)
    if user_id == step.user_id and not known:
        step.memory.own_devices_at = None  # we are not alone: ask before the next copy
