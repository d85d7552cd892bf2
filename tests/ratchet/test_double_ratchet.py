"""The double ratchet alone: seeds of both sides, DH steps, five chains, plan and commit."""

from __future__ import annotations

import pytest

from ratchet.chains import root_step
from ratchet.double_ratchet import DoubleRatchet, SendingHalf
from ratchet.errors import CorruptSnapshot, MessageKeyGone, NoActiveSession, NotAuthentic, TooFarAhead
from ratchet.keys import KeyPair
from ratchet.limits import COUNTER_MAX, RECEIVING_CHAINS_MAX, SELF_FORWARD_JUMP_MAX
from ratchet.packing import pack
from tests.support.conversation import seeded

ROOT, CHAIN = bytes(range(32)), bytes(range(32, 64))
PREKEY = KeyPair.generate(seeded("signed prekey"))


def pair_of_ratchets(forward_max: int = 100) -> tuple[DoubleRatchet, DoubleRatchet]:
    initiator = DoubleRatchet.initiate(
        ROOT, CHAIN, PREKEY.public, KeyPair.generate(seeded("first")), forward_max=forward_max
    )
    return initiator, DoubleRatchet.accept(ROOT, CHAIN, PREKEY, forward_max=forward_max)


def send(one: DoubleRatchet) -> tuple[bytes, int, bytes]:
    """What a message carries of this ratchet, and its seed."""
    seed, chain_key = one.plan_send()
    sent = one.sending.pair.public, one.sending.number, seed
    one.commit_send(chain_key)
    return sent


def receive(one: DoubleRatchet, sent: tuple[bytes, int, bytes], dice: str = "answer") -> None:
    """Take a message; its seed must be the sender's."""
    step = one.plan_receive(sent[0], sent[1])
    assert step.chain_step.seed == sent[2]
    one.commit_receive(step, one.answer(step, seeded(dice)))


def round_trips(one: DoubleRatchet, other: DoubleRatchet, count: int) -> None:
    for number in range(count):
        receive(other, send(one), f"other {number}")
        receive(one, send(other), f"one {number}")


def test_both_sides_derive_the_same_seeds_over_many_dh_steps() -> None:
    alice, bob = pair_of_ratchets()
    round_trips(alice, bob, 5)


def test_the_responder_could_send_at_once_on_the_handshakes_chain() -> None:
    alice, bob = pair_of_ratchets()
    receive(alice, send(bob))


def test_the_initiators_root_has_already_stepped() -> None:
    alice, _bob = pair_of_ratchets()
    expected = root_step(ROOT, PREKEY.agree(alice.sending.pair.public))
    assert (alice.sending.root_key, alice.sending.chain_key) == expected


def test_a_new_ratchet_key_of_the_peer_makes_a_new_one_of_ours_and_an_old_one_does_not() -> None:
    alice, bob = pair_of_ratchets()
    first, second = send(alice), send(alice)
    before = bob.sending.pair
    receive(bob, first)
    after = bob.sending.pair
    assert after is not before
    receive(bob, second)
    assert bob.sending.pair is after


def test_planning_changes_nothing() -> None:
    alice, bob = pair_of_ratchets()
    round_trips(alice, bob, 2)
    sent = send(alice)
    before = pack(bob.to_packed())
    step = bob.plan_receive(sent[0], sent[1])
    bob.answer(step, seeded("answer"))
    bob.plan_send()
    assert pack(bob.to_packed()) == before


def test_the_previous_counter_is_the_last_number_and_not_the_count() -> None:
    """`signal-protocol` 3.4: max(sending index - 1, 0), unlike the specification's PN."""
    alice, bob = pair_of_ratchets()
    receive(alice, send(bob), "alice 0")
    previous = [alice.sending.previous_number]
    for count in (1, 2, 4):
        for number in range(count):
            receive(bob, send(alice), f"bob {count}, {number}")
        receive(alice, send(bob), f"alice {count}")
        previous.append(alice.sending.previous_number)
    assert previous == [0, 0, 1, 3]


def test_late_messages_of_the_four_chains_before_the_newest_are_derived_on_demand() -> None:
    alice, bob = pair_of_ratchets()
    late = []
    for number in range(RECEIVING_CHAINS_MAX):
        receive(bob, send(alice), f"bob {number}")
        late.append(send(alice))
        receive(alice, send(bob), f"alice {number}")
    assert len(bob.receiving) == RECEIVING_CHAINS_MAX
    for sent in late:
        receive(bob, sent)


