"""Sessions that do not open what comes: renewed from a bundle, and what was parked is asked for (messaging section 9).

Parking changes no key. A heal adds a ratchet with the identity key on record, and its first message names what
did not open; heal row, count, session and envelope are one unit of work. The old ratchets stay readable, so both
sides may heal at once: each opens what the other sends, and the ratchet that opened last is the one in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind, RetryRequest, encode_retry_request
from e2ee.diagnostics import Reason
from e2ee.events import HealingPaused
from e2ee.frames import GetBundles, WantedDevices
from e2ee.ids import UserId
from e2ee.limits import RETRY_ENVELOPES_MAX
from e2ee.recovery import REQUESTS_MAX, HealSchedule, heal_allowed_at
from ratchet import IdentityChanged, MalformedMessage, NotAuthentic, Session, UnsupportedVersion
from store import Heal

from .alone import send_control
from .peers import REQUEST_ID_SIZE, accepted, bundle_of, learn_device
from .step import address

if TYPE_CHECKING:
    from e2ee.frames import Bundles, DeviceBundle
    from store import PendingMessage

    from .memory import DeviceName, Memory
    from .step import Step

__all__ = ["heal_refused", "next_heal_at", "note_opened", "note_parked", "pump_heals", "resume_heals", "take_heal"]

ASKING_MAX: Final = 8  # bundles for heals under way: the connection has other requests too
ASK_PAUSE_S: Final = 2.0  # seconds between two requests on a session that works
ASK_AGAIN_S: Final = 30.0  # seconds until a bundle is asked for again that the relay did not give
# Somebody decides about these; a new ratchet would not help.
_NOT_HEALED: Final = frozenset({Reason.IDENTITY_CHANGED.value, Reason.IDENTITY_UNVERIFIED.value})


# What mail tells.


def note_parked(step: Step, device: DeviceName) -> None:
    """An envelope of *device* was parked: see to it with the next step."""
    healing = step.memory.healing
    healing.parked.add(device)
    healing.opens.discard(device)
    healing.wanted.setdefault(device, step.now)


def note_opened(step: Step, device: DeviceName, session: Session) -> None:
    """A message of *device* opened: its session works again, and what still waits may be asked for on it."""
    healing = step.memory.healing
    healed_at = healing.unproven.get(device)
    fresh = healed_at is not None and session.can_encrypt and session.started_at >= int(healed_at)
    if fresh and device not in step.proven:
        step.proven.add(device)
        _save(step, device, _schedule(step, device).after_opening(step.now))
    if device not in healing.parked:
        return
    if device in healing.unasked:
        healing.unasked.discard(device)  # it has written by itself: this session reaches its new registration
        healing.opens.discard(device)
    if device in healing.opens:
        healing.wanted.setdefault(device, step.now)  # it is there, but has not answered for all of it
        return
    healing.opens.add(device)
    healing.wanted[device] = step.now  # what waited for a heal need not wait for it any more


# The connection.


def resume_heals(step: Step) -> None:
    """Take up what earlier connections left: envelopes that were never asked for, heals that have not proved good."""
    healing = step.memory.healing
    for user_id, device_id, requests in step.unit.pending.devices():
        healing.parked.add((user_id, device_id))
        if requests == 0:
            healing.wanted[user_id, device_id] = step.now
    for user_id, device_id, heal in step.unit.heals.unproven():
        healing.unproven[user_id, device_id] = HealSchedule(heal.next_allowed_at, heal.delay_s).healed_at


def next_heal_at(memory: Memory) -> float | None:
    """When a device is to be seen to; None: there is none, or replies are waited for."""
    if not memory.ready or len(memory.healing.asking) >= ASKING_MAX:
        return None
    return memory.healing.due_at()


def pump_heals(step: Step) -> None:
    """See to the devices that are due, as far as the limits allow."""
    healing = step.memory.healing
    if not (step.memory.online and step.memory.ready):
        return
    for device, due_at in list(healing.wanted.items()):
        if len(healing.asking) >= ASKING_MAX:
            return
        if due_at <= step.now and device not in healing.asking.values():
            _see_to(step, device)


def _see_to(step: Step, device: DeviceName) -> None:
    healing = step.memory.healing
    rows = _asked_for(step, device)
    if not rows or device[0] in step.unit.blocked.all():
        healing.wanted.pop(device)
        healing.parked.discard(device)
        return
    session = step.sessions.get(*device)
    works = device in healing.opens and session is not None and session.can_encrypt and device not in healing.unasked
    fresh = [row for row in rows if row.requests == 0]
    if works and fresh and session is not None:
        # On their way while the session was renewed: no new ratchet is needed, and no pause of a heal.
        at = healing.asked_at.get(device, 0.0) + ASK_PAUSE_S
        healing.wanted[device] = at
        if at <= step.now:
            _ask(step, device, session, fresh)
        return
    schedule = _schedule(step, device)
    allowed_at = _allowed_at(step, device, schedule)
    if allowed_at > step.now:
        healing.wanted[device] = allowed_at
        over_budget = allowed_at > schedule.allowed_at(step.now)
        if (over_budget or (schedule.repeated and not works)) and device not in healing.paused:
            healing.paused.add(device)
            step.tell(HealingPaused(UserId(device[0]), device[1], allowed_at))
        return
    if works and session is not None:
        _count(step, device, stranger=_is_stranger(step, device))
        _ask(step, device, session, rows)
    elif fresh or device in healing.unasked:
        request_id = step.entropy(REQUEST_ID_SIZE)
        healing.asking[request_id] = device
        step.requests.append(GetBundles(0, 0, request_id, (WantedDevices(device[0], (device[1],)),)))
    else:
        healing.wanted.pop(device)  # all of it was asked for; it is the peer's turn


def _asked_for(step: Step, device: DeviceName) -> list[PendingMessage]:
    """What a retry request to *device* names, in order of arrival. What waits for a sender key is no fault of ours."""
    rows = step.unit.pending.from_device(*device)
    return [row for row in rows if row.is_asked_for and row.reason not in _NOT_HEALED and row.requests < REQUESTS_MAX][
        :RETRY_ENVELOPES_MAX
    ]


# Bundles.


def take_heal(step: Step, request: GetBundles, reply: Bundles) -> bool:
    """Take the bundle that a heal asked for; False if *request* was no heal's."""
    healing = step.memory.healing
    device = healing.asking.pop(request.request_id, None)
    if device is None:
        return False
    again = request.request_id not in healing.overtaken
    healing.overtaken.discard(request.request_id)
    rows = _asked_for(step, device)
    if not rows:
        healing.wanted.pop(device, None)  # all of it was answered for meanwhile
        return True
    stranger = _is_stranger(step, device)  # before the bundle puts an identity on record
    # One answer, one bundle: each that is taken archives a ratchet, and only 40 are kept.
    answer = next((one for one in reply.users if one.user_id == device[0]), None)
    bundle = None if answer is None else next((one for one in answer.bundles if one.device_id == device[1]), None)
    shown = None if answer is None else answer.identity_key
    session = None
    if answer is not None and bundle is not None and shown is not None and accepted(step, answer, shown, again=again):
        session = _renewed(step, device, bundle, shown)
    if session is not None:
        _count(step, device, stranger=stranger)
        _ask(step, device, session, rows)
        healing.unproven[device] = step.now
        step.tally.heals += 1
        return True
    # In vain, but counted: the relay could make up names without end.
    healing.wanted[device] = _count(step, device, stranger=stranger).next_allowed_at
    return True


