"""Which ratchet of a session opens a message, which one sends, and what is forgotten when."""

from __future__ import annotations

import pytest

from ratchet import Session
from ratchet.errors import CorruptSnapshot, MessageKeyGone, NoActiveSession, NotAuthentic, RatchetError
from ratchet.limits import ARCHIVED_FORWARD_JUMP_MAX, ARCHIVED_RATCHETS_MAX
from ratchet.messages import PreKeyMessage
from ratchet.packing import pack
from ratchet.ratchets import ArchivedRatchet
from tests.support.adversary import inner
from tests.support.conversation import Conversation, active_ratchet, in_use, lose, refused, seeded


def with_ratchets(count: int, *, late: bool = True) -> Conversation:
    """A conversation that was renewed until it had *count* ratchets, each with a message that is under way."""
    talk = Conversation(1).established()
    for number in range(count):
        if number:
            talk.alice.renew(talk.alice_account, talk.bob_account.bundle(one_time=False), now=0, entropy=talk.entropy)
            talk.alice_sends().deliver_last()
            talk.bob_sends().deliver_last()
        if late:
            talk.alice_sends()
    return talk


def damage(session: Session, number: int, packed: bytes) -> None:
    ratchets = session._ratchets
    old = ratchets.archived[number]
    ratchets.archived[number] = ArchivedRatchet(old.version, old.base_key, packed)


LATE = (2, 5, 8, 11)


def test_the_ratchet_in_use_opens_its_messages_and_stays_in_use() -> None:
    talk = with_ratchets(1)
    before = in_use(talk.bob)
    talk.deliver(LATE[0])
    assert in_use(talk.bob) == before
    assert talk.bobs.archived_count == 0


@pytest.mark.parametrize("number", range(3))
def test_an_archived_ratchet_that_opens_a_message_comes_back_into_use(number: int) -> None:
    talk = with_ratchets(4)
    before = in_use(talk.bob)
    assert talk.deliver(LATE[number]) == talk.plaintexts[LATE[number]]
    assert in_use(talk.bob) != before
    assert talk.bobs.archived_count == 3
    assert talk.bobs._ratchets.archived[0].base_key == before[1]


def test_an_archived_ratchet_opens_messages_after_the_session_was_archived() -> None:
    talk = with_ratchets(1)
    talk.bobs.archive()
    assert talk.bobs._ratchets.active is None
    assert talk.deliver(LATE[0]) == talk.plaintexts[LATE[0]]
    assert in_use(talk.bob)
    assert talk.bobs.archived_count == 0


def test_the_oldest_ratchet_beyond_forty_is_forgotten() -> None:
    talk = Conversation(2).established().alice_sends()
    first = active_ratchet(talk.bob).base_key
    for _ in range(ARCHIVED_RATCHETS_MAX + 1):
        assert first in {active_ratchet(talk.bob).base_key, *(one.base_key for one in talk.bobs._ratchets.archived)}
        talk.bobs.renew(talk.bob_account, talk.alice_account.bundle(one_time=False), now=0, entropy=talk.entropy)
    assert talk.bobs.archived_count == ARCHIVED_RATCHETS_MAX
    assert first not in {one.base_key for one in talk.bobs._ratchets.archived}
    with refused(NotAuthentic, talk.bobs):
        talk.deliver(2)


def test_a_message_that_no_ratchet_opens_fails_as_the_first_one_did() -> None:
    talk = with_ratchets(3)
    stranger = Conversation(9).established().alice_sends()
    with refused(NotAuthentic, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, stranger.sent[-1].ciphertext)


def test_a_session_without_a_ratchet_of_the_version_says_so() -> None:
    x3dh = Conversation(3, kem=False).established().alice_sends()
    talk = with_ratchets(2)
    with refused(NoActiveSession, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, x3dh.sent[-1].ciphertext)


