"""Suite ``ratchet``: conversations of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .contests import Discipline, contests, sizes
from .peer import Bench, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .harness import Outcome

SWEEP: Final = (16, 4_096, 65_536)  # bytes; 256 is measured anyway

# Two epochs of SPQR in strict ping-pong (signal-protocol 4.7), so that each side makes one key pair and
# one encapsulation in every slice: in shorter ones the median would hide the messages that do that work.
PING_PONG_CYCLE: Final = 174  # messages
# Garbage collectors work in bursts (Node's frees native objects then), which short slices fall between.
SUSTAINED: Final = 1_740  # messages: about 0.05 to 0.5 s, and ten cycles of ping-pong
RECORD_MESSAGES: Final = 348  # four epochs
RECORD_MESSAGES_SMOKE: Final = 4

DISCIPLINES: Final = (
    Discipline(Operation.ENCRYPT, "encrypt, one way"),
    Discipline(Operation.DECRYPT, "decrypt, one way, in order"),
    Discipline(Operation.ROUND_TRIP, "encrypt and decrypt, one way"),
    *(Discipline(Operation.ROUND_TRIP, f"encrypt and decrypt, one way, {size:,} bytes", size) for size in SWEEP),
    Discipline(Operation.PING_PONG, "ping-pong, per message", operations=PING_PONG_CYCLE),
    Discipline(
        Operation.ROUND_TRIP,
        "sustained, collectors on: encrypt and decrypt, one way",
        operations=SUSTAINED,
        sustained=True,
    ),
    Discipline(
        Operation.PING_PONG,
        "sustained, collectors on: ping-pong, per message",
        operations=SUSTAINED,
        sustained=True,
    ),
    Discipline(Operation.SHUFFLED, "decrypt, windows of 32 messages shuffled"),
    Discipline(Operation.SAVE, "session to bytes"),
    Discipline(Operation.LOAD, "session from bytes"),
    Discipline(Operation.SAVE_AND_LOAD, "session to bytes and back"),
    Discipline(Operation.ENCRYPT_AFTER_LOAD, "first encryption after load, 100 messages into one direction"),
    Discipline(Operation.DECRYPT_AFTER_LOAD, "first decryption after load, 100 messages into one direction"),
    Discipline(Operation.ENCRYPT_COLD, "first encryption in a process that is new to the session"),
)
SKIPPED: Final = Discipline(Operation.DECRYPT_SKIPPED, "decrypt with 2,000 skipped keys stored, against without")


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure every discipline, then the sizes of sessions at rest."""
    yield from contests("ratchet", bench, DISCIPLINES)
    yield SKIPPED.against("ratchet", bench, Operation.DECRYPT, "without")
    messages = RECORD_MESSAGES_SMOKE if bench.settings.smoke else RECORD_MESSAGES
    yield sizes("ratchet.record size", f"session at rest, over {messages} messages of ping-pong", bench, messages)
