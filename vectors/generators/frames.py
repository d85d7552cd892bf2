"""The frames and contents of the first release, written out from `docs/protocol.md` without the packages' codec.

`protocol/frames_1.json` is frozen: a later release appends elements to arrays, and still has to read these. It is a
conversation of two clients with a relay, in order, then every frame that has no place in it, then the contents.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgpack

from ratchet import Account, IdentityKeyPair, primitives
from vectors.generators.dice import Dice
from vectors.generators.form import valid, vector_file
from vectors.generators.frame_names import BODIES, CONTENT, ENTRY, FRAMES

if TYPE_CHECKING:
    from vectors.files import Json

NAME: Final = "127.0.0.1:8443"  # of the relay, as dialled
TIME: Final = 1_700_000_000_000  # ms since 1970, by everybody's clock
OK: Final = None  # no refusal
PADDING: Final = 160  # bytes
OPEN: Final = 1
ADMIN: Final = 2


def files() -> dict[str, Json]:
    """Return the files by name."""
    dice = Dice("frames of the first release")
    alice, bob = _Person("alice", dice), _Person("bob", dice)
    groups = [
        {"comment": "A conversation of two clients with a relay, in order", "tests": _conversation(alice, bob, dice)},
        {"comment": "The other frames", "tests": _others(alice, dice)},
        {"comment": "Contents, as they stand inside a ciphertext", "tests": _contents(dice)},
    ]
    title = "Every frame and every kind of content of the first release"
    content = vector_file(kind="frames", title=title, flags={}, groups=groups, origin=_ORIGIN)
    return {"protocol/frames_1.json": content}


_ORIGIN: Final = {"made_by": "docs/protocol.md", "how": "python -m vectors generate"}


class _Person:
    """A user with one device: its keys, and the frames that only it can sign."""

    def __init__(self, user_id: str, dice: Dice) -> None:
        self.user_id = user_id
        self.nonce = dice.bytes(32)
        self.private = primitives.clamp(dice.bytes(32))
        identity = IdentityKeyPair.from_private_key(self.private)
        self.account = Account.create(
            identity=identity, registration_id=77 + len(user_id), one_time_prekeys=1, entropy=dice.bytes, now=0.0
        )
        self.key = identity.public_key
        self._dice = dice

    @property
    def ref(self) -> list[Any]:
        return [1, self.account.registration_id]

    def sign(self, label: str, data: bytes) -> bytes:
        signed = b"e2ee\x00" + bytes([len(label)]) + label.encode() + data
        return primitives.xeddsa_sign(self.private, signed, self._dice.bytes(64))

    def login(self, token: bytes | None = None) -> list[Any]:
        claim = msgpack.packb([1, NAME, self.nonce, self.user_id, *self.ref, 0, 0, 0])
        return [1, claim, self.key, self.sign("login v1", claim), token, ["one", "two"]]

    def keys(self) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        """Signed, last-resort KEM, one-time and one-time KEM prekey."""
        found = self.account.published_prekeys()
        signed, kem = found.signed_prekey, found.last_resort_kem_prekey
        if signed is None or kem is None:
            raise TypeError("a new account publishes all of its prekeys")
        (once,), (kem_once,) = found.one_time_prekeys, found.one_time_kem_prekeys
        return (
            [signed.id, signed.public_key, signed.signature],
            [kem.id, kem.public_key, kem.signature],
            [once.id, once.public_key],
            [kem_once.id, kem_once.public_key, kem_once.signature],
        )

    def upload(self) -> list[Any]:
        signed, kem, once, kem_once = self.keys()
        return [4, 0, 1, 1, False, signed, kem, [once], [kem_once]]


def _conversation(alice: _Person, bob: _Person, dice: Dice) -> list[Json]:
    tests = []
    for person in (alice, bob):
        tests += [
            _frame(person, "the relay speaks first", [64, [1], person.nonce, []]),
            _frame(person, "answers the challenge", person.login()),
            _frame(person, "is let in", [65, 1, 0, 0, 0, 0, 0, TIME]),
            _frame(person, "there is no mail", [72, 0]),
            _frame(person, "uploads its prekeys", person.upload()),
            _frame(person, "has them stored", [67, 1, 1, 1]),
        ]
    signed, _kem, once, kem_once = bob.keys()
    envelope_id = dice.bytes(16)
    bundle = [1, bob.ref[1], signed, kem_once, once]
    tests += [
        _frame(alice, "asks for a sign of life", [3, 0, 2]),
        _frame(alice, "has it", [66, 2]),
        _frame(alice, "asks for bundles", [5, 0, 3, dice.bytes(16), [["bob", None]]]),
        _frame(alice, "has them", [68, 3, [["bob", bob.key, [bundle]]]]),
        _frame(bob, "has no one-time prekeys left", [73, 0, 0]),
        _frame(alice, "writes to Bob", [6, 0, 4, "bob", [bob.ref], [[1, [[1, envelope_id, 3, b"ciphertext"]]]]]),
        _frame(alice, "it is stored", [69, 4, [[0]], OK, None, None]),
        _frame(bob, "has mail", [71, [[1, "alice", 1, envelope_id, 3, b"ciphertext", TIME]]]),
        _frame(bob, "has all of it", [72, 1]),
        _frame(bob, "acknowledges", [2, 1]),
        _frame(bob, "asks for its own devices", [32, 1, 2]),
        _frame(bob, "has them", [96, 2, [bob.ref]]),
        _frame(bob, "subscribes to a channel", [12, 1, 3, "news"]),
        _frame(bob, "is subscribed", [79, 3]),
        _frame(alice, "publishes", [14, 0, 5, "news", b"hear, hear"]),
        _frame(bob, "hears it", [80, "news", "alice", 1, b"hear, hear"]),
        _frame(alice, "has published", [79, 5]),
        _frame(bob, "ends the subscription", [13, 1, 4, "news"]),
        _frame(bob, "has ended it", [79, 4]),
        _frame(bob, "watches the directory", [15, 1, 5, True]),
        _frame(bob, "is told who is there", [81, [["alice", True], ["bob", True]]]),
        _frame(bob, "watches", [79, 5]),
        *_group(alice, bob, dice),
        _frame(alice, "removes a device that there is not", [7, 0, 20, 2]),
        _frame(alice, "it is gone", [70, 20]),
        _frame(alice, "wants another identity", [31, 0, 21, b"claim", alice.key, bytes(64)]),
        _frame(alice, "the relay keeps identities", [74, 21, 5, None]),
        _frame(alice, "gives up its account", [30, 0, 22]),
        _frame(alice, "has none any more", [94, 22]),
        _frame(bob, "is told who went", [81, [["alice", False]]]),
    ]
    return tests


def _entry(actor: _Person, group_id: bytes | None, number: int, before: bytes | None, *, dice: Dice) -> bytes:
    """The genesis entry, or one by which *actor* joins."""
    genesis = group_id is None
    names = ("team", OPEN, dice.bytes(16)) if genesis else (None, None, None)
    who = (actor.user_id, actor.key)
    operation, role = (1, ADMIN) if genesis else (2, 1)
    body: bytes = msgpack.packb([1, group_id, number, before, number, TIME, operation, *who, *who, role, *names])
    return body + actor.sign("e2ee group entry v1", body)


def _group(alice: _Person, bob: _Person, dice: Dice) -> list[Json]:
    first = _entry(alice, None, 0, None, dice=dice)
    group = hashlib.sha256(first).digest()
    second = _entry(bob, group, 1, group, dice=dice)
    ids = [hashlib.sha256(entry).digest()[:16] for entry in (first, second)]
    digest = hashlib.sha256(b"e2ee group devices v1\x00" + msgpack.packb([["bob", *bob.ref]])).digest()
    envelope_id = dice.bytes(16)
    members = [["bob", [bob.ref]]]
    return [
        _frame(alice, "makes a group", [8, 0, 6, first]),
        _frame(alice, "it is made", [76, 6, group, 0, OK, [], None]),
        _frame(alice, "gets the entry as mail", [71, [[1, "alice", 1, ids[0], 9, first, TIME]]]),
        _frame(alice, "has all mail", [72, 1]),
        _frame(bob, "asks for the group of a name", [9, 1, 6, None, "team", 0]),
        _frame(bob, "has its log", [76, 6, group, 0, OK, [first], None]),
        _frame(bob, "joins", [8, 1, 7, second]),
        _frame(bob, "has joined", [76, 7, group, 1, OK, [], None]),
        _frame(alice, "gets the entry", [71, [[2, "bob", 1, ids[1], 9, second, TIME]]]),
        _frame(alice, "has all mail", [72, 2]),
        _frame(bob, "gets the entry", [71, [[2, "bob", 1, ids[1], 9, second, TIME]]]),
        _frame(bob, "has all mail", [72, 2]),
        _frame(alice, "asks for the devices", [10, 2, 7, group]),
        _frame(alice, "has them", [77, 7, OK, 1, 1, members]),
        _frame(alice, "writes to the group", [11, 2, 8, group, 1, 1, digest, [[2, envelope_id, b"ciphertext"]]]),
        _frame(alice, "it is stored", [78, 8, 1, [], OK, [], [], None]),
        _frame(bob, "has mail", [71, [[3, "alice", 1, envelope_id, 7, group + b"ciphertext", TIME]]]),
        _frame(bob, "has all of it", [72, 3]),
        _frame(alice, "writes with another digest", [11, 2, 9, group, 1, 1, bytes(32), [[3, dice.bytes(16), b"x"]]]),
        _frame(alice, "is refused with the devices", [78, 9, 0, [], 10, [], members, None]),
        _frame(alice, "writes of another epoch", [11, 2, 10, group, 0, 0, digest, [[3, dice.bytes(16), b"x"]]]),
        _frame(alice, "is refused with the entries", [78, 10, 0, [], 21, [second], [], None]),
    ]


def _others(alice: _Person, dice: Dice) -> list[Json]:
    one = dice.bytes(16)
    change = [[[3, 16_383]], [2]]
    return [
        _frame(alice, "a login with a token", alice.login(token=b"token")),
        _frame(alice, "an upload of nothing", [4, 2**63 - 1, 2**32 - 1, 2, True, None, None, [], []]),
        _frame(alice, "bundles of some devices", [5, 0, 1, one, [["carol", [1, 127]]]]),
        _frame(alice, "no digest", [11, 0, 1, bytes(32), 0, 0, None, [[1, one, b"ciphertext"]]]),
        _frame(alice, "a log by its id", [9, 0, 1, bytes(32), None, 3]),
        _frame(alice, "nobody of this name", [68, 1, [["carol", None, []]]]),
        _frame(alice, "no one-time prekey", [68, 1, [["bob", alice.key, [[1, 2, *alice.keys()[:2], None]]]]]),
        _frame(alice, "refused with the difference", [69, 1, [[0, 1], [2, 3]], 10, change, None]),
        _frame(alice, "refused for a while", [69, 1, [], 12, None, 1_500]),
        _frame(alice, "no such group", [76, 1, None, 0, 20, [], None]),
        _frame(alice, "devices of a group that it is not in", [77, 1, 20, 0, 0, []]),
        _frame(alice, "a device that was missed", [78, 1, 1, [[0, "carol", 1, 2]], 12, [], [], 1_500]),
        _frame(alice, "another identity is taken", [95, 1]),
        _frame(alice, "the relay closes", [75, 17, "the relay restarts", 2_000]),
    ]


def _contents(dice: Dice) -> list[Json]:
    to_bob, own = ["bob", None, 0, 0, b""], ["alice", None, 0, 0, b""]
    group = dice.bytes(32)
    to_group = [None, group, 2, 3, dice.bytes(32)]
    one, two = dice.bytes(16), dice.bytes(16)
    inner = [1, 1, one, 7, TIME, "alice", 1, to_bob, b"hello"]
    return [
        _content(dice, 1, to_bob, "héllo".encode()),
        _content(dice, 2, to_group, bytes(range(200))),
        _content(dice, 1, to_bob, b"again", answers=[one, two]),
        _content(dice, 3, to_bob, [2, 1, None, [[1, 1], [4, 90]]]),
        _content(dice, 3, to_bob, [1, 1, group, [[1, 2]]]),
        _content(dice, 4, own, inner),
        _content(dice, 5, own, ["bob", [one, two]]),
        _content(dice, 6, to_bob, [[one, two]]),
        _content(dice, 7, to_bob, [[[one, 1], [two, 5]]]),
        _content(dice, 8, to_bob, [group, dice.bytes(110)]),
        _content(dice, 9, to_bob, [1, group, 2**31 - 1]),
        _content(dice, 10, to_bob, [1, group, [5, 6]]),
        _content(dice, 11, own, []),
    ]


def _frame(person: _Person, comment: str, value: list[Any]) -> Json:
    """One frame between a client and the relay; its kind says who speaks."""
    kind = int(str(value[0]))
    name, names = FRAMES[kind]
    sender = "client" if kind < _RELAY_FROM else "relay"
    return valid(
        f"{person.user_id}: {comment}",
        op="frame",
        client=person.user_id,
        sender=sender,
        name=name,
        names=names,
        value=_plain(value),
        bytes=msgpack.packb(value).hex(),
        **_parts(kind, value),
    )


_RELAY_FROM: Final = 64  # kinds from here on are the relay's


def _parts(kind: int, value: list[Any]) -> Json:
    """What is signed, taken apart: a claim and an entry stand in a frame as bytes."""
    if kind == 1 and isinstance(value[1], bytes):
        signed = {
            "data": value[1].hex(),
            "label": "login v1",
            "public_key": _hex(value[2]),
            "signature": _hex(value[3]),
        }
        return {"signed": {**signed, "names": FRAMES[0][1], "value": _plain(msgpack.unpackb(value[1]))}}
    if kind == 8 and isinstance(value[3], bytes):
        body, signature = value[3][:-64], value[3][-64:]
        parts = msgpack.unpackb(body)
        signed = {"data": body.hex(), "label": "e2ee group entry v1", "public_key": _hex(parts[8])}
        return {"signed": {**signed, "signature": signature.hex(), "names": ENTRY, "value": _plain(parts)}}
    return {}


def _content(
    dice: Dice, kind: int, destination: list[Any], body: bytes | list[Any], answers: list[bytes] | None = None
) -> Json:
    name, names = BODIES[kind]
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    number = 7 if kind < 3 else 0  # control messages are not counted
    value = [1, kind, dice.bytes(16), number, TIME, "alice", 1, destination, packed]
    if answers is not None:
        value.append(answers)
    encoded = msgpack.packb(value) + b"\x80"
    structure = {} if isinstance(body, bytes) else {"body": {"names": names, "value": _plain(body)}}
    return valid(
        name,
        op="content",
        name=name,
        names=CONTENT[: len(value)],
        value=_plain(value),
        bytes=(encoded + bytes(-len(encoded) % PADDING)).hex(),
        **structure,
    )


def _hex(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError("not bytes")


def _plain(value: object) -> object:
    """A value as JSON has it: bytes as {"hex": …}."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
