"""Who confirms messages to a group, and who does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.events import DeliveryState, GroupMessage
from e2ee.options import ClientOptions
from tests.support.group_world import Team

if TYPE_CHECKING:
    from tests.support.engines import World

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
