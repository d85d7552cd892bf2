"""doubleratchet (PyPI): a double ratchet in Python, from the recommendations of Signal's specification.

Configured with its own recommended classes: HKDF for the root chain, HMACs for message chains,
AES-256-CBC with HMAC for messages, X25519. It has no handshake, groups, post-quantum part or wire
form. Its coroutines never wait for anything, so they are driven directly: an event loop would be
added to its figures otherwise.
"""

from __future__ import annotations

import json
import os
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeVar

from benchmarks.pairwise import Pairwise
from benchmarks.peer import SKIPPED_KEYS, Peer, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Coroutine

try:
    from doubleratchet import DoubleRatchet, EncryptedMessage, Header
    from doubleratchet.recommended import (
        HashFunction,
        aead_aes_hmac,
        diffie_hellman_ratchet_curve25519,
        kdf_hkdf,
        kdf_separate_hmacs,
    )
except ImportError as cause:
    raise UnavailableError("doubleratchet is not installed: pip install doubleratchet") from cause

Result = TypeVar("Result")

IDENTITIES: Final = bytes(66)  # associated data of our size: two serialised identity keys


def drive(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never waits. Raises RuntimeError if it does."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise RuntimeError("doubleratchet waited for something: its figures would need an event loop")


class Ratchet(DoubleRatchet):
    """The library leaves open how the header is authenticated."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Header) -> bytes:
        numbers = header.sending_chain_length.to_bytes(8) + header.previous_sending_chain_length.to_bytes(8)
        return associated_data + header.ratchet_pub + numbers


class Agreement(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):
    """X25519."""


class RootKdf(kdf_hkdf.KDF):
    """HKDF-SHA-256."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"benchmark root chain"


class MessageKdf(kdf_separate_hmacs.KDF):
    """HMAC-SHA-256, once for the message key and once for the chain."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class MessageCipher(aead_aes_hmac.AEAD):
    """AES-256-CBC and HMAC-SHA-256, keys from HKDF."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"benchmark message keys"


CONFIGURATION: Final[dict[str, Any]] = {
    "diffie_hellman_ratchet_class": Agreement,
    "root_chain_kdf": RootKdf,
    "message_chain_kdf": MessageKdf,
    "message_chain_constant": b"\x01\x02",
    "dos_protection_threshold": SKIPPED_KEYS,
    "max_num_skipped_message_keys": SKIPPED_KEYS,
    "aead": MessageCipher,
}


def pair() -> tuple[Ratchet, Ratchet]:
    """Two ends, each of which has heard from the other; the shared secret is given."""
    secret, private = os.urandom(32), Agreement._generate_priv()  # noqa: SLF001 - made for subclasses' use
    alice, first = drive(
        Ratchet.encrypt_initial_message(
            **CONFIGURATION,
            shared_secret=secret,
            recipient_ratchet_pub=Agreement._derive_pub(private),  # noqa: SLF001 - as above
            message=b"hello",
            associated_data=IDENTITIES,
        )
    )
    bob, _ = drive(
        Ratchet.decrypt_initial_message(
            **CONFIGURATION, shared_secret=secret, own_ratchet_priv=private, message=first, associated_data=IDENTITIES
        )
    )
    receive(alice, drive(bob.encrypt_message(b"hi", IDENTITIES)))
    return alice, bob


def send(ratchet: Ratchet, plaintext: bytes) -> EncryptedMessage:
    """Encrypt; there is no wire form to make."""
    return drive(ratchet.encrypt_message(plaintext, IDENTITIES))


def receive(ratchet: Ratchet, message: EncryptedMessage) -> bytes:
    """Decrypt."""
    return drive(ratchet.decrypt_message(message, IDENTITIES))


PAIRWISE: Final[Pairwise[Ratchet, EncryptedMessage, str]] = Pairwise(
    pair=pair,
    sender=lambda ratchet: partial(send, ratchet),
    receiver=lambda ratchet: partial(receive, ratchet),
    save=lambda ratchet: json.dumps(ratchet.json),
    load=lambda _, saved: Ratchet.from_json(json.loads(saved), **CONFIGURATION),
)


def open_peer() -> Peer:
    """Describe doubleratchet."""
    about = "Python on cryptography; no handshake, groups, post-quantum part or wire form; no event loop in its figures"
    return Peer("doubleratchet", version("doubleratchet"), about, PAIRWISE.operations(), PAIRWISE.record_sizes)
