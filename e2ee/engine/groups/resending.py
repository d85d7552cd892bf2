"""A message to a group, once more, to one device that could not open it: pairwise, and only to who was to read it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from e2ee.content import ANSWERS_MAX, GoneReason, decode_content
from e2ee.engine.alone import send_alone
from e2ee.recovery import RESENDS_MAX

from .state import membership, membership_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.engine.memory import DeviceName
    from e2ee.engine.step import Step
    from ratchet import Session
    from store import LoggedMessage, OutgoingMessage

__all__ = ["resend_group"]


def resend_group(
    step: Step,
    device: DeviceName,
    session: Session,
    kept: OutgoingMessage | LoggedMessage,
    envelope_ids: Sequence[bytes],
) -> GoneReason | None:
    """Send a message to a group again to *device*; return why not, if it may not have it.

    Its user was a member when the message was encrypted and is one now, or was one when the group ended, both times
    under the identity key of the session that asks. So neither a newcomer reads what was before it, nor a leaver
    anything.
    """
    content = decode_content(kept.content)
    group_id, number = content.destination.group_id, content.destination.group_number
    if group_id is None:
        return GoneReason.NOT_KNOWN
    user_id, device_id = device
    asking = session.remote_identity_key
    for group in (membership_at(step, group_id, number), membership(step, group_id)):
        if group is None or not group.is_member(user_id, asking):
            return GoneReason.NOT_A_MEMBER
    if step.unit.retry_attempts.count(kept.message_id, user_id, device_id) > RESENDS_MAX:
        return GoneReason.TOO_OFTEN
    send_alone(step, device, session, replace(content, answers=tuple(envelope_ids[:ANSWERS_MAX])), again=True)
    return None
