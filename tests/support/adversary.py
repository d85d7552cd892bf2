"""What an adversary has: flipped bits, authentic messages that break the rules, stolen state, damaged snapshots.

`Thief` and `Dictionary` try what a thief of stored state can try; `MaliciousPeer` holds a session's own keys
and makes messages whose tag is right and whose inside is not.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import msgpack
import pytest

from ratchet import CiphertextKind, NotAuthentic, RatchetError, Session
from ratchet.chains import chain_step, message_keys, root_step, seal_message, tag
from ratchet.messages import PreKeyMessage, SignalMessage, encode_signal_message
from ratchet.primitives import aes_cbc_decrypt, clamp, equal, hkdf_sha256, x25519
from ratchet.protobuf import bytes_field, number_field
from ratchet.spqr.wire import BraidMessage, encode_braid_message
from tests.support.conversation import active_ratchet, lose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratchet import Ciphertext
    from tests.support.conversation import Stored

__all__ = [
    "LOW_ORDER_KEYS",
    "Dictionary",
    "MaliciousPeer",
    "Thief",
    "bit_flips",
    "inner",
    "leaves",
    "putting",
    "raises_and_changes_nothing",
    "rewrapped",
    "same_state",
]


# The u-coordinates whose product with any private key is zero (RFC 7748, section 6.1; the last three are not reduced).
_PRIME: Final = 2**255 - 19
_ORDER_8: Final = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
LOW_ORDER_KEYS: Final = tuple(
    u.to_bytes(32, "little") for u in (0, 1, *_ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1, 2**255, 2**255 + 1)
)


@contextmanager
def same_state(*objects: Stored) -> Iterator[None]:
    """Assert that every one of *objects* is stored as the same bytes before and after."""
    before = [one.to_bytes() for one in objects]
    yield
    assert [one.to_bytes() for one in objects] == before


@contextmanager
def raises_and_changes_nothing(
    expected: type[BaseException] | tuple[type[BaseException], ...], *objects: Stored
) -> Iterator[None]:
    """Assert that *expected* is raised, and that *objects* are stored as the same bytes before and after."""
    with same_state(*objects), pytest.raises(expected):
        yield


def bit_flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """*data* with each of its bits flipped in turn, and the number of the bit."""
    for bit in range(8 * len(data)):
        position = bit >> 3
        yield bit, data[:position] + bytes((data[position] ^ 1 << (bit & 7),)) + data[position + 1 :]


def inner(ciphertext: Ciphertext) -> SignalMessage:
    """The SignalMessage of a ciphertext of either kind."""
    if ciphertext.kind is CiphertextKind.PREKEY:
        return PreKeyMessage.parse(ciphertext.body).message
    return SignalMessage.parse(ciphertext.body)


# --- an authenticated peer that breaks the rules -------------------------------------------------


class MaliciousPeer:
    """Makes messages with the keys of *session*, a peer's own; the session itself does not advance."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ratchet = active_ratchet(session)

    def braid_message(self, entropy: Callable[[int], bytes] = bytes) -> BraidMessage:
        """SPQR's honest part of the next message."""
        post_quantum = self.ratchet.post_quantum
        assert post_quantum is not None
        return BraidMessage.parse(post_quantum.plan_send(entropy).encoded)

    def message(
        self,
        plaintext: bytes = b"authentic",
        *,
        pq_ratchet: bytes | None = None,
        key: bytes | None = None,
        version: int | None = None,
        ratchet_key: bytes | None = None,
        counter: int | None = None,
        addresses: bytes | None = None,
        sealed: Callable[[bytes, bytes], bytes] = seal_message,
        extra: bytes = b"",
    ) -> bytes:
        """An authentic SignalMessage. *pq_ratchet* replaces field 5 (its key is then *key*, else the honest one).

        *sealed* makes the ciphertext from message keys and plaintext; *extra* fields stand at the end.
        """
        seed, _chain_key = self.ratchet.double.plan_send()
        sending = self.ratchet.double.sending
        honest_part, honest_key = b"", None
        if self.ratchet.post_quantum is not None:
            step = self.ratchet.post_quantum.plan_send(bytes)
            honest_part, honest_key = step.encoded, step.key
        keys = message_keys(seed, honest_key if key is None else key or None)
        encoded = (
            encode_signal_message(
                self.ratchet.version if version is None else version,
                sending.pair.public if ratchet_key is None else ratchet_key,
                sending.number if counter is None else counter,
                0,
                sealed(keys, plaintext),
                honest_part if pq_ratchet is None else pq_ratchet,
                None,
            )
            + (b"" if addresses is None else bytes_field(6, addresses))
            + extra
        )
        return encoded + tag(keys, self.session.local_identity_key + self.session.remote_identity_key, encoded)

    def with_braid(self, **changes: int | bytes) -> bytes:
        """An authentic message whose SPQR part is the honest one but for *changes*."""
        honest = self.braid_message()
        values = {name: getattr(honest, name) for name in BraidMessage.__slots__} | changes
        part = encode_braid_message(
            values["epoch"], values["index"], values["type"], values["chunk_index"], values["chunk"]
        )
        return self.message(pq_ratchet=part)


