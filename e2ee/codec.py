"""The one decoder of bytes from the network: strict msgpack, and readers that check exact types.

A structure is an array. Arrays may grow at the end: elements that a release does not know are ignored
(`docs/protocol.md` section 1). Whatever is wrong, MalformedFrame is raised and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any, Final, NoReturn, TypeAlias

import msgpack

from .errors import InvalidUserId, MalformedFrame
from .ids import parse_user_id
from .limits import FRAME_SIZE_MAX

__all__ = [
    "Reader",
    "decode_array",
    "encode_array",
    "field_values",
    "flag",
    "integer",
    "items",
    "octets",
    "optional",
    "record",
    "text",
    "user",
    "utf8",
]

Reader: TypeAlias = Callable[[object], Any]
"""Returns what it is given, checked and in its type, or raises MalformedFrame."""

# What msgpack may allocate for one frame. An array of 2^16 is more than any frame has.
_ARRAY_LENGTH_MAX: Final = 2**16


def _no_extension(code: int, _data: bytes) -> NoReturn:
    raise MalformedFrame(f"extension type {code}")


def decode_array(data: bytes, *, size_max: int = FRAME_SIZE_MAX) -> list[Any]:
    """Decode one array that fills *data*. Raises MalformedFrame."""
    if type(data) is not bytes:
        raise MalformedFrame("a frame is binary")
    if len(data) > size_max:
        raise MalformedFrame(f"a frame of {len(data)} bytes, at most {size_max}")
    value: object = None
    failure = ""
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=size_max,
            max_bin_len=size_max,
            max_array_len=_ARRAY_LENGTH_MAX,
            max_map_len=0,
            max_ext_len=0,
            ext_hook=_no_extension,
        )
    except Exception as cause:  # noqa: BLE001 - msgpack raises ValueErrors, UnicodeDecodeError, RecursionError, its own
        failure = type(cause).__name__
    if failure:
        # Raised out here, so that it carries no cause: msgpack's errors hold what they have read.
        raise MalformedFrame(f"not msgpack ({failure})")
    if type(value) is not list:
        raise MalformedFrame("not an array")
    return value


def encode_array(value: object) -> bytes:
    """Encode arrays of plain values and dataclasses (each as the array of its fields)."""
    packed: bytes = msgpack.packb(value, default=field_values)
    return packed


def field_values(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an instance of a dataclass
    """Return the values of a dataclass's fields, in their order. Raises TypeError for any other value."""
    kind: type[Any] = type(value)
    getter = _GETTERS.get(kind)
    if getter is None:
        getter = _GETTERS[kind] = _getter(kind)
    return getter(value)


# One for each class of frames and their parts, of which the program has so many and no more.
_GETTERS: Final[dict[type[Any], Callable[[Any], tuple[Any, ...]]]] = {}


def _getter(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    if not is_dataclass(kind):
        raise TypeError("only plain values and dataclasses are encoded")
    names = [part.name for part in fields(kind)]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def integer(maximum: int, minimum: int = 0) -> Reader:
    """Read an integer (not a bool) from *minimum* to *maximum*."""

    def read(value: object) -> int:
        if type(value) is int and minimum <= value <= maximum:
            return value
        raise MalformedFrame(f"not an integer from {minimum} to {maximum}")

    return read


def octets(size_max: int, size_min: int = 0) -> Reader:
    """Read a byte string of *size_min* to *size_max* bytes."""

    def read(value: object) -> bytes:
        if type(value) is bytes and size_min <= len(value) <= size_max:
            return value
        raise MalformedFrame(f"not {size_min} to {size_max} bytes")

    return read


def text(size_max: int) -> Reader:
    """Read text of at most *size_max* bytes of UTF-8."""

    def read(value: object) -> str:
        if type(value) is str and len(value.encode()) <= size_max:
            return value
        raise MalformedFrame(f"not text of at most {size_max} bytes")

    return read


def utf8(data: bytes) -> str:
    """Decode text. Raises MalformedFrame."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    # Raised out here, so that it carries no cause: that one would hold all of the data, which may be a message.
    raise MalformedFrame("not UTF-8")


def flag(value: object) -> bool:
    """Read a bool."""
    if type(value) is bool:
        return value
    raise MalformedFrame("not a bool")


def user(value: object) -> str:
    """Read a user id."""
    try:
        return parse_user_id(value)
    except InvalidUserId as cause:
        raise MalformedFrame(str(cause)) from cause


def optional(read: Reader) -> Reader:
    """Read nil as None, anything else with *read*."""
    return lambda value: None if value is None else read(value)


def items(read: Reader, length_max: int, length_min: int = 0) -> Reader:
    """Read an array of *length_min* to *length_max* elements, each with *read*, as a tuple."""

    def read_all(value: object) -> tuple[Any, ...]:
        if type(value) is list and length_min <= len(value) <= length_max:
            return tuple([read(one) for one in value])
        raise MalformedFrame(f"not an array of {length_min} to {length_max} elements")

    return read_all


def record(kind: Callable[..., Any], *readers: Reader) -> Reader:
    """Read an array as what *kind* makes of it, one reader for each field; further elements are ignored."""

    def read(value: object) -> Any:  # noqa: ANN401 - an instance of kind
        if type(value) is not list or len(value) < len(readers):
            raise MalformedFrame(f"not an array of at least {len(readers)} elements")
        return kind(*[one(element) for one, element in zip(readers, value)])  # noqa: B905 - what is longer is ignored

    return read
