"""SPQR's own tests: one key for each message on both ends, whatever is lost, late or out of order; versions."""

from __future__ import annotations

from random import Random

import pytest

from ratchet import MalformedMessage, MessageKeyGone, NotAuthentic, UnsupportedVersion
from ratchet.limits import CHUNK_INDEX_MAX, COUNTER_MAX
from ratchet.spqr.wire import CT1, CT1_ACK, CT2, EK, EK_CT1_ACK, HEADER, NONE, BraidMessage, encode_braid_message
from tests.conformance.braiding import End, Part, braid, exchange, exchange_until

# lib.rs: the ratchet as a whole.


def test_both_ends_have_the_same_key_for_every_message_and_no_two_messages_share_one() -> None:
    alice, bob = braid(seed=1)
    keys = set()
    for number in range(300):
        sender, recipient = (alice, bob) if number % 2 == 0 else (bob, alice)
        part = sender.send()
        assert recipient.receive(part.encoded) == part.key
        keys.add(part.key)

    assert len(keys) == 300
    assert alice.epoch >= 3


def test_a_burst_that_arrives_backwards_has_the_right_keys() -> None:
    alice, bob = braid(seed=2)
    burst = [alice.send() for _ in range(30)]

    assert [bob.receive(part.encoded) for part in reversed(burst)] == [part.key for part in reversed(burst)]


def test_one_way_traffic_completes_no_epoch() -> None:
    alice, bob = braid(seed=3)
    for _ in range(500):
        exchange(alice, bob)

    assert (alice.epoch, bob.epoch) == (0, 0)


def test_both_ends_survive_being_stored_after_every_message() -> None:
    alice, bob = braid(seed=4)
    for _ in range(100):
        exchange(alice, bob)
        alice.reload()
        exchange(bob, alice)
        bob.reload()

    assert alice.epoch >= 2


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_epochs_complete_under_loss_and_reordering_and_every_arriving_message_has_its_key(
    seed: int, loss: float
) -> None:
    alice, bob = braid(seed)
    dice = Random(f"{seed} {loss}")
    to_alice: list[Part] = []
    to_bob: list[Part] = []
    for _ in range(1_200):
        sender, queue = (alice, to_bob) if dice.random() < 0.5 else (bob, to_alice)
        part = sender.send()
        if dice.random() >= loss:
            queue.append(part)
        recipient, queue = (bob, to_bob) if dice.random() < 0.5 else (alice, to_alice)
        if len(queue) > 10:
            late = queue.pop(dice.randrange(10))
            assert recipient.receive(late.encoded) == late.key

    assert alice.epoch >= 2
    assert abs(alice.epoch - bob.epoch) <= 1


# test/onlineoffline, generic_dr, orchestrator: patterns of who is there.


@pytest.mark.parametrize("burst", [5, 50, 200])
def test_ends_that_are_online_by_turns_complete_epochs(burst: int) -> None:
    alice, bob = braid(seed=5)
    for _ in range(12):
        for sender, recipient in ((alice, bob), (bob, alice)):
            parts = [sender.send() for _ in range(burst)]  # while the recipient is away
            assert [recipient.receive(part.encoded) for part in parts] == [part.key for part in parts]

    assert alice.epoch >= 12 * min(burst, 40) // 100


def test_what_is_sent_to_an_end_that_stays_away_is_read_when_it_comes_back() -> None:
    alice, bob = braid(seed=6)
    exchange_until(alice, bob, lambda: alice.epoch == 1)
    waiting = [alice.send() for _ in range(1_000)]

    assert [bob.receive(part.encoded) for part in waiting] == [part.key for part in waiting]
    exchange_until(bob, alice, lambda: bob.epoch == 3)


def test_strict_turns_take_some_87_messages_for_an_epoch() -> None:
    alice, bob = braid(seed=7)

    messages = exchange_until(alice, bob, lambda: min(alice.epoch, bob.epoch) == 10, rounds_max=1_000)

    assert 80 <= messages / 10 <= 95


# Versions.


def test_a_message_without_a_post_quantum_part_is_refused() -> None:
    _alice, bob = braid(seed=8)

    with pytest.raises(UnsupportedVersion):
        bob.receive(b"")


@pytest.mark.parametrize("version", [0, 2, 3, 255])
@pytest.mark.parametrize("earlier", [0, 1, 10])
def test_a_part_of_another_version_is_refused_before_and_after_the_first(version: int, earlier: int) -> None:
    alice, bob = braid(seed=9)
    for _ in range(earlier):
        exchange(alice, bob)

    with pytest.raises(UnsupportedVersion):
        bob.receive(bytes([version]) + alice.send().encoded[1:])


def test_index_zero_which_would_mean_no_key_is_refused() -> None:
    _alice, bob = braid(seed=10)

    with pytest.raises(MalformedMessage, match="index 0"):
        bob.receive(encode_braid_message(1, 0, NONE, 0, b""))


