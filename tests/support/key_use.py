"""Whether a message key has sealed two different texts: seen by whoever reads every ciphertext, as the relay does."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from e2ee.frames import EnvelopeKind
from ratchet.messages import PreKeyMessage, SenderKeyMessage, SignalMessage

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    _End = TypeVar("_End", bound=Hashable)
else:
    _End = TypeVar("_End")

__all__ = ["keys_used_twice", "message_of"]


def keys_used_twice(
    overheard: Iterable[tuple[_End, _End, EnvelopeKind, bytes]], since: int = 0
) -> list[tuple[_End, _End | None, bytes, int]]:
    """Return the message keys with two different ciphertexts, ever, among (sender, recipient, kind, body).

    A key is named by sender and recipient (None: a group's, the same for all), ratchet key or chain, and counter.
    With *since*, those of them that a ciphertext from this one on, by number, has used.
    """
    bodies: dict[tuple[_End, _End | None, bytes, int], set[bytes]] = defaultdict(set)
    late: set[tuple[_End, _End | None, bytes, int]] = set()
    for number, (sender, recipient, kind, body) in enumerate(overheard):
        key: tuple[_End, _End | None, bytes, int]
        match kind:
            case EnvelopeKind.PREKEY | EnvelopeKind.SIGNAL:
                message = message_of(kind, body)
                key = (sender, recipient, message.ratchet_key, message.counter)
                bodies[key].add(message.authenticated)
            case EnvelopeKind.SENDER_KEY:
                sealed = SenderKeyMessage.parse(body)
                chain = sealed.distribution_id.bytes + sealed.chain_id.to_bytes(4, "big")
                key = (sender, None, chain, sealed.iteration)
                bodies[key].add(sealed.signed)
            case EnvelopeKind.GROUP_ENTRY:
                continue  # signed, not sealed
        if number >= since:
            late.add(key)
    return [key for key, found in bodies.items() if len(found) > 1 and key in late]


def message_of(kind: EnvelopeKind, body: bytes) -> SignalMessage:
    """Return the message of the ratchet in an envelope of either kind."""
    return PreKeyMessage.parse(body).message if kind is EnvelopeKind.PREKEY else SignalMessage.parse(body)
