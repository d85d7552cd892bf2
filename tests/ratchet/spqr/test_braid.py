"""The braid's eleven states, one by one, and the way through them with every loss that matters."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from ratchet.errors import MalformedMessage, NotAuthentic
from ratchet.primitives import hkdf_sha256, hmac_sha256
from ratchet.spqr import wire
from ratchet.spqr.braid import (
    Authenticator,
    BraidState,
    Ct1Acknowledged,
    Ct1Received,
    Ct1Sampled,
    Ct2Sampled,
    EkReceivedCt1Sampled,
    EkSentCt1Received,
    HeaderReceived,
    HeaderSent,
    KeysSampled,
    KeysUnsampled,
    NoHeaderReceived,
    first_state,
)
from ratchet.spqr.erasure import encode_chunk
from ratchet.spqr.wire import BraidMessage
from tests.support.conversation import seeded

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = bytes(range(32))


class End:
    """One end of a braid, with the chunk counter that the ratchet keeps for it, and its epoch secrets."""

    def __init__(self, *, initiator: bool) -> None:
        self.state: BraidState = first_state(KEY, initiator=initiator)
        self.dice = seeded(f"end {initiator}")
        self.next_chunk = 0
        self.secrets: dict[int, bytes] = {}

    def sends(self) -> BraidMessage:
        before = self.state
        self.state, secret = before.sample(self.dice)
        if secret is not None:
            self.secrets[before.epoch] = secret
        if self.state is not before:
            self.next_chunk = 0
        blob = self.state.blob
        chunk = encode_chunk(blob, self.next_chunk) if blob else b""
        message = BraidMessage(self.state.epoch, 1, self.state.TYPE, self.next_chunk if blob else 0, chunk)
        self.next_chunk += 1
        return message

    def receives(self, message: BraidMessage) -> None:
        before = self.state
        if message.epoch < before.epoch:
            return
        if message.epoch > before.epoch:
            assert isinstance(before, Ct2Sampled)
            self.state = before.next_epoch()
        else:
            self.state, secret = before.receive(message)
            if secret is not None:
                self.secrets[before.epoch] = secret
        if self.state.blob is not before.blob:
            self.next_chunk = 0


def run(rounds: int, lost: Iterable[bool]) -> tuple[End, End, list[str]]:
    """Ping-pong with losses; every state that either end was in, in order."""
    alice, bob = End(initiator=True), End(initiator=False)
    losses = iter(lost)
    seen: list[str] = []
    for _ in range(rounds):
        for sender, recipient in ((alice, bob), (bob, alice)):
            message = sender.sends()
            if not next(losses, False):
                recipient.receives(message)
            seen += [type(sender.state).__name__, type(recipient.state).__name__]
    return alice, bob, seen


STATES = {state.__name__ for state in BraidState.__subclasses__() if not state.__name__.startswith("_")} | {
    "Ct1Sampled",
    "Ct1Acknowledged",
}


def test_there_are_eleven_states() -> None:
    assert len(STATES) == 11


def test_an_epoch_takes_87_messages_of_strict_ping_pong() -> None:
    """`signal-protocol` 4.7."""
    alice, bob, _seen = run(44, [])
    assert set(alice.secrets) == set(bob.secrets) == {1}


@pytest.mark.parametrize("seed", range(6))
def test_both_ends_agree_on_every_secret_whatever_is_lost(seed: int) -> None:
    dice = Random(seed)
    alice, bob, seen = run(400, (dice.random() < 0.3 for _ in range(800)))
    common = set(alice.secrets) & set(bob.secrets)
    assert len(common) >= 4
    assert all(alice.secrets[epoch] == bob.secrets[epoch] for epoch in common)
    assert len(set(alice.secrets.values())) == len(alice.secrets)
    assert len(set(seen)) >= 10


def test_roles_swap_with_every_epoch() -> None:
    alice, bob = End(initiator=True), End(initiator=False)
    holders = []
    for _ in range(140):
        for sender, recipient in ((alice, bob), (bob, alice)):
            before = type(sender.state)
            recipient.receives(sender.sends())
            if before is KeysUnsampled:
                holders.append("alice" if sender is alice else "bob")
    assert holders == ["alice", "bob", "alice", "bob"]


def at(kind: type[BraidState], rounds: int = 120) -> End:
    """An end in state *kind*, reached by honest messages, some of them lost."""
    for seed in range(40):
        dice = Random(seed)
        alice, bob = End(initiator=True), End(initiator=False)
        for _ in range(rounds):
            for sender, recipient in ((alice, bob), (bob, alice)):
                message = sender.sends()
                for end in (alice, bob):
                    if type(end.state) is kind:
                        return end
                if dice.random() > 0.3 * (seed > 0):
                    recipient.receives(message)
                for end in (alice, bob):
                    if type(end.state) is kind:
                        return end
    raise AssertionError(kind)


ALL_STATES: list[type[BraidState]] = [
    KeysUnsampled,
    KeysSampled,
    HeaderSent,
    Ct1Received,
    EkSentCt1Received,
    NoHeaderReceived,
    HeaderReceived,
    Ct1Sampled,
    EkReceivedCt1Sampled,
    Ct1Acknowledged,
    Ct2Sampled,
]
USES: dict[type[BraidState], set[int]] = {
    KeysUnsampled: set(),
    KeysSampled: {wire.CT1},
    HeaderSent: {wire.CT1},
    Ct1Received: {wire.CT2},
    EkSentCt1Received: {wire.CT2},
    NoHeaderReceived: {wire.HEADER},
    HeaderReceived: set(),
    Ct1Sampled: {wire.EK, wire.EK_CT1_ACK},
    EkReceivedCt1Sampled: {wire.CT1_ACK, wire.EK_CT1_ACK},
    Ct1Acknowledged: {wire.EK, wire.EK_CT1_ACK},
    Ct2Sampled: set(),
}
SENDS: dict[type[BraidState], int] = {
    KeysUnsampled: wire.NONE,
    KeysSampled: wire.HEADER,
    HeaderSent: wire.EK,
    Ct1Received: wire.EK_CT1_ACK,
    EkSentCt1Received: wire.CT1_ACK,
    NoHeaderReceived: wire.NONE,
    HeaderReceived: wire.NONE,
    Ct1Sampled: wire.CT1,
    EkReceivedCt1Sampled: wire.CT1,
    Ct1Acknowledged: wire.NONE,
    Ct2Sampled: wire.CT2,
}
DRAWS = {KeysUnsampled: 64, HeaderReceived: 32}


@pytest.mark.parametrize("kind", ALL_STATES)
def test_a_state_passes_over_messages_that_it_has_no_use_for(kind: type[BraidState]) -> None:
    state = at(kind).state
    for type_number in range(7):
        if type_number not in USES[kind]:
            following, secret = state.receive(BraidMessage(state.epoch, 1, type_number, 50_000, bytes(32)))
            assert following is state
            assert secret is None


@pytest.mark.parametrize("kind", ALL_STATES)
def test_a_state_sends_the_type_of_its_own(kind: type[BraidState]) -> None:
    state = at(kind).state
    assert SENDS[kind] == state.TYPE
    assert (state.blob == b"") == (SENDS[kind] in (wire.NONE, wire.CT1_ACK))


@pytest.mark.parametrize("kind", ALL_STATES)
def test_two_states_draw_when_they_send_and_the_others_do_not(kind: type[BraidState]) -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    state = at(kind).state
    following, secret = state.sample(entropy)
    assert drawn == ([DRAWS[kind]] if kind in DRAWS else [])
    assert (following is state) == (kind not in DRAWS)
    assert (secret is not None) == (kind is HeaderReceived)


@pytest.mark.parametrize("kind", ALL_STATES)
def test_whether_an_epochs_secret_has_been_emitted_is_told(kind: type[BraidState]) -> None:
    end = at(kind)
    assert (end.state.epoch in end.secrets) == kind.SECRET_EMITTED


@pytest.mark.parametrize("kind", ALL_STATES)
def test_no_state_prints_its_secrets(kind: type[BraidState]) -> None:
    state = at(kind).state
    text = repr(state)
    secrets = [state.authenticator.root, state.authenticator.mac]
    secrets += [getattr(state, name) for name in ("seed", "randomness") if hasattr(state, name)]
    assert not [secret for secret in secrets if repr(secret)[2:-1] in text]


def test_the_authenticator_is_derived_as_the_protocol_says() -> None:
    label = b"Signal_PQCKA_V1_MLKEM768:Authenticator Update"
    first = hkdf_sha256(None, bytes(32) + KEY, label + (1).to_bytes(8, "big"), 64)
    started = Authenticator.start(KEY)
    assert (started.root, started.mac) == (first[:32], first[32:])
    second = hkdf_sha256(None, first[:32] + b"secret", label + (7).to_bytes(8, "big"), 64)
    updated = started.update(7, b"secret")
    assert (updated.root, updated.mac) == (second[:32], second[32:])


def test_the_tags_are_made_as_the_protocol_says() -> None:
    started = Authenticator.start(KEY)
    prefix = b"Signal_PQCKA_V1_MLKEM768:"
    epoch = (3).to_bytes(8, "big")
    assert started.header_tag(3, b"h") == hmac_sha256(started.mac, prefix + b"ekheader" + epoch + b"h")
    assert started.ciphertext_tag(3, b"c") == hmac_sha256(started.mac, prefix + b"ciphertext" + epoch + b"c")


def feed(state: BraidState, type_number: int, blob: bytes, first: int = 0) -> BraidState:
    """Chunks of *blob* until the state has had enough."""
    for index in range(first, first + len(blob) // 32):
        state, _secret = state.receive(BraidMessage(state.epoch, 1, type_number, index, encode_chunk(blob, index)))
    return state


def test_a_header_with_a_wrong_tag_is_not_authentic() -> None:
    with pytest.raises(NotAuthentic):
        feed(first_state(KEY, initiator=False), wire.HEADER, bytes(96))


def test_a_header_made_under_another_key_is_not_authentic() -> None:
    other, _secret = first_state(bytes(32), initiator=True).sample(seeded(1))
    with pytest.raises(NotAuthentic):
        feed(first_state(KEY, initiator=False), wire.HEADER, other.blob)


def test_a_vector_that_is_not_the_headers_is_refused_in_both_states_that_collect_it() -> None:
    for kind in (Ct1Sampled, Ct1Acknowledged):
        with pytest.raises((NotAuthentic, MalformedMessage)):
            feed(at(kind).state, wire.EK, bytes(1152), first=0)


def test_a_ciphertext_with_a_wrong_tag_is_not_authentic() -> None:
    with pytest.raises(NotAuthentic):
        feed(at(Ct1Received).state, wire.CT2, bytes(160))


def test_a_chunk_that_came_before_changes_nothing() -> None:
    end = at(HeaderSent)
    assert isinstance(end.state, HeaderSent)
    index, chunk = next(iter(end.state.ciphertext_1.chunks.items()))
    following, _secret = end.state.receive(BraidMessage(end.state.epoch, 1, wire.CT1, index, chunk))
    assert isinstance(following, HeaderSent)
    assert following.ciphertext_1.chunks == end.state.ciphertext_1.chunks


def test_an_acknowledgement_before_the_vector_is_complete_ends_the_stream_of_ct1() -> None:
    end = at(Ct1Sampled)
    following, _secret = end.state.receive(BraidMessage(end.state.epoch, 1, wire.EK_CT1_ACK, 60_000, bytes(32)))
    assert isinstance(following, Ct1Acknowledged)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        pytest.param([wire.EK] * 36, EkReceivedCt1Sampled, id="never acknowledged"),
        pytest.param([wire.EK_CT1_ACK] * 36, Ct2Sampled, id="acknowledged from the start"),
        pytest.param([wire.EK] * 35 + [wire.EK_CT1_ACK], Ct2Sampled, id="acknowledged by the chunk that completes it"),
    ],
)
def test_a_vector_that_becomes_complete_leads_on_by_its_acknowledgement(
    types: list[int], expected: type[BraidState]
) -> None:
    alice, bob = End(initiator=True), End(initiator=False)
    while not isinstance(bob.state, Ct1Sampled):
        bob.receives(alice.sends())
        alice.receives(bob.sends())
    assert isinstance(alice.state, HeaderSent | KeysSampled)
    while not isinstance(alice.state, HeaderSent):
        alice.receives(bob.sends())
    state: BraidState = bob.state
    for index, type_number in enumerate(types):
        chunk = encode_chunk(alice.state.vector, index)
        state, _secret = state.receive(BraidMessage(state.epoch, 1, type_number, index, chunk))
    assert type(state) is expected


def test_each_acknowledgement_ends_the_stream_of_ct1_once_the_vector_is_complete() -> None:
    state = at(EkReceivedCt1Sampled).state
    for type_number in (wire.CT1_ACK, wire.EK_CT1_ACK):
        following, _secret = state.receive(BraidMessage(state.epoch, 1, type_number, 0, b""))
        assert isinstance(following, Ct2Sampled)
