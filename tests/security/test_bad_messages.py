"""Bad messages within a session: a typed error, and neither session nor account changes by a bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import (
    Account,
    Ciphertext,
    CiphertextKind,
    InvalidArgument,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    RatchetError,
    Session,
    TooFarAhead,
    UnsupportedVersion,
)
from ratchet.keys import KeyPair
from ratchet.limits import FORWARD_JUMP_MAX, MESSAGE_SIZE_MAX
from ratchet.messages import encode_signal_message
from ratchet.spqr.wire import encode_braid_message
from tests.support.adversary import (
    LOW_ORDER_KEYS,
    bit_flips,
    inner,
    raises_and_changes_nothing,
    same_state,
)
from tests.support.conversation import Conversation, account, active_ratchet, lose, seeded
from tests.support.naming import case_name

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = (MalformedMessage, MessageKeyGone, NotAuthentic, TooFarAhead, UnsupportedVersion)


@dataclass
class Recipient:
    """Bob, with a message of Alice's that he has not read."""

    session: Session
    account: Account
    body: bytes
    plaintext: bytes

    def receives(self, body: Any) -> bytes:  # noqa: ANN401 - also of wrong types
        ciphertext = Ciphertext(CiphertextKind.SIGNAL, body)
        return self.session.decrypt(self.account, ciphertext, now=0, entropy=seeded(1))

    def refuses(self, body: Any, expected: type[RatchetError] | tuple[type[RatchetError], ...] = REFUSED) -> None:  # noqa: ANN401
        with raises_and_changes_nothing(expected, self.session, self.account):
            self.receives(body)


def recipient(seed: int = 21, *, new_ratchet_key: bool = True, kind: str = "with SPQR") -> Recipient:
    talk = Conversation(seed, spqr=kind != "without SPQR", kem=kind != "X3DH").established().ping_pong(2)
    if not new_ratchet_key:
        talk.alice_sends().deliver_last()
    talk.alice_sends()
    last = talk.sent[-1]
    return Recipient(talk.bobs, talk.bob_account, last.ciphertext.body, last.plaintext)


