"""vodozemac (Rust, through its Python binding): Olm for two, Megolm for groups.

Olm is a double ratchet without a post-quantum part; its handshake is three Diffie-Hellman
agreements, without signed prekeys or KEM. Messages go to and from their wire form, as ours do.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from benchmarks.group_talk import GroupTalk
from benchmarks.introductions import Introductions
from benchmarks.pairwise import Pairwise
from benchmarks.peer import Operation, Peer, UnavailableError

try:
    from vodozemac import (
        Account,
        AnyOlmMessage,
        Curve25519PublicKey,
        GroupSession,
        InboundGroupSession,
        MegolmMessage,
        Session,
        SessionKey,
    )
except ImportError as cause:
    raise UnavailableError("vodozemac is not installed: pip install vodozemac") from cause

PICKLE_KEY: Final = bytes(32)  # vodozemac encrypts what it saves, so a key must be given

Parts = tuple[int, bytes]
Bundle = tuple[Curve25519PublicKey, Curve25519PublicKey]


class KeyedAccount:
    """An account that hands out each of its one-time keys once; the library leaves that to a server."""

    def __init__(self, one_time: int) -> None:
        self.account = Account()
        self.account.generate_one_time_keys(one_time)
        self._unused: list[Curve25519PublicKey] | None = None

    def bundle(self) -> Bundle:
        """Return the identity key and the next one-time key."""
        if self._unused is None:
            self._unused = list(self.account.one_time_keys.values())
        return self.account.curve25519_key, self._unused.pop()


def initiate(account: KeyedAccount, bundle: Bundle) -> Session:
    """Start a session."""
    return account.account.create_outbound_session(*bundle)


def send(session: Session, plaintext: bytes) -> Parts:
    """Encrypt into the wire form."""
    return session.encrypt(plaintext).to_parts()


def receive(session: Session, parts: Parts) -> bytes:
    """Decrypt from the wire form."""
    return session.decrypt(AnyOlmMessage.from_parts(*parts))


def accept(account: KeyedAccount, sender: KeyedAccount, parts: Parts) -> tuple[Session, bytes]:
    """Answer a first message."""
    message = AnyOlmMessage.from_parts(*parts).to_pre_key()
    if message is None:
        raise ValueError("the first message is no pre-key message")
    return account.account.create_inbound_session(sender.account.curve25519_key, message)


def pair() -> tuple[Session, Session]:
    """Two ends of a session, each of which has heard from the other."""
    alice, bob = KeyedAccount(0), KeyedAccount(1)
    session = initiate(alice, bob.bundle())
    answering, _ = accept(bob, alice, send(session, b"hello"))
    receive(session, send(answering, b"hi"))
    return session, answering


PAIRWISE: Final[Pairwise[Session, Parts, str]] = Pairwise(
    pair=pair,
    sender=lambda session: lambda plaintext: session.encrypt(plaintext).to_parts(),
    receiver=lambda session: lambda parts: session.decrypt(AnyOlmMessage.from_parts(*parts)),
    save=lambda session: session.pickle(PICKLE_KEY),
    load=lambda _, saved: Session.from_pickle(saved, PICKLE_KEY),
)
INTRODUCTIONS: Final[Introductions[KeyedAccount, Bundle, Session, Parts]] = Introductions(
    create=KeyedAccount,
    bundle=KeyedAccount.bundle,
    initiate=initiate,
    encrypt=send,
    accept=accept,
)
GROUPS: Final[GroupTalk[GroupSession, InboundGroupSession]] = GroupTalk(
    create=GroupSession,
    distribution=lambda own: own.session_key.to_base64().encode(),
    adopt=lambda message: InboundGroupSession(SessionKey(message.decode())),
    encryptor=lambda own: lambda plaintext: own.encrypt(plaintext).to_bytes(),
    decryptor=lambda theirs: lambda message: theirs.decrypt(MegolmMessage.from_bytes(message)).plaintext,
    pairwise_senders=lambda members: [PAIRWISE.sender(pair()[0]) for _ in range(members)],
)


def open_peer() -> Peer:
    """Describe vodozemac."""
    operations = PAIRWISE.operations() | INTRODUCTIONS.operations() | GROUPS.operations()
    del operations[Operation.DECRYPT_SKIPPED]  # it keeps 40
    about = "Olm and Megolm: Rust; no post-quantum part, no signed prekeys, no KEM; what it saves is encrypted"
    return Peer("vodozemac", version("vodozemac"), about, operations, PAIRWISE.record_sizes)
