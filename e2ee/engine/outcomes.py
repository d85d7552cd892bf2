"""What became of submissions: stored, refused, and what each refusal leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind, decode_content
from e2ee.diagnostics import Reason
from e2ee.errors import RefusalCode
from e2ee.events import DeliveryState
from e2ee.frames import Outcome, Submit, Submitted

from .groups.distribution import stored as keys_stored
from .lane import REPAIRS_MAX
from .lanes import fail, submissions
from .relay_loss import confirmed
from .rollback import recover
from .step import QUEUED, SENT, SUBMITTED, Step, lane_of
from .unasked import drop_envelopes, undelivered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.frames import DeviceChange, Submission
    from store import Envelope

__all__ = ["take_refused", "take_submitted"]

_MS: Final = 1000.0
_SUBMITTED_MAX: Final = 64  # messages of one lane whose fate is unknown: one frame's
# Refusals that waiting does not change: they cost the message, not the lane.
_FINAL: Final = (RefusalCode.BLOCKED, RefusalCode.TOO_LARGE, RefusalCode.MALFORMED, RefusalCode.NOT_AUTHORIZED)


def take_submitted(step: Step, request: Submit, reply: Submitted) -> None:
    """Take the outcomes of a frame, and what the relay refused."""
    lane = step.memory.lane(request.user_id)
    lane.in_flight = False
    rows = {row.envelope_id: row for group in submissions(step, request.user_id) for row in group}
    for submission, outcomes in zip(request.submissions, reply.outcomes, strict=False):
        confirmed(step, submission.number)
        _stored(step, submission, outcomes, rows)
    if reply.outcomes:
        lane.moved()
    if reply.refusal is not None:
        wait_s = None if reply.retry_after_ms is None else reply.retry_after_ms / _MS
        refused = request.submissions[len(reply.outcomes) : len(reply.outcomes) + 1]
        _refused(step, request.user_id, refused, reply.refusal, reply.change, wait_s)
    step.memory.active[request.user_id] = None


def take_refused(step: Step, request: Submit, code: int, wait_s: float | None) -> None:
    """A frame was refused as a whole."""
    step.memory.lane(request.user_id).in_flight = False
    _refused(step, request.user_id, request.submissions[:1], code, None, wait_s)
    step.memory.active[request.user_id] = None


def _stored(step: Step, submission: Submission, outcomes: Sequence[Outcome], rows: dict[bytes, Envelope]) -> None:
    """Take note of one submission that the relay has handled."""
    message_id = None
    results = []
    made: list[tuple[Envelope, Outcome]] = []
    for envelope, outcome in zip(submission.envelopes, outcomes, strict=False):
        row = rows.get(envelope.envelope_id)
        if row is None:
            continue
        message_id = None if row.alone else row.message_id
        results.append(outcome)
        made.append((row, outcome))
        step.unit.envelopes.delete(row.envelope_id)
        if outcome in (Outcome.FULL, Outcome.GONE):
            undelivered(step, [row])
        state = SENT if outcome in (Outcome.STORED, Outcome.DUPLICATE) else outcome.name.lower()
        if not row.alone:
            step.unit.recipients.put(row.message_id, row.user_id, row.device_id, row.identity_key, state)
        if outcome is Outcome.GONE:
            step.unit.devices.delete(row.user_id, row.device_id)
    message = None if message_id is None else step.unit.outgoing.get(message_id)
    if message is None or message.state != SUBMITTED:
        return  # a receipt came before this reply
    keys_stored(step, message, made)
    if Outcome.STORED in results or Outcome.DUPLICATE in results:
        _sent(step, message.message_id)
    elif Outcome.FULL in results:
        fail(step, message, Reason.MAILBOX_FULL)
    else:
        # Every device was removed meanwhile, and nothing stored: ask who is there now.
        step.unit.outgoing.set_state(message.message_id, QUEUED)


def _sent(step: Step, message_id: bytes) -> None:
    message = step.unit.outgoing.get(message_id)
    if message is None:
        return
    kind = decode_content(message.content).kind
    if kind in (ContentKind.TEXT, ContentKind.DATA):
        step.unit.outgoing.set_state(message_id, SENT)
        step.state(message, DeliveryState.SENT)
        return
    # Nobody confirms receipts and copies: they are final. A copy may still be asked for again.
    step.unit.outgoing.take_out(message_id)
    if kind == ContentKind.SENT_COPY:
        step.unit.send_log.add(message_id, message.lane, message.content)
    else:
        step.unit.recipients.delete(message_id)


def _refused(
    step: Step,
    user_id: str,
    refused: Sequence[Submission],
    code: int,
    change: DeviceChange | None,
    wait_s: float | None,
) -> None:
    lane = step.memory.lane(user_id)
    if code == RefusalCode.ROLLED_BACK:
        recover(step, None)
        return
    if code == RefusalCode.DEVICES_CHANGED and change is not None:
        _devices_changed(step, user_id, change)
        lane.repairing = True
        lane.repairs += 1
        if lane.repairs >= REPAIRS_MAX:
            lane.wait(step.now, wait_s)
            step.hold(user_id, Reason.DEVICES_CHANGED)
        return
    if code == RefusalCode.NOT_REGISTERED and not step.memory.stock.uploading:
        step.unit.prekeys.publish_again()
        step.memory.ready = False
    if code in _FINAL:
        for submission in refused:
            _give_up(step, user_id, submission, Reason.of_refusal(RefusalCode(code)))
        return
    lane.wait(step.now, wait_s)
    known = code in RefusalCode.__members__.values()
    step.hold(user_id, Reason.of_refusal(RefusalCode(code) if known else code))


def _devices_changed(step: Step, user_id: str, change: DeviceChange) -> None:
    """Take the relay's list: a hint, until each device has shown its bundle."""
    for device_id in change.extra:
        step.unit.devices.delete(user_id, device_id)
        drop_envelopes(step, user_id, device_id)
    for device in change.missing:
        if user_id == step.user_id and device.device_id == step.account.device_id:
            continue
        # What was made for an earlier registration of the device cannot be opened by this one. What was made for this
        # one goes as it is: a submission for one device alone leaves out the others as long as nobody has told us of
        # them, and what asks another of them for a message must not go with that.
        drop_envelopes(step, user_id, device.device_id, but_for=device.registration_id)
        step.unit.devices.put(user_id, device.device_id, device.registration_id)
    for message in step.unit.outgoing.next_in(lane_of(user_id), SUBMITTED, limit=_SUBMITTED_MAX):
        if not step.unit.envelopes.of_message(message.message_id):
            step.unit.outgoing.set_state(message.message_id, QUEUED)


def _give_up(step: Step, user_id: str, submission: Submission, reason: Reason) -> None:
    """Give up the message of a submission that the relay will never take."""
    refused = {envelope.envelope_id for envelope in submission.envelopes}
    for group in submissions(step, user_id):
        if group[0].envelope_id in refused:
            message = None if group[0].alone else step.unit.outgoing.get(group[0].message_id)
            for row in group:
                step.unit.envelopes.delete(row.envelope_id)
            if message is not None:
                fail(step, message, reason)