def heal_refused(step: Step, request: GetBundles, wait_s: float | None) -> bool:
    """The relay gave no bundle; False if *request* was no heal's."""
    device = step.memory.healing.asking.pop(request.request_id, None)
    if device is None:
        return False
    step.memory.healing.overtaken.discard(request.request_id)
    step.memory.healing.wanted[device] = step.now + (ASK_AGAIN_S if wait_s is None else wait_s)
    return True


def _renewed(step: Step, device: DeviceName, bundle: DeviceBundle, identity_key: bytes) -> Session | None:
    """The session with *device*, with a fresh ratchet in use; None if its bundle is not good."""
    session = step.sessions.get(*device)
    checked = bundle_of(bundle, identity_key)
    try:
        if session is None:
            session = Session.initiate(
                step.unit.prekeys,
                checked,
                local=step.local,
                remote=address(*device),
                now=step.now,
                entropy=step.entropy,
            )
        else:
            session.renew(step.unit.prekeys, checked, now=step.now, entropy=step.entropy)
    except (IdentityChanged, MalformedMessage, NotAuthentic, UnsupportedVersion):
        return None
    step.memory.stale.discard(device)
    learn_device(step, *device, session.remote_registration_id)
    return session


def _ask(step: Step, device: DeviceName, session: Session, rows: list[PendingMessage]) -> None:
    """Ask for what was parked: with a fresh ratchet, as its first message, or on one that opens."""
    body = encode_retry_request(RetryRequest(tuple(row.envelope_id for row in rows)))
    send_control(step, device, session, ContentKind.RETRY_REQUEST, body)
    step.unit.pending.asked(rows)
    healing = step.memory.healing
    healing.asked_at[device] = step.now
    healing.unasked.discard(device)
    healing.wanted.pop(device, None)


def _count(step: Step, device: DeviceName, *, stranger: bool) -> HealSchedule:
    """Count a heal, made or in vain; return when the next may be."""
    step.unit.heals.log(stranger=stranger)
    schedule = _schedule(step, device).after_heal(step.now)
    _save(step, device, schedule)
    step.memory.healing.paused.discard(device)
    return schedule


# Rows.


def _schedule(step: Step, device: DeviceName) -> HealSchedule:
    row = step.unit.heals.load(*device)
    return HealSchedule(row.next_allowed_at, row.delay_s)


def _save(step: Step, device: DeviceName, schedule: HealSchedule) -> None:
    step.unit.heals.save(*device, Heal(schedule.next_allowed_at, schedule.delay_s))


def _allowed_at(step: Step, device: DeviceName, schedule: HealSchedule) -> float:
    asking = step.memory.healing.asking.values()
    return heal_allowed_at(
        schedule,
        step.now,
        heals=step.unit.heals.in_last_hour() + len(asking),
        stranger_heals=step.unit.heals.in_last_hour(strangers_only=True)
        + sum(_is_stranger(step, one) for one in asking),
        stranger=_is_stranger(step, device),
    )


def _is_stranger(step: Step, device: DeviceName) -> bool:
    """Whether nothing is known of the user but what somebody claims."""
    return device[0] != step.user_id and step.unit.identities.current(device[0]) is None
