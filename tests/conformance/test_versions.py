"""libsignal's cross-version tests: peers without SPQR or with X3DH only, and parts of other versions."""

from __future__ import annotations

import pytest

from ratchet import Ciphertext, MalformedMessage, NotAuthentic, Session, UnsupportedVersion
from tests.conformance.forging import MESSAGE, flip_bit, made_by_peer, prekey_field, with_field
from tests.support.conversation import ALICE, BOB, Conversation, account, active_ratchet, refused

# A peer without SPQR.


def test_a_first_message_without_spqr_is_refused() -> None:
    talk = Conversation(seed=1, spqr=False).alice_sends()

    with refused(UnsupportedVersion, talk.bob_account) as caught:
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=BOB, remote=ALICE, now=0)

    assert "SPQR" in str(caught.value)


def test_a_first_message_without_spqr_is_read_by_whoever_allows_it() -> None:
    talk = Conversation(seed=2, spqr=False).established()

    assert talk.ping_pong(3).plaintexts[-1] == b"7 from bob"
    assert (talk.alice.version, talk.alice.post_quantum_epoch, talk.bobs.post_quantum_epoch) == (4, None, None)


def lacks_spqr(session: Session) -> None:
    """Make *session* the one of a release that knows nothing of SPQR: it ignores field 5 and sends none."""
    active_ratchet(session).post_quantum = None


def test_a_recipient_without_spqr_cannot_read_a_message_that_has_it() -> None:
    talk = Conversation(seed=3).established().alice_sends()
    lacks_spqr(talk.bobs)

    with refused(NotAuthentic, talk.bobs):
        talk.deliver_last()


def test_an_answer_without_spqr_is_refused_where_the_session_has_it() -> None:
    talk = Conversation(seed=4).alice_sends()
    talk.deliver(0)
    lacks_spqr(talk.bobs)
    talk.bob_sends()

    with refused(UnsupportedVersion, talk.alice):
        talk.deliver_last()
    assert talk.alice.awaiting_answer


def test_spqr_that_was_removed_under_way_is_refused() -> None:
    talk = Conversation(seed=5).established()

    with refused(UnsupportedVersion, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, made_by_peer(talk.alice, b"hi", pq_message=b""), now=0)


@pytest.mark.parametrize("earlier", [0, 10])
@pytest.mark.parametrize("version", [2, 3, 255])
def test_a_message_with_a_newer_spqr_version_is_refused(version: int, earlier: int) -> None:
    talk = Conversation(seed=6).established().ping_pong(earlier)
    post_quantum = active_ratchet(talk.alice).post_quantum
    assert post_quantum is not None
    step = post_quantum.plan_send(bytes)
    newer = made_by_peer(talk.alice, b"hi", pq_message=bytes([version]) + step.encoded[1:], pq_key=step.key)

    with refused(UnsupportedVersion, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, newer, now=0)


# A peer with X3DH only.


@pytest.mark.parametrize("one_time", [True, False])
def test_x3dh_works_both_ways_where_it_is_allowed_and_stays_version_3(*, one_time: bool) -> None:
    talk = Conversation(seed=7, kem=False, one_time=one_time).established().ping_pong(2).reload().ping_pong(2)

    assert (talk.alice.version, talk.bobs.version) == (3, 3)
    assert [message.ciphertext.body[0] for message in talk.sent] == [0x34] * len(talk.sent)


def test_a_bundle_without_a_kem_prekey_is_refused_unless_x3dh_is_allowed() -> None:
    bundle, alice = account("bob").bundle(kem=False), account("alice")

    with refused(UnsupportedVersion, alice):
        Session.initiate(alice, bundle, now=0)
    assert Session.initiate(alice, bundle, allow_x3dh=True, now=0).version == 3


def test_allowing_x3dh_does_not_make_a_version_3_session_from_a_bundle_with_a_kem_prekey() -> None:
    assert Session.initiate(account("alice"), account("bob").bundle(), allow_x3dh=True, now=0).version == 4


def test_a_version_4_session_replaces_one_of_version_3_which_is_still_read() -> None:
    talk = Conversation(seed=8, kem=False).established().alice_sends()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0)

    assert talk.alice_sends().deliver_last() == b"3 from alice"
    assert talk.bobs.version == 4
    assert talk.deliver(2) == b"2 from alice"


@pytest.mark.parametrize("part", ["outer", "inner"])
def test_a_first_message_whose_two_versions_differ_is_malformed(part: str) -> None:
    talk = Conversation(seed=9).alice_sends()
    first = talk.sent[0].ciphertext
    if part == "inner":
        changed = with_field(first, MESSAGE, b"\x34" + prekey_field(first, MESSAGE)[1:])
    else:
        changed = Ciphertext(first.kind, b"\x34" + first.body[1:])

    with refused(MalformedMessage, talk.bob_account):
        Session.accept(talk.bob_account, changed, local=BOB, remote=ALICE, allow_x3dh=True, now=0)


def test_the_version_byte_is_covered_by_the_tag() -> None:
    talk = Conversation(seed=10).established().alice_sends()
    good = talk.sent[-1].ciphertext
    changed = Ciphertext(good.kind, flip_bit(good.body, 0))  # the low half, which is not looked at

    with refused(NotAuthentic, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, changed, now=0)
