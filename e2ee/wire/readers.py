"""How each field is read: sizes and ranges of `docs/protocol.md` section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.codec import Reader, integer, items, octets, optional, record, text, user
from e2ee.errors import MalformedFrame
from e2ee.frames import (
    DEVICE_ID_MAX,
    Delivery,
    DeviceBundle,
    DeviceChange,
    DeviceRef,
    EnvelopeFor,
    EnvelopeKind,
    KemPreKey,
    OneTimePreKey,
    Outcome,
    SignedPreKey,
    Submission,
)
from e2ee.ids import ENVELOPE_ID_SIZE
from e2ee.limits import (
    CAPABILITIES_MAX,
    CAPABILITY_SIZE_MAX,
    COUNTER_MAX,
    DEVICES_PER_USER_MAX,
    ENVELOPE_SIZE_MAX,
    GROUP_ID_SIZE,
    REQUEST_NUMBER_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import IntEnum

NONCE_SIZE: Final = 32  # bytes of a challenge
REQUEST_ID_SIZE: Final = 16  # bytes that make an answer repeatable
PUBLIC_KEY_SIZE: Final = 33  # bytes, as Signal serialises them
KEM_PUBLIC_KEY_SIZE: Final = 1569
SIGNATURE_SIZE: Final = 64
PREKEY_ID_MAX: Final = 0xFFFFFF
REGISTRATION_ID_MAX: Final = 0x3FFF

counter = integer(COUNTER_MAX)
request = integer(REQUEST_NUMBER_MAX)
device_id = integer(DEVICE_ID_MAX, 1)
registration_id = integer(REGISTRATION_ID_MAX, 1)
prekey_id = integer(PREKEY_ID_MAX)
signature = octets(SIGNATURE_SIZE, SIGNATURE_SIZE)
public_key = octets(PUBLIC_KEY_SIZE, PUBLIC_KEY_SIZE)
kem_key = octets(KEM_PUBLIC_KEY_SIZE, KEM_PUBLIC_KEY_SIZE)
envelope_id = octets(ENVELOPE_ID_SIZE, ENVELOPE_ID_SIZE)
capabilities = items(text(CAPABILITY_SIZE_MAX), CAPABILITIES_MAX)
wait = optional(integer(COUNTER_MAX))
code = integer(255, 1)


def _member(kind: Iterable[IntEnum], what: str) -> Reader:
    """Read one of *kind* by its number."""
    members: dict[object, IntEnum] = {one.value: one for one in kind}

    def read(value: object) -> IntEnum:
        found = members.get(value) if type(value) is int else None
        if found is None:
            raise MalformedFrame(f"not {what}")
        return found

    return read


envelope_kind = _member(EnvelopeKind, "a kind of envelope")
outcome = _member(Outcome, "an outcome")
device_ref = record(DeviceRef, device_id, registration_id)
signed_prekey = record(SignedPreKey, prekey_id, public_key, signature)
kem_prekey = record(KemPreKey, prekey_id, kem_key, signature)
one_time_prekey = record(OneTimePreKey, prekey_id, public_key)
bundle = record(DeviceBundle, device_id, registration_id, signed_prekey, kem_prekey, optional(one_time_prekey))
# What one device sends to another. Messages to a group and entries of its log reach a mailbox only by way of the
# group, where the relay sees to it that they are a member's: else any stranger could put them there.
_KINDS: Final = {kind.value: kind for kind in (EnvelopeKind.PREKEY, EnvelopeKind.SIGNAL)}


def envelope(value: object) -> EnvelopeFor:
    """Read an envelope. Most of what a relay reads are envelopes: the usual form takes no call for each field."""
    if type(value) is list and len(value) == 4:
        device, one_id, kind, body = value
        if (
            (type(device) is int and 1 <= device <= DEVICE_ID_MAX)
            and (type(one_id) is bytes and len(one_id) == ENVELOPE_ID_SIZE)
            and (type(kind) is int and kind in _KINDS)
            and (type(body) is bytes and 1 <= len(body) <= ENVELOPE_SIZE_MAX)
        ):
            return EnvelopeFor(device, one_id, _KINDS[kind], body)
    found: EnvelopeFor = _any_envelope(value)  # one that has grown, or one that is refused with the reason
    return found


_any_envelope = record(
    EnvelopeFor, device_id, envelope_id, _member(_KINDS.values(), "a pairwise kind"), octets(ENVELOPE_SIZE_MAX, 1)
)
submission = record(Submission, counter, items(envelope, DEVICES_PER_USER_MAX, 1))
change = record(DeviceChange, items(device_ref, DEVICES_PER_USER_MAX), items(device_id, DEVICES_PER_USER_MAX))
delivery = record(Delivery, counter, user, device_id, envelope_id, envelope_kind, octets(ENVELOPE_SIZE_MAX, 1), counter)
group_id = octets(GROUP_ID_SIZE, GROUP_ID_SIZE)
