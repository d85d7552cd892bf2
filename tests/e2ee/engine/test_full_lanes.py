"""A lane in which much waits: a step reads what it is about, and not what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind, Receipt, ReceiptState, encode_receipt
from e2ee.engine.receipts import DELIVERED_KEPT_MAX
from e2ee.engine.step import lane_of
from e2ee.events import DeliveryState
from store.database import Statement
from store.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.engines import Device, World

SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
FORGET_NUMBERS = Statement("outgoing", "UPDATE outgoing SET conversation_number = NULL")
WAITING = 40  # messages


@pytest.fixture
def sent(world: World, alice: Device, bob: Device) -> list[str]:
    """Messages of Alice that the relay has and Bob has not; their ids."""
    bob.lose_connection()
    ids = [alice.send("bob", f"text {number}") for number in range(WAITING)]
    world.settle()
    alice.read_inbox()
    return list(ids)


@pytest.fixture
def contents_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many contents of the outbox were opened since it was last asked."""
    opened = 0
    genuine = Vault.open

    def watched(self: Vault, table: str, row: bytes, version: int, value: object) -> bytes:
        nonlocal opened
        opened += table == "outgoing"
        return genuine(self, table, row, version, value)

    def since() -> int:
        nonlocal opened
        last, opened = opened, 0
        return last

    monkeypatch.setattr(Vault, "open", watched)
    return since


def tell(world: World, bob: Device, *ranges: tuple[int, int], state: ReceiptState = ReceiptState.DELIVERED) -> None:
    """Let Bob's device say that it has messages, whether it has or not, without taking its mail."""
    body = encode_receipt(Receipt(state, 1, None, ranges))
    bob.connect()
    bob.do(lambda step: step.queue(ContentKind.RECEIPT, "alice", body))
    while bob.outgoing or bob.incoming:
        (bob.relay_takes_one if bob.outgoing else bob.take_reply)()
    bob.lose_connection()
    world.settle()


def states(alice: Device, sent: list[str]) -> dict[int, list[DeliveryState]]:
    """The states told of each message since it was sent, by its number; those without any are left out."""
    told = {number: alice.states(message_id)[1:] for number, message_id in enumerate(sent, 1)}  # type: ignore[arg-type]
    return {number: of_it for number, of_it in told.items() if of_it}


def test_a_receipt_opens_the_contents_that_it_names(
    world: World, alice: Device, bob: Device, sent: list[str], contents_read: Callable[[], int]
) -> None:
    contents_read()
    tell(world, bob, (7, 7), (9, 10))
    assert contents_read() <= 2 * 3 + 3  # Alice's three, and what Bob sends and Alice confirms
    assert states(alice, sent) == {7: [DELIVERED], 9: [DELIVERED], 10: [DELIVERED]}


def test_a_receipt_in_any_order_and_with_overlaps_means_its_numbers(
    world: World, alice: Device, bob: Device, sent: list[str]
) -> None:
    tell(world, bob, (9, 12), (3, 3), (11, 14), (3, 4), (39, 4_000_000_000))
    assert sorted(states(alice, sent)) == [3, 4, 9, 10, 11, 12, 13, 14, 39, 40]


def test_a_receipt_of_everything_is_taken_page_by_page(
    world: World, alice: Device, bob: Device, sent: list[str]
) -> None:
    more = [*sent, *(alice.send("bob", "more") for _ in range(100))]
    world.settle()
    tell(world, bob, (1, 4_000_000_000))
    assert states(alice, more) == {number: [DELIVERED] for number in range(1, 141)}
    tell(world, bob, (2, 139), state=ReceiptState.READ)
    assert [number for number, of_it in states(alice, more).items() if of_it == [DELIVERED, READ]] == list(
        range(2, 140)
    )


@pytest.mark.usefixtures("sent")
def test_a_message_sent_opens_its_own_content_only(
    world: World, alice: Device, contents_read: Callable[[], int]
) -> None:
    contents_read()
    alice.send("bob", "one more")
    world.settle()
    assert contents_read() <= 3  # to encrypt it, and to tell that the relay has it


def test_delivered_messages_beyond_those_kept_are_logged_in_their_order(
    world: World, alice: Device, bob: Device, sent: list[str]
) -> None:
    total = DELIVERED_KEPT_MAX + 5
    more = [*sent, *(alice.send("bob", "more") for _ in range(total - WAITING))]
    world.settle()
    tell(world, bob, (1, total))
    with alice.store.begin() as unit:
        kept = unit.outgoing.next_in(lane_of("bob"), "delivered", limit=total)
        assert [one.message_id.hex() for one in kept] == more[5:]
        logged = [unit.send_log.get(bytes.fromhex(message_id)) for message_id in more[:6]]
    assert [one is not None for one in logged] == [True] * 5 + [False]


def test_a_store_of_a_release_that_noted_no_numbers_takes_receipts_all_the_same(
    world: World, alice: Device, bob: Device, sent: list[str]
) -> None:
    with alice.store.begin() as unit:
        unit.work.change(FORGET_NUMBERS)
    alice.restart()
    alice.connect()
    world.settle()
    tell(world, bob, (5, 6))
    assert states(alice, sent) == {5: [DELIVERED], 6: [DELIVERED]}
