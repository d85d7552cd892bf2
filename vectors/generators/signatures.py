"""XEdDSA: signatures with stated randomness, by keys from seeds, and signatures that must not verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ratchet import primitives
from vectors.generators.dice import Dice
from vectors.generators.form import invalid, valid, vector_file
from vectors.reference import edwards
from vectors.reference.faults import Fault

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "SignBit": "The Edwards form of the public key has an odd x: the signature's top bit is set.",
    "NoSignBit": "The Edwards form of the public key has an even x: the signature's top bit is clear.",
    "SpecificationStyle": "Signed as the XEdDSA specification has it, with a negated scalar: the top bit is clear.",
    "TopBitIgnored": "The top bit of the public key is set, which X25519 does not look at.",
    "Changed": "One part of a right signature, message or key was changed.",
    "Range": "A number is outside its range.",
    "NoImage": "The public key has no Edwards form.",
    "Form": "A wrong size or type.",
}
EMPTY: Final = b""
WRONG: Final = Fault.SIGNATURE


def files() -> dict[str, Json]:
    """Return the files by name."""
    dice = Dice("xeddsa")
    groups = [_signing(dice), _signing_with_seeds(dice), _accepted(dice), _refused(dice)]
    title = "XEdDSA as libsignal signs and verifies"
    return {"xeddsa.json": vector_file(kind="xeddsa", title=title, flags=FLAGS, groups=groups)}


def _sign_flag(signature: bytes) -> str:
    return "SignBit" if signature[63] & 0x80 else "NoSignBit"


def _signing(dice: Dice) -> Json:
    tests = []
    for size in (0, 1, 32, 33, 64, 127, 128, 1569):
        private, message, randomness = primitives.clamp(dice.bytes(32)), dice.bytes(size), dice.bytes(64)
        signature = primitives.xeddsa_sign(private, message, randomness)
        tests.append(
            valid(
                f"A message of {size:,} bytes",
                _sign_flag(signature),
                op="sign",
                private_key=private.hex(),
                randomness=randomness.hex(),
                message=message.hex(),
                public_key=(b"\x05" + primitives.x25519_public(private)).hex(),
                signature=signature.hex(),
            )
        )
    return {"comment": "Signing with an X25519 private key and 64 random bytes", "tests": tests}


def _signing_with_seeds(dice: Dice) -> Json:
    tests = []
    for size in (0, 32, 33, 109):
        seed, message = dice.bytes(32), dice.bytes(size)
        private, public, signing = primitives.keys_from_seed(seed)
        signature = primitives.sign_with_seed(signing, message)
        tests.append(
            valid(
                f"A message of {size:,} bytes",
                _sign_flag(signature),
                op="sign_with_seed",
                seed=seed.hex(),
                message=message.hex(),
                private_key=private.hex(),
                public_key=(b"\x05" + public).hex(),
                signature=signature.hex(),
            )
        )
    return {"comment": "Signing with a key pair made from an Ed25519 seed: no randomness", "tests": tests}


class _Signed:
    """A key and a message with a right signature."""

    def __init__(self, dice: Dice, *, odd: bool) -> None:
        while True:
            self.private = primitives.clamp(dice.bytes(32))
            self.public = primitives.x25519_public(self.private)
            self.message = dice.bytes(20)
            self.signature = primitives.xeddsa_sign(self.private, self.message, dice.bytes(64))
            if bool(self.signature[63] & 0x80) == odd:
                return

    def content(self, **changed: bytes) -> Json:
        """Return a verification, with some parts changed."""
        parts = {"public_key": b"\x05" + self.public, "message": self.message, "signature": self.signature, **changed}
        return {"op": "verify", **{name: value.hex() for name, value in parts.items()}}


def _accepted(dice: Dice) -> Json:
    odd, even = _Signed(dice, odd=True), _Signed(dice, odd=False)
    negated = _specification_style(odd, dice)
    high = b"\x05" + odd.public[:31] + bytes([odd.public[31] | 0x80])
    return {
        "comment": "Signatures that verify",
        "tests": [
            valid("An odd x", "SignBit", **odd.content()),
            valid("An even x", "NoSignBit", **even.content()),
            valid("A signature by the negated scalar", "SpecificationStyle", **odd.content(signature=negated)),
            valid("A public key with its top bit set", "TopBitIgnored", **odd.content(public_key=high)),
        ],
    }


def _specification_style(signed: _Signed, dice: Dice) -> bytes:
    """Sign with the scalar negated, so that the public key's x is even: XEdDSA revision 1, section 2.3."""
    scalar = edwards.Q - int.from_bytes(signed.private, "little") % edwards.Q
    # A private key only matters modulo the order of the base point; this one is not clamped, and need not be.
    return edwards.sign(scalar.to_bytes(32, "little"), signed.message, dice.bytes(64))


def _refused(dice: Dice) -> Json:
    signed, other = _Signed(dice, odd=True), _Signed(dice, odd=True)
    signature = signed.signature
    tests = [
        _refusal("The first bit of R", signed.content(signature=_flipped(signature, 0, 0x01))),
        _refusal("The last bit of R", signed.content(signature=_flipped(signature, 31, 0x80))),
        _refusal("The first bit of s", signed.content(signature=_flipped(signature, 32, 0x01))),
        _refusal("The sign bit", signed.content(signature=_flipped(signature, 63, 0x80))),
        _refusal("A bit of the message", signed.content(message=_flipped(signed.message, 7, 0x10))),
        _refusal("A message with another byte", signed.content(message=signed.message + b"\x00")),
        _refusal("No message", signed.content(message=EMPTY)),
        _refusal("The key of another", signed.content(public_key=b"\x05" + other.public)),
        _refusal("The signature of another message", signed.content(signature=other.signature)),
        _refusal("A signature of zeros", signed.content(signature=bytes(64))),
    ]
    for bit in (0x20, 0x40):
        content = signed.content(signature=_flipped(signature, 63, bit))
        tests.append(invalid(f"s with bit 0x{bit:02x} of its last byte", WRONG.error, WRONG.label, "Range", **content))
    for comment, u in (("u = -1", edwards.P - 1), ("A u of the twist", _twist(dice))):
        content = signed.content(public_key=b"\x05" + u.to_bytes(32, "little"))
        tests.append(invalid(comment, WRONG.error, WRONG.label, "NoImage", **content))
    for comment, fault, changed in (
        ("A signature of 63 bytes", WRONG, {"signature": signature[:-1]}),
        ("A signature of 65 bytes", WRONG, {"signature": signature + b"\x00"}),
        ("No signature", WRONG, {"signature": EMPTY}),
        ("A key of type 6", Fault.KEY_TYPE, {"public_key": b"\x06" + signed.public}),
        ("A key of 32 bytes", Fault.FIELD_SIZE, {"public_key": b"\x05" + signed.public[:-1]}),
    ):
        tests.append(invalid(comment, fault.error, fault.label, "Form", **signed.content(**changed)))
    return {"comment": "Signatures that do not verify", "tests": tests}


def _refusal(comment: str, content: Json) -> Json:
    return invalid(comment, WRONG.error, WRONG.label, "Changed", **content)


def _flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def _twist(dice: Dice) -> int:
    """Return a u that is not on the curve, only on its twist."""
    while True:
        u = int.from_bytes(dice.bytes(32), "little") % edwards.P
        y = (u - 1) * pow(u + 1, -1, edwards.P) % edwards.P
        if edwards.Point.from_y(y, 0) is None:
            return u
