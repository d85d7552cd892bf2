"""Giving our sender key to every device that reads a group, pairwise, before the message that needs it.

For each device and chain there is a row: on its way, `sent` (the relay has stored it), `acknowledged` (the device
has said so), or `failed` with a reason. A message to the group waits until each is one of the last three, and
for no acknowledgement: the relay puts the key ahead of the message in every mailbox.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.content import Content, ContentKind, decode_content
from e2ee.diagnostics import Reason
from e2ee.frames import GetBundles, GetGroupDevices, Outcome, WantedDevices
from e2ee.group_content import SenderKeyBody, decode_key_ack, decode_sender_key, encode_body
from e2ee.ids import UserId
from ratchet.messages import DistributionMessage
from store import Distribution

from .keys import current_key
from .members import usable_members
from .state import membership

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from e2ee.engine.step import Step
    from e2ee.groups import Membership
    from store import Envelope, LoadedOwnSenderKey, OutgoingMessage

    from .lane import GroupLane

__all__ = [
    "ACKNOWLEDGED",
    "FAILED",
    "ON_ITS_WAY",
    "SENT",
    "ask_devices",
    "bundles_came",
    "everybody_has",
    "failed",
    "give",
    "has_devices",
    "refusal_to_give",
    "some_device_is_gone",
    "stored",
    "take_key_ack",
]

# States of a row, as stored.
ON_ITS_WAY: Final = "queued"
SENT: Final = "sent"
ACKNOWLEDGED: Final = "acknowledged"
FAILED: Final = "failed"
NONE: Final = "none"  # as if there were no row

DEVICES_PER_ASKING_MAX: Final = 20  # bundles in one answer: as many sessions are made in one unit, some 30 ms
ASKINGS_MAX: Final = 5  # requests for bundles at once: a hundred devices
KEYING_MAX: Final = 20  # users to whom the key is on its way at once: bounds what one unit encrypts
# Why a lane waits, where it goes on by itself soon; anything else costs that user the key for now, not everybody
# the message.
_PASSING: Final = frozenset(
    (Reason.RATE_LIMITED, Reason.UNAVAILABLE, Reason.NOT_REGISTERED, Reason.NOT_TRIED, Reason.REFUSED, Reason.OTHER)
)
_REQUEST_ID_SIZE: Final = 16  # bytes
_OUTCOMES: Final = {
    Outcome.STORED: (SENT, ""),
    Outcome.DUPLICATE: (SENT, ""),
    Outcome.FULL: (FAILED, Reason.MAILBOX_FULL.value),
    Outcome.GONE: (NONE, ""),
}


def ask_devices(step: Step, group_id: bytes) -> None:
    """Ask the relay for a group's devices."""
    step.memory.lane_to(group_id).asking = True
    step.requests.append(GetGroupDevices(0, 0, group_id))


def everybody_has(step: Step, lane: GroupLane, group: Membership, loaded: LoadedOwnSenderKey) -> bool:
    """Whether every device has the key or cannot get it; if not, bring the matter forward by a bounded step.

    *lane* knows the devices.
    """
    chain_id = loaded.key.chain_id
    if lane.planned != chain_id:
        _plan(step, lane, group, loaded)
    _give_up_held(step, lane, loaded)
    while lane.without_session and len(lane.bundles) < ASKINGS_MAX:
        _ask_bundles(step, lane)
    if not (lane.without_session or lane.bundles):
        while lane.to_key and len(lane.keying) < KEYING_MAX:
            give(step, lane, group, loaded, lane.to_key.popleft())
    return not (lane.without_session or lane.bundles or lane.to_key or lane.keying)


def some_device_is_gone(step: Step, lane: GroupLane, loaded: LoadedOwnSenderKey) -> bool:
    """Whether a device that was given the key is no device of a member any more: it holds the chain, and reads on."""
    listed = {(one.user_id, device.device_id) for one in lane.devices or () for device in one.devices}
    given = (row for row in _rows(step, loaded) if row.state in (SENT, ACKNOWLEDGED))
    return any((row.user_id, row.device_id) not in listed for row in given)


