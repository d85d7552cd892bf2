"""From queued contents to envelopes to frames: one lane for each destination (messaging sections 2 and 5).

Silence: what is stored goes again, the same bytes. Refusal: nothing was stored there, so what fits the new
device list goes again as it is, and what is missing is encrypted anew, with the next key.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from e2ee.content import SENT_AGAIN, ContentKind, content_kind
from e2ee.diagnostics import Reason
from e2ee.events import DeliveryState
from e2ee.frames import DeviceRef, EnvelopeFor, EnvelopeKind, Submission, Submit
from e2ee.limits import ENVELOPES_PER_FRAME_MAX, FRAME_SIZE_MAX
from ratchet import NoActiveSession

from .groups.distribution import failed as key_failed
from .groups.distribution import refusal_to_give
from .peers import targets
from .relay_loss import is_for
from .sealing import keep, next_number, seal
from .step import QUEUED, ROWS_MAX, SENT, SUBMITTED, Step, lane_of

if TYPE_CHECKING:
    from store import Envelope, OutgoingMessage

    from .lane import Lane
    from .peers import Target

__all__ = ["fail", "pump", "submissions"]

FRAME_ROOM: Final = FRAME_SIZE_MAX - 8 * 1024  # bytes for envelopes in one Submit: the rest is names and numbers
ENVELOPE_OVERHEAD: Final = 4 * 1024  # bytes at most around a content: handshake, post-quantum chunk, header, ids


def pump(step: Step, user_id: str) -> None:
    """Bring the lane to a user forward: what is stored goes first, then what is queued is encrypted."""
    lane = step.memory.lane(user_id)
    # Until the relay has our prekeys it takes no message of ours: nobody could answer.
    if not (step.memory.online and step.memory.ready) or lane.in_flight or lane.asking or step.now < lane.not_before:
        return
    rows = submissions(step, user_id)
    if lane.repairing:
        found = [] if all(group[0].alone for group in rows) else targets(step, user_id)
        if found is None:
            return
        repaired = _repair(step, user_id, rows, found)
        if repaired is None:
            return
        rows = repaired
        lane.repairing = False
    if not rows:
        rows = _encrypt_queued(step, user_id)
    if rows:
        _submit(step, user_id, lane, rows)


def submissions(step: Step, user_id: str) -> list[list[Envelope]]:
    """The envelopes stored in the lane to a user, by submission, in order."""
    rows = step.unit.envelopes.in_lane(lane_of(user_id), limit=ROWS_MAX)
    rows.sort(key=_number)
    return [list(group) for _, group in groupby(rows, key=_number)]


def _number(row: Envelope) -> int:
    return row.submission_number or 0  # the engine gives every envelope its number when it makes it


# Encrypting.


def _encrypt_queued(step: Step, user_id: str) -> list[list[Envelope]]:
    messages = step.unit.outgoing.next_in(lane_of(user_id), QUEUED, limit=ENVELOPES_PER_FRAME_MAX)
    if not messages:
        step.memory.active.pop(user_id, None)
        return []
    found = targets(step, user_id)
    if found is None:
        return []
    if not found:
        _tell_nobody(step, messages)
        return []
    made: list[list[Envelope]] = []
    size = 0
    for message in messages:
        cost = len(found) * (len(message.content) + ENVELOPE_OVERHEAD)
        if cost > FRAME_ROOM:
            fail(step, message, Reason.TOO_LARGE)
            continue
        if _is_withheld(step, message, found):
            continue
        if size + cost > FRAME_ROOM or (len(made) + 1) * len(found) > ENVELOPES_PER_FRAME_MAX:
            break
        rows = _encrypt(step, user_id, message, found, next_number(step))
        if rows is None:
            break
        step.unit.outgoing.set_state(message.message_id, SUBMITTED)
        made.append(rows)
        size += cost
    return made


def _tell_nobody(step: Step, messages: list[OutgoingMessage]) -> None:
    """Give up what is for our own other devices, of which there are none: only their lane can be without any."""
    for message in messages:
        fail(step, message, Reason.NO_OTHER_DEVICE)
    if all(content_kind(message.content) == ContentKind.NEW_DEVICE for message in messages):
        # The first message asks for itself: a device that is linked soon after this one misses nothing of it.
        step.memory.own_devices_at = None


def _is_withheld(step: Step, message: OutgoingMessage, found: list[Target]) -> bool:
    """Whether these devices must not have a message after all; it is then dealt with."""
    if message.again and not is_for(step, message, found):
        step.unit.outgoing.set_state(message.message_id, SENT)
        return True
    refusal = refusal_to_give(step, message, [session.remote_identity_key for _, session in found])
    if refusal is not None:
        fail(step, message, refusal)
    return refusal is not None


def _encrypt(
    step: Step, user_id: str, message: OutgoingMessage, found: list[Target], number: int
) -> list[Envelope] | None:
    """Encrypt a content for each device, and store all of it; None if a session must be renewed before."""
    rows = []
    for device_id, session in found:
        try:
            row = seal(step, (user_id, device_id), session, message.message_id, message.content, number=number)
        except NoActiveSession:
            # Nobody has answered for 30 days. What the other devices' sessions made for this message is
            # thrown away: their next message skips a key.
            step.memory.stale.add((user_id, device_id))
            targets(step, user_id)
            return None
        rows.append(row)
    carries = content_kind(message.content) in SENT_AGAIN
    for row in rows:
        keep(step, row, carries=carries)
        step.unit.recipients.put(row.message_id, user_id, row.device_id, row.identity_key, SUBMITTED)
    return rows


def _repair(step: Step, user_id: str, rows: list[list[Envelope]], found: list[Target]) -> list[list[Envelope]] | None:
    """Fit refused submissions to the new device list, each under a new number; None if a session is missing.

    Envelopes for devices that are still valid stay as they are; those for others have been deleted.
    """
    repaired = []
    for group in rows:
        number = next_number(step)
        for row in group:
            step.unit.envelopes.delete(row.envelope_id)
        kept = [replace(row, submission_number=number) for row in group]
        for row in kept:
            step.unit.envelopes.add(row)
        have = {row.device_id for row in group}
        missing = [] if group[0].alone else [target for target in found if target[0] not in have]
        message = step.unit.outgoing.get(group[0].message_id)
        if missing and message is not None:
            added = _encrypt(step, user_id, message, missing, number)
            if added is None:
                return None
            kept += added
        repaired.append(kept)
    return repaired


# Sending.


def _submit(step: Step, user_id: str, lane: Lane, rows: list[list[Envelope]]) -> None:
    """Put what fits into one frame. Its device list is the one that these envelopes were made for."""
    devices = _devices(step, rows[0])
    chosen: list[Submission] = []
    count = size = 0
    for group in rows:
        cost = sum(len(row.ciphertext) for row in group)
        full = count + len(group) > ENVELOPES_PER_FRAME_MAX or size + cost > FRAME_ROOM
        if chosen and (full or _devices(step, group) != devices):
            break
        envelopes = tuple(
            EnvelopeFor(row.device_id, row.envelope_id, EnvelopeKind(row.kind), row.ciphertext) for row in group
        )
        chosen.append(Submission(_number(group[0]), envelopes))
        count += len(group)
        size += cost
    lane.in_flight = True
    step.requests.append(Submit(0, 0, user_id, devices, tuple(chosen)))


def _devices(step: Step, group: list[Envelope]) -> tuple[DeviceRef, ...]:
    """The device list that a submission is for: what is for one device alone names the others that are known."""
    known = {}
    if group[0].alone:
        known = {device.device_id: device.registration_id for device in step.unit.devices.of(group[0].user_id)}
    known |= {row.device_id: row.registration_id for row in group}
    return tuple(DeviceRef(*one) for one in sorted(known.items()))


def fail(step: Step, message: OutgoingMessage, reason: Reason) -> None:
    """Give a message up; the application is told, if it is one of its own."""
    for row in step.unit.envelopes.of_message(message.message_id):
        step.unit.envelopes.delete(row.envelope_id)
    step.state(message, DeliveryState.FAILED, reason)
    key_failed(step, message, reason)
    step.unit.outgoing.take_out(message.message_id)
    step.unit.recipients.delete(message.message_id)
