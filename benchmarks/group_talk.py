"""Groups by sender keys, for any library that has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Generic, TypeVar

from .harness import Prepared, Run, timed
from .pairwise import accept_anything, all_are
from .peer import Factory, Operation, payload

if TYPE_CHECKING:
    from collections.abc import Callable

Own = TypeVar("Own")  # the sender's key
Theirs = TypeVar("Theirs")  # what a member keeps of it


@dataclass(frozen=True, slots=True)
class GroupTalk(Generic[Own, Theirs]):
    """What a library must be able to do; all messages in their wire form."""

    create: Callable[[], Own]
    distribution: Callable[[Own], bytes]
    adopt: Callable[[bytes], Theirs]
    encryptor: Callable[[Own], Callable[[bytes], bytes]]
    decryptor: Callable[[Theirs], Callable[[bytes], bytes]]
    pairwise_senders: Callable[[int], list[Callable[[bytes], object]]]  # from one sender to that many members

    def operations(self) -> dict[Operation, Factory]:
        """Return all that can be measured so."""
        return {
            Operation.SENDER_KEY_CREATE: self.measure_create,
            Operation.DISTRIBUTE: self.distribute,
            Operation.ADOPT: self.measure_adopt,
            Operation.GROUP_ENCRYPT: self.encrypt,
            Operation.GROUP_DECRYPT: self.decrypt,
            Operation.FAN_OUT_10: partial(self.fan_out, 10),
            Operation.FAN_OUT_100: partial(self.fan_out, 100),
            Operation.FAN_OUT_1000: partial(self.fan_out, 1000),
            Operation.SHARE_10: partial(self.share, 10),
            Operation.SHARE_100: partial(self.share, 100),
            Operation.SHARE_1000: partial(self.share, 1000),
        }

    def pair(self) -> tuple[Own, Theirs]:
        """Make a sender's key and what one member keeps of it."""
        own = self.create()
        return own, self.adopt(self.distribution(own))

    def measure_create(self, size: int) -> Run:
        """Make a new chain and signing key; *size* has no influence."""
        del size

        def prepare(count: int) -> Prepared[list[Own]]:
            return lambda: [self.create() for _ in range(count)], accept_anything

        return timed(prepare)

    def distribute(self, size: int) -> Run:
        """Make the distribution message of a key; *size* has no influence."""
        del size
        own = self.create()

        def prepare(count: int) -> Prepared[list[bytes]]:
            return lambda: [self.distribution(own) for _ in range(count)], accept_anything

        return timed(prepare)

    def measure_adopt(self, size: int) -> Run:
        """Do what a member does with a distribution message."""
        own = self.create()
        message = self.distribution(own)

        def prepare(count: int) -> Prepared[list[Theirs]]:
            def check(adopted: list[Theirs]) -> None:
                text = payload(size)
                all_are(text, [self.decryptor(adopted[-1])(self.encryptor(own)(text))])

            return lambda: [self.adopt(message) for _ in range(count)], check

        return timed(prepare)

    def encrypt(self, size: int) -> Run:
        """Encrypt, whatever the number of members."""
        own, theirs = self.pair()
        send, receive, text = self.encryptor(own), self.decryptor(theirs), payload(size)

        def prepare(count: int) -> Prepared[list[bytes]]:
            def check(messages: list[bytes]) -> None:
                all_are(text, [receive(message) for message in messages])

            return lambda: [send(text) for _ in range(count)], check

        return timed(prepare)

    def decrypt(self, size: int) -> Run:
        """Decrypt at one member, in order."""
        own, theirs = self.pair()
        send, receive, text = self.encryptor(own), self.decryptor(theirs), payload(size)

        def prepare(count: int) -> Prepared[list[bytes]]:
            messages = [send(text) for _ in range(count)]
            return lambda: [receive(message) for message in messages], partial(all_are, text)

        return timed(prepare)

    def fan_out(self, members: int, size: int) -> Run:
        """Encrypt once and decrypt at each of *members*: the whole work of a group message."""
        own = self.create()
        message = self.distribution(own)
        send, text = self.encryptor(own), payload(size)
        receivers = [self.decryptor(self.adopt(message)) for _ in range(members)]

        def prepare(count: int) -> Prepared[list[bytes]]:
            def work() -> list[bytes]:
                plaintexts: list[bytes] = []
                for _ in repeat(None, count):
                    sent = send(text)
                    plaintexts = [receive(sent) for receive in receivers]
                return plaintexts

            return work, partial(all_are, text)

        return timed(prepare)

    def share(self, members: int, size: int) -> Run:
        """Encrypt a distribution message for each of *members* by a session with it; *size* has no influence."""
        del size
        own = self.create()
        senders = self.pairwise_senders(members)

        def prepare(count: int) -> Prepared[None]:
            def work() -> None:
                for _ in repeat(None, count):
                    message = self.distribution(own)
                    for send in senders:
                        send(message)

            return work, accept_anything

        return timed(prepare)
