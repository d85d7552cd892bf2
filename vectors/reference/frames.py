"""Frames and contents of `docs/protocol.md`: a reader of msgpack, as much of it as the protocol has."""

from __future__ import annotations

from typing import Final

from vectors.reference import edwards
from vectors.reference.expectations import Json, Mismatch, expect
from vectors.reference.messages import raw_key

_PADDING: Final = 160  # bytes
_SIZES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4}  # of a length
_NUMBERS: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}  # bytes of an unsigned integer
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise Mismatch("the bytes end within a value")
        self.at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def value(self) -> object:
        first = self.number(1)
        if first < 0x80:
            return first
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return self.number(_NUMBERS[first])
        if 0x90 <= first < 0xA0 or first in (0xDC, 0xDD):
            count = self.number(_SIZES[first]) if first in _SIZES else first - 0x90
            return [self.value() for _ in range(count)]
        if 0xA0 <= first < 0xC0 or first in (0xD9, 0xDA, 0xDB):
            return self.take(self.number(_SIZES[first]) if first in _SIZES else first - 0xA0).decode()
        if first in (0xC4, 0xC5, 0xC6):
            return {"hex": self.take(self.number(_SIZES[first])).hex()}
        raise Mismatch(f"{first:#x} begins no value of a frame")


def decode(data: bytes) -> object:
    """Read one value that fills *data*, bytes as {"hex": …}. Raises Mismatch."""
    reader = _Reader(data)
    value = reader.value()
    expect("bytes read", reader.at, len(data))
    return value


def check_frame(test: Json) -> None:
    """Compare a frame or content with its value, and what is signed in it with its signature. Raises Mismatch."""
    data = bytes.fromhex(test["bytes"])
    if test["op"] == "content":
        expect("size modulo a block", len(data) % _PADDING, 0)
        data = data.rstrip(b"\x00")
        expect("start of the padding", data[-1:], "80")
        data = data[:-1]
    _check(data, test)
    if "body" in test:
        _check(bytes.fromhex(test["value"][8]["hex"]), test["body"])
    if "signed" in test:
        signed = test["signed"]
        message, label = bytes.fromhex(signed["data"]), signed["label"].encode()
        _check(message, signed)
        message = b"e2ee\x00" + bytes([len(label)]) + label + message
        edwards.verify(raw_key(bytes.fromhex(signed["public_key"])), message, bytes.fromhex(signed["signature"]))


def _check(data: bytes, stated: Json) -> None:
    expect("value", decode(data), stated["value"])
    expect("count of names", len(stated["names"]), len(stated["value"]))