KINDS = ["with SPQR", "without SPQR", "X3DH"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("new_ratchet_key", [True, False])
def test_a_message_cut_at_any_length_is_refused(kind: str, new_ratchet_key: bool) -> None:  # noqa: FBT001
    bob = recipient(kind=kind, new_ratchet_key=new_ratchet_key)
    for length in range(len(bob.body)):
        bob.refuses(bob.body[:length])
    assert bob.receives(bob.body) == bob.plaintext


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("new_ratchet_key", [True, False])
def test_a_message_with_any_one_bit_flipped_is_refused(kind: str, new_ratchet_key: bool) -> None:  # noqa: FBT001
    bob = recipient(kind=kind, new_ratchet_key=new_ratchet_key)
    before = bob.session.to_bytes(), bob.account.to_bytes()
    for _bit, body in bit_flips(bob.body):
        with pytest.raises(REFUSED):
            bob.receives(body)
    assert (bob.session.to_bytes(), bob.account.to_bytes()) == before
    assert bob.receives(bob.body) == bob.plaintext


@pytest.mark.parametrize("extra", [b"\0", b"\x38\x01", bytes(8), bytes(64)])
def test_a_message_with_bytes_added_is_refused(extra: bytes) -> None:
    bob = recipient()
    for place in (1, 36, len(bob.body) - 8, len(bob.body)):
        bob.refuses(bob.body[:place] + extra + bob.body[place:])


@given(body=st.binary(max_size=300))
def test_random_bytes_are_refused(body: bytes) -> None:
    recipient().refuses(body)


@given(data=st.data())
def test_any_splice_of_two_messages_is_refused(data: st.DataObject) -> None:
    talk = Conversation(22).established().alice_sends(2)
    first, second = (sent.ciphertext.body for sent in talk.sent[-2:])
    cut = data.draw(st.integers(0, len(first)))
    again = data.draw(st.integers(0, len(second)))
    body = first[:cut] + second[again:]
    bob = Recipient(talk.bobs, talk.bob_account, first, b"")
    if body not in (first, second):
        bob.refuses(body)


def test_a_replay_is_refused_as_such_every_time() -> None:
    bob = recipient()
    bob.receives(bob.body)
    for _ in range(3):
        bob.refuses(bob.body, MessageKeyGone)


def test_a_replay_of_a_late_message_is_refused_as_such() -> None:
    talk = Conversation(23).established().alice_sends(3)
    late = talk.sent[-3].ciphertext.body
    talk.deliver_last()
    bob = Recipient(talk.bobs, talk.bob_account, late, b"")
    bob.receives(late)
    bob.refuses(late, MessageKeyGone)


def test_every_replay_of_a_long_conversation_is_refused() -> None:
    talk = Conversation(24).established().ping_pong(12)
    with same_state(talk.alice, talk.bobs, talk.alice_account, talk.bob_account):
        for number in range(len(talk.sent)):
            with pytest.raises((MessageKeyGone, NotAuthentic)):
                talk.deliver(number)


def test_a_message_for_somebody_else_is_refused() -> None:
    bob, other = recipient(25), recipient(26)
    bob.refuses(other.body, NotAuthentic)


def test_a_message_is_refused_by_its_own_sender() -> None:
    talk = Conversation(27).established().alice_sends()
    with raises_and_changes_nothing(NotAuthentic, talk.alice, talk.alice_account):
        talk.alice.decrypt(talk.alice_account, talk.sent[-1].ciphertext)


def test_a_message_to_oneself_is_refused_when_reflected() -> None:
    me = account("self")
    session = Session.initiate(me, me.bundle(), now=0, entropy=seeded(1))
    other, _plaintext = Session.accept(me, session.encrypt(b"note", now=0), now=0, entropy=seeded(2))
    answer = other.encrypt(b"answer")
    with raises_and_changes_nothing(NotAuthentic, other, me):
        other.decrypt(me, answer)
    assert session.decrypt(me, answer) == b"answer"


@pytest.mark.parametrize("version", [0, 1, 2, 5, 6, 9, 15])
def test_an_unknown_message_version_is_refused_as_such(version: int) -> None:
    bob = recipient()
    bob.refuses(bytes((version << 4 | 4,)) + bob.body[1:], UnsupportedVersion)


def test_a_message_of_the_other_known_version_finds_no_ratchet() -> None:
    bob = recipient()
    bob.refuses(b"\x34" + bob.body[1:], NoActiveSession)


def test_the_low_half_of_the_version_byte_is_covered_by_the_tag() -> None:
    bob = recipient()
    for low in range(16):
        if low != 4:
            bob.refuses(bytes((0x40 | low,)) + bob.body[1:], NotAuthentic)


@pytest.mark.parametrize("key", LOW_ORDER_KEYS)
def test_a_ratchet_key_of_low_order_is_refused(key: bytes) -> None:
    bob = recipient()
    message = encode_signal_message(4, b"\x05" + key, 0, 0, bytes(16), encode_braid_message(1, 1, 0, 0, b""), None)
    bob.refuses(message + bytes(8), NotAuthentic)


@pytest.mark.parametrize("first_byte", [0, 4, 6, 8, 0x85])
def test_a_ratchet_key_of_another_type_is_malformed(first_byte: int) -> None:
    bob = recipient()
    bob.refuses(bob.body[:3] + bytes((first_byte,)) + bob.body[4:], MalformedMessage)


def forged(ratchet_key: bytes, counter: int, index: int, *, epoch: int = 1) -> bytes:
    part = encode_braid_message(epoch, index, 0, 0, b"")
    return encode_signal_message(4, ratchet_key, counter, 0, bytes(16), part, None) + bytes(8)


def test_a_forged_counter_at_the_limit_fails_at_the_tag_and_changes_nothing() -> None:
    bob = recipient(new_ratchet_key=False)
    known = inner(Ciphertext(CiphertextKind.SIGNAL, bob.body))
    bob.refuses(forged(known.ratchet_key, known.counter + FORWARD_JUMP_MAX, 1 + FORWARD_JUMP_MAX), NotAuthentic)


@pytest.mark.parametrize("ahead", [1, 2**31])
def test_a_counter_beyond_the_limit_is_refused_without_deriving_a_key(ahead: int) -> None:
    bob = recipient(new_ratchet_key=False)
    known = inner(Ciphertext(CiphertextKind.SIGNAL, bob.body))
    bob.refuses(forged(known.ratchet_key, known.counter + FORWARD_JUMP_MAX + ahead, 10), TooFarAhead)


def test_a_post_quantum_index_beyond_the_limit_is_refused() -> None:
    bob = recipient(new_ratchet_key=False)
    known = inner(Ciphertext(CiphertextKind.SIGNAL, bob.body))
    bob.refuses(forged(known.ratchet_key, known.counter, 2**32 - 1), TooFarAhead)


def test_a_post_quantum_epoch_that_does_not_exist_is_malformed() -> None:
    bob = recipient(new_ratchet_key=False)
    known = inner(Ciphertext(CiphertextKind.SIGNAL, bob.body))
    bob.refuses(forged(known.ratchet_key, known.counter, 1, epoch=2**64 - 1), MalformedMessage)


def test_one_message_too_many_lost_is_refused_and_the_session_reads_on_after_renewal() -> None:
    talk = Conversation(28).established()
    lose(talk.alice, FORWARD_JUMP_MAX + 1)
    talk.alice_sends()
    with raises_and_changes_nothing(TooFarAhead, talk.bobs, talk.bob_account):
        talk.deliver_last()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends()
    assert talk.deliver_last() == talk.plaintexts[-1]


WRONG_TYPES: list[Any] = [None, 0, 1.5, "text", bytearray(b"abc"), memoryview(b"abc"), [], {}, object()]


@pytest.mark.parametrize("body", WRONG_TYPES, ids=case_name)
def test_a_body_that_is_no_bytes_is_malformed(body: Any) -> None:  # noqa: ANN401
    recipient().refuses(body, MalformedMessage)


@pytest.mark.parametrize("ciphertext", [*WRONG_TYPES, b"bytes", (2, b"bytes")], ids=case_name)
def test_what_is_no_ciphertext_is_an_invalid_argument(ciphertext: Any) -> None:  # noqa: ANN401
    bob = recipient()
    with raises_and_changes_nothing(InvalidArgument, bob.session, bob.account):
        bob.session.decrypt(bob.account, ciphertext)


@pytest.mark.parametrize("kind", [None, 0, 1, 7, "SIGNAL", b"\2", []], ids=case_name)
def test_an_unknown_kind_is_an_invalid_argument(kind: Any) -> None:  # noqa: ANN401
    bob = recipient()
    with raises_and_changes_nothing(InvalidArgument, bob.session, bob.account):
        bob.session.decrypt(bob.account, Ciphertext(kind, bob.body))


def test_a_message_given_as_the_other_kind_is_refused() -> None:
    bob = recipient()
    with raises_and_changes_nothing(MalformedMessage, bob.session, bob.account):
        bob.session.decrypt(bob.account, Ciphertext(CiphertextKind.PREKEY, bob.body))


def test_a_message_over_the_size_limit_is_malformed() -> None:
    bob = recipient()
    bob.refuses(bytes((0x44,)) + bytes(MESSAGE_SIZE_MAX), MalformedMessage)


def test_a_session_without_ratchet_of_its_version_says_so() -> None:
    bob = recipient(kind="X3DH")
    bob.refuses(b"\x44" + bob.body[1:], NoActiveSession)


def archived(talk: Conversation) -> Conversation:
    """Bob's side has moved to another ratchet; the one before is in the archive."""
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends().deliver_last()
    return talk


def test_a_replay_in_an_archived_ratchet_is_refused_as_such_and_does_not_promote_it() -> None:
    talk = Conversation(29).established().alice_sends()
    read = len(talk.sent) - 1
    talk.deliver_last()
    archived(talk)
    assert talk.bobs.archived_count == 1
    with raises_and_changes_nothing(MessageKeyGone, talk.bobs, talk.bob_account):
        talk.deliver(read)


def test_flipped_bits_of_a_message_for_an_archived_ratchet_are_refused() -> None:
    talk = Conversation(30).established().alice_sends()
    unread = talk.sent[-1]
    archived(talk)
    bob = Recipient(talk.bobs, talk.bob_account, unread.ciphertext.body, unread.plaintext)
    with same_state(bob.session, bob.account):
        for bit, body in bit_flips(bob.body):
            if bit % 5 == 0:
                with pytest.raises(REFUSED):
                    bob.receives(body)
    assert bob.receives(bob.body) == bob.plaintext


def test_a_refused_message_leaves_no_trace_in_the_messages_after_it() -> None:
    bob = recipient(31)
    undisturbed = Recipient(Session.from_bytes(bob.session.to_bytes()), bob.account, bob.body, bob.plaintext)
    for _bit, body in bit_flips(bob.body[:60]):
        with pytest.raises(REFUSED):
            bob.receives(body + bob.body[60:])
    assert bob.receives(bob.body) == undisturbed.receives(undisturbed.body)
    assert bob.session.to_bytes() == undisturbed.session.to_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            lambda bob: setattr(active_ratchet(bob.session).double.sending, "pair", KeyPair.generate(seeded(9))),
            id="key",
        ),
        pytest.param(lambda bob: setattr(active_ratchet(bob.session).double.sending, "root_key", bytes(32)), id="root"),
    ],
)
def test_a_damaged_ratchet_refuses_messages_and_does_not_change_further(damage: Callable[[Recipient], None]) -> None:
    bob = recipient()
    damage(bob)
    bob.refuses(bob.body, NotAuthentic)
