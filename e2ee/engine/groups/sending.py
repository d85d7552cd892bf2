"""Messages to groups: from queued contents to one ciphertext for all, to the relay (messaging sections 2 and 10).

The content of a message names the group as it was when it was encrypted: epoch, newest entry, its hash. What is
stored beside the ciphertext is all that its frame says, so that silence is answered with the same bytes. After a
refusal nothing is stored at the relay: the message is encrypted again as a whole, with the next key. So is one
whose fate is unknown if its chain has been replaced since, because somebody left who could read it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from e2ee.codec import decode_array, encode_array, integer, octets, optional, record
from e2ee.content import Content, ContentKind, Destination, decode_content, encode_content
from e2ee.diagnostics import Reason
from e2ee.engine.lanes import FRAME_ROOM, fail
from e2ee.engine.relay_loss import has_newcomers
from e2ee.engine.sealing import next_number
from e2ee.engine.step import QUEUED, SENT, SUBMITTED
from e2ee.errors import NotAMember
from e2ee.events import DeliveryState
from e2ee.frames import EnvelopeKind, GroupSubmission, SubmitGroup
from e2ee.groups import device_digest
from e2ee.ids import ENVELOPE_ID_SIZE, MESSAGE_ID_SIZE
from e2ee.limits import COUNTER_MAX, ENVELOPES_PER_FRAME_MAX, GROUP_MESSAGE_SIZE_MAX
from ratchet.messages import SenderKeyMessage
from store import Envelope

from .distribution import ask_devices, everybody_has, give, has_devices, some_device_is_gone
from .giving_back import give_back_the_end
from .keys import current_key, own_key, rotate
from .lane import GroupLane, group_lane
from .state import membership

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.groups import Membership
    from store import LoadedOwnSenderKey, OutgoingMessage

__all__ = ["again", "hold_group", "pump_group_lanes", "queue_group_message"]

MESSAGES_AT_ONCE_MAX: Final = 16  # encrypted in one unit, in one frame: 3 ms, and few to encrypt again if refused
TO_A_GROUP: Final = ""  # no user: whoever asks for such an envelope is judged by the group's log
MESSAGE_OVERHEAD: Final = 512  # bytes at most around a content: header, padding, signature, ids
_DIGEST_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Made:
    """A ciphertext with what its frame says of it: the form in which it is stored."""

    epoch: int
    log_number: int
    digest: bytes | None  # 32 bytes
    body: bytes  # the sender-key message


_made = record(
    Made,
    integer(COUNTER_MAX),
    integer(COUNTER_MAX),
    optional(octets(_DIGEST_SIZE, _DIGEST_SIZE)),
    octets(GROUP_MESSAGE_SIZE_MAX),
)


def queue_group_message(step: Step, group: Membership, kind: ContentKind, body: bytes) -> bytes:
    """Queue a message to a group; return its id, 16 bytes. Raises NotAMember, and Full."""
    if not _is_open_to_us(step, group):
        raise NotAMember("we are no member of this group, or it is deleted: join it first")
    lane = group_lane(group.group_id)
    number = step.unit.conversations.next_number(lane.encode())
    who = (step.user_id, step.account.device_id)
    content = Content(
        kind, step.entropy(MESSAGE_ID_SIZE), number, int(step.now * 1000), *who, _destination(group), body
    )
    encoded = encode_content(content)
    step.unit.outgoing.add(content.message_id, lane, encoded, state=QUEUED, conversation_number=number)
    step.memory.active_groups[group.group_id] = None
    return content.message_id


def _destination(group: Membership) -> Destination:
    return Destination(None, group.group_id, group.epoch, group.number, group.hash)


def _is_open_to_us(step: Step, group: Membership) -> bool:
    return not group.deleted and group.is_member(step.user_id, step.account.identity.public_key)


def pump_group_lanes(step: Step) -> None:
    """Bring the lanes to groups forward, as far as a bounded step gets them."""
    for group_id in list(step.memory.active_groups):
        _pump(step, group_id, step.memory.lane_to(group_id))


def _pump(step: Step, group_id: bytes, lane: GroupLane) -> None:
    if not (step.memory.online and step.memory.ready) or lane.in_flight or lane.asking or step.now < lane.not_before:
        return
    name = group_lane(group_id)
    rows = step.unit.envelopes.in_lane(name, limit=ENVELOPES_PER_FRAME_MAX)
    queued = step.unit.outgoing.next_in(name, QUEUED, limit=MESSAGES_AT_ONCE_MAX)
    if not (rows or queued or lane.requested or lane.comparing):
        step.memory.active_groups.pop(group_id, None)
        return
    held = _reason_to_wait(step, group_id)
    if held is not None:
        lane.wait(step.now)
        hold_group(step, group_id, held)
        return
    group = membership(step, group_id)
    if group is None or not _is_open_to_us(step, group):
        _give_up_all(step, group_id)
        if lane.comparing and group is not None:
            give_back_the_end(step, group)
        lane.comparing = False
        return
    if lane.comparing:
        ask_devices(step, group_id)
        return
    rows = _still_good(step, group_id, rows)
    if not rows:
        if not _answer_requests(step, lane, group):
            return
        queued = step.unit.outgoing.next_in(name, QUEUED, limit=MESSAGES_AT_ONCE_MAX)
        rows = _encrypt_queued(step, lane, group, queued)
    if rows:
        _submit(step, lane, group_id, rows)


def _answer_requests(step: Step, lane: GroupLane, group: Membership) -> bool:
    """Give the key to those who asked for it; False: the relay is asked for their devices first.

    Only now: whatever is of an earlier position has been stored at the relay, and so comes before the key. There it
    waits, and is asked for when the key does not open it. After the key it would look like a duplicate.
    """
    if not lane.requested:
        return True
    if not lane.looking and not all(has_devices(step, lane, user_id) for user_id in lane.requested):
        # It had no prekeys yet when the relay told us the list: it was about to come back under a new registration.
        lane.looking = True
        ask_devices(step, group.group_id)
        return False
    lane.looking = False
    # One that was given up is of no use to anybody: a new one tells that it does not come.
    loaded = current_key(step, group.group_id) or own_key(step, group.group_id)
    for user_id in sorted(lane.requested):
        give(step, lane, group, loaded, user_id)
    lane.requested.clear()
    return True


def _reason_to_wait(step: Step, group_id: bytes) -> Reason | None:
    """Why nothing may be sent to the group just now."""
    known = step.groups.get(group_id)
    if known is None or known.usable:
        return None
    return Reason.GROUP_CHANGED if known.fork is None else Reason.LOG_FORKED


def _give_up_all(step: Step, group_id: bytes) -> None:
    """We are no member any more: nobody could be told who may read."""
    name = group_lane(group_id)
    for state in (SUBMITTED, QUEUED):
        for message in step.unit.outgoing.next_in(name, state, limit=ENVELOPES_PER_FRAME_MAX):
            fail(step, message, Reason.NO_MEMBER)


def _still_good(step: Step, group_id: bytes, rows: list[Envelope]) -> list[Envelope]:
    """What may go again as it is; if the chain of some was replaced, their messages are queued anew."""
    loaded = current_key(step, group_id)
    chain_id = None if loaded is None else loaded.key.chain_id
    if all(SenderKeyMessage.parse(_unpacked(row).body).chain_id == chain_id for row in rows):
        return rows
    again(step, group_id)
    return []


def again(step: Step, group_id: bytes) -> None:
    """Throw away the ciphertexts made for a group: their messages are encrypted anew, with other keys."""
    name = group_lane(group_id)
    for row in step.unit.envelopes.in_lane(name, limit=ENVELOPES_PER_FRAME_MAX):
        step.unit.envelopes.delete(row.envelope_id)
    for message in step.unit.outgoing.next_in(name, SUBMITTED, limit=ENVELOPES_PER_FRAME_MAX):
        step.unit.outgoing.set_state(message.message_id, QUEUED, reason=message.reason)
    step.memory.active_groups[group_id] = None


def hold_group(step: Step, group_id: bytes, reason: Reason) -> None:
    """Note why the messages to a group wait, and tell it once for each message and reason."""
    for state in (SUBMITTED, QUEUED):
        for message in step.unit.outgoing.next_in(group_lane(group_id), state, limit=ENVELOPES_PER_FRAME_MAX):
            if message.reason != reason.value:
                step.unit.outgoing.set_state(message.message_id, state, reason=reason.value)
                step.state(message, DeliveryState.HELD, reason)


# Encrypting.


def _encrypt_queued(step: Step, lane: GroupLane, group: Membership, queued: list[OutgoingMessage]) -> list[Envelope]:
    if lane.devices is None or lane.told_at != group.number:
        ask_devices(step, group.group_id)
        return []
    loaded = own_key(step, group.group_id)
    if lane.planned != loaded.key.chain_id and some_device_is_gone(step, lane, loaded):
        loaded = rotate(step, loaded)
    if not everybody_has(step, lane, group, loaded):
        return []
    digest = None if lane.any_devices else device_digest(lane.devices)
    made: list[Envelope] = []
    size = 0
    for message in queued:
        if message.again and has_newcomers(group, decode_content(message.content)):
            step.unit.outgoing.set_state(message.message_id, SENT)
            continue
        size += len(message.content) + MESSAGE_OVERHEAD
        if made and size > FRAME_ROOM:
            break
        made.append(_encrypt(step, digest, group, loaded, message))
    if made:
        step.unit.sender_keys.save_own(loaded, messages=len(made))
    return made


def _encrypt(
    step: Step, digest: bytes | None, group: Membership, loaded: LoadedOwnSenderKey, message: OutgoingMessage
) -> Envelope:
    """Encrypt one message for the group as it is now, and store both; *digest* is of its devices (None: whichever)."""
    content = encode_content(replace(decode_content(message.content), destination=_destination(group)))
    body = loaded.key.encrypt(content, entropy=step.entropy)
    row = Envelope(
        envelope_id=step.entropy(ENVELOPE_ID_SIZE),
        message_id=message.message_id,
        lane=group_lane(group.group_id),
        user_id=step.user_id,
        device_id=step.account.device_id,
        registration_id=step.account.registration_id,
        identity_key=step.account.identity.public_key,
        kind=int(EnvelopeKind.SENDER_KEY),
        ciphertext=encode_array(Made(group.epoch, group.number, digest, body)),
        submission_number=next_number(step),
    )
    step.unit.envelopes.add(row)
    step.unit.sent_envelopes.add(row.envelope_id, TO_A_GROUP, message.message_id)
    step.unit.outgoing.rewrite(message.message_id, content, state=SUBMITTED)
    return row


def _unpacked(row: Envelope) -> Made:
    made: Made = _made(decode_array(row.ciphertext))
    return made


# Sending.


def _submit(step: Step, lane: GroupLane, group_id: bytes, rows: list[Envelope]) -> None:
    """Put what fits into one frame: what was made for the same state of the group."""
    first = _unpacked(rows[0])
    chosen: list[GroupSubmission] = []
    size = 0
    for row in rows:
        made = _unpacked(row)
        size += len(made.body)
        same = (made.epoch, made.log_number, made.digest) == (first.epoch, first.log_number, first.digest)
        if chosen and (not same or size > FRAME_ROOM):
            break
        chosen.append(GroupSubmission(row.submission_number or 0, row.envelope_id, made.body))
    lane.in_flight = True
    step.requests.append(SubmitGroup(0, 0, group_id, first.epoch, first.log_number, first.digest, tuple(chosen)))
