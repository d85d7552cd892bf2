"""Every field of every frame, from both sides of its range: the tables of docs/protocol.md section 3 (R1.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgpack
import pytest

from e2ee.errors import MalformedFrame
from e2ee.frames import UnknownFrame
from e2ee.wire import decode_client_frame, decode_relay_frame
from vectors.files import FOLDER, load

KIB: Final = 1024
FROM_RELAY: Final = 64  # kinds from here on


@dataclass(frozen=True)
class Field:
    """What a field may be, and what it may not, though it is of the type."""

    kind: type
    inside: tuple[Any, ...]
    outside: tuple[Any, ...] = ()
    optional: bool = False

    def or_nil(self) -> Field:
        return Field(self.kind, (*self.inside, None), self.outside, optional=True)


Fields: TypeAlias = dict[tuple[int, ...], Field]  # by their place


def number(least: int, most: int) -> Field:
    return Field(int, (least, most), (least - 1, most + 1))


def octets(least: int, most: int) -> Field:
    return Field(bytes, (bytes(least), bytes(most)), (*([bytes(least - 1)] if least else []), bytes(most + 1)))


def text(least: int, most: int) -> Field:
    return Field(str, ("x" * least, "é" * (most // 2)), (*([""] if least else []), "x" * (most + 1), "é" * most))


def several(item: object, least: int, most: int) -> Field:
    outside = ([item] * (most + 1), *([[item] * (least - 1)] if least else []))
    return Field(list, ([item] * least, [item] * most), outside)


COUNTER, REQUEST, DEVICE = number(0, 2**63 - 1), number(0, 2**32 - 1), number(1, 127)
REGISTRATION, PREKEY_ID = number(1, 16_383), number(0, 2**24 - 1)
KEY, KEM_KEY, SIGNATURE, ID, HASH = octets(33, 33), octets(1569, 1569), octets(64, 64), octets(16, 16), octets(32, 32)
USER = Field(str, ("x", "x" * 128), ("", "x" * 129, "a b", "e\u0301"))
OWN_KIND = Field(int, (2, 3), (0, 1, 4, 7, 9))  # in a Submit
DELIVERED_KIND = Field(int, (2, 3, 7, 9), (0, 1, 4, 8, 10))
BOOL = Field(bool, (True, False))
CAPABILITIES: Final[Fields] = {(): several("x", 0, 32), (0,): text(0, 32)}
BODY = octets(1, 264 * KIB)
ONE_REF, ONE_ENVELOPE = [1, 1], [1, bytes(16), 2, b"x"]
ONE_TIME, KEM = [1, bytes(33)], [1, bytes(1569), bytes(64)]
ONE_DELIVERY, ONE_MESSAGE = [1, "bob", 1, bytes(16), 2, b"x", 1], [1, bytes(16), b"x"]

ACKNOWLEDGED: Final[Fields] = {(1,): COUNTER}
ASKED: Final[Fields] = {(1,): COUNTER, (2,): REQUEST}
ANSWERED: Final[Fields] = {(1,): REQUEST}
ENVELOPE: Final[Fields] = {(0,): DEVICE, (1,): ID, (2,): OWN_KIND, (3,): BODY}
MEMBERS: Final[Fields] = {(): several(["x", [ONE_REF]], 0, 1_000), (0, 0): USER, (0, 1): several(ONE_REF, 1, 20)}


def at(start: int | tuple[int, ...], fields: Fields) -> Fields:
    """The fields of a structure that stands at *start*."""
    prefix = (start,) if isinstance(start, int) else start
    return {(*prefix, *path): field for path, field in fields.items()}


SIGNED: Final[Fields] = {(0,): PREKEY_ID, (1,): KEY, (2,): SIGNATURE}
KEM_SIGNED: Final[Fields] = {(0,): PREKEY_ID, (1,): KEM_KEY, (2,): SIGNATURE}
REF: Final[Fields] = {(0,): DEVICE, (1,): REGISTRATION}

# By kind, and where the field stands in the frame.
TABLE: Final[dict[int, Fields]] = {
    1: {
        (1,): octets(1, KIB),
        (2,): KEY,
        (3,): SIGNATURE,
        (4,): octets(0, 4 * KIB).or_nil(),
        **at(5, CAPABILITIES),
    },
    2: ACKNOWLEDGED,
    3: ASKED,
    4: {
        **ASKED,
        (3,): COUNTER,
        (4,): BOOL,
        **at(5, SIGNED),
        **at(6, KEM_SIGNED),
        (7,): several(ONE_TIME, 0, 100),
        (7, 0, 0): PREKEY_ID,
        (7, 0, 1): KEY,
        (8,): several(KEM, 0, 100),
        **at((8, 0), KEM_SIGNED),
    },
    5: {
        **ASKED,
        (3,): ID,
        (4,): several(["x", None], 1, 100),
        (4, 0, 0): USER,
        (4, 0, 1): several(1, 1, 20).or_nil(),
    },
    6: {
        **ASKED,
        (3,): USER,
        (4,): several(ONE_REF, 0, 20),
        **at((4, 0), REF),
        (5,): several([1, [ONE_ENVELOPE]], 1, 64),
        (5, 0, 0): COUNTER,
        (5, 0, 1): several(ONE_ENVELOPE, 1, 20),
        **at((5, 0, 1, 0), ENVELOPE),
    },
    7: {**ASKED, (3,): DEVICE},
    8: {**ASKED, (3,): octets(1, 2 * KIB)},
    9: {**ASKED, (3,): HASH.or_nil(), (4,): text(0, 256).or_nil(), (5,): COUNTER},
    10: {**ASKED, (3,): HASH},
    11: {
        **ASKED,
        (3,): HASH,
        (4,): COUNTER,
        (5,): COUNTER,
        (6,): HASH.or_nil(),
        (7,): several(ONE_MESSAGE, 1, 64),
        (7, 0, 0): COUNTER,
        (7, 0, 1): ID,
        (7, 0, 2): octets(1, 264 * KIB - 32),
    },
    12: {**ASKED, (3,): text(1, 256)},
    13: {**ASKED, (3,): text(1, 256)},
    14: {**ASKED, (3,): text(1, 256), (4,): octets(0, 4 * KIB)},
    15: {**ASKED, (3,): BOOL},
    30: ASKED,
    31: {**ASKED, (3,): octets(1, KIB), (4,): KEY, (5,): SIGNATURE},
    32: ASKED,
    64: {(1,): several(1, 1, 16), (2,): HASH, **at(3, {(): several("x", 0, 32)})},
    65: {(place,): COUNTER for place in range(1, 8)},
    66: ANSWERED,
    67: {**ANSWERED, (2,): COUNTER, (3,): COUNTER},
    68: {
        **ANSWERED,
        (2,): several(["x", None, []], 0, 100),
        (2, 0, 0): USER,
        (2, 0, 1): KEY.or_nil(),
        (2, 0, 2): Field(list, ([],)),
        **at((2, 0, 2, 0), REF),
        **at((2, 0, 2, 0, 2), SIGNED),
        **at((2, 0, 2, 0, 3), KEM_SIGNED),
        (2, 0, 2, 0, 4): Field(list, (ONE_TIME,)).or_nil(),
    },
    69: {
        **ANSWERED,
        (2,): several([], 0, 64),
        (2, 0): several(0, 0, 20),
        (2, 0, 0): number(0, 3),
        (5,): COUNTER.or_nil(),
    },
    70: ANSWERED,
    71: {
        (1,): several(ONE_DELIVERY, 1, 64),
        (1, 0, 0): COUNTER,
        (1, 0, 1): USER,
        (1, 0, 2): DEVICE,
        (1, 0, 3): ID,
        (1, 0, 5): BODY,
        (1, 0, 4): DELIVERED_KIND,
        (1, 0, 6): COUNTER,
    },
    72: {(1,): COUNTER},
    73: {(1,): COUNTER, (2,): COUNTER},
    74: {**ANSWERED, (3,): COUNTER.or_nil()},
    75: {(2,): text(0, KIB), (3,): COUNTER.or_nil()},
    76: {**ANSWERED, (2,): HASH.or_nil(), (3,): COUNTER, (5,): several(b"x", 0, 256), (6,): COUNTER.or_nil()},
    77: {**ANSWERED, (3,): COUNTER, (4,): COUNTER, **at(5, MEMBERS)},
    78: {
        **ANSWERED,
        (2,): number(0, 64),
        (5,): several(b"x", 0, 256),
        **at(6, {(): MEMBERS[()]}),
        (7,): COUNTER.or_nil(),
    },
    79: ANSWERED,
    80: {(1,): text(1, 256), (2,): USER, (3,): DEVICE, (4,): octets(0, 4 * KIB)},
    81: {(1,): several(["x", True], 1, 256), (1, 0, 0): USER, (1, 0, 1): BOOL},
    94: ANSWERED,
    95: ANSWERED,
    96: {**ANSWERED, (2,): several(ONE_REF, 0, 20), **at((2, 0), REF)},
}
OF_OTHER_TYPES: Final = (True, 1, 1.0, "1", b"1", [1.0], None)


def _examples() -> dict[int, list[Any]]:
    """The first frame of each kind that the first release's file has."""
    found: dict[int, list[Any]] = {}
    for group in load(FOLDER / "protocol" / "frames_1.json").content["groups"]:
        for test in group["tests"]:
            if test["op"] == "frame":
                found.setdefault(test["value"][0], msgpack.unpackb(bytes.fromhex(test["bytes"])))
    return found


