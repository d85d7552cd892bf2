"""The floor: for each operation the primitive calls that it needs, in order, on data of the right sizes.

Nothing else is done: no state, no encoding, no erasure code. What comes out is not a message, so
nothing is checked here; the functions called are tested with their package.
"""

from __future__ import annotations

import itertools
import os
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Run, repeated
from benchmarks.peer import ONE_TIME_PREKEYS, REPAIR_CHUNK, Factory, Operation, Peer, payload
from ratchet.spqr.erasure import encode_chunk

from .calls import RAW, THIN, Calls

if TYPE_CHECKING:
    from collections.abc import Callable

# What a tag covers beside the ciphertext (signal-protocol 3.2, 3.3): both identity keys, version byte,
# ratchet key, two counters, the ciphertext's own header, and SPQR's part with a chunk.
TAGGED_OVERHEAD: Final = 66 + 1 + 35 + 3 + 2 + 3 + 42
# What a sender key's signature covers beside it (5.1): version byte, distribution id, chain id, iteration.
SIGNED_OVERHEAD: Final = 1 + 18 + 6 + 3 + 3
HEADER_BLOB: Final = 96  # bytes: SPQR's header and its tag (4.5)
CHUNK_INDICES: Final = 65_536  # after which the chunk index wraps
CHUNK_BLOCK: Final = 64  # chunks that the erasure code makes together
CHUNKED: Final = (Operation.ENCRYPT, Operation.ROUND_TRIP)
EC_PREKEY: Final = bytes(33)
KEM_PREKEY: Final = bytes(1569)


def open_floor() -> Peer:
    """Return the floor that targets refer to: the functions of `ratchet.primitives`."""
    return _peer("floor", THIN, "the primitive calls that the operation needs, by ratchet.primitives; nothing else")


def open_raw_floor() -> Peer:
    """Return the same calls in the fastest form that we know on the same libraries."""
    about = "the same in the rawest form: library calls without wrappers, HMAC by two hashes where that is faster"
    return _peer("raw floor", RAW, about)


def open_repair_chunk() -> Peer:
    """Return what one-way sending adds to the floor: a repair chunk of SPQR's header for each message."""
    about = "one chunk of our erasure code, which every one-way encryption makes; no library has it: not in the floor"
    return Peer(REPAIR_CHUNK, "this checkout", about, dict.fromkeys(CHUNKED, repair_chunks))


