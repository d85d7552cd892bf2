"""When our own sender key of a group is made, kept, replaced and erased."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups.keys import CHAIN_AGE_MAX_S, CHAIN_MESSAGES_MAX, current_key, membership_changed, own_key
from e2ee.engine.memory import Memory
from e2ee.engine.step import Step
from e2ee.groups import GroupKind, Membership, Operation, take_entry
from e2ee.ids import UserId
from e2ee.options import ClientOptions
from ratchet import IdentityKeyPair
from store import ClientStore, Distribution
from tests.support.engines import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store import Unit

ALICE, BOB, CAROL = UserId("alice"), UserId("bob"), UserId("carol")
TIME_MS = 1_700_000_000_000


class Desk:
    """Alice's store, and a group of hers that changes without any relay."""

    def __init__(self, store: ClientStore, clock: Clock, *, rotate_on_join: bool = False) -> None:
        self.store = store
        self.clock = clock
        self.options = ClientOptions(rotate_on_join=rotate_on_join)
        with store.begin() as unit:
            identity = unit.account.create(ALICE, 1).identity
        self.identities = {ALICE: identity, BOB: IdentityKeyPair.generate(), CAROL: IdentityKeyPair.generate()}
        genesis = Membership.genesis(
            identity, ALICE, name="team", kind=GroupKind.OPEN, time_ms=TIME_MS, entropy=os.urandom
        )
        self.group = Membership.start(take_entry(genesis))
        self.change(BOB, Operation.JOIN)

    def change(self, actor: UserId, operation: Operation, *, subject: UserId | None = None) -> None:
        whom = actor if subject is None else subject
        data = self.group.next_entry(
            self.identities[actor],
            actor,
            operation,
            subject=whom,
            subject_key=self.identities[whom].public_key,
            time_ms=TIME_MS,
            entropy=os.urandom,
        )
        entry = take_entry(data)
        after = self.group.apply(entry)
        with self.store.begin() as unit:
            membership_changed(self.step(unit), self.group, after, entry)
        self.group = after

    def step(self, unit: Unit) -> Step:
        return Step(unit, Memory(), self.options, os.urandom)

    def send(self) -> int:
        """Encrypt one message; return the id of the chain that it was encrypted with."""
        with self.store.begin() as unit:
            loaded = own_key(self.step(unit), self.group.group_id)
            loaded.key.encrypt(b"text")
            unit.sender_keys.save_own(loaded, messages=1)
            return loaded.key.chain_id

    def chain(self) -> int | None:
        with self.store.begin() as unit:
            loaded = current_key(self.step(unit), self.group.group_id)
            return None if loaded is None else loaded.key.chain_id

    def distribution_id(self) -> object:
        with self.store.begin() as unit:
            loaded = current_key(self.step(unit), self.group.group_id)
            return None if loaded is None else loaded.key.distribution_id

    def give_to_bob(self) -> None:
        chain = self.chain()
        assert chain is not None
        with self.store.begin() as unit:
            key = self.identities[BOB].public_key
            unit.distributions.put(Distribution(self.group.group_id, chain, BOB, 1, key, 7, "sent", ""))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[ClientStore]:
    with ClientStore.open(f"sqlite:///{tmp_path / 'alice.db'}", clock=clock) as opened:
        yield opened


@pytest.fixture
def desk(store: ClientStore, clock: Clock) -> Desk:
    return Desk(store, clock)


def test_one_chain_serves_one_message_after_the_other(desk: Desk) -> None:
    assert desk.send() == desk.send()


@pytest.mark.parametrize(("operation", "actor"), [(Operation.LEAVE, BOB), (Operation.REMOVE, ALICE)])
def test_whoever_goes_leaves_an_erased_chain_behind(desk: Desk, operation: Operation, actor: UserId) -> None:
    used = desk.send()
    desk.change(actor, operation, subject=BOB)
    assert desk.chain() not in (used, None)


def test_a_member_that_goes_on_under_another_identity_key_ends_the_chain(desk: Desk) -> None:
    used = desk.send()
    desk.identities[BOB] = IdentityKeyPair.generate()
    desk.change(ALICE, Operation.REKEY, subject=BOB)
    assert desk.chain() not in (used, None)


def test_a_member_that_joins_again_under_another_identity_key_ends_the_chain(desk: Desk) -> None:
    used = desk.send()
    desk.identities[BOB] = IdentityKeyPair.generate()
    desk.change(BOB, Operation.JOIN)
    assert desk.chain() not in (used, None)


def test_a_chain_that_was_given_to_somebody_ends_even_if_nothing_was_sent_with_it(desk: Desk) -> None:
    with desk.store.begin() as unit:
        made = own_key(desk.step(unit), desk.group.group_id).key.chain_id
    desk.give_to_bob()
    desk.change(BOB, Operation.LEAVE)
    assert desk.chain() != made


def test_a_chain_that_nobody_has_survives_everybody_leaving(desk: Desk) -> None:
    with desk.store.begin() as unit:
        made = own_key(desk.step(unit), desk.group.group_id).key.chain_id
    desk.change(BOB, Operation.LEAVE)
    assert desk.chain() == made


def test_a_new_chain_keeps_the_distribution_id_and_forgets_who_had_the_old_one(desk: Desk) -> None:
    used = desk.send()
    desk.give_to_bob()
    before = desk.distribution_id()
    desk.change(BOB, Operation.LEAVE)
    with desk.store.begin() as unit:
        assert unit.distributions.of(desk.group.group_id, used) == []
    assert desk.distribution_id() == before


def test_a_newcomer_and_a_change_of_roles_leave_the_chain_as_it_is(desk: Desk) -> None:
    used = desk.send()
    desk.change(CAROL, Operation.JOIN)
    desk.change(ALICE, Operation.PROMOTE, subject=BOB)
    assert desk.chain() == used


def test_a_newcomer_ends_the_chain_where_the_options_say_so(store: ClientStore, clock: Clock) -> None:
    desk = Desk(store, clock, rotate_on_join=True)
    used = desk.send()
    desk.change(CAROL, Operation.JOIN)
    assert desk.chain() not in (used, None)


def test_a_chain_is_replaced_when_it_is_old(desk: Desk) -> None:
    used = desk.send()
    desk.clock.now += CHAIN_AGE_MAX_S - 1
    assert desk.send() == used
    desk.clock.now += 1
    assert desk.send() != used


def test_a_chain_is_replaced_when_it_has_encrypted_enough(desk: Desk) -> None:
    used = desk.send()
    with desk.store.begin() as unit:
        loaded = own_key(desk.step(unit), desk.group.group_id)
        unit.sender_keys.save_own(loaded, messages=CHAIN_MESSAGES_MAX - 2)
    assert desk.send() == used
    assert desk.send() != used


def test_our_own_leaving_erases_our_key(desk: Desk) -> None:
    desk.send()
    desk.change(ALICE, Operation.LEAVE, subject=BOB)
    assert desk.chain() is None


def test_a_deleted_group_has_no_key(desk: Desk) -> None:
    desk.send()
    desk.change(ALICE, Operation.DELETE)
    assert desk.chain() is None
