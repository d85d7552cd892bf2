"""Taking messages: the checks of a Submit (R4.9 to R4.11), and its envelopes into the batch's."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import DeviceChange, DeviceRef, Submission, Submit
from store.relay import Device, Envelope, RelayUnit
from store.relay.limits import DIGEST_SIZE, SUBMISSIONS_REMEMBERED

from .plan import Accepted, Plan, refuse_submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connection import Connection, Session

__all__ = ["check_submit", "is_its_own", "known_numbers", "submit"]


def check_submit(frame: Submit) -> None:
    """Check what the parts of a Submit say of each other (R4.15). Raises MalformedFrame."""
    listed = {device.device_id for device in frame.devices}
    if len(listed) != len(frame.devices):
        raise MalformedFrame("a device stands twice in the list")
    for submission in frame.submissions:
        named = {envelope.device_id for envelope in submission.envelopes}
        if len(named) != len(submission.envelopes):
            raise MalformedFrame("a submission has two envelopes for one device")
        if not named <= listed:
            raise MalformedFrame("an envelope is for a device that is not in the list")
    if any(one.number >= following.number for one, following in pairwise(frame.submissions)):
        raise MalformedFrame("the numbers of submissions rise")


def submit(connection: Connection, session: Session, frame: Submit, plan: Plan, unit: RelayUnit) -> None:
    """Accept submissions up to the first that is refused; the reply is made when all of the batch are stored."""
    if not (connection.registered or connection in plan.uploaded):
        plan.reply(connection, refuse_submit(frame.request, RefusalCode.NOT_REGISTERED))
        return
    # A copy for the sender's other devices names all but the one that sends it.
    listed = [device for device in plan.listed(unit, frame.user_id) if device.key != session.device.key]
    if not listed and unit.users.find(frame.user_id) is None:
        plan.reply(connection, refuse_submit(frame.request, RefusalCode.UNKNOWN_USER))
        return
    change = _difference(listed, frame.devices)
    if change is not None:
        plan.reply(connection, refuse_submit(frame.request, RefusalCode.DEVICES_CHANGED, change=change))
        return
    by_id = {device.device_id: device.key for device in listed}
    first = len(plan.mail)
    accepted: list[Submission] = []
    refusal: RefusalCode | None = None
    known = known_numbers(connection, session, [one.number for one in frame.submissions], unit)
    for submission in frame.submissions:
        if not is_its_own(connection, session, submission.number, _digest(submission), known, plan):
            refusal = RefusalCode.ROLLED_BACK
            break
        accepted.append(submission)
        for envelope in submission.envelopes:
            recipient = by_id[envelope.device_id]
            plan.mail.append(
                Envelope(session.device, recipient, envelope.envelope_id, int(envelope.kind), envelope.body)
            )
    plan.accepted.append(Accepted(connection, frame.request, tuple(accepted), first, refusal))


def _difference(listed: Sequence[Device], known: Sequence[DeviceRef]) -> DeviceChange | None:
    """What the relay has and the sender has not, and the other way round; None if they agree."""
    theirs = {device.device_id: device.registration_id for device in known}
    missing = tuple(
        DeviceRef(device.device_id, device.registration_id)
        for device in listed
        if theirs.get(device.device_id) != device.registration_id
    )
    extra = tuple(sorted(theirs.keys() - {device.device_id for device in listed}))
    return DeviceChange(missing, extra) if missing or extra else None


def known_numbers(
    connection: Connection, session: Session, numbers: Sequence[int], unit: RelayUnit
) -> dict[int, bytes]:
    """What *numbers* stood for before. The store is asked only for those that are not the highest."""
    earlier = [number for number in numbers if number <= connection.submitted]
    return unit.submissions.known(session.device.key, earlier) if earlier else {}


def is_its_own(
    connection: Connection, session: Session, number: int, digest: bytes, known: dict[int, bytes], plan: Plan
) -> bool:
    """Note what the number stands for, or tell that it stood for something else before (R4.11).

    A repetition is accepted too: its envelopes are duplicates by their ids.
    """
    if number in session.lost_submissions:
        return False
    key = (session.device.key, number)
    before = plan.numbers.get(key, known.get(number))
    if before is not None and before != digest:
        return False
    if before is None and number > connection.submitted - SUBMISSIONS_REMEMBERED:
        plan.numbers[key] = digest
    plan.submit(connection, number)
    return True


def _digest(submission: Submission) -> bytes:
    """What tells one submission from another under the same number: its envelope ids, for whom each is."""
    ids = [envelope.device_id.to_bytes(1, "big") + envelope.envelope_id for envelope in submission.envelopes]
    return sha256(b"".join(sorted(ids)) if len(ids) > 1 else ids[0]).digest()[:DIGEST_SIZE]