@pytest.mark.parametrize("packed", [b"", b"\x92\x01\xc0", b"\x92\x02\xc0", b"\x92\x01\x90"])
def test_a_damaged_ratchet_is_passed_over_for_one_behind_it(packed: bytes) -> None:
    talk = with_ratchets(4)
    damage(talk.bobs, 0, packed)
    damage(talk.bobs, 1, packed)
    assert talk.deliver(LATE[0]) == talk.plaintexts[LATE[0]]


def test_a_damaged_ratchet_is_told_to_a_repeated_first_message_of_its_own() -> None:
    talk = Conversation(4).alice_sends(2)
    talk.deliver(0)
    talk.bobs.archive()
    damage(talk.bobs, 0, b"")
    with refused(CorruptSnapshot, talk.bobs, talk.bob_account):
        talk.deliver(1)


def test_a_repeated_first_message_finds_its_ratchet_in_use_and_in_the_archive() -> None:
    talk = Conversation(5).alice_sends(3)
    talk.deliver(0)
    talk.deliver(1)
    assert talk.bobs.archived_count == 0
    message = PreKeyMessage.parse(talk.sent[2].ciphertext.body)
    ratchets = talk.bobs._ratchets
    assert ratchets.matching(4, message.base_key) is active_ratchet(talk.bob)
    assert ratchets.matching(3, message.base_key) is None
    talk.bobs.renew(talk.bob_account, talk.alice_account.bundle(), now=0, entropy=talk.entropy)
    found = ratchets.matching(4, message.base_key)
    assert found is not None
    assert found.base_key == message.base_key
    assert ratchets.matching(4, b"\x05" + bytes(32)) is None
    assert talk.deliver(2) == talk.plaintexts[2]
    assert talk.bobs.archived_count == 1


@pytest.mark.parametrize("archived", [True, False])
def test_a_bad_message_under_a_known_ratchet_key_is_told_by_its_own_ratchet(*, archived: bool) -> None:
    talk = with_ratchets(3)
    talk.deliver_last()
    if archived:
        talk.bobs.archive()
    replay = inner(talk.sent[-1].ciphertext)
    with refused(MessageKeyGone, talk.bobs):
        talk.deliver_last()
    replay.counter += 1
    with pytest.raises(RatchetError):
        talk.bobs._ratchets.open(replay, seeded(1))


def test_more_than_2000_missing_messages_in_a_new_chain_are_too_many_for_an_archived_ratchet() -> None:
    talk = with_ratchets(1, late=False)
    lose(talk.alice, ARCHIVED_FORWARD_JUMP_MAX + 1)
    talk.alice_sends()
    stored = talk.bobs.to_bytes()
    assert talk.deliver_last() == talk.plaintexts[-1]
    talk.bob = Session.from_bytes(stored)
    talk.bobs.archive()
    with pytest.raises(RatchetError):
        talk.deliver_last()


def test_an_archived_ratchet_initiates_nothing_any_longer() -> None:
    talk = Conversation(6)
    talk.alice.archive()
    (archived,) = talk.alice._ratchets.archived
    assert archived.unpack(talk.alice_account.identity_key).pending is None


def test_an_archived_ratchet_is_the_same_from_its_packed_form() -> None:
    archived = ArchivedRatchet.pack(active_ratchet(with_ratchets(1).bob))
    again = ArchivedRatchet.from_packed(archived.to_packed())
    assert again.to_packed() == archived.to_packed()
    assert again.unpack(bytes(33)).to_packed() == archived.unpack(bytes(33)).to_packed()


def test_an_archived_ratchet_does_not_print_what_it_holds() -> None:
    archived = ArchivedRatchet.pack(active_ratchet(with_ratchets(1).bob))
    assert repr(archived) == f"ArchivedRatchet(version=4, base_key={archived.base_key!r}, retired=False)"


@pytest.mark.parametrize(
    "packed",
    [
        None,
        [4, b"\x05" + bytes(32)],
        [5, b"\x05" + bytes(32), b""],
        [-1, b"\x05" + bytes(32), b""],
        [4, b"\x05", b""],
        [4, b"\x05" + bytes(32), None],
        [4, b"\x05" + bytes(32), "text"],
    ],
    ids=range(7),
)
def test_any_other_packed_form_is_corrupt(packed: object) -> None:
    with pytest.raises(CorruptSnapshot):
        ArchivedRatchet.from_packed(packed)


