"""Ours, through the public contract of `ratchet` only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from benchmarks.group_talk import GroupTalk
from benchmarks.harness import Prepared, Run, timed
from benchmarks.introductions import Introductions
from benchmarks.pairwise import Pairwise, accept_anything
from benchmarks.peer import Operation, Peer
from ratchet import Account, Ciphertext, OwnSenderKey, PeerSenderKey, PreKeyBundle, Session
from ratchet.spqr import erasure

DISTRIBUTION_ID: Final = UUID("6f1d8ac0-93a1-4a0b-9d6c-3a1f4be2c7d5")


@dataclass(frozen=True, slots=True)
class End:
    """One side of a session; decrypting takes the account."""

    session: Session
    account: Account


def create_account(one_time: int) -> Account:
    """Make an account with *one_time* one-time prekeys of each kind."""
    return Account.create(one_time_prekeys=one_time)


def forget_blocks() -> None:
    """Empty what the erasure code remembers of blobs: all that a process keeps of a session beside it."""
    erasure._block.cache_clear()  # noqa: SLF001 - to be as a new process is
    erasure._polynomial.cache_clear()  # noqa: SLF001 - as above


def pair() -> tuple[End, End]:
    """Two ends of a session, each of which has heard from the other."""
    alice, bob = create_account(0), create_account(1)
    session = Session.initiate(alice, bob.bundle())
    answering, _ = Session.accept(bob, session.encrypt(b"hello"))
    session.decrypt(alice, answering.encrypt(b"hi"))
    return End(session, alice), End(answering, bob)


def verify_bundle(size: int) -> Run:
    """Both signatures of a bundle; *size* has no influence."""
    del size
    bundle = create_account(1).bundle()

    def prepare(count: int) -> Prepared[None]:
        def work() -> None:
            for _ in range(count):
                bundle.verify()

        return work, accept_anything

    return timed(prepare)


PAIRWISE: Final[Pairwise[End, Ciphertext, bytes]] = Pairwise(
    pair=pair,
    sender=lambda end: end.session.encrypt,
    receiver=lambda end: partial(end.session.decrypt, end.account),
    save=lambda end: end.session.to_bytes(),
    load=lambda end, saved: End(Session.from_bytes(saved), end.account),
    forget=forget_blocks,
)
INTRODUCTIONS: Final[Introductions[Account, PreKeyBundle, Session, Ciphertext]] = Introductions(
    create=create_account,
    bundle=Account.bundle,
    initiate=Session.initiate,
    encrypt=Session.encrypt,
    accept=lambda account, _, first: Session.accept(account, first),
)
GROUPS: Final[GroupTalk[OwnSenderKey, PeerSenderKey]] = GroupTalk(
    create=lambda: OwnSenderKey.create(DISTRIBUTION_ID),
    distribution=OwnSenderKey.distribution_message,
    adopt=PeerSenderKey.from_distribution_message,
    encryptor=lambda own: own.encrypt,
    decryptor=lambda theirs: theirs.decrypt,
    pairwise_senders=lambda members: [pair()[0].session.encrypt for _ in range(members)],
)


def open_peer() -> Peer:
    """Describe ours."""
    operations = PAIRWISE.operations() | INTRODUCTIONS.operations() | GROUPS.operations()
    operations[Operation.VERIFY_BUNDLE] = verify_bundle
    about = "ratchet: version 4 with SPQR, through its public contract"
    return Peer("ours", "this checkout", about, operations, PAIRWISE.record_sizes)
