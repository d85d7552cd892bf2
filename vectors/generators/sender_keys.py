"""Sender keys: members that come early and late, disorder, several chains, limits, and what must be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

import ratchet
from ratchet import primitives
from vectors.generators.dice import Dice, RecordingEntropy
from vectors.generators.form import invalid, valid, vector_file
from vectors.ours.group import Group
from vectors.reference import edwards, messages, protobuf
from vectors.reference.chains import chain_step, sender_message_keys
from vectors.reference.faults import Fault
from vectors.reference.primitives import aes_cbc_encrypt

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "InOrder": "Every message arrives in its place.",
    "OutOfOrder": "Messages overtake each other.",
    "LateJoin": "A member gets the chain after messages were sent.",
    "SeedKey": "The signing key was made from an Ed25519 seed: signing needs no randomness.",
    "X25519Key": "The signing key is an X25519 private key: signing needs 64 random bytes.",
    "SeveralChains": "The sender replaced its chain; messages of the old ones are still read.",
    "NoRewind": "A distribution message of a known chain comes again and changes nothing.",
    "Limit": "The last message, or the first, on a limit's two sides.",
    "Tolerated": "Not what an honest sender writes, and still read.",
    "Wire": "The bytes do not have the form of a message.",
    "Version": "A version that is not spoken.",
    "Signature": "The signature is wrong. Everywhere else it is right.",
    "InsideSignature": "Only the sender can make it: the signature is right.",
    "Replay": "The message's key was used, or is no longer kept.",
    "Unknown": "The chain was not distributed to the member.",
}
TEXT: Final = b"to all"


class Play:
    """One sender, its chains, members, and the steps so far."""

    def __init__(self, name: str) -> None:
        self.dice = Dice(f"sender keys {name}")
        self.distribution_id = UUID(bytes=self.dice.bytes(16), version=4)
        self.chains: list[Json] = []
        self.steps: list[Json] = []
        self.group = Group([])

    def chain(self, *, from_seed: bool = True) -> int:
        """Make a further chain; return its position."""
        if from_seed:
            entropy = RecordingEntropy(self.dice)
            made = ratchet.OwnSenderKey.create(self.distribution_id, entropy=entropy)
            _, chain_key, seed = entropy.drawn
            stated: Json = {
                "entropy": entropy.drawn,
                "chain_id": made.chain_id,
                "chain_key": chain_key,
                "signing_seed": seed,
            }
        else:
            stated = {
                "chain_id": self.dice.below(2**31),
                "chain_key": self.dice.bytes(32).hex(),
                "signing_private": primitives.clamp(self.dice.bytes(32)).hex(),
            }
        self.chains.append(stated)
        self.group.chains.append(Group.of(str(self.distribution_id), [stated]).chains[0])
        return len(self.chains) - 1

    def distribute(self, *members: str, chain: int = 0) -> int:
        """Make a distribution message and give it to members; return its number."""
        body = self.group.chains[chain].distribution_message()
        self._run({"do": "distribute", "chain": chain, "body": body.hex()})
        number = len(self.group.distributions) - 1
        for member in members:
            self.add(member, number)
        return number

    def add(self, member: str, distribution: int) -> Self:
        """Give a distribution message to a member."""
        return self._run({"by": member, "do": "add", "distribution": distribution})

    def encrypt(self, plaintext: bytes | None = None, chain: int = 0) -> int:
        """Encrypt a text (or a random one); return the message's number."""
        if plaintext is None:
            plaintext = self.dice.bytes(self.dice.below(12))
        entropy = RecordingEntropy(self.dice)
        body = self.group.chains[chain].encrypt(plaintext, entropy=entropy)
        step: Json = {"do": "encrypt", "chain": chain, "plaintext": plaintext.hex()}
        if entropy.drawn:
            step["entropy"] = entropy.drawn
        self.steps.append(step | {"body": body.hex()})
        self.group.messages.append((body, plaintext))
        return len(self.group.messages) - 1

    def decrypt(self, member: str, *numbers: int) -> Self:
        """Deliver messages to a member."""
        for number in numbers:
            self._run({"by": member, "do": "decrypt", "message": number})
        return self

    def skip(self, count: int, chain: int = 0) -> Self:
        """Encrypt messages that nobody sees."""
        return self._run({"do": "skip", "chain": chain, "count": count})

    def content(self, tests: list[Json]) -> Json:
        """Return what a group of tests begins with."""
        return {"distribution_id": str(self.distribution_id), "chains": self.chains, "tests": tests}

    def _run(self, step: Json) -> Self:
        self.group.run([step])
        self.steps.append(step)
        return self