def test_an_archived_ratchet_with_other_contents_is_corrupt_when_it_is_asked_for() -> None:
    for contents in (b"", pack([1]), pack([1, None]), pack([1, [4]])):
        with pytest.raises(CorruptSnapshot):
            ArchivedRatchet(4, b"\x05" + bytes(32), contents).unpack(bytes(33))


def test_without_a_ratchet_in_use_there_is_none_to_require() -> None:
    talk = with_ratchets(1)
    talk.bobs.archive()
    with pytest.raises(NoActiveSession):
        talk.bobs._ratchets.require_active()
    talk.bobs.archive()
    assert talk.bobs.archived_count == 1


# --- retired -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_a_retired_ratchet_opens_what_is_late_and_never_comes_back_into_use(number: int, *, stored: bool) -> None:
    talk = with_ratchets(4)
    talk.bobs.retire()
    if stored:
        talk.reload()
    assert talk.deliver(LATE[number]) == talk.plaintexts[LATE[number]]
    if stored:
        talk.reload()
    assert talk.bobs.archived_count == 4
    with refused(NoActiveSession, talk.bobs):
        talk.bobs.encrypt(b"with which key?")
    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(LATE[number])


def test_a_repeated_first_message_of_a_retired_ratchet_is_opened_and_does_not_bring_it_back() -> None:
    talk = Conversation(1).alice_sends(3)
    talk.deliver(0)
    talk.bobs.retire()
    assert talk.deliver(2) == talk.plaintexts[2]
    assert not talk.bobs.can_encrypt
    assert talk.deliver(1) == talk.plaintexts[1]


def test_what_a_peer_answers_on_a_retired_ratchet_is_opened_through_its_steps() -> None:
    talk = Conversation(1).established()
    talk.bobs.retire()
    for _ in range(3):
        talk.alice_sends().deliver_last()
    assert not talk.bobs.can_encrypt


def test_after_retiring_a_renewed_session_and_one_that_the_peer_renews_send_again() -> None:
    talk = Conversation(1).established()
    retired = in_use(talk.bob)
    talk.bobs.retire()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends().deliver_last()
    assert in_use(talk.bob) == in_use(talk.alice) != retired
    talk.bobs.retire()
    talk.bobs.renew(talk.bob_account, talk.alice_account.bundle(), now=0, entropy=talk.entropy)
    talk.bob_sends()
    assert talk.deliver_last() == talk.plaintexts[-1]
    assert in_use(talk.bob) == in_use(talk.alice)


def test_ratchets_that_were_archived_after_retiring_come_back_as_ever() -> None:
    talk = Conversation(1).established()
    talk.bobs.retire()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends(2).deliver(len(talk.sent) - 2)
    talk.bobs.archive()
    talk.deliver_last()
    assert talk.bobs.can_encrypt


def test_a_session_with_nothing_to_retire_stays_as_it_is() -> None:
    talk = Conversation(1)
    talk.alice.retire()
    talk.alice.retire()
    assert talk.alice.archived_count == 1
    assert not talk.alice.can_encrypt


def test_what_is_not_retired_has_the_stored_form_that_it_always_had() -> None:
    talk = with_ratchets(2)
    archived = talk.bobs._ratchets.archived[0]
    assert archived.to_packed() == [archived.version, archived.base_key, archived.packed]
    talk.bobs.retire()
    assert [len(one.to_packed()) for one in talk.bobs._ratchets.archived] == [4, 4]


@pytest.mark.parametrize("more", [[False], [1], [None], [True, True], [[]]])
def test_retired_has_one_form(more: list[object]) -> None:
    archived = with_ratchets(2).bobs._ratchets.archived[0]
    with pytest.raises(CorruptSnapshot):
        ArchivedRatchet.from_packed([*archived.to_packed(), *more])
