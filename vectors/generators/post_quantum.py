"""The post-quantum ratchet alone: every state, losses, repair chunks, limits, and what a wrong peer might send."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from vectors.generators.dice import Dice, RecordingEntropy
from vectors.generators.form import invalid, valid, vector_file
from vectors.ours.post_quantum import Exchange
from vectors.reference import protobuf
from vectors.reference.faults import Fault
from vectors.reference.messages import PqMessage, PqType
from vectors.reference.replay_spqr import Exchange as ReferenceExchange

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "InOrder": "Strict turns, nothing is lost.",
    "Loss": "Some messages never arrive, so that repair chunks are needed.",
    "OutOfOrder": "Messages overtake each other.",
    "OneSided": "One side sends much more than the other.",
    "ChunkWrap": "The index of chunks passes 65,535 and starts again at 0.",
    "Limit": "The last message that a limit still allows.",
    "Tolerated": "Not what an honest sender writes, and still read.",
    "Wire": "The bytes do not have the form of a message.",
    "Key": "The key of the message is not there.",
    "Agreement": "The sender knows the keys of the session and breaks the rules of the key agreement.",
}


class Play:
    """Both sides, and the steps so far."""

    def __init__(self, name: str) -> None:
        self.dice = Dice(f"spqr {name}")
        self.auth_key = self.dice.bytes(32)
        self.steps: list[Json] = []
        self.exchange = Exchange.of(self.auth_key)

    def send(self, by: str) -> int:
        """Send; return the message's number."""
        entropy = RecordingEntropy(self.dice)
        message, key = self.exchange.sides[by].send(entropy)
        step: Json = {"by": by, "do": "send", "message": message.hex(), "key": key.hex()}
        if entropy.drawn:
            step["entropy"] = entropy.drawn
        self.steps.append(step)
        self.exchange.sent.append((message, key))
        return len(self.exchange.sent) - 1

    def receive(self, by: str, message: int) -> Self:
        """Deliver a message."""
        return self._run({"by": by, "do": "receive", "message": message})

    def skip(self, by: str, count: int) -> Self:
        """Send messages that are lost; none of them may draw entropy."""
        return self._run({"by": by, "do": "skip", "count": count})

    def say(self, by: str) -> Self:
        """Send and deliver at once."""
        return self.receive("b" if by == "a" else "a", self.send(by))

    def turns(self, count: int) -> Self:
        """Let both sides speak in turn."""
        for _ in range(count):
            self.say("a").say("b")
        return self

    def chatter(self, messages: int, *, loss: int, bias: int) -> Self:
        """Send at random: *loss* percent vanish, *bias* percent are A's, the rest may be overtaken."""
        waiting: dict[str, list[int]] = {"a": [], "b": []}
        for _ in range(messages):
            sender, receiver = ("a", "b") if self.dice.chance(bias) else ("b", "a")
            message = self.send(sender)
            if not self.dice.chance(loss):
                waiting[receiver].append(message)
            for side, queue in waiting.items():
                while queue and self.dice.chance(60):
                    self.receive(side, queue.pop(min(self.dice.below(4), len(queue) - 1)))
        return self

    def with_states(self) -> Self:
        """Add to each step what only the reference implementation tells: states and epoch secrets."""
        exchange = ReferenceExchange(self.auth_key)
        for step in self.steps:
            exchange.take(step)
            side = exchange.sides[step["by"]]
            step["state"] = side.braid.state.value
            if side.emitted is not None and step["do"] != "skip":
                step["epoch_secret"] = side.emitted.secret.hex()
        return self

    def _run(self, step: Json) -> Self:
        self.exchange.run([step])
        self.steps.append(step)
        return self


def files() -> dict[str, Json]:
    """Return the files by name."""
    groups = [*_exchanges(), _tolerated(), _wire(), _keys(), *_agreement()]
    return {
        "spqr.json": vector_file(kind="spqr", title="The post-quantum ratchet alone", flags=FLAGS, groups=groups),
    }


def _group(comment: str, play: Play, *flags: str) -> Json:
    """Return a group of one valid test."""
    play.with_states()
    return {"comment": comment, "auth_key": play.auth_key.hex(), "tests": [valid(comment, *flags, steps=play.steps)]}


