"""Sealing at rest: AES-256-GCM under a key of this opening, bound to account, table, row and version.

A stored value is a form byte and then

- form 0: the plaintext, in a store that is not sealed;
- form 1: salt number (4 bytes, big-endian) || nonce (12 bytes) || ciphertext and tag (plaintext + 16 bytes).

The key is HKDF-SHA256(master key, salt, `e2ee store seal v1`); the associated data is store id (16 bytes) ||
table name || 0x00 || version (8 bytes, big-endian) || row key. Each opening that writes draws a salt of 16 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import InvalidUse, KeyUnavailable, StoreCorrupt, StoreNewer
from .limits import SEALINGS_PER_SALT_MAX, UNSEALED_KEYS_CACHED_MAX
from .packing import pack, take_bytes, take_int, unpack

__all__ = [
    "INTERACTIVE",
    "KEY_SIZE",
    "SALT_SIZE",
    "SEALING_OVERHEAD",
    "TESTING",
    "Entropy",
    "KeyProvider",
    "PassphraseProfile",
    "Vault",
    "derive",
    "provided",
]

Entropy = Callable[[int], bytes]
KeyProvider = Callable[[], bytes]
"""Gives the 32-byte master key: from a keyring, a KMS, a file. Whatever it raises becomes KeyUnavailable."""

KEY_SIZE: Final = 32  # bytes
SALT_SIZE: Final = 16  # bytes
NONCE_SIZE: Final = 12  # bytes
TAG_SIZE: Final = 16  # bytes
SEALING_OVERHEAD: Final = 1 + 4 + NONCE_SIZE + TAG_SIZE  # bytes that a sealed value is longer than its plaintext

_UNSEALED: Final = b"\x00"
_SEALED: Final = b"\x01"
_SEAL_LABEL: Final = b"e2ee store seal v1"
_PROFILE_VERSION: Final = 1
_MEMORY_KIB_MAX: Final = 1024 * 1024  # what a planted row may make us spend: 1 GiB
_PASSES_MAX: Final = 64
_LANES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class PassphraseProfile:
    """What one guess at a passphrase costs (Argon2id, RFC 9106)."""

    memory_kib: int  # KiB
    passes: int
    lanes: int

    def to_bytes(self, salt: bytes) -> bytes:
        """Pack the parameters with the *salt* of a passphrase."""
        return pack(_PROFILE_VERSION, salt, self.memory_kib, self.passes, self.lanes)

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[PassphraseProfile, bytes]:
        """Undo `to_bytes`; return the profile and the salt. Raises StoreCorrupt or StoreNewer."""
        salt, memory_kib, passes, lanes = unpack(data, version=_PROFILE_VERSION, length=4, what="passphrase parameters")
        lanes = take_int(lanes, "lanes", minimum=1, maximum=_LANES_MAX)
        profile = cls(
            take_int(memory_kib, "memory", minimum=8 * lanes, maximum=_MEMORY_KIB_MAX),
            take_int(passes, "passes", minimum=1, maximum=_PASSES_MAX),
            lanes,
        )
        return profile, take_bytes(salt, "salt", size=SALT_SIZE)


INTERACTIVE: Final = PassphraseProfile(memory_kib=64 * 1024, passes=3, lanes=4)  # RFC 9106's second choice
TESTING: Final = PassphraseProfile(memory_kib=8, passes=1, lanes=1)  # for tests only: a guess costs nothing


def derive(passphrase: str, salt: bytes, profile: PassphraseProfile) -> bytes:
    """Return the master key of a *passphrase*, 32 bytes; takes some 0.1 s with `INTERACTIVE`."""
    if type(passphrase) is not str or not passphrase:
        raise InvalidUse("a passphrase is text, and not empty")
    return Argon2id(
        salt=salt,
        length=KEY_SIZE,
        iterations=profile.passes,
        lanes=profile.lanes,
        memory_cost=profile.memory_kib,
    ).derive(passphrase.encode())


def provided(provider: KeyProvider) -> bytes:
    """Ask *provider* for the master key. Raises KeyUnavailable: "not now" is never taken for "none"."""
    try:
        key = provider()
    except Exception as cause:
        raise KeyUnavailable("the key provider failed") from cause
    if type(key) is not bytes or len(key) != KEY_SIZE:
        raise KeyUnavailable(f"the key provider did not give {KEY_SIZE} bytes")
    return key


class Vault:
    """Seals and opens the values of one store; without a master key, it only marks them.

    A salt is drawn at the first sealing. It must be stored in the transaction that stores the first
    value sealed with it: `unstored` has such salts, `forget_unstored` and `renew` take note of its end.
    """

    __slots__ = (
        "_cipher",
        "_ciphers",
        "_entropy",
        "_left",
        "_master",
        "_number",
        "_prefixes",
        "_salts",
        "_store_id",
        "unstored",
    )

    def __init__(
        self, store_id: bytes, master: bytes | None, salts: dict[int, bytes], *, entropy: Entropy = os.urandom
    ) -> None:
        self._store_id = store_id
        self._master = master
        self._entropy = entropy
        self._salts = salts  # by number; the caller gives the dictionary away
        self._number = max(salts, default=0)
        self._prefixes: dict[str, bytes] = {}
        self._ciphers: dict[int, AESGCM] = {}
        self._cipher: AESGCM | None = None
        self._left = 0  # sealings that the current salt is still good for
        self.unstored: dict[int, bytes] = {}

    @property
    def sealed(self) -> bool:
        """Whether values are encrypted."""
        return self._master is not None

    @property
    def salt_count(self) -> int:
        """Salts that stored values may need."""
        return len(self._salts)

    def seal(self, table: str, row: bytes, version: int, plaintext: bytes) -> bytes:
        """Return the stored form of *plaintext* as *version* of *row* (its key) in *table*."""
        if self._master is None:
            return _UNSEALED + plaintext
        if self._cipher is None or self._left == 0:
            self._draw_salt()
        self._left -= 1
        nonce = self._entropy(NONCE_SIZE)
        sealed = self._cipher.encrypt(nonce, plaintext, self._associated(table, row, version))  # type: ignore[union-attr]
        return b"".join((_SEALED, self._number.to_bytes(4, "big"), nonce, sealed))

    def open(self, table: str, row: bytes, version: int, value: object) -> bytes:
        """Undo `seal`. Raises StoreCorrupt if *value* is damaged, another row's or version's, or not sealed at all."""
        if type(value) is not bytes or not value:
            raise StoreCorrupt(f"a value of {table} is not there")
        form = value[:1]
        if self._master is None:
            if form != _UNSEALED:
                raise StoreCorrupt(f"a value of {table} is sealed, and the store is not")
            return value[1:]
        # A value without a seal in a sealed store was planted.
        if form != _SEALED or len(value) < SEALING_OVERHEAD:
            if form > _SEALED:
                raise StoreNewer(f"a value of {table} has a form that this release does not know")
            raise StoreCorrupt(f"a value of {table} is not sealed, and the store is")
        cipher = self._ciphers.get(number := int.from_bytes(value[1:5], "big")) or self._derive(number)
        try:
            return cipher.decrypt(value[5:17], value[17:], self._associated(table, row, version))
        except InvalidTag as cause:
            raise StoreCorrupt(f"a value of {table} is damaged, or belongs elsewhere") from cause

    def forget_unstored(self) -> None:
        """Take note that the salts in `unstored` are committed."""
        self.unstored.clear()

    def renew(self) -> None:
        """Draw another salt for the next sealing: whether the last one was committed is not known."""
        if self.unstored:
            self.unstored = {}
            self._cipher = None

    def _associated(self, table: str, row: bytes, version: int) -> bytes:
        prefix = self._prefixes.get(table)
        if prefix is None:
            prefix = self._prefixes[table] = self._store_id + table.encode() + b"\x00"
        return prefix + version.to_bytes(8, "big") + row

    def _draw_salt(self) -> None:
        self._number += 1
        salt = self._entropy(SALT_SIZE)
        # What was drawn for a transaction that failed is not needed: no value sealed with it was stored.
        self.unstored = {self._number: salt}
        self._salts[self._number] = salt
        self._cipher = self._derive(self._number)
        self._left = SEALINGS_PER_SALT_MAX

    def _derive(self, number: int) -> AESGCM:
        salt = self._salts.get(number)
        if salt is None or self._master is None:
            raise StoreCorrupt(f"the salt number {number} is missing")
        if len(self._ciphers) >= UNSEALED_KEYS_CACHED_MAX:
            self._ciphers.clear()
        key = HKDF(SHA256(), KEY_SIZE, salt, _SEAL_LABEL).derive(self._master)
        cipher = self._ciphers[number] = AESGCM(key)
        return cipher