def _plan(step: Step, lane: GroupLane, group: Membership, loaded: LoadedOwnSenderKey) -> None:
    """Compare the devices with the rows: who lacks the key, and to whom it is on its way."""
    rows = {(row.user_id, row.device_id): row for row in _rows(step, loaded)}
    usable = usable_members(step, group)
    lane.replan()
    lane.keying.clear()
    for member in lane.devices or ():
        seat = group.members.get(UserId(member.user_id)) if member.user_id in usable else None
        if seat is None:
            continue
        lacking = []
        for device in member.devices:
            row = rows.get((member.user_id, device.device_id))
            if row is None or row.identity_key != seat.identity_key or row.registration_id != device.registration_id:
                lacking.append(device.device_id)
            elif row.state == ON_ITS_WAY:
                lane.keying.add(member.user_id)
            elif row.state == NONE:
                lacking.append(device.device_id)
        if lacking:
            lane.to_key.append(member.user_id)
            with_session = step.unit.sessions.devices(member.user_id)
            missing = tuple(device_id for device_id in lacking if device_id not in with_session)
            if missing:
                lane.without_session.append((member.user_id, missing))
    lane.planned = loaded.key.chain_id


def _rows(step: Step, loaded: LoadedOwnSenderKey) -> list[Distribution]:
    return step.unit.distributions.of(loaded.group_id, loaded.key.chain_id)


def give(step: Step, lane: GroupLane, group: Membership, loaded: LoadedOwnSenderKey, user_id: str) -> None:
    """Queue the key, where it stands now, in the lane to a user. The relay told the devices, or the user itself."""
    seat = group.members.get(UserId(user_id))
    known = _known_devices(step, user_id)
    listed = _listed_devices(lane, user_id) or known
    if seat is None or not listed:
        return
    for device_id, registration_id in listed.items():
        if known.get(device_id) != registration_id:
            step.unit.devices.put(user_id, device_id, registration_id)
        row = (group.group_id, loaded.key.chain_id, user_id, device_id, seat.identity_key, registration_id)
        step.unit.distributions.put(Distribution(*row, ON_ITS_WAY, ""))
    body = encode_body(SenderKeyBody(group.group_id, loaded.key.distribution_message()))
    step.queue(ContentKind.SENDER_KEY, user_id, body)
    lane.keying.add(user_id)


def has_devices(step: Step, lane: GroupLane, user_id: str) -> bool:
    """Whether we know any device of a user, to which `give` gives the key."""
    return bool(_listed_devices(lane, user_id) or _known_devices(step, user_id))


def _listed_devices(lane: GroupLane, user_id: str) -> dict[int, int]:
    """As the relay told them for the group: device and registration."""
    return {
        device.device_id: device.registration_id
        for one in lane.devices or ()
        if one.user_id == user_id
        for device in one.devices
    }


def _known_devices(step: Step, user_id: str) -> dict[int, int]:
    return {device.device_id: device.registration_id for device in step.unit.devices.of(user_id)}


def _give_up_held(step: Step, lane: GroupLane, loaded: LoadedOwnSenderKey) -> None:
    """Nobody waits for a user whose lane is held: it gets the key when it goes on, and what was sent meanwhile."""
    for user_id in [one for one in lane.keying if _is_held(step, one)]:
        held = step.memory.lane(user_id).held
        _settle(step, loaded, user_id, {}, "" if held is None else held.value)
        lane.keying.discard(user_id)


def _is_held(step: Step, user_id: str) -> bool:
    held = step.memory.lane(user_id).held
    return held is not None and held not in _PASSING


def _settle(step: Step, loaded: LoadedOwnSenderKey, user_id: str, found: dict[int, Distribution], reason: str) -> None:
    """Write what became of the key on its way to a user: *found* for some devices, *reason* for the others."""
    for row in step.unit.distributions.to_user(loaded.group_id, loaded.key.chain_id, user_id):
        if row.state == ON_ITS_WAY:
            step.unit.distributions.put(
                found.get(row.device_id) or replace(row, state=FAILED if reason else NONE, reason=reason)
            )


# Bundles, for many users at once.