def _exchanges() -> list[Json]:
    wrapping = Play("wrap").turns(2)
    # Two chunks have gone, and no gap may exceed 25,000: on to chunks 22,002, 44,003 and 65,533.
    for lost in (22_000, 22_000, 21_529):
        wrapping.skip("a", lost).say("a")
    for _ in range(4):
        wrapping.say("a")
    wrapping.turns(45)
    late = Play("late").turns(3)
    early = late.send("a")
    late.skip("a", 1_999).say("a").receive("b", early).turns(2)
    return [
        _group("Strict turns through three epochs", Play("turns").turns(135), "InOrder"),
        _group(
            "Three in ten are lost, others overtake", Play("loss").chatter(330, loss=30, bias=50), "Loss", "OutOfOrder"
        ),
        _group("A sends eight in ten", Play("a").chatter(330, loss=10, bias=80), "OneSided", "Loss", "OutOfOrder"),
        _group("B sends eight in ten", Play("b").chatter(330, loss=10, bias=20), "OneSided", "Loss", "OutOfOrder"),
        _group("A chunk index beyond 65,535", wrapping, "ChunkWrap", "OneSided"),
        _group("A message 2,000 behind the newest", late, "Limit", "OutOfOrder"),
    ]


class Refusals:
    """A group of messages that one side gets in place of the next genuine one."""

    def __init__(self, name: str, turns: int, receiver: str) -> None:
        self.play = Play(name).turns(turns)
        if receiver == "a":
            self.play.say("a")
        self.receiver = receiver
        sender = "a" if receiver == "b" else "b"
        self.genuine = self.play.send(sender)
        self.message = PqMessage.decode(self.play.exchange.sent[self.genuine][0])
        self.key = self.play.exchange.sent[self.genuine][1].hex()
        self.tests: list[Json] = []

    def refuse(self, comment: str, fault: Fault, body: bytes, flag: str) -> None:
        """Add a test."""
        step = {"by": self.receiver, "do": "receive", "message": body.hex(), "error": fault.error, "fault": fault.label}
        self.tests.append(invalid(comment, fault.error, fault.label, flag, steps=[step]))

    def accept(self, comment: str, body: bytes, flag: str) -> None:
        """Add a test of a message that still gives the genuine one's key."""
        step = {"by": self.receiver, "do": "receive", "message": body.hex(), "key": self.key}
        self.tests.append(valid(comment, flag, steps=[step]))

    def group(self, comment: str) -> Json:
        """Return the group; after each refusal the genuine message is still read."""
        all_refused = all(test["result"] == "invalid" for test in self.tests)
        genuine = {"by": self.receiver, "do": "receive", "message": self.genuine}
        self.play.with_states()
        return {
            "comment": comment,
            "auth_key": self.play.auth_key.hex(),
            "steps": self.play.steps,
            **({"then": [genuine]} if all_refused else {}),
            "tests": self.tests,
        }


def _parts(message: PqMessage) -> tuple[bytes, bytes, bytes, bytes]:
    """Return epoch, index, type and chunk index as they stand in the message."""
    chunk_index = b"" if message.chunk is None else protobuf.varint(message.chunk[0])
    return protobuf.varint(message.epoch), protobuf.varint(message.index), bytes([message.type]), chunk_index


def _tolerated() -> Json:
    refusals = Refusals("tolerated", 5, "b")
    message = refusals.message
    chunk = message.chunk or (0, b"")
    epoch, index, kind, chunk_index = _parts(message)
    refusals.accept("Bytes after the message", message.encode() + b"\x00\xff", "Tolerated")
    padded_epoch = bytes([epoch[0] | 0x80, 0])
    refusals.accept(
        "An epoch in more bytes than it needs",
        b"\x01" + padded_epoch + index + kind + chunk_index + chunk[1],
        "Tolerated",
    )
    no_use = replace(message, type=PqType.CT2)
    refusals.accept("A type that the state has no use for", no_use.encode(), "Tolerated")
    refusals.accept("No chunk where one is due", replace(message, type=PqType.NONE, chunk=None).encode(), "Tolerated")
    refusals.accept("A chunk index of 65,535", replace(message, chunk=(65_535, chunk[1])).encode(), "Tolerated")
    return refusals.group("Odd messages that are read all the same")


def _wire() -> Json:
    refusals = Refusals("wire", 5, "b")
    message = refusals.message
    chunk = (message.chunk or (0, b""))[1]
    epoch, index, kind, chunk_index = _parts(message)
    body = message.encode()
    for comment, fault, forged in (
        ("Nothing", Fault.PQ_VERSION, b""),
        ("Version 0", Fault.PQ_VERSION, b"\x00" + body[1:]),
        ("Version 2", Fault.PQ_VERSION, b"\x02" + body[1:]),
        ("The version alone", Fault.WIRE, b"\x01"),
        ("No index", Fault.WIRE, b"\x01" + epoch),
        ("No type", Fault.WIRE, b"\x01" + epoch + index),
        ("An epoch that does not end", Fault.WIRE, b"\x01\x80"),
        (
            "An epoch in eleven bytes",
            Fault.WIRE,
            b"\x01" + b"\x81" + b"\x80" * 9 + b"\x00" + index + kind + chunk_index + chunk,
        ),
        ("Epoch 0", Fault.PQ_EPOCH_ZERO, b"\x01\x00" + index + kind + chunk_index + chunk),
        ("Index 0", Fault.PQ_INDEX_ZERO, b"\x01" + epoch + b"\x00" + kind + chunk_index + chunk),
        ("An index of 2^32", Fault.WIRE, b"\x01" + epoch + protobuf.varint(2**32) + kind + chunk_index + chunk),
        ("Type 7", Fault.PQ_TYPE, b"\x01" + epoch + index + b"\x07" + chunk_index + chunk),
        ("No chunk", Fault.WIRE, b"\x01" + epoch + index + kind),
        ("A chunk of 31 bytes", Fault.PQ_CHUNK, body[:-1]),
        ("A chunk index of 65,536", Fault.PQ_CHUNK, b"\x01" + epoch + index + kind + protobuf.varint(65_536) + chunk),
    ):
        refusals.refuse(comment, fault, forged, "Wire")
    return refusals.group("Messages without a message's form")


