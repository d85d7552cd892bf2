"""The symmetric steps, against their definitions in `signal-protocol` 3.1 and 3.2."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest

from ratchet.chains import chain_step, message_keys, open_message, root_step, seal_message, tag
from ratchet.errors import NotAuthentic
from tests.support.conversation import seeded

if TYPE_CHECKING:
    from collections.abc import Callable


def expand(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    """HKDF by its definition, with the standard library."""
    key = hmac.digest(salt, secret, hashlib.sha256)
    output = block = b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), hashlib.sha256)
        output += block
    return output[:size]


KEY, OTHER = (bytes([number]) * 32 for number in (1, 2))


def test_a_root_step_takes_the_root_key_as_salt() -> None:
    assert b"".join(root_step(KEY, OTHER)) == expand(KEY, OTHER, b"WhisperRatchet", 64)


def test_a_chain_step_is_the_seed_and_the_next_key() -> None:
    assert chain_step(KEY) == (
        hmac.digest(KEY, b"\x01", hashlib.sha256),
        hmac.digest(KEY, b"\x02", hashlib.sha256),
    )


@pytest.mark.parametrize("post_quantum_key", [None, OTHER])
def test_message_keys_take_the_post_quantum_key_as_salt(post_quantum_key: bytes | None) -> None:
    expected = expand(post_quantum_key or bytes(32), KEY, b"WhisperMessageKeys", 80)
    assert message_keys(KEY, post_quantum_key) == expected


def test_what_was_sealed_is_opened_with_the_same_keys_only() -> None:
    keys, other = message_keys(KEY, None), message_keys(OTHER, None)
    sealed = seal_message(keys, b"hello")
    assert open_message(keys, sealed) == b"hello"
    with pytest.raises(NotAuthentic):
        open_message(other, sealed)


def test_the_tag_is_eight_bytes_over_identities_and_message() -> None:
    keys = message_keys(KEY, None)
    expected = hmac.digest(keys[32:64], b"identities" + b"message", hashlib.sha256)[:8]
    assert tag(keys, b"identities", b"message") == expected


def change(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    "changed",
    [
        lambda keys, ids, message: (keys[:32] + change(keys[32:]), ids, message),
        lambda keys, ids, message: (keys, change(ids), message),
        lambda keys, ids, message: (keys, ids, change(message)),
    ],
)
def test_anything_that_the_tag_covers_changes_it(
    changed: Callable[[bytes, bytes, bytes], tuple[bytes, bytes, bytes]],
) -> None:
    keys, ids, message = message_keys(KEY, None), seeded(1)(66), seeded(2)(100)
    assert tag(*changed(keys, ids, message)) != tag(keys, ids, message)
