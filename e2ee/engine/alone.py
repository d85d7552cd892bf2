"""Envelopes for one device alone: what recovery sends, in the lane of the device's user, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.content import Content, ContentKind, Destination, encode_content
from e2ee.ids import ENVELOPE_ID_SIZE, MESSAGE_ID_SIZE
from store import Envelope

from .step import lane_of

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
    user_id, device_id = device
    ciphertext = session.encrypt(encode_content(content), now=step.now, entropy=step.entropy)
    step.sessions.put(user_id, device_id, session)
    step.unit.counters.submission_number += 1
    envelope = Envelope(
        envelope_id=step.entropy(ENVELOPE_ID_SIZE),
        message_id=content.message_id,
        lane=lane_of(user_id),
        user_id=user_id,
        device_id=device_id,
        registration_id=session.remote_registration_id,
        identity_key=session.remote_identity_key,
        kind=int(ciphertext.kind),
        ciphertext=ciphertext.body,
        submission_number=step.unit.counters.submission_number,
        alone=1,
    )
    step.unit.envelopes.add(envelope)
    step.unit.sent_envelopes.add(envelope.envelope_id, user_id, content.message_id if again else None)
    step.memory.lane(user_id)
    step.memory.active[user_id] = None