# messaging_scka: the agreement itself.


def states_of_one_epoch(*, ct1_lost: range = range(0)) -> tuple[list[str], list[str]]:
    """The states that each end passes through in epoch 1, taking turns; some of the messages with ct1 are lost."""
    alice, bob = braid(seed=11)
    passed: tuple[list[str], list[str]] = ([alice.state], [bob.state])
    ct1_sent = 0
    for number in range(400):
        sender, recipient = (alice, bob) if number % 2 == 0 else (bob, alice)
        part = sender.send()
        lost = False
        if BraidMessage.parse(part.encoded).type == CT1:
            lost = ct1_sent in ct1_lost
            ct1_sent += 1
        if not lost:
            recipient.receive(part.encoded)
        for end, states in zip((alice, bob), passed, strict=True):
            if end.state != states[-1]:
                states.append(end.state)
        if alice.ratchet.state.epoch == bob.ratchet.state.epoch == 2:
            return passed
    raise AssertionError("the epoch was not completed")


def test_the_key_holder_passes_through_its_five_states() -> None:
    states, _ = states_of_one_epoch()

    holder = ["KeysUnsampled", "KeysSampled", "HeaderSent", "Ct1Received", "EkSentCt1Received", "NoHeaderReceived"]
    assert states == holder


def test_the_encapsulator_learns_that_ct1_arrived_before_it_has_the_whole_vector() -> None:
    _, states = states_of_one_epoch()

    assert states[:3] == ["NoHeaderReceived", "HeaderReceived", "Ct1Sampled"]
    assert states[3:] == ["Ct1Acknowledged", "Ct2Sampled", "KeysUnsampled"]


def test_the_encapsulator_has_the_whole_vector_first_where_ct1_is_lost() -> None:
    _, states = states_of_one_epoch(ct1_lost=range(1, 21))

    assert states[3:] == ["EkReceivedCt1Sampled", "Ct2Sampled", "KeysUnsampled"]


def test_roles_change_with_every_epoch() -> None:
    alice, bob = braid(seed=12)
    exchange_until(alice, bob, lambda: min(alice.ratchet.state.epoch, bob.ratchet.state.epoch) == 2)

    assert (alice.state, bob.state) == ("NoHeaderReceived", "KeysUnsampled")


def test_both_ends_derive_the_same_chains_of_every_epoch() -> None:
    alice, bob = braid(seed=13)
    for epoch in range(1, 6):
        exchange_until(alice, bob, lambda target=epoch: min(alice.epoch, bob.epoch) == target)  # type: ignore[misc]
        assert alice.ratchet.chains.next_root == bob.ratchet.chains.next_root


@pytest.mark.parametrize("kind", range(7))
def test_a_type_that_the_state_has_no_use_for_changes_nothing_and_still_has_its_key(kind: int) -> None:
    alice, bob = braid(seed=14)
    first = alice.send()
    index = BraidMessage.parse(first.encoded).index
    useless = encode_braid_message(1, index, kind, 0, b"" if kind in (NONE, CT1_ACK) else bytes(32))
    if kind == HEADER:
        useless = first.encoded

    assert bob.receive(useless) == first.key
    assert bob.state == "NoHeaderReceived"


def test_a_message_of_an_earlier_epoch_changes_nothing_and_still_has_its_key() -> None:
    alice, bob = braid(seed=15)
    late = alice.send()
    exchange_until(bob, alice, lambda: bob.ratchet.state.epoch == 2)
    state = bob.ratchet.state

    assert bob.receive(late.encoded) == late.key
    assert bob.ratchet.state is state


def test_a_message_of_a_later_epoch_is_malformed() -> None:
    _alice, bob = braid(seed=16)

    with pytest.raises(MalformedMessage):
        bob.receive(encode_braid_message(2, 1, NONE, 0, b""))


def test_a_header_with_a_wrong_tag_is_not_authentic() -> None:
    alice, bob = braid(seed=17)
    exchange(alice, bob)
    exchange(alice, bob)
    last = BraidMessage.parse(alice.send().encoded)
    forged = encode_braid_message(1, last.index, HEADER, last.chunk_index, bytes(32))

    with pytest.raises(NotAuthentic):
        bob.receive(forged)
    assert bob.state == "NoHeaderReceived"


def with_changed_chunk(part: Part) -> bytes:
    message = BraidMessage.parse(part.encoded)
    changed = bytes([message.chunk[0] ^ 1]) + message.chunk[1:]
    return encode_braid_message(message.epoch, message.index, message.type, message.chunk_index, changed)