def _post_quantum_step(chain_key: bytes, index: int) -> tuple[bytes, bytes]:
    """The chain step of SPQR, written from `signal-protocol` 4.4."""
    derived = hkdf_sha256(None, chain_key, index.to_bytes(4, "big") + b"Signal PQ Ratchet V1 Chain Next", 64)
    return derived[:32], derived[32:]


def rewrapped(message: PreKeyMessage, /, **changes: int | bytes | None) -> bytes:
    """The bytes of a first message with some fields replaced, or left out (None)."""
    values: dict[str, Any] = {
        "one_time_prekey_id": message.one_time_prekey_id,
        "base_key": message.base_key,
        "identity_key": message.identity_key,
        "message": message.message.authenticated + message.message.tag,
        "registration_id": message.registration_id,
        "signed_prekey_id": message.signed_prekey_id,
        "kem_prekey_id": message.kem_prekey_id,
        "kem_ciphertext": message.kem_ciphertext,
        "version": message.version,
    } | changes
    parts = [bytes((values.pop("version") << 4 | 4,))]
    numbers = dict(zip(values, (1, 2, 3, 4, 5, 6, 7, 8), strict=True))
    for name, value in values.items():
        if value is not None:
            parts.append(
                number_field(numbers[name], value) if isinstance(value, int) else bytes_field(numbers[name], value)
            )
    return b"".join(parts)


# --- thieves ---------------------------------------------------------------------------------------


class Thief:
    """Has a session's stored state and reads along, in both directions; draws its own randomness.

    Every state that it ever reached is kept, and each is tried on each message.
    """

    def __init__(self, stolen: bytes, entropy: Callable[[int], bytes]) -> None:
        self.entropy = entropy
        self.states = [stolen]

    def reads(self, ciphertext: Ciphertext, *, sent_by_victim: bool) -> bool:
        """Whether the thief can open *ciphertext*; what it learns from it is kept."""
        message = inner(ciphertext)
        for stored in self.states:
            session = Session.from_bytes(stored)
            try:
                if sent_by_victim:
                    self._follow(session, message)
                else:
                    self._receive(session, message)
            except (RatchetError, _NotFollowed):
                continue
            self.states.append(session.to_bytes())
            return True
        return False

    def _receive(self, session: Session, message: SignalMessage) -> None:
        ratchet = active_ratchet(session)
        ratchet.commit(ratchet.plan(message, session._peers, self.entropy))

    def _follow(self, session: Session, message: SignalMessage) -> None:
        """Derive the key of a message of the victim's as the victim does: forward from the stored chains."""
        ratchet = active_ratchet(session)
        if message.ratchet_key != ratchet.double.sending.pair.public or message.counter < ratchet.double.sending.number:
            raise _NotFollowed
        lose(session, message.counter - ratchet.double.sending.number)
        seed, chain_key = ratchet.double.plan_send()
        key = None
        if ratchet.post_quantum is not None:
            step = ratchet.post_quantum.plan_send(self.entropy)
            key = step.key
            ratchet.post_quantum.commit_send(step)
        keys = message_keys(seed, key)
        if not equal(tag(keys, session._peers.sending, message.authenticated), message.tag):
            raise _NotFollowed
        ratchet.double.commit_send(chain_key)