EXAMPLES: Final = _examples()
FIELDS: Final = [
    pytest.param(kind, path, field, id=f"{kind}-{'.'.join(map(str, path))}")
    for kind, fields in TABLE.items()
    for path, field in fields.items()
]


def is_read(kind: int, path: tuple[int, ...], value: object) -> bool:
    """Whether a frame is read that has *value* at *path*."""
    frame = copy.deepcopy(EXAMPLES[kind])
    place: Any = frame
    for index in path[:-1]:
        place = place[index]
    place[path[-1]] = value
    decode = decode_relay_frame if kind >= FROM_RELAY else decode_client_frame
    try:
        return not isinstance(decode(msgpack.packb(frame)), UnknownFrame)
    except MalformedFrame:
        return False


def test_every_kind_of_frame_is_in_the_table() -> None:
    assert set(TABLE) == set(EXAMPLES)


@pytest.mark.parametrize(("kind", "path", "field"), FIELDS)
def test_a_field_at_the_end_of_its_range_is_read_and_beyond_it_refused(
    kind: int, path: tuple[int, ...], field: Field
) -> None:
    assert [value for value in field.inside if not is_read(kind, path, value)] == []
    assert [value for value in field.outside if is_read(kind, path, value)] == []


@pytest.mark.parametrize(("kind", "path", "field"), FIELDS)
def test_a_field_of_another_type_is_refused(kind: int, path: tuple[int, ...], field: Field) -> None:
    others = [
        value for value in OF_OTHER_TYPES if type(value) is not field.kind and not (value is None and field.optional)
    ]
    assert [value for value in others if is_read(kind, path, value)] == []