def _keys() -> Json:
    refusals = Refusals("keys", 95, "b")
    message = refusals.message
    for comment, fault, forged in (
        ("An index used before", Fault.PQ_KEY_GONE, replace(message, index=message.index - 1)),
        ("An epoch no longer kept", Fault.PQ_KEY_GONE, replace(message, epoch=1)),
        ("The epoch after the newest", Fault.PQ_EPOCH_AHEAD, replace(message, epoch=message.epoch + 2)),
        ("An epoch far ahead", Fault.PQ_EPOCH_AHEAD, replace(message, epoch=2**40)),
        (
            "25,001 keys missing",
            Fault.PQ_TOO_FAR_AHEAD,
            replace(message, index=message.index + 25_001),
        ),
    ):
        refusals.refuse(comment, fault, forged.encode(), "Key")
    return refusals.group("Messages whose key is not there")


def _agreement() -> list[Json]:
    """What only a peer with the session's keys can send: the tag of the message would be right."""
    groups = []
    header = Refusals("header", 2, "b")  # the third and last chunk of the header comes next
    index, chunk = header.message.chunk or (0, b"")
    forged = replace(header.message, chunk=(index, bytes([chunk[0] ^ 1]) + chunk[1:]))
    header.refuse("The header's tag is wrong", Fault.PQ_HEADER_MAC, forged.encode(), "Agreement")
    groups.append(header.group("The last chunk of a header"))

    ahead = Refusals("ahead", 5, "b")  # B has encapsulated, so it has the chains of epoch 1 already
    forged = PqMessage(ahead.message.epoch + 1, 1, PqType.NONE, None)
    ahead.refuse("An epoch that B has not finished", Fault.PQ_EPOCH_AHEAD, forged.encode(), "Agreement")
    groups.append(ahead.group("An epoch begun too early"))

    key, chunks = _last_key_chunk()
    index, chunk = chunks
    wrong_hash = replace(key.message, chunk=(index, bytes([chunk[0] ^ 1]) + chunk[1:]))
    key.refuse("The key is not the announced one", Fault.PQ_KEY_HASH, wrong_hash.encode(), "Agreement")
    coefficient = replace(key.message, chunk=(index, b"\xff" * 32))
    key.refuse("A coefficient of 4,095", Fault.PQ_KEY_COEFFICIENT, coefficient.encode(), "Agreement")
    groups.append(key.group("The last chunk of an encapsulation key"))

    ciphertext = _last_ciphertext_chunk()
    index, chunk = ciphertext.message.chunk or (0, b"")
    forged = replace(ciphertext.message, chunk=(index, bytes([chunk[0] ^ 1]) + chunk[1:]))
    ciphertext.refuse("The ciphertext's tag is wrong", Fault.PQ_CIPHERTEXT_MAC, forged.encode(), "Agreement")
    groups.append(ciphertext.group("The last chunk of a ciphertext"))
    return groups


def _turns_before(name: str, receiver: str, state: str) -> int:
    """Return after how many turns the next message to *receiver* is the first that changes its state to *state*."""
    play = Play(name).turns(60).with_states()
    for number, step in enumerate(play.steps):
        if step["by"] == receiver and step["do"] == "receive" and step["state"] == state:
            # A turn has four steps: A sends, B receives, B sends, A receives.
            return number // 4
    raise RuntimeError(f"{receiver} never came to {state}")


def _last_key_chunk() -> tuple[Refusals, tuple[int, bytes]]:
    name = "key"
    refusals = Refusals(name, _turns_before(name, "b", "Ct2Sampled"), "b")
    return refusals, refusals.message.chunk or (0, b"")


def _last_ciphertext_chunk() -> Refusals:
    name = "ciphertext"
    return Refusals(name, _turns_before(name, "a", "NoHeaderReceived"), "a")
