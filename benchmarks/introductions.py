"""Accounts and handshakes, for any library that has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from .harness import Prepared, Run, timed
from .pairwise import accept_anything, all_are
from .peer import ONE_TIME_PREKEYS, Factory, Operation, payload

if TYPE_CHECKING:
    from collections.abc import Callable

Account = TypeVar("Account")
Bundle = TypeVar("Bundle")
Session = TypeVar("Session")
Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class Introductions(Generic[Account, Bundle, Session, Message]):
    """What a library must be able to do."""

    create: Callable[[int], Account]  # with that many one-time prekeys, of each kind that there is
    bundle: Callable[[Account], Bundle]  # takes the next one-time prekeys
    initiate: Callable[[Account, Bundle], Session]
    encrypt: Callable[[Session, bytes], Message]
    accept: Callable[[Account, Account, Message], tuple[object, bytes]]  # receiver, sender, first message

    def operations(self) -> dict[Operation, Factory]:
        """Return all that can be measured so."""
        return {
            Operation.ACCOUNT: partial(self.create_account, 0),
            Operation.ACCOUNT_WITH_PREKEYS: partial(self.create_account, ONE_TIME_PREKEYS),
            Operation.INITIATE: self.measure_initiate,
            Operation.FIRST_ENCRYPT: self.first_encrypt,
            Operation.INITIATE_AND_ENCRYPT: self.initiate_and_encrypt,
            Operation.ACCEPT: self.measure_accept,
        }

    def create_account(self, one_time: int, size: int) -> Run:
        """Make all long-term keys and *one_time* prekeys; *size* has no influence."""
        del size

        def prepare(count: int) -> Prepared[list[Account]]:
            return lambda: [self.create(one_time) for _ in range(count)], accept_anything

        return timed(prepare)

    def measure_initiate(self, size: int) -> Run:
        """Make a session from a bundle that is parsed but not yet verified."""
        alice = self.create(0)

        def prepare(count: int) -> Prepared[list[Session]]:
            bob = self.create(count)
            bundles = [self.bundle(bob) for _ in range(count)]

            def check(sessions: list[Session]) -> None:
                text = payload(size)
                all_are(text, [self.accept(bob, alice, self.encrypt(session, text))[1] for session in sessions])

            return lambda: [self.initiate(alice, bundle) for bundle in bundles], check

        return timed(prepare)

    def first_encrypt(self, size: int) -> Run:
        """Encrypt by a session just initiated."""
        alice, text = self.create(0), payload(size)

        def prepare(count: int) -> Prepared[list[Message]]:
            bob = self.create(count)
            sessions = [self.initiate(alice, self.bundle(bob)) for _ in range(count)]

            def check(messages: list[Message]) -> None:
                all_are(text, [self.accept(bob, alice, message)[1] for message in messages])

            return lambda: [self.encrypt(session, text) for session in sessions], check

        return timed(prepare)

    def initiate_and_encrypt(self, size: int) -> Run:
        """Do all that it takes to send the first message: a bundle in, a first message out."""
        alice, text = self.create(0), payload(size)

        def prepare(count: int) -> Prepared[list[Message]]:
            bob = self.create(count)
            bundles = [self.bundle(bob) for _ in range(count)]

            def check(messages: list[Message]) -> None:
                all_are(text, [self.accept(bob, alice, message)[1] for message in messages])

            return lambda: [self.encrypt(self.initiate(alice, bundle), text) for bundle in bundles], check

        return timed(prepare)

    def measure_accept(self, size: int) -> Run:
        """Make a session and a plaintext from a first message, one-time prekeys being used up."""
        alice, text = self.create(0), payload(size)

        def prepare(count: int) -> Prepared[list[bytes]]:
            bob = self.create(count)
            messages = [self.encrypt(self.initiate(alice, self.bundle(bob)), text) for _ in range(count)]
            return lambda: [self.accept(bob, alice, message)[1] for message in messages], partial(all_are, text)

        return timed(prepare)
