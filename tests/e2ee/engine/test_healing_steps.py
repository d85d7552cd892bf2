"""One heal is one unit of work and one ratchet; and nobody is answered beyond measure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.engine import retries
from e2ee.events import MessageLost
from e2ee.frames import Deliver, UserBundles
from store.trouble import Pending
from tests.support.damage import act_now, copy_session, forged, forget_session, heals, hold_mail, signal_only, talked

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def test_an_answer_full_of_bundles_renews_a_session_once(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_only(world, alice, bob)
    bundles = world.relay._bundles

    def generous(*arguments: object) -> UserBundles:
        answer: UserBundles = bundles(*arguments)  # type: ignore[arg-type]
        return replace(answer, bundles=answer.bundles * 19)

    monkeypatch.setattr(world.relay, "_bundles", generous)
    before = copy_session(bob.store, "alice").archived_count
    alice.lose_connection()
    bob.push(Deliver((forged(alice, bob, 1),)))
    act_now(world)
    assert heals(bob) == 1
    assert copy_session(bob.store, "alice").archived_count == before + 1


def test_a_heal_that_fails_at_its_end_has_changed_nothing(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_only(world, alice, bob)
    before = copy_session(bob.store, "alice").to_bytes()
    bob.push(Deliver((forged(alice, bob, 1),)))

    def failing(*_arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Pending, "asked", failing)
        with pytest.raises(ZeroDivisionError):
            act_now(world)
    assert copy_session(bob.store, "alice").to_bytes() == before
    with bob.store.begin() as unit:
        assert unit.heals.load("alice", 1).delay_s == 0
        assert unit.heals.in_last_hour() == 0
        assert unit.envelopes.lanes() == []
    bob.lose_connection()
    bob.connect()
    world.settle()
    assert heals(bob) == 1


def test_whoever_asks_while_much_waits_for_it_is_answered_later(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    talked(world, alice, bob)
    monkeypatch.setattr(retries, "RESEND_SIZE_MAX", 4_000)
    forget_session(bob.store, "alice")
    for number in range(5):
        alice.send("bob", str(number) * 1_000)
    hold_mail(world, alice)
    act_now(world)
    assert bob.texts() == [str(number) * 1_000 for number in range(3)]
    world.settle()  # a minute later
    assert bob.texts() == [str(number) * 1_000 for number in range(5)]
    assert bob.of(MessageLost) == []
