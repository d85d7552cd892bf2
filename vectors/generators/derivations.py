"""Single steps of the key derivations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vectors.generators.dice import Dice
from vectors.generators.form import valid, vector_file
from vectors.verify import DERIVATIONS

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "Classical": "Double ratchet, sender keys, handshake.",
    "PostQuantum": "The post-quantum ratchet.",
    "NoSalt": "An absent salt is 32 zero bytes.",
    "Zeros": "Every input is zero: a first thing to try.",
}
# Derived by the reference implementation; `ratchet` has single functions for three of them, and is compared there.
ORIGIN: Final = {
    "made_by": "vectors/reference, the second implementation of the protocol",
    "how": "python -m vectors generate",
}
# Operation → sizes in bytes of its inputs; a number stands for itself, None for an absent input.
CASES: Final[list[tuple[str, dict[str, int | None], tuple[str, ...]]]] = [
    ("root_step", {"root_key": 32, "shared": 32}, ("Classical",)),
    ("chain_step", {"chain_key": 32}, ("Classical",)),
    ("message_keys", {"message_seed": 32, "pq_key": None}, ("Classical", "NoSalt")),
    ("message_keys", {"message_seed": 32, "pq_key": 32}, ("PostQuantum",)),
    ("sender_message_keys", {"message_seed": 32}, ("Classical", "NoSalt")),
    ("pq_chain_start", {"auth_key": 32}, ("PostQuantum",)),
    ("pq_chain_add_epoch", {"next_root": 32, "epoch_secret": 32}, ("PostQuantum",)),
]
NUMBERED: Final[list[tuple[str, dict[str, int], tuple[str, tuple[int, ...]]]]] = [
    ("pq_chain_next", {"chain": 32}, ("index", (1, 2, 25_000, 2**32 - 1))),
    ("pq_authenticator_update", {"root": 32, "key": 32}, ("epoch", (1, 2, 2**40))),
    ("pq_epoch_secret", {"kem_secret": 32}, ("epoch", (1, 2, 2**40))),
    ("pq_header_mac", {"mac_key": 32, "header": 64}, ("epoch", (1, 2))),
    ("pq_ciphertext_mac", {"mac_key": 32, "ciphertext": 1088}, ("epoch", (1, 2))),
]
SECRET_INPUTS: Final = {3: (128, 160), 4: (160, 192)}  # bytes, by version: without and with a one-time prekey


def files() -> dict[str, Json]:
    """Return the files by name."""
    dice = Dice("kdf_chain")
    groups = [
        {"comment": "Zeros", "tests": [_zeros(*case) for case in CASES]},
        {"comment": "Steps of chains and roots", "tests": [_random(dice, *case) for case in CASES]},
        {"comment": "Handshakes", "tests": _handshakes(dice)},
        {"comment": "Steps with a number", "tests": _numbered(dice)},
    ]
    title = "Steps of the key derivations"
    return {"kdf_chain.json": vector_file(kind="kdf_chain", title=title, flags=FLAGS, groups=groups, origin=ORIGIN)}


def _test(operation: str, given: dict[str, Any], *flags: str) -> Json:
    derive, inputs, outputs = DERIVATIONS[operation]
    derived = derive(*(given[name] for name in inputs))
    output = {name: None if value is None else value.hex() for name, value in zip(outputs, derived, strict=True)}
    stated = {name: value.hex() if isinstance(value, bytes) else value for name, value in given.items()}
    return valid(f"{operation}", *flags, op=operation, input=stated, output=output)


def _zeros(operation: str, sizes: dict[str, int | None], flags: tuple[str, ...]) -> Json:
    given = {name: None if size is None else bytes(size) for name, size in sizes.items()}
    return _test(operation, given, *flags, "Zeros")


def _random(dice: Dice, operation: str, sizes: dict[str, int | None], flags: tuple[str, ...]) -> Json:
    given = {name: None if size is None else dice.bytes(size) for name, size in sizes.items()}
    return _test(operation, given, *flags)


def _handshakes(dice: Dice) -> list[Json]:
    return [
        _test(
            "handshake_keys",
            {"version": version, "secret_input": b"\xff" * 32 + dice.bytes(size - 32)},
            "Classical" if version == 3 else "PostQuantum",
            "NoSalt",
        )
        for version, sizes in SECRET_INPUTS.items()
        for size in sizes
    ]


def _numbered(dice: Dice) -> list[Json]:
    return [
        _test(
            operation,
            {**{input_name: dice.bytes(size) for input_name, size in sizes.items()}, name: number},
            "PostQuantum",
        )
        for operation, sizes, (name, numbers) in NUMBERED
        for number in numbers
    ]