def files() -> dict[str, Json]:
    """Return the files by name."""
    groups = [*_valid_groups(), *_limits(), _tolerated(), _forged_messages(), _forged_distributions(), _replays()]
    title = "Sender keys"
    return {"sender_keys.json": vector_file(kind="sender_keys", title=title, flags=FLAGS, groups=groups)}


def _group(comment: str, play: Play, *flags: str) -> Json:
    return {"comment": comment, **play.content([valid(comment, *flags, steps=play.steps)])}


def _valid_groups() -> list[Json]:
    in_order = Play("in order")
    in_order.chain()
    in_order.distribute("bob", "carol")
    for _ in range(5):
        message = in_order.encrypt()
        in_order.decrypt("bob", message).decrypt("carol", message)

    imported = Play("x25519")
    imported.chain(from_seed=False)
    imported.distribute("bob")
    for size in (0, 15, 16, 17, 1024):
        imported.decrypt("bob", imported.encrypt(imported.dice.bytes(size)))

    late = Play("late")
    late.chain()
    late.distribute("bob")
    early = [late.encrypt() for _ in range(3)]
    late.distribute("carol")
    later = [late.encrypt() for _ in range(3)]
    late.decrypt("carol", *reversed(later)).decrypt("bob", *late.dice.shuffled([*early, *later]))

    several = Play("several")
    messages_of = []
    for number in range(5):
        several.chain()
        several.distribute("bob", chain=number)
        messages_of.append([several.encrypt(chain=number) for _ in range(2)])
    several.decrypt("bob", *(chain[1] for chain in messages_of), *(chain[0] for chain in messages_of))

    again = Play("again")
    again.chain()
    first = again.distribute("bob")
    again.decrypt("bob", again.encrypt(), again.encrypt()).add("bob", first)
    again.decrypt("bob", again.encrypt())
    return [
        _group("Two members", in_order, "InOrder", "SeedKey"),
        _group("A chain of another implementation", imported, "InOrder", "X25519Key"),
        _group("A member that joins late", late, "LateJoin", "OutOfOrder"),
        _group("Five chains of one sender", several, "SeveralChains", "OutOfOrder"),
        _group("A distribution message comes again", again, "NoRewind"),
    ]


def _limits() -> list[Json]:
    groups = []
    for lost, fault in ((25_000, None), (25_001, Fault.TOO_FAR_AHEAD)):
        play = Play(f"lost {lost}")
        play.chain()
        play.distribute("bob")
        play.skip(lost)
        groups.append(_limit(f"{lost:,} messages are lost", play, play.encrypt(), fault))
    for name, fault in (("dropped", Fault.KEY_GONE), ("kept", None)):
        play = Play(name)
        play.chain()
        play.distribute("bob")
        if name == "kept":
            play.skip(1)
        late = play.encrypt()
        play.skip(2_000 if name == "dropped" else 1_999)
        play.decrypt("bob", play.encrypt())
        groups.append(_limit(f"Of 2,001 skipped keys the oldest is dropped: the one that is {name}", play, late, fault))
    play = Play("six chains")
    for number in range(6):
        play.chain()
        play.distribute("bob", chain=number)
    kept, dropped = play.encrypt(chain=1), play.encrypt(chain=0)
    play.decrypt("bob", kept)
    groups.append(_limit("The sixth chain drops the first", play, dropped, Fault.SENDER_KEY_UNKNOWN))
    return groups


def _limit(comment: str, play: Play, message: int, fault: Fault | None) -> Json:
    """Return a group of one test, which is the delivery of this message to bob."""
    step: Json = {"by": "bob", "do": "decrypt", "message": message}
    if fault is None:
        test = valid(comment, "Limit", steps=[step])
    else:
        refused = {**step, "error": fault.error, "fault": fault.label}
        test = invalid(comment, fault.error, fault.label, "Limit", steps=[refused])
    return {"comment": comment, **play.content([test]), "steps": play.steps}


