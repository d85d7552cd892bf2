"""What a library under measurement offers: operations, each a function from a payload size to a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .harness import Run, Settings

Factory = Callable[[int], Run]
"""Takes a payload size in bytes, makes two parties ready to talk, and returns the run."""


class Operation(StrEnum):
    """Everything that can be measured; a peer offers those that its library has."""

    # Pairwise, after both sides have heard from each other.
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    ROUND_TRIP = "encrypt and decrypt"
    PING_PONG = "ping-pong"
    SHUFFLED = "decrypt, shuffled"
    DECRYPT_SKIPPED = "decrypt, skipped keys stored"
    SAVE = "save"
    LOAD = "load"
    SAVE_AND_LOAD = "save and load"
    ENCRYPT_AFTER_LOAD = "first encryption after load"
    DECRYPT_AFTER_LOAD = "first decryption after load"
    ENCRYPT_COLD = "first encryption in a new process"
    # Handshake.
    ACCOUNT = "create account"
    ACCOUNT_WITH_PREKEYS = "create account with 100 one-time prekeys"
    VERIFY_BUNDLE = "verify bundle"
    INITIATE = "initiate"
    FIRST_ENCRYPT = "first encryption"
    INITIATE_AND_ENCRYPT = "initiate and encrypt"
    ACCEPT = "accept"
    # Groups.
    SENDER_KEY_CREATE = "create sender key"
    DISTRIBUTE = "make distribution message"
    ADOPT = "process distribution message"
    GROUP_ENCRYPT = "group encrypt"
    GROUP_DECRYPT = "group decrypt"
    FAN_OUT_10 = "message to 10 members"
    FAN_OUT_100 = "message to 100 members"
    FAN_OUT_1000 = "message to 1000 members"
    SHARE_10 = "sender key to 10 members"
    SHARE_100 = "sender key to 100 members"
    SHARE_1000 = "sender key to 1000 members"


REPAIR_CHUNK: Final = "repair chunk"  # a part of others' work, shown beside them, and no reference for anything
ONE_TIME_PREKEYS: Final = 100  # of each kind, in Operation.ACCOUNT_WITH_PREKEYS
SKIPPED_KEYS: Final = 2_000  # stored, in Operation.DECRYPT_SKIPPED
SHUFFLE_WINDOW: Final = 32  # messages, in Operation.SHUFFLED; vodozemac keeps 40 skipped keys


class UnavailableError(Exception):
    """A peer cannot take part here, for the reason given; the others can."""


def nothing_to_close() -> None:
    """Close a peer that holds nothing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One library, or the bare primitives, ready to be measured."""

    name: str  # as it stands in tables
    version: str
    about: str  # what its figures include and what its protocol lacks
    operations: Mapping[Operation, Factory]
    record_sizes: Callable[[int], list[int]] | None = None  # bytes of a session after each of that many messages
    close: Callable[[], None] = nothing_to_close


@dataclass(frozen=True, slots=True)
class Bench:
    """What a suite is given: who takes part, and how."""

    settings: Settings
    peers: tuple[Peer, ...]

    def offering(self, operation: Operation) -> Iterator[tuple[Peer, Factory]]:
        """Every peer that has *operation*, with the way to run it."""
        for peer in self.peers:
            factory = peer.operations.get(operation)
            if factory is not None:
                yield peer, factory


def payload(size: int) -> bytes:
    """Return *size* bytes, the same in each call: for a plaintext that does not compress."""
    return random.Random(size).randbytes(size)
