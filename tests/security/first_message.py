"""A first message of Alice's that Bob has not read, for the tests of what he refuses instead."""

from __future__ import annotations

from typing import Any

from ratchet import (
    Account,
    Ciphertext,
    CiphertextKind,
    MalformedMessage,
    MessageKeyGone,
    NotAuthentic,
    RatchetError,
    Session,
    TooFarAhead,
    UnknownPreKey,
    UnsupportedVersion,
)
from ratchet.messages import PreKeyMessage
from tests.support.adversary import raises_and_changes_nothing, rewrapped
from tests.support.conversation import ALICE, BOB, Conversation, seeded

REFUSED = (MalformedMessage, MessageKeyGone, NotAuthentic, TooFarAhead, UnknownPreKey, UnsupportedVersion)


class FirstMessage:
    """A first message of Alice's that Bob has not read, and Bob, with or without an older session of theirs."""

    def __init__(self, seed: int = 41, *, one_time: bool = True, older_session: bool = False) -> None:
        talk = Conversation(seed, one_time=one_time)
        self.bob = talk.bob_account
        self.session: Session | None = None
        if older_session:
            talk.established()
            bundle = self.bob.bundle(one_time=one_time)
            talk.alice.renew(talk.alice_account, bundle, now=0, entropy=talk.entropy)
            self.session = talk.bobs
        talk.alice_sends()
        self.alice = talk.alice
        self.body = talk.sent[-1].ciphertext.body
        self.plaintext = talk.sent[-1].plaintext
        self.parsed = PreKeyMessage.parse(self.body)

    @property
    def objects(self) -> list[Account | Session]:
        return [self.bob] if self.session is None else [self.bob, self.session]

    def received(self, body: Any) -> bytes:  # noqa: ANN401 - also of wrong types
        ciphertext = Ciphertext(CiphertextKind.PREKEY, body)
        if self.session is not None:
            return self.session.decrypt(self.bob, ciphertext, now=0, entropy=seeded(1))
        opened = Session.accept(self.bob, ciphertext, local=BOB, remote=ALICE, now=0, entropy=seeded(1))
        return opened[1]

    def refused(self, body: Any, expected: type[RatchetError] | tuple[type[RatchetError], ...] = REFUSED) -> None:  # noqa: ANN401
        with raises_and_changes_nothing(expected, *self.objects):
            self.received(body)

    def changed(self, **changes: int | bytes | None) -> bytes:
        return rewrapped(self.parsed, **changes)
