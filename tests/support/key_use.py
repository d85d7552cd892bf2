"""Whether a message key has sealed two different texts: seen by whoever reads every ciphertext, as the relay does."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from e2ee.frames import EnvelopeKind
from ratchet.messages import PreKeyMessage, SenderKeyMessage, SignalMessage

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    _End = TypeVar("_End", bound=Hashable)
else:
    _End = TypeVar("_End")

__all__ = ["Key", "key_of", "keys_used_twice", "message_of"]

Key: TypeAlias = tuple[_End, _End | None, bytes, int]
"""Sender, recipient, ratchet key or chain, counter."""


def keys_used_twice(overheard: Iterable[tuple[_End, _End, EnvelopeKind, bytes]], since: int = 0) -> list[Key[_End]]:
    """Return the message keys with two different ciphertexts, ever, among (sender, recipient, kind, body).

    A key is named by sender and recipient (None: a group's, the same for all), ratchet key or chain, and counter.
    With *since*, those of them that a ciphertext from this one on, by number, has used.
    """
    bodies: dict[Key[_End], set[bytes]] = defaultdict(set)
    late: set[Key[_End]] = set()
    for number, one in enumerate(overheard):
        used = key_of(*one)
        if used is not None:
            key, sealed = used
            bodies[key].add(sealed)
            if number >= since:
                late.add(key)
    return [key for key, found in bodies.items() if len(found) > 1 and key in late]


def key_of(sender: _End, recipient: _End, kind: EnvelopeKind, body: bytes) -> tuple[Key[_End], bytes] | None:
    """Return the message key of an envelope, by name, and what it has sealed; None for what is not sealed."""
    match kind:
        case EnvelopeKind.PREKEY | EnvelopeKind.SIGNAL:
            message = message_of(kind, body)
            return (sender, recipient, message.ratchet_key, message.counter), message.authenticated
        case EnvelopeKind.SENDER_KEY:
            sealed = SenderKeyMessage.parse(body)
            chain = sealed.distribution_id.bytes + sealed.chain_id.to_bytes(4, "big")
            return (sender, None, chain, sealed.iteration), sealed.signed
        case EnvelopeKind.GROUP_ENTRY:
            return None  # signed, not sealed


def message_of(kind: EnvelopeKind, body: bytes) -> SignalMessage:
    """Return the message of the ratchet in an envelope of either kind."""
    return PreKeyMessage.parse(body).message if kind is EnvelopeKind.PREKEY else SignalMessage.parse(body)
