"""The reference that judges the vectors is judged itself: by libraries, by its own other side, by libsignal."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kyber_py.ml_kem import ML_KEM_768
from nacl.bindings import crypto_core_ed25519_is_valid_point

from tests.support.oracle import CURRENT, X3DH_ERA, Oracle, why_unavailable
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_values import OracleAddress, OracleBundle, OracleMessage
from vectors.reference import edwards, erasure, kem
from vectors.reference.double_ratchet import Address
from vectors.reference.faults import Refused
from vectors.reference.handshake import Bundle, KeyPair, PreKeys
from vectors.reference.messages import raw_kem, raw_key, serialise_key
from vectors.reference.primitives import clamp, x25519_public
from vectors.reference.session import Encapsulation, Session
from vectors.reference.spqr import PostQuantumRatchet

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = ("7d3a1f6e-9b1c-4c5e-8a44-0a4f0d4f2b11", "PNI:1b0c8e1a-55d2-4b62-9a3e-3c9f7a8d6e20")


# Against libraries


@pytest.mark.parametrize("seed", range(8))
def test_a_signature_by_a_seed_is_ed25519s_with_the_sign_of_the_key(seed: int) -> None:
    dice = random.Random(seed)
    secret, message = dice.randbytes(32), dice.randbytes(seed * 20)
    key = Ed25519PrivateKey.from_private_bytes(secret)
    expected = bytearray(key.sign(message))
    expected[63] |= key.public_key().public_bytes_raw()[31] & 0x80

    assert edwards.sign_with_seed(secret, message) == bytes(expected)
    edwards.verify(x25519_public(edwards.private_key_of_seed(secret)), message, bytes(expected))


@pytest.mark.parametrize("multiple", range(8))
def test_a_base_key_is_accepted_exactly_where_libsodium_finds_a_point_of_prime_order(multiple: int) -> None:
    dice = random.Random(multiple)
    point = edwards.BASE * dice.randrange(1, edwards.Q) + _order_eight() * multiple
    y = int.from_bytes(point.compress(), "little") & (2**255 - 1)
    u = (1 + y) * pow(1 - y, -1, edwards.P) % edwards.P
    try:
        edwards.check_base_key(u.to_bytes(32, "little"))
        accepted = True
    except Refused:
        accepted = False

    assert accepted == crypto_core_ed25519_is_valid_point(y.to_bytes(32, "little")) == (multiple == 0)


def _order_eight() -> edwards.Point:
    """Return a point of order 8."""
    dice = random.Random(8)
    while True:
        point = edwards.Point.from_y(dice.randrange(edwards.P), 0)
        if point is not None and not (point * edwards.Q * 4).is_neutral():
            return point * edwards.Q


def test_the_two_halves_of_an_encapsulation_are_ml_kem_768() -> None:
    dice = random.Random(1)
    seed, randomness = dice.randbytes(64), dice.randbytes(32)
    pair = kem.braid_key_pair(seed)
    public_key, _ = ML_KEM_768.key_derive(seed)
    secret, ciphertext = ML_KEM_768._encaps_internal(public_key, randomness)

    first = kem.encapsulate_first(pair.header, randomness)
    second = kem.encapsulate_second(pair.header, pair.vector, randomness)

    assert (first[0], first[1] + second) == (secret, ciphertext)
    assert kem.decapsulate(pair, ciphertext) == secret


def test_round_three_kyber_opens_what_ml_kem_with_one_more_hash_encapsulated() -> None:
    dice = random.Random(2)
    seed = dice.randbytes(64)
    ciphertext, secret = kem.kyber1024_encapsulate(kem.kyber1024_public_key(seed), dice.randbytes(32))

    assert kem.kyber1024_decapsulate(seed, ciphertext) == secret


@pytest.mark.parametrize("size", [96, 160, 960, 1152])
def test_any_chunks_that_are_enough_give_the_blob_back(size: int) -> None:
    dice = random.Random(size)
    blob = dice.randbytes(size)
    encoder, decoder = erasure.Encoder(blob), erasure.Decoder(size)
    chunks = dice.sample([encoder.next_chunk() for _ in range(3 * size // 32)], size // 32)

    *early, last = [decoder.add(chunk) for chunk in chunks]

    assert early == [None] * len(early)
    assert last == blob


def test_two_is_a_generator_of_the_field() -> None:
    power, order = 2, 1
    while power != 1:
        power, order = erasure.multiply(power, 2), order + 1

    assert order == 2**16 - 1


# Against its own other side


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "loss", "bias"), [(1, 0, 50), (2, 30, 50), (3, 60, 50), (4, 30, 80), (5, 30, 20)])
def test_both_sides_of_the_post_quantum_ratchet_have_one_key_for_every_message(seed: int, loss: int, bias: int) -> None:
    dice = random.Random(seed)
    auth_key = dice.randbytes(32)
    sides = [PostQuantumRatchet(auth_key, is_a=True), PostQuantumRatchet(auth_key, is_a=False)]
    waiting: list[list[tuple[bytes, bytes]]] = [[], []]
    for _ in range(3_000):
        sender = 0 if dice.randrange(100) < bias else 1
        message = sides[sender].send(dice.randbytes)
        if dice.randrange(100) >= loss:
            waiting[1 - sender].append(message)
        for side, queue in zip(sides, waiting, strict=True):
            while queue and dice.randrange(100) < 60:
                data, key = queue.pop(min(len(queue) - 1, dice.randrange(5)))
                assert side.receive(data) == key

    assert min(side.braid.epoch for side in sides) > 5


# Against libsignal


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Oracle() as running:
        yield running


@dataclass(slots=True)
class Talk:
    """One side is the reference, the other libsignal; messages wait on their way."""

    dice: random.Random
    session: Session
    peer: OracleDevice
    address: OracleAddress
    to_peer: list[tuple[OracleMessage, bytes]] = field(default_factory=list)
    from_peer: list[tuple[OracleMessage, bytes]] = field(default_factory=list)
    read: int = 0

    def send(self, *, from_reference: bool, loss: int) -> None:
        """Encrypt a text; perhaps lose it."""
        text = self.dice.randbytes(self.dice.randrange(40))
        if from_reference:
            sent = (OracleMessage(*self.session.encrypt(text, self.dice.randbytes, 0)), text)
        else:
            sent = (self.peer.encrypt(self.address, text), text)
        if self.dice.randrange(100) >= loss:
            (self.to_peer if from_reference else self.from_peer).append(sent)

    def deliver(self) -> None:
        """Deliver some messages, not always in order."""
        for queue in (self.to_peer, self.from_peer):
            while queue and self.dice.randrange(100) < 60:
                message, text = queue.pop(min(len(queue) - 1, self.dice.randrange(5)))
                if queue is self.to_peer:
                    assert self.peer.decrypt(self.address, message) == text
                else:
                    assert self.session.decrypt(message.kind, message.body, self.dice.randbytes) == text
                self.read += 1


@pytest.mark.slow
@pytest.mark.parametrize("kem_choice", ["one_time", "last_resort"])
@pytest.mark.parametrize("initiates", [True, False])
def test_libsignal_takes_the_reference_for_itself(
    oracle: Oracle, *, initiates: bool, kem_choice: Literal["one_time", "last_resort"]
) -> None:
    talk = _talk(oracle, seed=1, release=CURRENT, initiates=initiates, kem_choice=kem_choice)

    _chatter(talk, 1_500, initiates=initiates)

    assert talk.read > 900
    pq = talk.session.ratchet.post_quantum
    assert pq is not None
    assert pq.braid.epoch > 8


@pytest.mark.parametrize("initiates", [True, False])
def test_an_older_libsignal_takes_the_reference_for_itself_in_version_three(oracle: Oracle, *, initiates: bool) -> None:
    talk = _talk(oracle, seed=2, release=X3DH_ERA, initiates=initiates, kem_choice=None)

    _chatter(talk, 200, initiates=initiates)

    assert talk.read > 120
    assert talk.session.ratchet.version == 3


def _chatter(talk: Talk, count: int, *, initiates: bool) -> None:
    for _ in range(count):
        from_reference = initiates if talk.read == 0 else talk.dice.random() < 0.5
        talk.send(from_reference=from_reference, loss=30)
        talk.deliver()


def _talk(
    oracle: Oracle, *, seed: int, release: str, initiates: bool, kem_choice: Literal["one_time", "last_resort"] | None
) -> Talk:
    dice = random.Random(seed)
    peer = OracleDevice.create(oracle, NAMES[1], release=release, registration_id=55)
    own = PreKeys(
        identity=_pair(dice),
        registration_id=77,
        signed={1: _pair(dice)},
        one_time={5: _pair(dice)},
        kem_seeds={9: dice.randbytes(64)},
        last_resort=frozenset({9} if kem_choice == "last_resort" else ()),
    )
    session = Session(own, Address(NAMES[0], 1), Address(NAMES[1], 1), allow_x3dh=release == X3DH_ERA)
    talk = Talk(dice, session, peer, OracleAddress(NAMES[0], 1))
    if initiates:
        bundle = _raw(peer.bundle(kem=kem_choice))
        encapsulation = None
        if bundle.kem_prekey is not None:
            encapsulation = Encapsulation(*kem.kyber1024_encapsulate(bundle.kem_prekey, dice.randbytes(32)))
        session.initiate(bundle, encapsulation, dice.randbytes, 0)
    else:
        peer.process_bundle(talk.address, _bundle(own, dice, with_kem=kem_choice is not None))
    return talk


def _pair(dice: random.Random) -> KeyPair:
    return KeyPair.from_private(clamp(dice.randbytes(32)))


def _bundle(own: PreKeys, dice: random.Random, *, with_kem: bool) -> OracleBundle:
    signed = serialise_key(own.signed[1].public)
    kem_key = b"\x08" + kem.kyber1024_public_key(own.kem_seeds[9])
    private = own.identity.private
    return OracleBundle(
        registration_id=own.registration_id,
        device_id=1,
        identity_key=serialise_key(own.identity.public),
        signed_prekey_id=1,
        signed_prekey=signed,
        signed_prekey_signature=edwards.sign(private, signed, dice.randbytes(64)),
        kem_prekey_id=9 if with_kem else None,
        kem_prekey=kem_key if with_kem else None,
        kem_prekey_signature=edwards.sign(private, kem_key, dice.randbytes(64)) if with_kem else None,
        one_time_prekey_id=5,
        one_time_prekey=serialise_key(own.one_time[5].public),
    )


def _raw(bundle: OracleBundle) -> Bundle:
    return Bundle(
        registration_id=bundle.registration_id,
        device_id=bundle.device_id,
        identity_key=raw_key(bundle.identity_key),
        signed_prekey_id=bundle.signed_prekey_id,
        signed_prekey=raw_key(bundle.signed_prekey),
        signed_prekey_signature=bundle.signed_prekey_signature,
        kem_prekey_id=bundle.kem_prekey_id,
        kem_prekey=None if bundle.kem_prekey is None else raw_kem(bundle.kem_prekey),
        kem_prekey_signature=bundle.kem_prekey_signature,
        one_time_prekey_id=bundle.one_time_prekey_id,
        one_time_prekey=None if bundle.one_time_prekey is None else raw_key(bundle.one_time_prekey),
    )
