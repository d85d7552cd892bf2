"""libsignal's session.rs and session_management.rs: what failures leave alone, archived ratchets, damaged records."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from ratchet import (
    Ciphertext,
    CiphertextKind,
    CorruptSnapshot,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    RatchetError,
    Session,
    TooFarAhead,
)
from ratchet.keys import KeyPair
from ratchet.limits import FORWARD_JUMP_MAX
from tests.conformance.forging import BASE_KEY, MESSAGE, flip_bit, prekey_field, with_field
from tests.support.conversation import ALICE, BOB, Conversation, Device, in_use, lose, refused, seeded, talk_plainly

if TYPE_CHECKING:
    from collections.abc import Callable


def damaged(first: Ciphertext) -> Ciphertext:
    """A PREKEY message with a bit of the inner message's tag flipped."""
    inner = prekey_field(first, MESSAGE)
    return with_field(first, MESSAGE, flip_bit(inner, 8 * len(inner) - 1))


# First messages that fail.


def test_a_first_message_that_fails_makes_no_session_and_uses_no_prekey() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    first = alice.start(bob).send(b"hi")

    with refused(NotAuthentic, bob.account):
        bob.receive(alice, damaged(first))

    assert bob.session is None


def test_a_first_message_that_fails_leaves_an_archived_session_as_it_was() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    bob.shared.archive()
    fresh = alice.start(bob).send(b"afresh")

    with refused(NotAuthentic, bob.shared, bob.account):
        bob.receive(alice, damaged(fresh))

    assert not bob.shared.can_encrypt
    assert bob.receive(alice, fresh) == b"afresh"


def test_a_repeated_first_message_that_fails_leaves_its_archived_ratchet_archived() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    bob.shared.archive()

    with refused(NotAuthentic, bob.shared, bob.account):
        bob.receive(alice, damaged(alice.send(b"second")))


def test_a_repeated_first_message_puts_its_archived_ratchet_back_in_use() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    bob.shared.archive()
    with refused(NoActiveSession, bob.shared):
        bob.send(b"nothing to send with")

    again = alice.send(b"second")

    assert again.kind is CiphertextKind.PREKEY
    assert bob.receive(alice, again) == b"second"
    assert bob.shared.archived_count == 0
    talk_plainly(bob, alice)


def test_an_old_message_under_a_new_base_key_is_refused() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    alice.start(bob, one_time=False)
    first, second = alice.send(b"one"), alice.send(b"two")
    bob.receive(alice, first)
    forged = with_field(second, BASE_KEY, KeyPair.generate(seeded("a forger's")).public)

    with refused(NotAuthentic, bob.shared, bob.account):
        bob.receive(alice, forged)

    assert bob.receive(alice, second) == b"two"


# Archived ratchets.


def test_an_archived_session_no_longer_begins_its_messages_with_a_handshake() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    first = alice.start(bob).send(b"hi")
    alice.shared.archive()

    bob.receive(alice, first)
    assert alice.receive(bob, bob.send(b"answer")) == b"answer"

    assert alice.send(b"plain").kind is CiphertextKind.SIGNAL


def test_a_late_message_of_an_archived_ratchet_is_read_and_puts_it_back_in_use() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    talk_plainly(bob, alice)
    earlier = in_use(alice.session)
    late = alice.send(b"late")
    bob.receive(alice, alice.start(bob).send(b"afresh"))
    talk_plainly(bob, alice)

    assert bob.receive(alice, late) == b"late"

    assert in_use(bob.session) == earlier
    assert bob.shared.archived_count == 1


@pytest.mark.parametrize("seed", range(8))
def test_every_late_message_of_every_earlier_ratchet_is_read_once(seed: int) -> None:
    dice = Random(seed)
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    talk_plainly(bob, alice)
    under_way: list[tuple[Device, Device, Ciphertext, bytes]] = []
    for _ in range(dice.randrange(1, 7)):
        one, other = dice.sample((alice, bob), 2)
        other.receive(one, one.start(other).send(b"afresh"))
        talk_plainly(other, one)
        for number in range(dice.randrange(4)):
            text = b"late %d" % number
            under_way += [(one, other, one.send(text), text), (other, one, other.send(text), text)]
    dice.shuffle(under_way)

    for sender, recipient, ciphertext, text in under_way:
        assert recipient.receive(sender, ciphertext) == text
    for sender, recipient, ciphertext, _text in under_way:
        with refused(MessageKeyGone, recipient.shared):
            # A replay belongs to a ratchet that may be archived by now: found, refused, and not put in use.
            recipient.receive(sender, ciphertext)


# Scenarios.


def test_gaps_in_interleaved_delivery_are_filled_later() -> None:
    talk = Conversation(seed=20).established()
    talk.alice_sends(6).bob_sends(6)  # 2 to 7, 8 to 13
    for number in (4, 10, 7, 9, 13, 3):
        assert talk.deliver(number) == talk.plaintexts[number]
    talk.reload().ping_pong(2)

    for number in (2, 12, 5, 8, 6, 11):
        assert talk.deliver(number) == talk.plaintexts[number]
    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(4)


def test_a_jump_over_the_limit_is_refused_and_the_session_goes_on_below_it() -> None:
    talk = Conversation(seed=21).established().alice_sends()
    lose(talk.alice, FORWARD_JUMP_MAX - 1)
    talk.alice_sends()

    with refused(TooFarAhead, talk.bobs):
        talk.deliver_last()

    assert talk.deliver(2) == b"2 from alice"  # and now the other is near enough
    assert talk.deliver(3) == b"3 from alice"


