"""Making envelopes: a content sealed for one device, with all that its frame says, to be stored before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.ids import ENVELOPE_ID_SIZE
from store import Envelope

from .step import lane_of

if TYPE_CHECKING:
    from ratchet import Session

    from .memory import DeviceName
    from .step import Step

__all__ = ["keep", "next_number", "seal"]


def next_number(step: Step) -> int:
    """The number of the next submission."""
    step.unit.counters.submission_number += 1
    return step.unit.counters.submission_number


def seal(
    step: Step,
    device: DeviceName,
    session: Session,
    message_id: bytes,
    content: bytes,
    *,
    number: int,
    alone: bool = False,
) -> Envelope:
    """Encrypt an encoded *content* for a device, in the submission *number*; the session moves on. `keep` stores it.

    Raises NoActiveSession: then nothing has changed.
    """
    user_id, device_id = device
    ciphertext = session.encrypt(content, now=step.now, entropy=step.entropy)
    step.sessions.put(user_id, device_id, session)
    return Envelope(
        envelope_id=step.entropy(ENVELOPE_ID_SIZE),
        message_id=message_id,
        lane=lane_of(user_id),
        user_id=user_id,
        device_id=device_id,
        registration_id=session.remote_registration_id,
        identity_key=session.remote_identity_key,
        kind=int(ciphertext.kind),
        ciphertext=ciphertext.body,
        submission_number=number,
        alone=int(alone),
    )


def keep(step: Step, envelope: Envelope, *, carries: bool) -> None:
    """Store an envelope to be sent; what it *carries*, a device that cannot open it may ask for."""
    step.unit.envelopes.add(envelope)
    step.unit.sent_envelopes.add(envelope.envelope_id, envelope.user_id, envelope.message_id if carries else None)
