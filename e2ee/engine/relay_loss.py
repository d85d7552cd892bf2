"""A relay that has lost what it had confirmed: restored from a backup, or begun anew (messaging section 4).

Noticed at the login: it tells a lower submission or upload number than it has confirmed. Its delivery number says
nothing: ours is ahead of it whenever an acknowledgement was lost. Which of our messages it has lost is not known, so
all without a receipt go again, the newest first, within limits: sealed by the next keys, under the same message ids,
by which their receivers know them. A relay that only says so makes us do that much, and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind, decode_content
from e2ee.events import RelayRolledBack
from e2ee.recovery import RESENDS_MAX
from e2ee.trust import TRUSTED
from store import Heal

from .expiry import MESSAGE_AGE_MAX_S
from .groups.giving_back import compare
from .groups.lane import group_of
from .groups.receipts import due_in_group
from .groups.state import membership
from .receipts import DELIVERED_DUE, due
from .step import QUEUED, SENT, user_of

if TYPE_CHECKING:
    from e2ee.content import Content
    from e2ee.frames import Welcome
    from e2ee.groups import Membership
    from store import OutgoingMessage

    from .peers import Target
    from .step import Step

__all__ = ["confirm_again", "confirmed", "has_newcomers", "is_for", "take_loss"]

# Ours: they may change in any release.
SENT_AGAIN_MAX: Final = 1_000  # messages after one loss: 0.03 s of one step; bounds what peers without receipts cost
LOSSES_MAX: Final = 3  # losses in a row whose mail is sent again at once; then one for each interval
LOSS_INTERVAL_S: Final = 8 * 3600.0  # seconds: a relay that lies costs three times a day what an honest loss costs
GROUPS_COMPARED_MAX: Final = 64  # after one loss; of others it is noticed when something is sent there
_NO_DEVICE: Final = 0  # no device has this id: the row of our own user that says when a loss is believed again


def confirmed(step: Step, number: int) -> None:
    """The relay says that it has the submission of this number, in the transaction that takes note of it."""
    counters = step.unit.counters
    counters.confirmed_submission_number = max(counters.confirmed_submission_number, number)


def take_loss(step: Step, welcome: Welcome) -> None:
    """If the relay knows less than it has confirmed, give it again what it may have lost; tell the application once."""
    counters = step.unit.counters
    lost_mail = welcome.submission_number < counters.confirmed_submission_number
    if not lost_mail and welcome.upload_number >= counters.confirmed_upload_number:
        return
    counters.confirmed_submission_number = min(counters.confirmed_submission_number, welcome.submission_number)
    counters.confirmed_upload_number = min(counters.confirmed_upload_number, welcome.upload_number)
    # All of them: those that it had handed out since its backup, it would hand out once more.
    step.unit.prekeys.publish_again()
    again = left = 0
    if lost_mail:
        left = step.unit.repeats.count(SENT)
        if left and _is_believed(step):
            again = _send_again(step)
    _compare_logs(step)
    step.tell(RelayRolledBack(again, left - again))


def _compare_logs(step: Step) -> None:
    """Look, group by group, whether the relay has the log that we have; give back what it lacks."""
    for group in step.groups.all()[:GROUPS_COMPARED_MAX]:
        compare(step, group.membership.group_id)


def _is_believed(step: Step) -> bool:
    """Count a loss; whether it is not one too many. The row says when the last that was believed is forgotten."""
    heals, row = step.unit.heals, (step.user_id, _NO_DEVICE)
    # A clock that was set back does not shut honest losses out for longer than the limit.
    forgotten_at = min(heals.load(*row).next_allowed_at, step.now + LOSSES_MAX * LOSS_INTERVAL_S)
    after = max(forgotten_at, step.now) + LOSS_INTERVAL_S
    if after > step.now + LOSSES_MAX * LOSS_INTERVAL_S:
        return False
    heals.save(*row, Heal(after))
    return True


def _send_again(step: Step) -> int:
    """Queue what has no receipt, each at its old place in its lane; return how many."""
    repeats, again = step.unit.repeats, 0
    for message_id in repeats.newest(SENT, again_max=RESENDS_MAX, age_s=MESSAGE_AGE_MAX_S, limit=SENT_AGAIN_MAX):
        message = step.unit.outgoing.get(message_id)
        if message is not None and _may_go_again(step, message):
            repeats.send_again(message_id, QUEUED)
            again += 1
    return again


def _may_go_again(step: Step, message: OutgoingMessage) -> bool:
    user_id, group_id = user_of(message.lane), group_of(message.lane)
    if group_id is not None:
        group = membership(step, group_id)
        return group is not None and not has_newcomers(group, decode_content(message.content))
    return user_id is not None


def has_newcomers(group: Membership, content: Content) -> bool:
    """Whether somebody has come, or come back, or has another key since *content* was encrypted for the group.

    A message that its members have had already is no newcomer's to read.
    """
    then = content.destination.group_number
    return any(seat.since > then for seat in group.members.values())


def is_for(step: Step, message: OutgoingMessage, found: list[Target]) -> bool:
    """Whether *found* has the identity that a message was sent to, or one that the application trusts by name.

    Else a relay could tell of a loss, and of a new identity, and read the mail of a month.
    """
    then = {one.identity_key for one in step.unit.recipients.of(message.message_id)}
    now = {session.remote_identity_key for _, session in found}
    if now <= then:
        return True
    history = step.unit.identities.history(user_of(message.lane) or "")
    return now <= then | {one.identity_key for one in history if one.verification or one.decision == TRUSTED}


def confirm_again(step: Step, content: Content) -> None:
    """A message that we have has come in another envelope: its sender has no receipt, so one is due again."""
    if content.kind not in (ContentKind.TEXT, ContentKind.DATA):
        return
    sender, device, number = content.sender_user_id, content.sender_device_id, content.conversation_number
    group_id = content.destination.group_id
    if group_id is not None:
        group = membership(step, group_id)
        if group is not None:
            due_in_group(step, group, sender, device, number)
    elif step.options.receipts and sender != step.user_id:
        due(step, sender, device, number, DELIVERED_DUE)
