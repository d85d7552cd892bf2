"""Policies for identity keys: what each says, one for each direction, functions of the application's own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from e2ee.engine import decisions
from e2ee.engine.identities import shows
from e2ee.errors import InvalidArgument, SeveralIdentities, UnknownIdentity, VerificationFailed
from e2ee.events import DeliveryState, DirectMessage, IdentityChanged
from e2ee.ids import UserId, service_id
from e2ee.options import ClientOptions
from e2ee.trust import (
    ADOPTED_RECEIVING,
    ADOPTED_SENDING,
    DISTRUSTED,
    HELD,
    UNDECIDED_KEYS_MAX,
    Decision,
    Direction,
    IdentityChange,
    IdentityPolicy,
    KnownKey,
    Policies,
    Policy,
    Verdict,
    decide,
    judge,
)
from ratchet import IdentityKeyPair, safety_number

if TYPE_CHECKING:
    from tests.support.engines import Device, World

KEY, OTHER = b"\x05" + bytes(32), b"\x05" + bytes(31) + b"\x01"
TOFU, VERIFIED, ALWAYS = IdentityPolicy.TRUST_ON_FIRST_USE, IdentityPolicy.VERIFIED_ONLY, IdentityPolicy.ALWAYS
SENDING, RECEIVING = Direction.SENDING, Direction.RECEIVING
SENT, DELIVERED, HELD_STATE = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.HELD


def known(*, current: bool = True, verified: bool = False, decision: str = "") -> KnownKey:
    return KnownKey(current, verified, decision)


def change(on_record: bytes | None) -> IdentityChange:
    return IdentityChange(user=UserId("bob"), on_record=on_record, verified=False, shown=OTHER, direction=SENDING)


@pytest.mark.parametrize(
    ("policy", "direction", "key", "verdict"),
    [
        (TOFU, SENDING, None, Verdict.NEW),
        (TOFU, SENDING, known(), Verdict.USE),
        (TOFU, SENDING, known(current=False), Verdict.HOLD_CHANGED),
        (TOFU, SENDING, known(decision=HELD), Verdict.HOLD_UNVERIFIED),
        (TOFU, SENDING, known(decision=HELD, verified=True), Verdict.USE),
        (TOFU, SENDING, known(decision=ADOPTED_RECEIVING), Verdict.HOLD_CHANGED),
        (TOFU, RECEIVING, known(decision=ADOPTED_RECEIVING), Verdict.USE),
        (TOFU, RECEIVING, known(decision=ADOPTED_SENDING), Verdict.HOLD_CHANGED),
        (VERIFIED, SENDING, known(), Verdict.HOLD_UNVERIFIED),
        (VERIFIED, SENDING, known(verified=True), Verdict.USE),
        (VERIFIED, SENDING, known(current=False, verified=True), Verdict.HOLD_CHANGED),
        (ALWAYS, SENDING, known(decision=ADOPTED_RECEIVING), Verdict.USE),
        (ALWAYS, SENDING, known(current=False), Verdict.NEW),
        (ALWAYS, SENDING, known(current=False, decision=DISTRUSTED), Verdict.HOLD_CHANGED),
    ],
)
def test_each_policy_judges_a_key_by_what_is_recorded_of_it(
    policy: Policy, direction: Direction, key: KnownKey | None, verdict: Verdict
) -> None:
    assert judge(policy, direction, key) is verdict


@pytest.mark.parametrize(
    ("policy", "on_record", "decision"),
    [
        (TOFU, None, Decision.TRUST),
        (TOFU, KEY, Decision.HOLD),
        (VERIFIED, None, Decision.HOLD),
        (VERIFIED, KEY, Decision.HOLD),
        (ALWAYS, None, Decision.TRUST),
        (ALWAYS, KEY, Decision.TRUST),
        (lambda _change: Decision.DISTRUST, KEY, Decision.DISTRUST),
        (lambda _change: 1 // 0, KEY, Decision.HOLD),
        (lambda _change: True, KEY, Decision.HOLD),
    ],
)
def test_each_policy_decides_about_a_new_key_and_what_fails_holds(
    policy: Policy, on_record: bytes | None, decision: Decision
) -> None:
    assert decide(policy, change(on_record)) is decision


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        ClientOptions(identities="always")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        Policies(sending=None)  # type: ignore[arg-type]


def options(policy: Policy | Policies) -> ClientOptions:
    return ClientOptions(one_time_prekeys=3, identities=policy)


def new_identity(world: World, old: Device) -> Device:
    """The user starts afresh, and the relay lets the new key have the name."""
    old.lose_connection()
    world.every.remove(old)
    old.engine.close()
    world.clock.now += 1
    world.relay.forget_user(old.name[0])
    return world.device(old.name[0])


def number(one: Device, other: Device) -> str:
    return safety_number(
        service_id(UserId(one.name[0])).bytes, one.key, service_id(UserId(other.name[0])).bytes, other.key
    ).digits


def test_a_change_tells_both_safety_numbers(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    world.settle()
    before = number(alice, bob)
    bob = new_identity(world, bob)
    bob.send("alice", "it is me")
    world.settle()
    (event,) = alice.of(IdentityChanged)
    assert (event.on_record_number, event.shown_number) == (before, number(bob, alice))


def test_a_policy_for_receiving_only_takes_what_comes_and_holds_what_goes(world: World, bob: Device) -> None:
    alice = world.device("alice", options=options(Policies(sending=TOFU, receiving=ALWAYS)))
    alice.send("bob", "hello")
    world.settle()
    bob = new_identity(world, bob)
    bob.send("alice", "from the new one")
    message_id = alice.send("bob", "to the new one")
    world.settle()
    assert alice.texts() == ["from the new one"]
    assert bob.texts() == []
    assert alice.states(message_id) == [HELD_STATE]
    alice.trust("bob")
    world.settle()
    assert bob.texts() == ["to the new one"]


def test_a_policy_for_sending_only_sends_and_holds_what_comes(world: World, bob: Device) -> None:
    alice = world.device("alice", options=options(Policies(sending=ALWAYS, receiving=TOFU)))
    alice.send("bob", "hello")
    world.settle()
    bob = new_identity(world, bob)
    alice.send("bob", "to the new one")
    bob.send("alice", "from the new one")
    world.settle()
    assert bob.texts() == ["to the new one"]
    assert alice.of(DirectMessage) == []
    alice.trust("bob", bob.key)
    world.settle()
    assert alice.texts() == ["from the new one"]


def test_a_function_is_asked_once_for_each_key_and_what_it_trusts_goes_on(world: World, bob: Device) -> None:
    asked: list[IdentityChange] = []

    def policy(found: IdentityChange) -> Decision:
        asked.append(found)
        return Decision.TRUST

    alice = world.device("alice", options=options(policy))
    alice.send("bob", "hello")
    world.settle()
    old = bob.key
    bob = new_identity(world, bob)
    for text in ("one", "two"):
        bob.send("alice", text)
        alice.send("bob", text)
        world.settle()
    assert (alice.texts(), bob.texts()) == (["one", "two"], ["one", "two"])
    assert [(one.on_record, one.shown) for one in asked] == [(None, old), (old, bob.key)]


def test_a_function_that_holds_a_stranger_lets_nothing_through_until_the_decision(world: World, bob: Device) -> None:
    alice = world.device("alice", options=options(lambda _change: Decision.HOLD))
    message_id = alice.send("bob", "are you Bob?")
    bob.send("alice", "I am Bob")
    world.settle()
    assert (alice.texts(), bob.texts()) == ([], [])
    assert alice.states(message_id) == [HELD_STATE]
    alice.restart()
    alice.connect()
    world.settle()
    assert (alice.texts(), bob.texts()) == ([], [])
    alice.trust("bob")
    world.settle()
    assert (alice.texts(), bob.texts()) == (["I am Bob"], ["are you Bob?"])


def test_a_function_that_distrusts_a_change_stays_with_the_key_on_record(world: World, bob: Device) -> None:
    alice = world.device("alice", options=options(lambda one: Decision.DISTRUST if one.on_record else Decision.TRUST))
    alice.send("bob", "hello")
    world.settle()
    impostor = world.device("impostor")
    assert alice.do(lambda step: shows(step, "bob", impostor.key, RECEIVING)) is Verdict.HOLD_CHANGED
    alice.send("bob", "still you")
    world.settle()
    assert bob.texts() == ["hello", "still you"]
    assert [event.adopted for event in alice.of(IdentityChanged)] == [False]


def test_keys_that_somebody_makes_up_fill_neither_inbox_nor_history(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    world.settle()
    for _ in range(UNDECIDED_KEYS_MAX + 5):
        made_up = IdentityKeyPair.generate().public_key
        assert alice.do(partial(shows, user_id="bob", shown=made_up, direction=RECEIVING)) is Verdict.HOLD_CHANGED
    assert len(alice.of(IdentityChanged)) == UNDECIDED_KEYS_MAX
    assert len(alice.do(lambda step: decisions.history(step, "bob"))) == UNDECIDED_KEYS_MAX + 1
    assert bob.texts() == ["hello"]


def test_what_was_under_way_to_the_old_identity_reaches_the_new_one_once_it_is_trusted(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "hello")
    world.settle()
    alice.send("bob", "under way")
    alice.lose_connection()  # nobody knows what became of it
    bob = new_identity(world, bob)
    alice.connect()
    world.settle()
    assert bob.texts() == []
    alice.trust("bob")
    world.settle()
    assert bob.texts() == ["under way"]
    assert world.keys_used_twice() == []


def test_a_peer_who_starts_afresh_again_and_again_works_without_help_under_the_policy_always(
    world: World, bob: Device
) -> None:
    alice = world.device("alice", options=options(ALWAYS))
    for round_ in range(4):
        alice.send("bob", f"to {round_}")
        bob.send("alice", f"from {round_}")
        world.settle()
        assert bob.texts()[-1] == f"to {round_}"
        assert alice.texts()[-1] == f"from {round_}"
        bob = new_identity(world, bob)
    assert len(alice.of(IdentityChanged)) == 3


# Verification.


def test_digits_read_out_verify_the_key_on_record_and_let_go_what_was_held(world: World, bob: Device) -> None:
    alice = world.device("alice", options=options(VERIFIED))
    alice.send("bob", "are you Bob?")
    world.settle()
    read_out = " ".join(number(bob, alice)[start : start + 5] for start in range(0, 60, 5))
    assert alice.do(lambda step: decisions.verify(step, "bob", read_out, None)) == bob.key
    world.settle()
    assert bob.texts() == ["are you Bob?"]
    (identity,) = alice.do(lambda step: decisions.history(step, "bob"))
    assert (identity.on_record, identity.verification, identity.decision) == (True, "safety number", "trusted")


def test_a_scanned_number_verifies_a_changed_key_and_retires_the_old(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    world.settle()
    bob = new_identity(world, bob)
    bob.send("alice", "it is me")
    alice.send("bob", "is it you?")
    world.settle()
    shown_there = bob.do(lambda step: decisions.number_of(step, "alice", alice.key)).scannable
    assert alice.do(lambda step: decisions.verify(step, "bob", None, shown_there)) == bob.key
    world.settle()
    assert (alice.texts(), bob.texts()) == (["it is me"], ["is it you?"])
    old, new = alice.do(lambda step: decisions.history(step, "bob"))
    assert (old.on_record, old.decision) == (False, "replaced")
    assert (new.on_record, new.verification) == (True, "scanned")


def test_a_number_of_other_keys_verifies_nothing_and_says_whose_key_was_meant(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "hello")
    world.settle()
    wrong = number(alice, world.device("carol"))
    with pytest.raises(VerificationFailed) as failed:
        alice.do(lambda step: decisions.verify(step, "bob", wrong, None))
    assert (failed.value.user, failed.value.identities) == ("bob", (bob.key,))
    (identity,) = alice.do(lambda step: decisions.history(step, "bob"))
    assert identity.verification == ""
    alice.send("bob", "goes on")
    world.settle()
    assert bob.texts() == ["hello", "goes on"]


@pytest.mark.parametrize(
    ("digits", "scanned"), [(None, None), ("1" * 60, b""), ("1" * 59, None), ("\u0661" * 60, None), (None, b"\x00")]
)
def test_what_is_no_safety_number_is_the_callers_to_correct(
    world: World, alice: Device, bob: Device, digits: str | None, scanned: bytes | None
) -> None:
    alice.send("bob", "hello")
    world.settle()
    assert bob.texts() == ["hello"]
    with pytest.raises(InvalidArgument):
        alice.do(lambda step: decisions.verify(step, "bob", digits, scanned))


def test_a_stranger_has_no_safety_number(alice: Device) -> None:
    for work in (
        lambda: alice.do(lambda step: decisions.number_of(step, "bob", None)),
        lambda: alice.do(lambda step: decisions.verify(step, "bob", "1" * 60, None)),
        lambda: alice.trust("bob"),
        lambda: alice.distrust("bob"),
    ):
        with pytest.raises(UnknownIdentity):
            work()


def test_who_means_one_of_several_keys_has_to_name_it(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    world.settle()
    keys = {world.device(name).key for name in ("mallory", "eve")}
    for key in keys:
        alice.do(partial(shows, user_id="bob", shown=key, direction=RECEIVING))
    with pytest.raises(SeveralIdentities) as several:
        alice.trust("bob")
    assert set(several.value.identities) == keys
    with pytest.raises(UnknownIdentity, match="on record"):
        alice.distrust("bob", bob.key)


# Blocking.


def test_what_a_blocked_user_sends_is_taken_and_dropped_and_the_sender_learns_nothing(
    world: World, alice: Device, bob: Device
) -> None:
    alice.do(lambda step: decisions.block(step, "bob"))
    message_id = bob.send("alice", "let me in")
    world.settle()
    assert alice.texts() == []
    assert world.relay.boxes[alice.name].mail == []
    assert bob.states(message_id) == [SENT]
    alice.do(lambda step: decisions.unblock(step, "bob"))
    bob.send("alice", "thank you")
    world.settle()
    assert alice.texts() == ["thank you"]


def test_nobody_blocks_oneself(alice: Device) -> None:
    with pytest.raises(InvalidArgument):
        alice.do(lambda step: decisions.block(step, "alice"))
    assert alice.do(decisions.blocked) == frozenset()