class _Forged:
    """A chain with two genuine messages that bob has not read, and deliveries in place of the first."""

    def __init__(self, name: str) -> None:
        self.play = Play(name)
        self.play.chain()
        self.play.distribute("bob")
        self.play.decrypt("bob", self.play.encrypt())
        self.play.encrypt(TEXT)
        self.play.encrypt()
        self.genuine = self.play.group.messages[1][0]
        chain = self.play.chains[0]
        self.seed = bytes.fromhex(chain["signing_seed"])
        _, second = chain_step(bytes.fromhex(chain["chain_key"]))
        self.initial_vector, self.cipher_key = sender_message_keys(chain_step(second)[0])
        self.fields: dict[int, int | bytes | None] = {
            1: self.play.distribution_id.bytes,
            2: chain["chain_id"],
            3: 1,
            4: aes_cbc_encrypt(self.cipher_key, self.initial_vector, TEXT),
        }
        if self.signed() != self.genuine:
            raise RuntimeError("the fields are those of the genuine message")
        self.tests: list[Json] = []

    def signed(self, changed: dict[int, int | bytes | None] | None = None, version_byte: int = 0x33) -> bytes:
        """Return a message with a right signature."""
        return self.sign(bytes([version_byte]) + protobuf.encode({**self.fields, **(changed or {})}))

    def sign(self, message: bytes) -> bytes:
        """Append the signature of the chain."""
        return message + edwards.sign_with_seed(self.seed, message)

    def refuse(self, comment: str, fault: Fault, flag: str, body: bytes, do: str = "decrypt") -> None:
        """Add a delivery that is refused."""
        step = {"by": "bob", "do": do, "body": body.hex(), "error": fault.error, "fault": fault.label}
        self.tests.append(invalid(comment, fault.error, fault.label, flag, steps=[step]))

    def accept(self, comment: str, body: bytes) -> None:
        """Add a delivery that is read."""
        genuine = {"by": "bob", "do": "decrypt", "message": 2}
        step = {"by": "bob", "do": "decrypt", "body": body.hex(), "plaintext": TEXT.hex()}
        self.tests.append(valid(comment, "Tolerated", steps=[step, genuine]))

    def group(self, comment: str) -> Json:
        """Return the group; whatever was refused, the genuine messages are still read."""
        then = [{"by": "bob", "do": "decrypt", "message": number} for number in (1, 2)]
        refused = all(test["result"] == "invalid" for test in self.tests)
        return {
            "comment": comment,
            **self.play.content(self.tests),
            "steps": self.play.steps,
            **({"then": then} if refused else {}),
        }


def _forged_messages() -> Json:
    forged = _Forged("forged")
    signature = forged.genuine[-64:]
    encoded = protobuf.encode(forged.fields)
    other_seed = forged.play.dice.bytes(32)
    message = b"\x33" + encoded
    cases: list[tuple[str, Fault, str, bytes]] = [
        ("Nothing", Fault.TRUNCATED, "Wire", b""),
        ("64 bytes", Fault.TRUNCATED, "Wire", b"\x33" + signature[1:]),
        ("No distribution id", Fault.FIELD_MISSING, "Wire", forged.signed({1: None})),
        ("No chain id", Fault.FIELD_MISSING, "Wire", forged.signed({2: None})),
        ("No iteration", Fault.FIELD_MISSING, "Wire", forged.signed({3: None})),
        ("No ciphertext", Fault.FIELD_MISSING, "Wire", forged.signed({4: None})),
        ("A distribution id of 15 bytes", Fault.FIELD_SIZE, "Wire", forged.signed({1: bytes(15)})),
        ("The chain id as bytes", Fault.WIRE, "Wire", forged.signed({2: b"\x01"})),
        ("A field that runs past the end", Fault.WIRE, "Wire", forged.sign(message + b"\x7a\x05abc")),
        ("Version 2", Fault.VERSION_OLD, "Version", forged.signed(version_byte=0x23)),
        ("Version 4", Fault.VERSION_NEW, "Version", forged.signed(version_byte=0x43)),
        ("The first bit of the signature", Fault.SIGNATURE, "Signature", _flipped(forged.genuine, -64, 0x01)),
        ("The sign bit of the signature", Fault.SIGNATURE, "Signature", _flipped(forged.genuine, -1, 0x80)),
        ("The last bit of the ciphertext", Fault.SIGNATURE, "Signature", _flipped(forged.genuine, -65, 0x01)),
        ("The low nibble of the version", Fault.SIGNATURE, "Signature", _flipped(forged.genuine, 0, 0x01)),
        (
            "The next iteration",
            Fault.SIGNATURE,
            "Signature",
            b"\x33" + protobuf.encode({**forged.fields, 3: 2}) + signature,
        ),
        ("Signed by another", Fault.SIGNATURE, "Signature", message + edwards.sign_with_seed(other_seed, message)),
        ("Another chain id", Fault.SENDER_KEY_UNKNOWN, "Unknown", forged.signed({2: forged.play.dice.below(2**31)})),
        ("An empty ciphertext", Fault.PADDING, "InsideSignature", forged.signed({4: b""})),
        ("A ciphertext of 15 bytes", Fault.PADDING, "InsideSignature", forged.signed({4: bytes(15)})),
        ("Wrong padding", Fault.PADDING, "InsideSignature", forged.signed({4: forged.play.dice.bytes(16)})),
    ]
    for comment, fault, flag, body in cases:
        forged.refuse(comment, fault, flag, body)
    return forged.group("Forged messages")