def _ask_bundles(step: Step, lane: GroupLane) -> None:
    wanted: list[WantedDevices] = []
    count = 0
    while lane.without_session and count < DEVICES_PER_ASKING_MAX:
        user_id, device_ids = lane.without_session.popleft()
        users_lane = step.memory.lane(user_id)
        if users_lane.asking:
            continue  # for themselves
        users_lane.ask()
        wanted.append(WantedDevices(user_id, device_ids))
        count += len(device_ids)
    if wanted:
        request_id = step.entropy(_REQUEST_ID_SIZE)
        lane.bundles.add(request_id)
        step.requests.append(GetBundles(0, 0, request_id, tuple(wanted)))


def bundles_came(step: Step, request: GetBundles) -> None:
    """An answer to a request for bundles, of whatever kind: the users' own lanes have dealt with it."""
    for group_id, lane in step.memory.group_lanes.items():
        if request.request_id in lane.bundles:
            lane.bundles.discard(request.request_id)
            step.memory.active_groups[group_id] = None


# What became of it.


def stored(step: Step, message: OutgoingMessage, outcomes: Sequence[tuple[Envelope, Outcome]]) -> None:
    """The relay has dealt with a message that carries our key."""
    given = _given(step, message)
    if given is None:
        return
    loaded, user_id = given
    found = {}
    for envelope, outcome in outcomes:
        state, reason = _OUTCOMES[outcome]
        row = (loaded.group_id, loaded.key.chain_id, user_id, envelope.device_id, envelope.identity_key)
        found[envelope.device_id] = Distribution(*row, envelope.registration_id, state, reason)
    for row_found in found.values():
        step.unit.distributions.put(row_found)
    _settle(step, loaded, user_id, found, "")
    _arrived(step, loaded.group_id, user_id)


def failed(step: Step, message: OutgoingMessage, reason: Reason) -> None:
    """A message that carries our key was given up."""
    given = _given(step, message)
    if given is not None:
        loaded, user_id = given
        _settle(step, loaded, user_id, {}, reason.value)
        _arrived(step, loaded.group_id, user_id)


def _arrived(step: Step, group_id: bytes, user_id: str) -> None:
    step.memory.lane_to(group_id).keying.discard(user_id)
    step.memory.active_groups[group_id] = None


def _given(step: Step, message: OutgoingMessage) -> tuple[LoadedOwnSenderKey, str] | None:
    """Our key and the user, if the message carries the key as it is now: a chain that was replaced has no rows."""
    content = decode_content(message.content)
    if content.kind != ContentKind.SENDER_KEY or content.destination.user_id is None:
        return None
    body = decode_sender_key(content.body)
    loaded = current_key(step, body.group_id)
    if loaded is None or DistributionMessage.parse(body.distribution).chain_id != loaded.key.chain_id:
        return None
    return loaded, content.destination.user_id


def refusal_to_give(step: Step, message: OutgoingMessage, identity_keys: Iterable[bytes]) -> Reason | None:
    """Why a message with our key must not be encrypted for these identity keys after all; None: it may.

    Asked at the last moment: since it was queued the user may have left, or the policy may have taken another key.
    """
    content = decode_content(message.content)
    if content.kind != ContentKind.SENDER_KEY:
        return None
    if _given(step, message) is None:
        return Reason.KEY_REPLACED
    group = membership(step, decode_sender_key(content.body).group_id)
    user_id = content.destination.user_id or ""
    if group is None or any(not group.is_member(user_id, one) for one in identity_keys):
        return Reason.NO_MEMBER
    return None


def take_key_ack(step: Step, content: Content) -> None:
    """A device says that it has our key. Raises MalformedFrame."""
    ack = decode_key_ack(content.body)
    if ack.device_id != step.account.device_id:
        return
    loaded = current_key(step, ack.group_id)
    if loaded is None or loaded.key.chain_id not in ack.chain_ids:
        return
    for row in step.unit.distributions.to_user(loaded.group_id, loaded.key.chain_id, content.sender_user_id):
        if row.device_id == content.sender_device_id and row.state != NONE:
            step.unit.distributions.put(replace(row, state=ACKNOWLEDGED, reason=""))
