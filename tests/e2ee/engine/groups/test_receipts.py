"""Who confirms messages to a group, and who does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind, Receipt, ReceiptState, encode_receipt
from e2ee.events import DeliveryState, GroupMessage
from e2ee.groups import Operation
from e2ee.options import ClientOptions
from tests.support.group_world import Team

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from tests.support.engines import Device, World

SILENT = ClientOptions(one_time_prekeys=3, receipts=False)
SILENT_IN_GROUPS = ClientOptions(one_time_prekeys=3, group_receipts=False)
ONLY_IN_GROUPS = ClientOptions(one_time_prekeys=3, receipts=False, group_receipts=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [(SILENT, False), (SILENT_IN_GROUPS, False), (ONLY_IN_GROUPS, True)],
    ids=["none at all", "none in groups", "only in groups"],
)
def test_receipts_in_groups_have_a_switch_of_their_own(world: World, options: ClientOptions, told: bool) -> None:  # noqa: FBT001
    alice, bob = world.device("alice"), world.device("bob", options=options)
    team = Team(world, alice, bob)
    world.settle()
    sent = team.send(alice, "hello")
    world.settle()
    bob.take(bob.engine.mark_read(bob.of(GroupMessage)))
    world.clock.now += 10
    world.settle()
    assert [DeliveryState.DELIVERED in alice.states(sent), DeliveryState.READ in alice.states(sent)] == [told, told]


def test_deliveries_are_confirmed_unasked_in_small_groups_only() -> None:
    options = ClientOptions()
    assert [options.confirms_in_group(members) for members in (32, 33)] == [True, False]
    assert ClientOptions(group_receipts=True).confirms_in_group(1_000)


def test_a_stranger_confirms_nothing_in_a_group(world: World, alice: Device, bob: Device) -> None:
    mallory = world.device("mallory")
    team = Team(world, alice, bob)
    world.settle()
    bob.lose_connection()
    sent = [team.send(alice, f"text {number}") for number in range(3)]
    world.settle()
    body = encode_receipt(Receipt(ReceiptState.READ, 1, team.group_id, ((1, 2**40),)))

    def lie(step: Step) -> None:
        step.queue(ContentKind.RECEIPT, "alice", body)

    mallory.take(mallory.engine._run(lie))
    world.settle()
    assert {state for one in sent for state in alice.states(one)} == {DeliveryState.SENT}


def test_who_has_left_still_confirms_what_was_sent_before(
    world: World, alice: Device, bob: Device, carol: Device
) -> None:
    team = Team(world, alice, bob, carol)
    world.settle()
    sent = team.send(alice, "before bob leaves")
    bob.lose_connection()
    world.settle()
    bob.connect()
    bob.take_push()
    team.change(bob, Operation.LEAVE)
    world.settle()
    assert alice.states(sent).count(DeliveryState.DELIVERED) == 2