def test_the_sixth_chain_pushes_the_oldest_out_whose_messages_then_look_forged() -> None:
    alice, bob = pair_of_ratchets()
    receive(bob, send(alice))
    late = send(alice)
    receive(alice, send(bob))
    round_trips(alice, bob, RECEIVING_CHAINS_MAX)
    assert bob.plan_receive(late[0], late[1]).chain_step.seed != late[2]


def test_a_replay_is_gone_and_a_jump_is_bounded_in_known_and_in_new_chains() -> None:
    alice, bob = pair_of_ratchets(forward_max=10)
    sent = send(alice)
    with pytest.raises(TooFarAhead):
        bob.plan_receive(sent[0], 11)
    receive(bob, sent)
    with pytest.raises(MessageKeyGone):
        bob.plan_receive(sent[0], 0)
    bob.plan_receive(sent[0], 11)
    with pytest.raises(TooFarAhead):
        bob.plan_receive(sent[0], 12)


def test_nearness_is_told_without_deriving_in_known_and_in_new_chains() -> None:
    alice, bob = pair_of_ratchets(forward_max=10)
    sent = send(alice)
    bob.require_near(sent[0], 10)
    with pytest.raises(TooFarAhead):
        bob.require_near(sent[0], 11)
    receive(bob, sent)
    bob.require_near(sent[0], 11)
    bob.require_near(sent[0], 0)
    with pytest.raises(TooFarAhead):
        bob.require_near(sent[0], 12)


def test_a_lower_bound_for_new_chains_does_not_bind_known_ones() -> None:
    alice, bob = pair_of_ratchets(forward_max=10)
    sent = send(alice)
    bob.plan_receive(sent[0], 2, 2)
    with pytest.raises(TooFarAhead):
        bob.plan_receive(sent[0], 3, 2)
    receive(bob, sent)
    bob.plan_receive(sent[0], 9, 2)


def test_a_ratchet_key_of_low_order_is_not_authentic() -> None:
    _alice, bob = pair_of_ratchets()
    with pytest.raises(NotAuthentic):
        bob.plan_receive(b"\x05" + bytes(32), 0)


def test_a_sending_chain_ends_with_the_last_counter() -> None:
    alice, _bob = pair_of_ratchets()
    alice.sending.number = COUNTER_MAX
    send(alice)
    assert alice.sending.number == COUNTER_MAX + 1
    assert DoubleRatchet.from_packed(alice.to_packed()).to_packed() == alice.to_packed()
    with pytest.raises(NoActiveSession):
        alice.plan_send()


def test_a_ratchet_is_the_same_from_its_packed_form() -> None:
    alice, bob = pair_of_ratchets()
    round_trips(alice, bob, 3)
    send(alice)
    receive(bob, send(alice))
    again = DoubleRatchet.from_packed(bob.to_packed())
    assert again.to_packed() == bob.to_packed()
    receive(again, send(alice))


def corrupt(position: int, value: object) -> list[object]:
    alice, bob = pair_of_ratchets()
    round_trips(alice, bob, 2)
    packed = bob.to_packed()
    packed[position] = value
    return packed


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, bytes(31)),
        (1, bytes(32)),
        (2, bytes(33)),
        (3, None),
        (4, COUNTER_MAX + 2),
        (5, COUNTER_MAX + 1),
        (6, SELF_FORWARD_JUMP_MAX + 1),
        (7, None),
        (7, [[b"\x05" + bytes(32), bytes(32), 0, [], b""]] * 2),
        (7, [[bytes(32), bytes(32), 0, [], b""]]),
        (7, [[b"\x05" + bytes([i]) * 32, bytes(32), 0, [], b""] for i in range(RECEIVING_CHAINS_MAX + 1)]),
        (7, [[b"\x05" + bytes(32), bytes(32), 0, []]]),
    ],
    ids=range(12),
)
def test_any_other_packed_form_is_corrupt(position: int, value: object) -> None:
    with pytest.raises(CorruptSnapshot):
        DoubleRatchet.from_packed(corrupt(position, value))


def test_the_wrong_number_of_values_is_corrupt() -> None:
    for packed in (None, [], corrupt(0, bytes(32))[:-1]):
        with pytest.raises(CorruptSnapshot):
            DoubleRatchet.from_packed(packed)


def test_a_step_within_a_known_chain_has_no_answer() -> None:
    alice, bob = pair_of_ratchets()
    receive(bob, send(alice))
    step = bob.plan_receive(*send(alice)[:2])
    assert bob.answer(step, seeded("unused")) is None


def test_a_sending_half_names_what_it_holds() -> None:
    half = SendingHalf(ROOT, PREKEY, CHAIN, 3, 2)
    assert (half.root_key, half.pair, half.chain_key, half.number, half.previous_number) == (ROOT, PREKEY, CHAIN, 3, 2)