def repair_chunks(size: int) -> Run:
    """Make consecutive chunks of one blob; *size* has no influence."""
    del size
    blob = os.urandom(HEADER_BLOB)  # a new one for each contest: the erasure code remembers the blocks that it made
    starts = itertools.cycle(range(0, CHUNK_INDICES, CHUNK_BLOCK))

    def run(operations: int) -> float:
        # The first chunk of a block pays for the others: only whole blocks tell what one chunk costs.
        blocks = [
            range(start, start + CHUNK_BLOCK) for start in itertools.islice(starts, -(-operations // CHUNK_BLOCK))
        ]
        begun = perf_counter()
        for block in blocks:
            for index in block:
                encode_chunk(blob, index)
        return (perf_counter() - begun) * operations / (CHUNK_BLOCK * len(blocks))

    return run


def _peer(name: str, calls: Calls, about: str) -> Peer:
    versions = f"cryptography {version('cryptography')}, PyNaCl {version('pynacl')}"
    return Peer(name, versions, about, Floor(calls).operations())


class Floor:
    """The floors of one form of the calls."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def operations(self) -> dict[Operation, Factory]:
        """Return the operations whose primitive calls can be told apart from their protocol."""
        makers: dict[Operation, Callable[[int], Callable[[], object]]] = {
            Operation.ENCRYPT: self.encrypt,
            Operation.DECRYPT: self.decrypt,
            Operation.ROUND_TRIP: lambda size: _both(self.encrypt(size), self.decrypt(size)),
            Operation.PING_PONG: lambda size: _both(self.encrypt(size), _both(self.decrypt(size), self.ratchet_step())),
            Operation.ACCOUNT: lambda _: partial(self.create_account, 0),
            Operation.ACCOUNT_WITH_PREKEYS: lambda _: partial(self.create_account, ONE_TIME_PREKEYS),
            Operation.VERIFY_BUNDLE: lambda _: self.verify_bundle(),
            Operation.INITIATE: lambda _: self.initiate(),
            Operation.INITIATE_AND_ENCRYPT: lambda size: _both(self.initiate(), self.first_encrypt(size)),
            Operation.FIRST_ENCRYPT: self.first_encrypt,
            Operation.ACCEPT: self.accept,
            Operation.SENDER_KEY_CREATE: lambda _: self.create_sender_key,
            Operation.GROUP_ENCRYPT: self.group_encrypt,
            Operation.GROUP_DECRYPT: self.group_decrypt,
            Operation.FAN_OUT_10: partial(self.fan_out, 10),
            Operation.FAN_OUT_100: partial(self.fan_out, 100),
            Operation.FAN_OUT_1000: partial(self.fan_out, 1000),
        }
        return {operation: partial(_run, maker) for operation, maker in makers.items()}

    # Messages

    def encrypt(self, size: int) -> Callable[[], object]:
        """Step both chains, derive message keys, encrypt, tag."""
        chain_step, spqr_step, message_keys = self._calls.chain_step, self._calls.spqr_step, self._calls.message_keys
        encrypt, tag = self._calls.encrypt, self._calls.tag
        text, chain, spqr_chain = payload(size), bytes(32), bytes(32)
        tagged = payload(_padded(size) + TAGGED_OVERHEAD)

        def once() -> None:
            seed, _ = chain_step(chain)
            keys = message_keys(spqr_step(spqr_chain)[32:], seed)
            encrypt(keys[:32], keys[64:], text)
            tag(keys[32:64], tagged)

        return once

    def decrypt(self, size: int) -> Callable[[], object]:
        """Do the same, with the tag compared before the cipher runs."""
        calls = self._calls
        chain_step, spqr_step, message_keys = calls.chain_step, calls.spqr_step, calls.message_keys
        decrypt, tag, equal = calls.decrypt, calls.tag, calls.equal
        chain, spqr_chain = bytes(32), bytes(32)
        tagged = payload(_padded(size) + TAGGED_OVERHEAD)
        keys = message_keys(spqr_step(spqr_chain)[32:], chain_step(chain)[0])
        ciphertext = calls.encrypt(keys[:32], keys[64:], payload(size))

        def once() -> None:
            seed, _ = chain_step(chain)
            keys = message_keys(spqr_step(spqr_chain)[32:], seed)
            made = tag(keys[32:64], tagged)[:8]
            equal(made, made)
            decrypt(keys[:32], keys[64:], ciphertext)

        return once

    def ratchet_step(self) -> Callable[[], object]:
        """Make one key pair, agree twice, step the root chain twice."""
        generate, agree, root_step = self._calls.generate, self._calls.agree, self._calls.root_step
        private, theirs = generate()[0], generate()[1]
        root = bytes(32)

        def once() -> None:
            between = root_step(root, agree(private, theirs))[:32]
            fresh, _ = generate()
            root_step(between, agree(fresh, theirs))

        return once

    # Handshake

    def create_account(self, one_time: int) -> None:
        """Make the identity, signed and last-resort prekey, *one_time* of each kind; sign the KEM and signed ones."""
        calls = self._calls
        _, _, signing = calls.generate_signing()
        for _ in range(1 + one_time):
            calls.generate()
            calls.kem_generate(os.urandom(64))
            calls.sign(signing, KEM_PREKEY)
        calls.sign(signing, EC_PREKEY)

    def verify_bundle(self) -> Callable[[], object]:
        """Take the identity key's Edwards form, verify two signatures."""
        calls = self._calls
        _, public, signing = calls.generate_signing()
        edwards, verify = calls.edwards, calls.verify
        verifying = signing[32:]
        ec_signature, kem_signature = calls.sign(signing, EC_PREKEY), calls.sign(signing, KEM_PREKEY)

        def once() -> None:
            edwards(public)
            verify(verifying, EC_PREKEY, ec_signature)
            verify(verifying, KEM_PREKEY, kem_signature)

        return once

    def initiate(self) -> Callable[[], object]:
        """Verify, make a base key, agree four times, encapsulate, derive; then do the first half of a ratchet step."""
        calls = self._calls
        verify_bundle = self.verify_bundle()
        agree, generate = calls.agree, calls.generate
        private, theirs = generate()[0], generate()[1]
        kem_public = calls.kem_generate(os.urandom(64))

        def once() -> None:
            verify_bundle()
            generate()
            shared = b"".join(agree(private, theirs) for _ in range(4))
            secret, _ = calls.kem_encapsulate(kem_public)
            root = calls.handshake(secret + shared)[:32]
            generate()
            calls.root_step(root, agree(private, theirs))
            calls.handshake(root)  # SPQR's first chains: HKDF to 96 bytes as well
            calls.spqr_step(root)  # SPQR's authenticator: HKDF to 64 bytes

        return once

    def first_encrypt(self, size: int) -> Callable[[], object]:
        """Encrypt, and make SPQR's first key pair with its header's tag."""
        encrypt = self.encrypt(size)
        calls = self._calls

        def once() -> None:
            calls.braid_generate(os.urandom(64))
            calls.tag(bytes(32), bytes(96))
            encrypt()

        return once

    def accept(self, size: int) -> Callable[[], object]:
        """Check the base key, agree four times, decapsulate, derive, do a ratchet step, decrypt."""
        calls = self._calls
        agree, step, decrypt = calls.agree, self.ratchet_step(), self.decrypt(size)
        private, theirs = calls.generate()[0], calls.generate()[1]
        kem_seed = os.urandom(64)
        _, ciphertext = calls.kem_encapsulate(calls.kem_generate(kem_seed))

        def once() -> None:
            calls.require_canonical(theirs)
            shared = b"".join(agree(private, theirs) for _ in range(4))
            root = calls.handshake(calls.kem_decapsulate(kem_seed, ciphertext) + shared)[:32]
            calls.handshake(root)
            calls.spqr_step(root)
            step()
            decrypt()

        return once

    # Groups

    def create_sender_key(self) -> None:
        """Draw a chain key and make a signing key pair."""
        os.urandom(32)
        self._calls.generate_signing()

    def group_encrypt(self, size: int) -> Callable[[], object]:
        """Step the chain, derive message keys, encrypt, sign."""
        calls = self._calls
        chain_step, group_keys, encrypt, sign = calls.chain_step, calls.group_keys, calls.encrypt, calls.sign
        _, _, signing = calls.generate_signing()
        text, chain, signed = payload(size), bytes(32), payload(_padded(size) + SIGNED_OVERHEAD)

        def once() -> None:
            seed, _ = chain_step(chain)
            keys = group_keys(seed)
            encrypt(keys[16:48], keys[:16], text)
            sign(signing, signed)

        return once

    def group_decrypt(self, size: int) -> Callable[[], object]:
        """Verify, step the chain, derive message keys, decrypt; the Edwards form of the key is at hand."""
        calls = self._calls
        chain_step, group_keys, decrypt, verify = calls.chain_step, calls.group_keys, calls.decrypt, calls.verify
        _, _, signing = calls.generate_signing()
        verifying, chain, signed = signing[32:], bytes(32), payload(_padded(size) + SIGNED_OVERHEAD)
        signature = calls.sign(signing, signed)
        keys = group_keys(chain_step(chain)[0])
        ciphertext = calls.encrypt(keys[16:48], keys[:16], payload(size))

        def once() -> None:
            verify(verifying, signed, signature)
            seed, _ = chain_step(chain)
            keys = group_keys(seed)
            decrypt(keys[16:48], keys[:16], ciphertext)

        return once

    def fan_out(self, members: int, size: int) -> Callable[[], object]:
        """Encrypt once and decrypt *members* times."""
        encrypt, decrypt = self.group_encrypt(size), self.group_decrypt(size)

        def once() -> None:
            encrypt()
            for _ in range(members):
                decrypt()

        return once


def _padded(size: int) -> int:
    """Return the size of the ciphertext of *size* bytes."""
    return size // 16 * 16 + 16


def _both(one: Callable[[], object], other: Callable[[], object]) -> Callable[[], object]:
    def once() -> None:
        one()
        other()

    return once


def _run(maker: Callable[[int], Callable[[], object]], size: int) -> Run:
    return repeated(maker(size))
