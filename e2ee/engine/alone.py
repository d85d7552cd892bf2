"""Envelopes for one device alone: what recovery sends, in the lane of the device's user, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.content import Content, ContentKind, Destination, encode_content
from e2ee.ids import MESSAGE_ID_SIZE

from .sealing import keep, next_number, seal

if TYPE_CHECKING:
    from ratchet import Session

    from .memory import DeviceName
    from .step import Step

__all__ = ["send_alone", "send_control"]


def send_control(step: Step, device: DeviceName, session: Session, kind: ContentKind, body: bytes) -> None:
    """Encrypt a control message for one device. It is in no outbox: nobody can ask for it again."""
    user_id, _ = device
    own = step.account.device_id
    content = Content(
        kind, step.entropy(MESSAGE_ID_SIZE), 0, int(step.now * 1000), step.user_id, own, Destination(user_id), body
    )
    send_alone(step, device, session, content)


def send_alone(step: Step, device: DeviceName, session: Session, content: Content, *, again: bool = False) -> None:
    """Encrypt *content* for one device and store the envelope; one sent *again* may be asked for once more.

    Raises NoActiveSession.
    """
    user_id, _ = device
    encoded, number = encode_content(content), next_number(step)
    keep(step, seal(step, device, session, content.message_id, encoded, number=number, alone=True), carries=again)
    step.memory.lane(user_id)
    step.memory.active[user_id] = None