@pytest.mark.parametrize("one_time", [True, False])
def test_a_session_made_from_a_first_message_is_the_same_after_being_stored(*, one_time: bool) -> None:
    talk = Conversation(seed=22, one_time=one_time).alice_sends(3).reload()
    talk.deliver(1)
    talk.reload()

    assert [talk.deliver(number) for number in (0, 2)] == [b"0 from alice", b"2 from alice"]
    assert talk.bob_sends().deliver_last() == b"3 from bob"
    assert talk.reload().alice_sends().deliver_last() == b"4 from alice"


def test_a_message_with_any_byte_of_its_ciphertext_changed_is_refused() -> None:
    talk = Conversation(seed=23).established().alice_sends()
    good = talk.sent[-1].ciphertext

    for position in range(0, 8 * len(good.body), 8):
        with pytest.raises(RatchetError):  # which one depends on what the byte means
            talk.bobs.decrypt(talk.bob_account, Ciphertext(good.kind, flip_bit(good.body, position)), now=0)

    assert talk.deliver_last() == b"2 from alice"


def test_a_replayed_message_is_gone_also_after_the_ratchet_has_turned() -> None:
    talk = Conversation(seed=24).established().alice_sends()
    talk.deliver_last()
    talk.ping_pong(3)

    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(2)


# Damaged records.


def with_damage(session: Session, *path: int, value: object) -> bytes:
    """The stored form of *session* with one value, found by its place in the nested arrays, exchanged."""
    stored = msgpack.unpackb(session.to_bytes())
    inner = stored
    for place in path[:-1]:
        inner = inner[place]
    inner[path[-1]] = value
    packed: bytes = msgpack.packb(stored)
    return packed


ACTIVE, ARCHIVED = 5, 6  # places in the stored form of a session
DOUBLE_RATCHET, RECEIVING_CHAINS = 5, 7  # of a ratchet, and of its double ratchet


def test_a_damaged_ratchet_in_use_is_told_apart_from_none() -> None:
    talk = Conversation(seed=25).established()
    stored = with_damage(talk.bobs, ACTIVE, DOUBLE_RATCHET, 0, value=b"short")

    with pytest.raises(CorruptSnapshot):
        Session.from_bytes(stored)


def test_a_damaged_receiving_chain_of_the_ratchet_in_use_is_found_when_the_session_is_loaded() -> None:
    talk = Conversation(seed=26).established().ping_pong(1)
    stored = with_damage(talk.bobs, ACTIVE, DOUBLE_RATCHET, RECEIVING_CHAINS, 0, 1, value=b"short")

    with pytest.raises(CorruptSnapshot):
        Session.from_bytes(stored)


def session_with_archive() -> tuple[Device, Device, list[Ciphertext]]:
    """Bob with three earlier ratchets, and a late message of Alice's for each, oldest first."""
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    late = []
    for number in range(4):
        bob.receive(alice, alice.start(bob).send(b"afresh"))
        talk_plainly(bob, alice)
        late.append(alice.send(b"late %d" % number))
    return alice, bob, late[:3]


def damage_archived(session: Session, place: int, change: Callable[[list[Any]], None]) -> Session:
    """*session* with one archived ratchet (0: newest) changed in its own stored form."""
    archived = msgpack.unpackb(session.to_bytes())[ARCHIVED][place]
    ratchet = msgpack.unpackb(archived[2])
    change(ratchet[1])
    return Session.from_bytes(with_damage(session, ARCHIVED, place, 2, value=msgpack.packb(ratchet)))


def cut_root_key(ratchet: list[Any]) -> None:
    ratchet[DOUBLE_RATCHET][0] = b"short"


def test_a_damaged_archived_ratchet_is_passed_over_for_one_behind_it() -> None:
    alice, bob, late = session_with_archive()
    bob.session = damage_archived(bob.shared, 1, cut_root_key)

    assert bob.receive(alice, late[0]) == b"late 0"
    assert bob.receive(alice, late[2]) == b"late 2"


def test_a_message_for_a_damaged_archived_ratchet_is_refused_and_nothing_else() -> None:
    alice, bob, late = session_with_archive()
    bob.session = damage_archived(bob.shared, 1, cut_root_key)

    with refused(NotAuthentic, bob.shared):
        bob.receive(alice, late[1])
    talk_plainly(alice, bob)


def test_a_damaged_chain_makes_its_whole_archived_ratchet_unreadable() -> None:
    def cut_chain(ratchet: list[Any]) -> None:
        ratchet[DOUBLE_RATCHET][RECEIVING_CHAINS][0][1] = b"short"

    alice, bob, late = session_with_archive()
    bob.session = damage_archived(bob.shared, 1, cut_chain)

    with refused(NotAuthentic, bob.shared):
        bob.receive(alice, late[1])


def test_a_repeated_first_message_for_a_damaged_archived_ratchet_names_the_damage() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    alice.start(bob)
    first, second = alice.send(b"one"), alice.send(b"two")
    bob.receive(alice, first)
    bob.start(alice)
    bob.session = damage_archived(bob.shared, 0, cut_root_key)

    with refused(CorruptSnapshot, bob.shared, bob.account):
        bob.receive(alice, second)
