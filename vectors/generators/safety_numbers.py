"""Safety numbers: digits, codes to scan, and codes that must not match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import ratchet
from vectors.generators.dice import Dice
from vectors.generators.form import invalid, valid, vector_file
from vectors.reference import protobuf
from vectors.reference.faults import Fault

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "ServiceId": "Stable ids are the 16 bytes of service ids, as clients have them with version 2.",
    "PhoneNumber": "Stable ids are phone numbers in ASCII, as clients had them with version 1.",
    "Mirrored": "The other side's view of the test before: the same digits, the halves of the code exchanged.",
    "FewIterations": "Fewer rounds than clients use, for a quick first try.",
    "OtherIdentity": "The code is about another key or another id.",
    "Version": "The code has another version.",
    "Wire": "The bytes are not a code.",
}
ITERATIONS: Final = 5_200
QUICK: Final = 2


def files() -> dict[str, Json]:
    """Return the files by name."""
    dice = Dice("safety numbers")
    groups = [_computed(dice), _scanned(dice)]
    title = "Safety numbers"
    return {"safety_number.json": vector_file(kind="safety_number", title=title, flags=FLAGS, groups=groups)}


def _party(dice: Dice, stable_id: bytes | None = None) -> Json:
    identity = ratchet.IdentityKeyPair.generate(dice.bytes)
    return {"id": (stable_id or dice.bytes(16)).hex(), "identity_key": identity.public_key.hex()}


def _inputs(local: Json, remote: Json, iterations: int, version: int) -> Json:
    return {"local": local, "remote": remote, "iterations": iterations, "version": version}


def _number(local: Json, remote: Json, iterations: int, version: int) -> ratchet.SafetyNumber:
    return ratchet.safety_number(
        bytes.fromhex(local["id"]),
        bytes.fromhex(local["identity_key"]),
        bytes.fromhex(remote["id"]),
        bytes.fromhex(remote["identity_key"]),
        iterations,
        version=version,
    )


def _test(comment: str, local: Json, remote: Json, iterations: int, version: int, *flags: str) -> Json:
    number = _number(local, remote, iterations, version)
    return valid(
        comment,
        *flags,
        op="compute",
        **_inputs(local, remote, iterations, version),
        digits=number.digits,
        scannable=number.scannable.hex(),
    )


def _computed(dice: Dice) -> Json:
    alice, bob = _party(dice), _party(dice)
    old_alice, old_bob = _party(dice, b"+14155550101"), _party(dice, b"+14155550102")
    return {
        "comment": "Digits and codes",
        "tests": [
            _test("Two users", alice, bob, ITERATIONS, 2, "ServiceId"),
            _test("The same two from the other side", bob, alice, ITERATIONS, 2, "ServiceId", "Mirrored"),
            _test("Version 1", old_alice, old_bob, ITERATIONS, 1, "PhoneNumber"),
            _test("Two rounds", alice, bob, QUICK, 2, "ServiceId", "FewIterations"),
            _test("Two rounds, version 1", old_bob, old_alice, QUICK, 1, "PhoneNumber", "FewIterations"),
        ],
    }


def _scanned(dice: Dice) -> Json:
    alice, bob, carol = _party(dice), _party(dice), _party(dice)
    bobs = _number(bob, alice, QUICK, 2).scannable
    other_id = alice | {"id": bytes(16).hex()}
    tests = [valid("What the other side shows", "ServiceId", **_scan(alice, bob, bobs))]
    mismatch, version = Fault.SAFETY_NUMBER_OTHER, Fault.SAFETY_NUMBER_VERSION
    for comment, fault, flag, scanned in (
        ("One's own code", mismatch, "OtherIdentity", _number(alice, bob, QUICK, 2).scannable),
        ("The code of a third", mismatch, "OtherIdentity", _number(carol, alice, QUICK, 2).scannable),
        ("A code that has another key of ours", mismatch, "OtherIdentity", _number(bob, carol, QUICK, 2).scannable),
        ("A code that has another id of ours", mismatch, "OtherIdentity", _number(bob, other_id, QUICK, 2).scannable),
        ("A code of version 1", version, "Version", _number(bob, alice, QUICK, 1).scannable),
        ("A code without a version", version, "Version", bobs[2:]),
        ("Nothing about the remote side", Fault.FIELD_MISSING, "Wire", bobs[:38]),
        ("A code cut by a byte", Fault.WIRE, "Wire", bobs[:-1]),
        ("A version that is text", Fault.WIRE, "Wire", protobuf.encode({1: b"\x02"}) + bobs[2:]),
    ):
        tests.append(invalid(comment, fault.error, fault.label, flag, **_scan(alice, bob, scanned)))
    return {"comment": "Codes that were scanned", "tests": tests}


def _scan(local: Json, remote: Json, scanned: bytes) -> Json:
    return {"op": "check_scanned", **_inputs(local, remote, QUICK, 2), "scanned": scanned.hex()}