class _NotFollowed(Exception):
    """The thief's state is not the one that this message was sent with."""


class Dictionary:
    """Every secret in stolen state, and what can be derived forward from each: tried on recorded messages.

    It does not matter what a byte string was stored as: each is tried as chain key, as seed, as root key,
    as private key and as post-quantum key, in every combination. *public_keys* were seen on the wire.
    """

    STEPS: Final = 4  # forward, from each chain key

    def __init__(self, *stolen: bytes, public_keys: tuple[bytes, ...] = ()) -> None:
        self.secrets: Final = sorted({secret for state in stolen for secret in _secrets(_unpacked(state))})
        shared = {_agree(secret, public) for secret, public in product(self.secrets, public_keys)}
        chain_keys = set(self.secrets)
        for root, secret in product(self.secrets, shared):
            chain_keys.update(root_step(root, secret))
        seeds = set(self.secrets)
        for chain_key in chain_keys:
            following = chain_key
            for _ in range(self.STEPS):
                seed, following = chain_step(following)
                seeds.add(seed)
        self.seeds: Final = sorted(seeds)

    def opens(self, message: SignalMessage, identities: bytes) -> bool:
        """Whether any combination makes the message's tag; *identities* are the sender's and the recipient's."""
        return any(
            equal(tag(message_keys(seed, key), identities, message.authenticated), message.tag)
            for key in self._post_quantum_keys(message)
            for seed in self.seeds
        )

    def _post_quantum_keys(self, message: SignalMessage) -> list[bytes | None]:
        """None without SPQR; else each secret, and what it gives as a chain key up to four steps before the message."""
        if not message.pq_ratchet:
            return [None]
        last = BraidMessage.parse(message.pq_ratchet).index
        keys = set(self.secrets)
        for secret, first in product(self.secrets, range(max(last - self.STEPS, 0), last)):
            chain_key = key = secret
            for index in range(first + 1, last + 1):
                chain_key, key = _post_quantum_step(chain_key, index)
            keys.add(key)
        return list(keys)

    def opens_group(self, ciphertext: bytes, plaintext: bytes) -> bool:
        """Whether any secret gives the keys of a group message, which has no tag."""
        return any(_opens_group(seed, ciphertext, plaintext) for seed in self.seeds)


def _agree(private: bytes, public: bytes) -> bytes:
    return x25519(clamp(private), public[1:])


def _opens_group(seed: bytes, ciphertext: bytes, plaintext: bytes) -> bool:
    derived = hkdf_sha256(None, seed, b"WhisperGroup", 48)
    try:
        return aes_cbc_decrypt(derived[16:], derived[:16], ciphertext) == plaintext
    except NotAuthentic:
        return False


def _unpacked(state: bytes) -> Any:  # noqa: ANN401 - a tree of msgpack values
    return msgpack.unpackb(state, raw=False)


def _secrets(tree: Any) -> Iterator[bytes]:  # noqa: ANN401
    """Every string of 32 bytes; of longer strings every aligned piece; what is packed within, too."""
    for _path, leaf in leaves(tree):
        if type(leaf) is not bytes:
            continue
        for start in range(0, len(leaf) - 31, 32):
            yield leaf[start : start + 32]
        if len(leaf) == 33:
            continue
        try:
            packed = _unpacked(leaf)
        except Exception:  # noqa: BLE001, S112 - most strings are keys, and msgpack raises what it likes
            continue
        if type(packed) is list:
            yield from _secrets(packed)


# --- damaged snapshots -------------------------------------------------------------------------------


def leaves(tree: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:  # noqa: ANN401
    """Every value in *tree*, lists included, with its path."""
    yield path, tree
    if type(tree) is list:
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))


def putting(tree: Any, path: tuple[int, ...], value: object) -> Any:  # noqa: ANN401
    """*tree* with *value* at *path*."""
    if not path:
        return value
    copied = list(tree)
    copied[path[0]] = putting(tree[path[0]], path[1:], value)
    return copied
