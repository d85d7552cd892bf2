"""Libsignal's operations that need no device: keys, signatures, safety numbers, reading messages, and timings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, TypeAlias
from uuid import UUID

from tests.support.oracle import CURRENT, Field, Oracle, Reply
from tests.support.oracle_values import (
    PREKEY,
    SENDER_KEY,
    SIGNAL,
    OracleFingerprint,
    OracleKeyPair,
    ParsedDistributionMessage,
    ParsedPreKeyMessage,
    ParsedSenderKeyMessage,
    ParsedSignalMessage,
)

if TYPE_CHECKING:
    from types import TracebackType

FINGERPRINT_ITERATIONS = 5200  # what Signal's applications use
FINGERPRINT_VERSION = 2  # of the code to scan; the digits do not depend on it

BenchmarkName: TypeAlias = Literal[
    "encrypt",
    "decrypt",
    "encrypt_decrypt",
    "ping_pong",
    "initiate",
    "accept",
    "sender_key_encrypt",
    "sender_key_decrypt",
]


class OracleKeys:
    """The keys of one release of libsignal. Private keys have 32 bytes, public keys 33, signatures 64.

    Every method raises OracleError for keys and messages that libsignal cannot read.
    """

    def __init__(self, oracle: Oracle, release: str = CURRENT) -> None:
        """Use *release* inside *oracle*."""
        self._oracle = oracle
        self._release = release

    def generate_key_pair(self) -> OracleKeyPair:
        """Make an EC key pair."""
        return _key_pair(self._call("generate_key_pair"))

    def load_private_key(self, private_key: bytes) -> OracleKeyPair:
        """Return the key pair of a private key as libsignal stores it, that is clamped."""
        return _key_pair(self._call("load_private_key", private_key=private_key))

    def load_public_key(self, public_key: bytes) -> bytes:
        """Return a public key as libsignal writes it after reading it."""
        return self._call("load_public_key", public_key=public_key).data("public_key")

    def sign(self, private_key: bytes, message: bytes) -> bytes:
        """Sign with XEdDSA."""
        return self._call("sign", private_key=private_key, message=message).data("signature")

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Say whether libsignal takes an XEdDSA signature for valid."""
        return self._call("verify", public_key=public_key, message=message, signature=signature).flag("valid")

    def agree(self, private_key: bytes, public_key: bytes) -> bytes:
        """Return the X25519 secret, 32 bytes."""
        return self._call("agree", private_key=private_key, public_key=public_key).data("secret")

    def sign_alternate_identity(self, private_key: bytes, other: bytes) -> bytes:
        """Sign another identity key of the same user."""
        return self._call("sign_alternate_identity", private_key=private_key, other=other).data("signature")

    def verify_alternate_identity(self, public_key: bytes, other: bytes, signature: bytes) -> bool:
        """Say whether the owner of *public_key* signed *other* as an identity of its own."""
        reply = self._call("verify_alternate_identity", public_key=public_key, other=other, signature=signature)
        return reply.flag("valid")

    def encode_identity_key_pair(self, private_key: bytes) -> bytes:
        """Return an identity key pair in libsignal's stored form."""
        return self._call("encode_identity_key_pair", private_key=private_key).data("encoded")

    def decode_identity_key_pair(self, encoded: bytes) -> OracleKeyPair:
        """Read an identity key pair in libsignal's stored form."""
        return _key_pair(self._call("decode_identity_key_pair", encoded=encoded))

    def generate_kem_key_pair(self) -> OracleKeyPair:
        """Make a Kyber1024 key pair: 3,169 and 1,569 bytes."""
        return _key_pair(self._call("generate_kem_key_pair"))

    def load_kem_public_key(self, public_key: bytes) -> bytes:
        """Return a KEM public key as libsignal writes it after reading it."""
        return self._call("load_kem_public_key", public_key=public_key).data("public_key")

    def load_kem_private_key(self, private_key: bytes) -> bytes:
        """Return a KEM private key as libsignal writes it after reading it."""
        return self._call("load_kem_private_key", private_key=private_key).data("private_key")

    def fingerprint(
        self,
        local_id: bytes,
        local_key: bytes,
        remote_id: bytes,
        remote_key: bytes,
        *,
        iterations: int = FINGERPRINT_ITERATIONS,
        version: int = FINGERPRINT_VERSION,
    ) -> OracleFingerprint:
        """Return the safety number of two identities, seen from the local one."""
        reply = self._call(
            "fingerprint",
            local_id=local_id,
            local_key=local_key,
            remote_id=remote_id,
            remote_key=remote_key,
            iterations=iterations,
            version=version,
        )
        return OracleFingerprint(reply.text("digits"), reply.data("scannable"))

    def fingerprints_match(self, ours: bytes, theirs: bytes) -> bool:
        """Compare two scannable codes; codes of different versions raise OracleError."""
        return self._call("compare_fingerprints", ours=ours, theirs=theirs).flag("equal")

    def parse_prekey_message(self, body: bytes) -> ParsedPreKeyMessage:
        """Read the outer part of a message of kind PREKEY."""
        reply = self._call("parse_message", kind=PREKEY, body=body)
        return ParsedPreKeyMessage(
            version=reply.number("version"),
            registration_id=reply.number("registration_id"),
            one_time_prekey_id=reply.optional_number("one_time_prekey_id"),
            signed_prekey_id=reply.number("signed_prekey_id"),
        )

    def parse_signal_message(self, body: bytes) -> ParsedSignalMessage:
        """Read a message of kind SIGNAL."""
        reply = self._call("parse_message", kind=SIGNAL, body=body)
        return ParsedSignalMessage(
            version=reply.number("version"),
            counter=reply.number("counter"),
            ciphertext=reply.data("ciphertext"),
            pq_ratchet=reply.optional_data("pq_ratchet"),
        )

    def parse_sender_key_message(self, body: bytes) -> ParsedSenderKeyMessage:
        """Read a group message."""
        reply = self._call("parse_message", kind=SENDER_KEY, body=body)
        return ParsedSenderKeyMessage(
            distribution_id=UUID(reply.text("distribution_id")),
            chain_id=reply.number("chain_id"),
            iteration=reply.number("iteration"),
            ciphertext=reply.data("ciphertext"),
        )

    def parse_distribution_message(self, body: bytes) -> ParsedDistributionMessage:
        """Read a sender key distribution message."""
        reply = self._call("parse_message", kind="distribution", body=body)
        return ParsedDistributionMessage(
            distribution_id=UUID(reply.text("distribution_id")),
            chain_id=reply.number("chain_id"),
            iteration=reply.number("iteration"),
            chain_key=reply.data("chain_key"),
        )

    def verify_sender_key_message(self, body: bytes, public_key: bytes) -> bool:
        """Say whether a group message is signed by the chain with *public_key*."""
        return self._call("verify_sender_key_message", body=body, public_key=public_key).flag("valid")

    def _call(self, op: str, **values: Field) -> Reply:
        return self._oracle.call(op, release=self._release, **values)