def _forged_distributions() -> Json:
    forged = _Forged("forged distribution")
    genuine = forged.play.group.distributions[0]
    parsed = messages.DistributionMessage.decode(genuine)
    fields: dict[int, int | bytes | None] = {
        1: parsed.distribution_id,
        2: parsed.chain_id,
        3: parsed.iteration,
        4: parsed.chain_key,
        5: messages.serialise_key(parsed.signing_key),
    }
    for comment, fault, changed in (
        ("No distribution id", Fault.FIELD_MISSING, {1: None}),
        ("No chain id", Fault.FIELD_MISSING, {2: None}),
        ("No iteration", Fault.FIELD_MISSING, {3: None}),
        ("No chain key", Fault.FIELD_MISSING, {4: None, 15: bytes(32)}),
        ("No signing key", Fault.FIELD_MISSING, {5: None, 15: bytes(32)}),
        ("A chain key of 31 bytes", Fault.FIELD_SIZE, {4: bytes(31)}),
        ("A signing key of type 6", Fault.KEY_TYPE, {5: b"\x06" + parsed.signing_key}),
        ("A signing key of 32 bytes", Fault.FIELD_SIZE, {5: b"\x05" + parsed.signing_key[:-1]}),
    ):
        forged.refuse(comment, fault, "Wire", b"\x33" + protobuf.encode({**fields, **changed}), do="add")
    forged.refuse("64 bytes", Fault.TRUNCATED, "Wire", genuine[:64], do="add")
    forged.refuse("Version 2", Fault.VERSION_OLD, "Version", b"\x23" + genuine[1:], do="add")
    forged.refuse("Version 4", Fault.VERSION_NEW, "Version", b"\x43" + genuine[1:], do="add")
    return forged.group("Forged distribution messages")


def _tolerated() -> Json:
    forged = _Forged("tolerated")
    forged.accept("The low nibble of the version is not looked at", forged.signed(version_byte=0x35))
    forged.accept("An unknown field", forged.signed({15: b"new"}))
    backwards = b"".join(protobuf.encode({number: forged.fields[number]}) for number in (4, 3, 2, 1))
    forged.accept("Fields in descending order", forged.sign(b"\x33" + backwards))
    return forged.group("Odd messages that are read all the same")


def _replays() -> Json:
    play = Play("replays")
    play.chain()
    early = play.encrypt()
    play.distribute("bob")
    late, message = play.encrypt(), play.encrypt()
    play.decrypt("bob", message, late)
    following = play.encrypt()
    tests = []
    for comment, fault, flag, member, number in (
        ("The newest message again", Fault.KEY_GONE, "Replay", "bob", message),
        ("A late message again", Fault.KEY_GONE, "Replay", "bob", late),
        ("A message from before the distribution", Fault.KEY_GONE, "Replay", "bob", early),
        ("A member that was given nothing", Fault.SENDER_KEY_UNKNOWN, "Unknown", "carol", message),
    ):
        step = {"by": member, "do": "decrypt", "message": number, "error": fault.error, "fault": fault.label}
        tests.append(invalid(comment, fault.error, fault.label, flag, steps=[step]))
    then = [{"by": "bob", "do": "decrypt", "message": following}]
    return {"comment": "Messages whose key is not there", **play.content(tests), "steps": play.steps, "then": then}


def _flipped(data: bytes, position: int, mask: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= mask
    return bytes(changed)
