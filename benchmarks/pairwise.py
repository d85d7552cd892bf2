"""Conversations of two, for any library that can send, receive, save and load: one method for all of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar

from .harness import Prepared, Run, WrongResultError, expect, timed
from .peer import SHUFFLE_WINDOW, SKIPPED_KEYS, Factory, Operation, payload

if TYPE_CHECKING:
    from collections.abc import Callable

End = TypeVar("End")  # one side of a session, with whatever its library wants beside it
Message = TypeVar("Message")  # what travels
Saved = TypeVar("Saved", bytes, str)  # a session at rest

TALK_BEFORE_SAVE = 100  # messages of ping-pong before a session is saved: all its parts are in use
ONE_WAY_BEFORE_SAVE = 100  # messages in one direction after that: beyond SPQR's first block of 64 chunks


def all_are(text: bytes, plaintexts: list[bytes]) -> None:
    """Check that everything decrypted is *text*."""
    if any(plaintext != text for plaintext in plaintexts):
        raise WrongResultError("a decrypted message is not what was encrypted")


def accept_anything(result: object) -> None:
    """Check nothing: another operation of the same peer checks the same result."""
    del result


@dataclass(frozen=True, slots=True)
class Pairwise(Generic[End, Message, Saved]):
    """What a library must be able to do. Senders and receivers are bound once, outside of what is timed."""

    pair: Callable[[], tuple[End, End]]  # two ends, each of which has heard from the other
    sender: Callable[[End], Callable[[bytes], Message]]
    receiver: Callable[[End], Callable[[Message], bytes]]
    save: Callable[[End], Saved]
    load: Callable[[End, Saved], End]  # the end that was saved gives what is not part of a session
    forget: Callable[[], None] | None = None  # empties what the library remembers of sessions beside them

    def operations(self) -> dict[Operation, Factory]:
        """Return all that can be measured so; `DECRYPT_SKIPPED` is for libraries that keep 2,000 keys."""
        cold: dict[Operation, Factory] = {}
        if self.forget is not None:
            cold[Operation.ENCRYPT_COLD] = partial(self.encrypt_cold, self.forget)
        return cold | {
            Operation.ENCRYPT: self.encrypt,
            Operation.DECRYPT: partial(self.decrypt, 0),
            Operation.DECRYPT_SKIPPED: partial(self.decrypt, SKIPPED_KEYS),
            Operation.ROUND_TRIP: self.round_trip,
            Operation.PING_PONG: self.ping_pong,
            Operation.SHUFFLED: self.shuffled,
            Operation.SAVE: self.measure_save,
            Operation.LOAD: self.measure_load,
            Operation.SAVE_AND_LOAD: self.save_and_load,
            Operation.ENCRYPT_AFTER_LOAD: self.encrypt_after_load,
            Operation.DECRYPT_AFTER_LOAD: self.decrypt_after_load,
        }

    def copied(self, end: End) -> End:
        """Load another end in the same state."""
        return self.load(end, self.save(end))

    def encrypt(self, size: int) -> Run:
        """Encrypt one way; the other end decrypts afterwards, for the check."""
        alice, bob = self.pair()
        send, receive, text = self.sender(alice), self.receiver(bob), payload(size)

        def prepare(count: int) -> Prepared[list[Message]]:
            def check(messages: list[Message]) -> None:
                all_are(text, [receive(message) for message in messages])

            return lambda: [send(text) for _ in range(count)], check

        return timed(prepare)

    def decrypt(self, skipped: int, size: int) -> Run:
        """Decrypt one way in order, after the first *skipped* messages were lost."""
        alice, bob = self.pair()
        send, receive, text = self.sender(alice), self.receiver(bob), payload(size)
        for _ in range(skipped):
            send(b"")
        expect(receive(send(text)), text, "the message after those lost")

        def prepare(count: int) -> Prepared[list[bytes]]:
            messages = [send(text) for _ in range(count)]
            return lambda: [receive(message) for message in messages], partial(all_are, text)

        return timed(prepare)

    def round_trip(self, size: int) -> Run:
        """Encrypt and decrypt in turns, one way."""
        alice, bob = self.pair()
        send, receive, text = self.sender(alice), self.receiver(bob), payload(size)

        def prepare(count: int) -> Prepared[list[bytes]]:
            return lambda: [receive(send(text)) for _ in range(count)], partial(all_are, text)

        return timed(prepare)

    def ping_pong(self, size: int) -> Run:
        """Encrypt and decrypt, the direction changing with each message."""
        alice, bob = self.pair()
        there = (self.sender(alice), self.receiver(bob))
        back = (self.sender(bob), self.receiver(alice))
        text = payload(size)

        def prepare(count: int) -> Prepared[list[bytes]]:
            # An odd number would begin the next slice in the direction in which this one ended.
            turns = [(there, back)[turn % 2] for turn in range(count)]
            return lambda: [receive(send(text)) for send, receive in turns], partial(all_are, text)

        return timed(prepare)

    def shuffled(self, size: int) -> Run:
        """Decrypt one way, each window of messages in a random order."""
        alice, bob = self.pair()
        send, receive, text = self.sender(alice), self.receiver(bob), payload(size)
        dice = random.Random(size)

        def prepare(count: int) -> Prepared[list[bytes]]:
            messages: list[Message] = []
            while len(messages) < count:
                window = [send(text) for _ in range(min(SHUFFLE_WINDOW, count - len(messages)))]
                messages += dice.sample(window, len(window))
            return lambda: [receive(message) for message in messages], partial(all_are, text)

        return timed(prepare)

    def after_talk(self, one_way: int = 0) -> tuple[End, End]:
        """Talk in ping-pong, then send *one_way* messages in one direction."""
        alice, bob = self.pair()
        for turn in range(TALK_BEFORE_SAVE + one_way):
            source, target = (bob, alice) if turn < TALK_BEFORE_SAVE and turn % 2 else (alice, bob)
            self.receiver(target)(self.sender(source)(b"hello"))
        return alice, bob

    def measure_save(self, size: int) -> Run:
        """Take a session to bytes; *size* has no influence."""
        del size
        alice, _ = self.after_talk()

        def prepare(count: int) -> Prepared[list[Saved]]:
            return lambda: [self.save(alice) for _ in range(count)], accept_anything

        return timed(prepare)

    def measure_load(self, size: int) -> Run:
        """Take a session from bytes; *size* has no influence."""
        del size
        alice, _ = self.after_talk()
        saved = self.save(alice)

        def prepare(count: int) -> Prepared[list[End]]:
            return lambda: [self.load(alice, saved) for _ in range(count)], accept_anything

        return timed(prepare)

    def save_and_load(self, size: int) -> Run:
        """Take a session to bytes and back; what was loaded decrypts the other end's next message."""
        alice, bob = self.after_talk()
        text = payload(size)

        def prepare(count: int) -> Prepared[list[End]]:
            def check(loaded: list[End]) -> None:
                all_are(text, [self.receiver(loaded[-1])(self.sender(self.copied(bob))(text))])

            return lambda: [self.copied(alice) for _ in range(count)], check

        return timed(prepare)

    def encrypt_after_load(self, size: int) -> Run:
        """Encrypt for the first time by a session just loaded, well into a run of messages in one direction."""
        alice, bob = self.after_talk(one_way=ONE_WAY_BEFORE_SAVE)
        saved, text = self.save(alice), payload(size)

        def prepare(count: int) -> Prepared[list[Message]]:
            senders = [self.sender(self.load(alice, saved)) for _ in range(count)]

            def check(messages: list[Message]) -> None:
                all_are(text, [self.receiver(self.copied(bob))(messages[-1])])

            return lambda: [send(text) for send in senders], check

        return timed(prepare)

    def encrypt_cold(self, forget: Callable[[], None], size: int) -> Run:
        """Do the same with nothing remembered: each encryption is timed alone, what it left behind is forgotten."""
        alice, _ = self.after_talk(one_way=ONE_WAY_BEFORE_SAVE)
        saved, text = self.save(alice), payload(size)

        def run(operations: int) -> float:
            elapsed = 0.0
            for _ in range(operations):
                send = self.sender(self.load(alice, saved))
                forget()
                start = perf_counter()
                send(text)
                elapsed += perf_counter() - start
            return elapsed

        return run

    def decrypt_after_load(self, size: int) -> Run:
        """Decrypt for the first time by a session just loaded, well into a run of messages in one direction."""
        alice, bob = self.after_talk(one_way=ONE_WAY_BEFORE_SAVE)
        saved, text = self.save(bob), payload(size)
        message = self.sender(alice)(text)

        def prepare(count: int) -> Prepared[list[bytes]]:
            receivers = [self.receiver(self.load(bob, saved)) for _ in range(count)]
            return lambda: [receive(message) for receive in receivers], partial(all_are, text)

        return timed(prepare)

    def record_sizes(self, messages: int) -> list[int]:
        """Return the size of the receiver's session at rest after each message of a ping-pong."""
        alice, bob = self.pair()
        sizes = []
        for _ in range(messages):
            self.receiver(bob)(self.sender(alice)(payload(256)))
            sizes.append(len(self.save(bob)))
            alice, bob = bob, alice
        return sizes
