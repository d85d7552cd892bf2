"""Replays vectors of sender keys."""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING

from vectors.reference import edwards
from vectors.reference.expectations import Json, RecordedEntropy, expect, expected_outcome, place
from vectors.reference.handshake import KeyPair
from vectors.reference.sender_keys import OwnSenderKey, PeerSenderKey

if TYPE_CHECKING:
    from collections.abc import Sequence


class Group:
    """A sender's chains, what each member knows of them, and the messages so far."""

    def __init__(self, distribution_id: str, chains: Sequence[Json]) -> None:
        identifier = uuid.UUID(distribution_id).bytes
        self._chains = [_own_sender_key(identifier, chain) for chain in chains]
        self._members: dict[str, PeerSenderKey] = {}
        self._distributions: list[bytes] = []
        self._messages: list[tuple[bytes, bytes]] = []  # body, plaintext

    def fork(self) -> Group:
        """Return an independent copy."""
        return copy.deepcopy(self)

    def run(self, steps: Sequence[Json]) -> None:
        """Take steps and compare everything that they state. Raises Mismatch."""
        for number, step in enumerate(steps):
            with place(f"step {number} ({step.get('by', 'sender')} {step['do']})"), expected_outcome(step):
                self._take(step)

    def _take(self, step: Json) -> None:
        match step["do"]:
            case "distribute":
                self._distribute(step)
            case "encrypt":
                self._encrypt(step)
            case "skip":
                self._chains[step["chain"]].skip(step["count"])
            case "add":
                self._member(step).add(self._distribution(step))
            case "decrypt":
                body, plaintext = self._message(step)
                expect("plaintext", self._member(step).decrypt(body), plaintext.hex())

    def _distribute(self, step: Json) -> None:
        body = bytes.fromhex(step["body"])
        if "chain" in step:
            expect("body", self._chains[step["chain"]].distribution_message(), step["body"])
        self._distributions.append(body)

    def _encrypt(self, step: Json) -> None:
        plaintext = bytes.fromhex(step["plaintext"])
        if "chain" in step:
            entropy = RecordedEntropy(step)
            expect("body", self._chains[step["chain"]].encrypt(plaintext, entropy), step["body"])
            entropy.finish()
        self._messages.append((bytes.fromhex(step["body"]), plaintext))

    def _member(self, step: Json) -> PeerSenderKey:
        return self._members.setdefault(step["by"], PeerSenderKey())

    def _distribution(self, step: Json) -> bytes:
        return self._distributions[step["distribution"]] if "distribution" in step else bytes.fromhex(step["body"])

    def _message(self, step: Json) -> tuple[bytes, bytes]:
        if "message" in step:
            return self._messages[step["message"]]
        return bytes.fromhex(step["body"]), bytes.fromhex(step.get("plaintext", ""))


def _own_sender_key(distribution_id: bytes, chain: Json) -> OwnSenderKey:
    seed = bytes.fromhex(chain["signing_seed"]) if "signing_seed" in chain else None
    private = bytes.fromhex(chain["signing_private"]) if seed is None else edwards.private_key_of_seed(seed)
    chain_key = bytes.fromhex(chain["chain_key"])
    return OwnSenderKey(distribution_id, chain["chain_id"], chain_key, KeyPair.from_private(private), seed)
