"""The account as a whole: its devices, another identity, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.codec import encode_array
from e2ee.errors import ConnectionEnded, InvalidArgument
from e2ee.events import Disconnected
from e2ee.frames import DEVICE_ID_MAX, PROTOCOL_VERSION, DeleteAccount, ListDevices, RemoveDevice, ReplaceIdentity
from ratchet import IdentityKeyPair
from ratchet.labels import SIGN_LOGIN
from ratchet.limits import REGISTRATION_ID_MAX

from .groups.members import tell_seats_lost
from .memory import NewIdentity
from .step import QUEUED, ROWS_MAX, SUBMITTED, user_of
from .unasked import undelivered

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.frames import ClientFrame

    from .step import Step

__all__ = ["ask_for_deletion", "ask_for_devices", "ask_for_identity", "ask_for_removal", "removed", "take_identity"]


def _ask(step: Step, request: ClientFrame) -> ClientFrame:
    step.requests.append(request)
    return request


def ask_for_devices(step: Step) -> ClientFrame:
    """Ask the relay for our own devices."""
    return _ask(step, ListDevices(0, 0))


def ask_for_deletion(step: Step) -> ClientFrame:
    """Ask the relay to delete the account. The store is deleted after its answer."""
    return _ask(step, DeleteAccount(0, 0))


def ask_for_removal(step: Step, device_id: int) -> ClientFrame:
    """Ask the relay to remove another device of our own. Raises InvalidArgument."""
    if type(device_id) is not int or not 1 <= device_id <= DEVICE_ID_MAX:
        raise InvalidArgument(f"a device id is 1 to {DEVICE_ID_MAX}")
    if device_id == step.account.device_id:
        raise InvalidArgument("a device is removed from another one: delete the account, or just stop using it")
    return _ask(step, RemoveDevice(0, 0, device_id))


def removed(step: Step, device_id: int) -> None:
    """The relay has removed a device of ours: what it could read with ends."""
    step.unit.devices.delete(step.user_id, device_id)
    step.unit.envelopes.delete_for(step.user_id, device_id)
    step.sessions.forget(step.user_id, device_id)
    step.unit.heals.delete(step.user_id, device_id)
    # It holds our chains, and they only hash forward: the next group message has a new one.
    step.unit.sender_keys.delete_own()


def ask_for_identity(step: Step, relay: str) -> ClientFrame:
    """Ask the relay, dialled as *relay*, to bind our user id to a new identity key, which proves itself.

    Nothing of it is stored before the relay has agreed. Should its answer be lost, the old identity is still here,
    and a relay that replaces identities takes it back.
    """
    identity = IdentityKeyPair.generate(step.entropy)
    registration_id = _another_registration_id(step.account.registration_id, step.entropy)
    who = (step.user_id, step.account.device_id, registration_id)
    claim = encode_array([PROTOCOL_VERSION, relay, step.memory.nonce, *who, 0, 0, 0])
    signature = identity.sign(SIGN_LOGIN, claim, entropy=step.entropy)
    step.memory.new_identity = NewIdentity(identity, registration_id)
    return _ask(step, ReplaceIdentity(0, 0, claim, identity.public_key, signature))


def _another_registration_id(present: int, entropy: Callable[[int], bytes]) -> int:
    """Draw one: peers with a session of the old identity are then refused by the relay, and ask for the new one."""
    drawn = 1 + int.from_bytes(entropy(2), "big") % REGISTRATION_ID_MAX
    return drawn if drawn != present else 1 + present % REGISTRATION_ID_MAX


def take_identity(step: Step) -> None:
    """The relay has bound our user id to the new key: begin anew under it. The connection ends by itself.

    Contacts, groups and messages stay. What was encrypted and perhaps not stored is encrypted again: the relay has
    removed the device that it came from.
    """
    new = step.memory.new_identity
    if new is None:
        raise ConnectionEnded("the relay replaced an identity that was not asked for on this connection")
    tell_seats_lost(step)
    step.unit.account.replace_identity(new.identity, new.registration_id)
    step.unit.prekeys.delete_all()
    step.sessions.forget_all()
    step.unit.sender_keys.delete_own()
    for device in step.unit.devices.of(step.user_id):
        step.unit.devices.delete(step.user_id, device.device_id)
    for lane in step.unit.envelopes.lanes():
        if user_of(lane) is None:
            continue
        rows = step.unit.envelopes.in_lane(lane, limit=ROWS_MAX)
        undelivered(step, rows)
        for row in rows:
            step.unit.envelopes.delete(row.envelope_id)
        for message in step.unit.outgoing.next_in(lane, SUBMITTED, limit=ROWS_MAX):
            step.unit.outgoing.set_state(message.message_id, QUEUED)
    counters = step.unit.counters  # to the relay this is a device that it has never seen
    counters.submission_number = counters.delivery_number = counters.upload_number = 0
    counters.confirmed_submission_number = counters.confirmed_upload_number = 0
    step.memory.new_identity = None
    step.memory.online = False
    step.tell(Disconnected())
