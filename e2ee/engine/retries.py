"""What others could not open: sent again to whom it was sent, or said to be gone (messaging section 9, point 4).

A message that goes again keeps its message id, so that it is told once, and names the envelopes that it takes the
place of. It goes under the next key, in an envelope of its own, to the device that asks and to no other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.content import (
    ANSWERS_MAX,
    ContentKind,
    Gone,
    GoneReason,
    decode_content,
    decode_gone,
    decode_retry_request,
    encode_gone,
)
from e2ee.diagnostics import Reason, correlation_of
from e2ee.events import MessageHealed, MessagesResent
from e2ee.ids import MessageId, UserId
from e2ee.limits import RETRY_ENVELOPES_MAX
from e2ee.recovery import RESEND_SIZE_MAX, ResendVerdict, judge_resend
from e2ee.trust import TRUSTED

from .alone import send_alone, send_control
from .groups.opening import group_mail_of
from .groups.resending import resend_group
from .losses import lose, settle
from .receipts import due_again
from .step import SUBMITTED, lane_of, user_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.content import Content
    from ratchet import Session
    from store import LoggedMessage, OutgoingMessage, PendingMessage

    from .memory import DeviceName
    from .step import Step

__all__ = ["give_up_answers", "take_answers", "take_gone", "take_retry_request", "tell_healed"]

_REFUSALS: Final = {
    ResendVerdict.NOT_A_RECIPIENT: GoneReason.NOT_KNOWN,
    ResendVerdict.IDENTITY_CHANGED: GoneReason.IDENTITY_CHANGED,
    ResendVerdict.TOO_OFTEN: GoneReason.TOO_OFTEN,
}
_LOST: Final = {
    GoneReason.NOT_KEPT: Reason.NOT_KEPT,
    GoneReason.TOO_OFTEN: Reason.ASKED_TOO_OFTEN,
    GoneReason.NOT_KNOWN: Reason.NOT_KNOWN,
    GoneReason.IDENTITY_CHANGED: Reason.SENT_TO_ANOTHER_IDENTITY,
    GoneReason.NOT_A_MEMBER: Reason.NOT_A_MEMBER,
}


# What is asked of us.


def take_retry_request(step: Step, content: Content) -> None:
    """Send again what a device could not open, as far as it may have it. Raises MalformedFrame."""
    request = decode_retry_request(content.body)
    device = (content.sender_user_id, content.sender_device_id)
    session = step.sessions.get(*device)
    if session is None:
        return  # it was opened on one: this does not happen
    carried = step.unit.sent_envelopes.find(device[0], request.envelope_ids)
    messages: dict[bytes, list[bytes]] = defaultdict(list)
    gone: list[tuple[bytes, GoneReason]] = []
    for envelope_id in dict.fromkeys(request.envelope_ids):
        message_id = carried.get(envelope_id)
        if message_id is not None:
            messages[message_id].append(envelope_id)
        else:
            known = envelope_id in carried
            gone.append((envelope_id, GoneReason.NOTHING_LOST if known else GoneReason.NOT_KNOWN))
    resent: list[MessageId] = []
    # What went again before and waits still counts: whoever asks and asks must not fill the store.
    waiting = step.unit.envelopes.in_lane(lane_of(device[0]), limit=RETRY_ENVELOPES_MAX)
    left = RESEND_SIZE_MAX - sum(len(row.ciphertext) for row in waiting)
    for message_id, envelope_ids in messages.items():
        kept = step.unit.outgoing.get(message_id) or step.unit.send_log.get(message_id)
        if kept is not None and len(kept.content) > left:
            break  # asked for again
        refusal = GoneReason.NOT_KEPT if kept is None else _send_again(step, device, session, kept, envelope_ids)
        if refusal is not None:
            gone += [(envelope_id, refusal) for envelope_id in envelope_ids]
        elif kept is not None:
            left -= len(kept.content)
            resent.append(MessageId(message_id.hex()))
    _answer(step, device, session, resent, gone)


def _send_again(
    step: Step,
    device: DeviceName,
    session: Session,
    kept: OutgoingMessage | LoggedMessage,
    envelope_ids: Sequence[bytes],
) -> GoneReason | None:
    """Send a message again as its lane wants it; return why not, if it may not have it."""
    if user_of(kept.lane) is None:
        return resend_group(step, device, session, kept, envelope_ids)
    return _send_again_to_user(step, device, session, kept, envelope_ids)


def _send_again_to_user(
    step: Step,
    device: DeviceName,
    session: Session,
    kept: OutgoingMessage | LoggedMessage,
    envelope_ids: Sequence[bytes],
) -> GoneReason | None:
    """Send a direct message, or a copy to an own device, again."""
    user_id, device_id = device
    recipients = [one for one in step.unit.recipients.of(kept.message_id) if one.user_id == user_id]
    keys = frozenset(one.identity_key for one in recipients)
    asking = session.remote_identity_key
    trusted = any(
        one.identity_key == asking and (one.verification or one.decision == TRUSTED)
        for one in step.unit.identities.history(user_id)
    )
    verdict = judge_resend(recipient_keys=keys, asking_key=asking, trusted=trusted, attempts=0)
    if verdict is ResendVerdict.RESEND:
        attempts = step.unit.retry_attempts.count(kept.message_id, user_id, device_id)
        verdict = judge_resend(recipient_keys=keys, asking_key=asking, trusted=trusted, attempts=attempts)
    if verdict is not ResendVerdict.RESEND:
        return _REFUSALS[verdict]
    content = replace(decode_content(kept.content), answers=tuple(envelope_ids[:ANSWERS_MAX]))
    send_alone(step, device, session, content, again=True)
    if device_id not in {one.device_id for one in recipients}:
        step.unit.recipients.put(kept.message_id, user_id, device_id, asking, SUBMITTED)
    return None


def _answer(
    step: Step,
    device: DeviceName,
    session: Session,
    resent: list[MessageId],
    gone: list[tuple[bytes, GoneReason]],
) -> None:
    """Say what does not come, never by an empty message; receipts that did not open are simply due again."""
    lost = [(envelope_id, reason) for envelope_id, reason in gone if reason is not GoneReason.NOTHING_LOST]
    for envelope_id, reason in lost:
        step.tally.trouble(step.now, _LOST[reason], envelope_id)
    if gone:
        entries = tuple((envelope_id, int(reason)) for envelope_id, reason in gone)
        send_control(step, device, session, ContentKind.GONE, encode_gone(Gone(entries)))
    if len(lost) < len(gone):
        due_again(step, *device)
    step.tally.resent += len(resent)
    if resent or lost:
        step.tell(MessagesResent(UserId(device[0]), device[1], tuple(resent), len(lost)))


# What we are told.


def take_gone(step: Step, content: Content) -> None:
    """Give up what its sender cannot or will not send again. Raises MalformedFrame."""
    gone = decode_gone(content.body)
    rows = _waiting(step, content)
    lost: dict[Reason, list[PendingMessage]] = defaultdict(list)
    for envelope_id, code in gone.entries:
        row = rows.pop(envelope_id, None)
        if row is None:
            continue
        settle(step, row)
        if code != GoneReason.NOTHING_LOST:
            known = code in GoneReason.__members__.values()
            lost[_LOST[GoneReason(code)] if known else Reason.OTHER].append(row)
    for reason, messages in lost.items():
        lose(step, messages, reason)


def take_answers(step: Step, content: Content) -> list[PendingMessage]:
    """Settle the envelopes that a message takes the place of; return those that waited."""
    if not content.answers:
        return []
    rows = _waiting(step, content)
    settled = [rows.pop(envelope_id) for envelope_id in dict.fromkeys(content.answers) if envelope_id in rows]
    for row in settled:
        settle(step, row)
    return settled


def give_up_answers(step: Step, content: Content) -> None:
    """Give up what a message to a group names that is not taken, since nothing of the group waits that it answers.

    What it names are earlier sendings of it that did not open either. If other mail of the group waits, that may be
    this message, and is asked for on; else, after a store was put back for instance, the message is told as lost.
    """
    settled = take_answers(step, content)
    if settled and not group_mail_of(step, content):
        lose(step, settled, Reason.CONTENT_MISMATCH)


def tell_healed(step: Step, content: Content, settled: list[PendingMessage]) -> None:
    """Tell that a message which did not open has arrived after all."""
    if settled:
        step.keep(
            MessageHealed(
                sender=UserId(content.sender_user_id),
                sender_device=content.sender_device_id,
                message_id=MessageId(content.message_id.hex()),
                correlations=tuple(correlation_of(row.envelope_id) for row in settled),
            )
        )


def _waiting(step: Step, content: Content) -> dict[bytes, PendingMessage]:
    """What waits of the device that wrote *content*, and of no other, by envelope id."""
    rows = step.unit.pending.from_device(content.sender_user_id, content.sender_device_id)
    return {row.envelope_id: row for row in rows}