class OracleBenchmark:
    """One timing inside Node, opened once and run in short repetitions; a context manager that closes it.

    *size* is that of a text in bytes. *serialized* lets the stores keep records as bytes, read and written for every
    message, instead of libsignal's objects.
    """

    def __init__(
        self,
        oracle: Oracle,
        name: BenchmarkName,
        *,
        size: int = 256,
        release: str = CURRENT,
        serialized: bool = False,
    ) -> None:
        """Make what the benchmark needs: devices, sessions, sender keys."""
        self._oracle = oracle
        self._handle = oracle.new_handle("benchmark")
        oracle.call(
            "benchmark_open", benchmark=self._handle, name=name, size=size, release=release, serialized=serialized
        )

    def run(self, count: int, repetitions: int = 1) -> list[int]:
        """Return for each repetition the nanoseconds that *count* of what the benchmark's name says took together."""
        reply = self._oracle.call("benchmark_run", benchmark=self._handle, count=count, repetitions=repetitions)
        return reply.numbers("nanoseconds")

    def close(self) -> None:
        """Drop the benchmark's devices."""
        self._oracle.call("benchmark_close", benchmark=self._handle)

    def __enter__(self) -> Self:
        """Return the open benchmark."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _key_pair(reply: Reply) -> OracleKeyPair:
    return OracleKeyPair(reply.data("private_key"), reply.data("public_key"))
