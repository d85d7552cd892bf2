"""libsignal cannot tell our ratchet from its own: live conversations in both roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet import Account, CiphertextKind, Session
from tests.support.interop_talk import OURS, THEIRS, InteropTalk, our_bundle, our_ciphertext, their_device

if TYPE_CHECKING:
    from tests.support.oracle import Oracle

MESSAGES = 3_000
EPOCHS = 8


def we_initiate(oracle: Oracle, seed: int) -> InteropTalk:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=2)
    session = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS)
    first = session.encrypt(b"first")
    assert first.kind is CiphertextKind.PREKEY
    assert device.decrypt(OURS, first) == b"first"
    return InteropTalk(account, session, device, seed)


def they_initiate(oracle: Oracle, seed: int) -> InteropTalk:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=2)
    device.process_bundle(OURS, account.bundle())
    first = device.encrypt(OURS, b"first")
    session, plaintext = Session.accept(account, our_ciphertext(first), local=OURS, remote=THEIRS)
    assert plaintext == b"first"
    return InteropTalk(account, session, device, seed)


def test_a_session_that_we_initiate_survives_thousands_of_lost_and_reordered_messages(oracle: Oracle) -> None:
    talk = we_initiate(oracle, seed=1)

    talk.run(MESSAGES)

    assert talk.lost > MESSAGES // 10
    assert (talk.session.post_quantum_epoch or 0) >= EPOCHS


def test_a_session_that_libsignal_initiates_survives_thousands_of_lost_and_reordered_messages(oracle: Oracle) -> None:
    talk = they_initiate(oracle, seed=2)

    talk.run(MESSAGES)

    assert talk.lost > MESSAGES // 10
    assert (talk.session.post_quantum_epoch or 0) >= EPOCHS