def receive_changed_chunks(deceived: End, sender: End) -> None:
    """Take turns until an epoch must be complete; every chunk that reaches *deceived* is changed."""
    for _ in range(60):
        part = sender.send()
        has_chunk = BraidMessage.parse(part.encoded).chunk
        deceived.receive(with_changed_chunk(part) if has_chunk else part.encoded)
        sender.receive(deceived.send().encoded)


def test_a_changed_vector_is_found_by_the_hash_in_its_header() -> None:
    alice, bob = braid(seed=18)
    exchange_until(alice, bob, lambda: bob.state == "Ct1Sampled")

    with pytest.raises(MalformedMessage):
        receive_changed_chunks(bob, alice)
    assert bob.ratchet.state.epoch == 1


def test_a_changed_ciphertext_is_found_by_its_tag_before_the_secret_is_used() -> None:
    alice, bob = braid(seed=18)
    exchange_until(alice, bob, lambda: alice.state == "Ct1Received")

    with pytest.raises(NotAuthentic):
        receive_changed_chunks(alice, bob)
    assert alice.epoch == 0


def test_every_secret_of_the_handshake_leads_to_other_keys() -> None:
    first, second = braid(seed=19)[0].send(), braid(seed=20)[0].send()

    assert first.key != second.key


# encoding: chunks on the wire (the code itself: tests/ratchet/spqr/test_erasure.py).


@pytest.mark.parametrize("chunk_index", [0, 127, 128, CHUNK_INDEX_MAX])
def test_a_chunk_is_read_as_it_was_written(chunk_index: int) -> None:
    message = BraidMessage.parse(encode_braid_message(2**40, COUNTER_MAX, CT2, chunk_index, bytes(range(32))))

    assert (message.epoch, message.index, message.type) == (2**40, COUNTER_MAX, CT2)
    assert (message.chunk_index, message.chunk) == (chunk_index, bytes(range(32)))


@pytest.mark.parametrize(
    "encoded",
    [
        encode_braid_message(1, 1, HEADER, CHUNK_INDEX_MAX + 1, bytes(32)),
        encode_braid_message(1, 1, HEADER, 0, bytes(31)),
        encode_braid_message(1, 1, CT2 + 1, 0, bytes(32)),
        encode_braid_message(0, 1, NONE, 0, b""),
        encode_braid_message(1, COUNTER_MAX + 1, NONE, 0, b""),
        b"\x01",
        b"\x01\x01",
        b"\x01\x01\x01",
        b"\x01" + b"\xff" * 11,
    ],
)
def test_what_is_out_of_range_or_cut_is_malformed(encoded: bytes) -> None:
    with pytest.raises(MalformedMessage):
        BraidMessage.parse(encoded)


def test_bytes_after_the_part_are_ignored() -> None:
    alice, bob = braid(seed=21)
    part = alice.send()

    assert bob.receive(part.encoded + b"of a later version") == part.key


def test_a_stream_of_chunks_wraps_to_zero_after_the_last_index() -> None:
    alice, bob = braid(seed=22)
    exchange(alice, bob)
    alice.ratchet.next_chunk = CHUNK_INDEX_MAX

    indices = [BraidMessage.parse(alice.send().encoded).chunk_index for _ in range(3)]

    assert indices == [CHUNK_INDEX_MAX, 0, 1]


def test_every_stream_starts_at_chunk_zero_and_counts_up_but_the_vectors_which_runs_on() -> None:
    alice, bob = braid(seed=25)
    expected: dict[tuple[int, bool, int], int] = {}
    for number in range(400):
        sender, recipient = (alice, bob) if number % 2 == 0 else (bob, alice)
        part = sender.send()
        recipient.receive(part.encoded)
        message = BraidMessage.parse(part.encoded)
        if message.chunk:
            kind = EK if message.type == EK_CT1_ACK else message.type  # one stream under two types
            stream = (message.epoch, number % 2 == 0, kind)
            assert message.chunk_index == expected.get(stream, 0)
            expected[stream] = message.chunk_index + 1

    assert len(expected) >= 4 * 4


def test_a_stream_is_completed_by_its_last_chunks_before_and_first_ones_after_the_wrap() -> None:
    alice, bob = braid(seed=23)
    exchange(alice, bob)
    alice.ratchet.next_chunk = CHUNK_INDEX_MAX
    exchange(alice, bob)
    exchange(alice, bob)  # chunk 0 again: bob has it
    exchange(alice, bob)

    assert bob.state == "HeaderReceived"


def replayed(end: End, part: Part) -> None:
    with pytest.raises(MessageKeyGone):
        end.receive(part.encoded)


def test_a_part_is_taken_once() -> None:
    alice, bob = braid(seed=24)
    skipped, part = alice.send(), alice.send()
    bob.receive(part.encoded)
    replayed(bob, part)
    assert bob.receive(skipped.encoded) == skipped.key
    replayed(bob, skipped)
