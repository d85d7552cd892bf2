"""Messages that no honest sender makes: fields exchanged, keys of small order added, tags made by the peer itself."""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_core_ed25519_add

from ratchet import Ciphertext, Session
from ratchet.chains import message_keys, seal_message, tag
from ratchet.messages import CiphertextKind, encode_signal_message
from ratchet.primitives import edwards_public
from ratchet.protobuf import Fields, bytes_field, number_field, read_fields
from tests.support.conversation import active_ratchet

# Fields of a PREKEY message.
ONE_TIME_PREKEY_ID: Final = 1
BASE_KEY: Final = 2
IDENTITY_KEY: Final = 3
MESSAGE: Final = 4
REGISTRATION_ID: Final = 5
SIGNED_PREKEY_ID: Final = 6
KEM_PREKEY_ID: Final = 7
KEM_CIPHERTEXT: Final = 8

FIELD_PRIME: Final = 2**255 - 19

# A point of order 8 on edwards25519, the smallest multiple of which that is 0 is eight times it.
SMALL_ORDER_POINT: Final = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def flip_bit(data: bytes, position: int) -> bytes:
    """*data* with one bit the other way; bit 0 is the lowest of the first byte."""
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def prekey_fields(ciphertext: Ciphertext) -> Fields:
    """The fields of a PREKEY message."""
    return read_fields(ciphertext.body, 1, len(ciphertext.body))


def prekey_field(ciphertext: Ciphertext, number: int) -> bytes:
    """One field of a PREKEY message, which must be of bytes."""
    value = prekey_fields(ciphertext)[number]
    assert isinstance(value, bytes)
    return value


def with_field(ciphertext: Ciphertext, number: int, value: bytes | int | None) -> Ciphertext:
    """A PREKEY message with one field exchanged (None: left out); it has no tag of its own that could break."""
    fields = prekey_fields(ciphertext) | {number: value}
    encoded = [
        bytes_field(field, content) if isinstance(content, bytes) else number_field(field, content)
        for field, content in fields.items()
        if content is not None
    ]
    return Ciphertext(CiphertextKind.PREKEY, ciphertext.body[:1] + b"".join(encoded))


def torsioned(public_key: bytes) -> bytes:
    """Another X25519 key (33 bytes) that agrees on the same secrets: the sum with a point of small order."""
    summed = crypto_core_ed25519_add(edwards_public(public_key[1:]), SMALL_ORDER_POINT)
    y = int.from_bytes(summed, "little") & (2**255 - 1)
    u = (1 + y) * pow(1 - y, -1, FIELD_PRIME) % FIELD_PRIME
    return b"\x05" + u.to_bytes(32, "little")


def with_high_bit(public_key: bytes) -> bytes:
    """The same X25519 key with the bit set that X25519 ignores."""
    return public_key[:32] + bytes([public_key[32] | 0x80])


def made_by_peer(
    session: Session,
    plaintext: bytes,
    *,
    pq_message: bytes | None = None,
    pq_key: bytes | None = None,
    addresses: bytes | None = None,
) -> Ciphertext:
    """A SIGNAL message whose tag is right, from a sender who writes into it whatever it likes.

    Without *pq_message* the post-quantum part and its key are the session's next.
    """
    ratchet = active_ratchet(session)
    seed, chain_key = ratchet.double.plan_send()
    if pq_message is None:
        assert ratchet.post_quantum is not None
        step = ratchet.post_quantum.plan_send(bytes)
        pq_message, pq_key = step.encoded, step.key
        ratchet.post_quantum.commit_send(step)
    keys = message_keys(seed, pq_key)
    sending = ratchet.double.sending
    encoded = encode_signal_message(
        ratchet.version,
        sending.pair.public,
        sending.number,
        sending.previous_number,
        seal_message(keys, plaintext),
        pq_message,
        None,
    )
    if addresses is not None:
        encoded += bytes_field(6, addresses)
    ratchet.double.commit_send(chain_key)
    return Ciphertext(CiphertextKind.SIGNAL, encoded + tag(keys, session._peers.sending, encoded))
