"""Sender keys of `ratchet`, driven by vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from ratchet import OwnSenderKey, PeerSenderKey, UnknownSenderKey
from ratchet.keys import SigningKeyPair
from vectors.ours.outcome import expect_refusal, no_refusal
from vectors.reference.expectations import Json, Mismatch, RecordedEntropy, expect, place

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Group:
    """A sender's chains, what each member knows of them, and the messages so far."""

    chains: list[OwnSenderKey]
    members: dict[str, PeerSenderKey] = field(default_factory=dict)
    distributions: list[bytes] = field(default_factory=list)
    messages: list[tuple[bytes, bytes]] = field(default_factory=list)  # body, plaintext

    @classmethod
    def of(cls, distribution_id: str, chains: Sequence[Json]) -> Group:
        """Make the sender's chains."""
        return cls([own_sender_key(UUID(distribution_id), chain) for chain in chains])

    def fork(self) -> Group:
        """Return an independent copy, through the stored forms."""
        return Group(
            [OwnSenderKey.from_bytes(chain.to_bytes()) for chain in self.chains],
            {name: PeerSenderKey.from_bytes(member.to_bytes()) for name, member in self.members.items()},
            list(self.distributions),
            list(self.messages),
        )

    def run(self, steps: Sequence[Json]) -> None:
        """Take steps and compare everything that they state. Raises Mismatch."""
        for number, step in enumerate(steps):
            with place(f"step {number} ({step.get('by', 'sender')} {step['do']})"):
                if "error" in step:
                    member = self.members.get(step["by"])
                    expect_refusal(step, [] if member is None else [member], partial(self._act, step))
                    continue
                with no_refusal():
                    self._act(step)

    def _act(self, step: Json) -> None:
        match step["do"]:
            case "distribute":
                if "chain" in step:
                    expect("body", self.chains[step["chain"]].distribution_message(), step["body"])
                self.distributions.append(bytes.fromhex(step["body"]))
            case "encrypt":
                self._encrypt(step)
            case "skip":
                for _ in range(step["count"]):
                    self.chains[step["chain"]].encrypt(b"")
            case "add":
                self._add(step)
            case "decrypt":
                self._decrypt(step)

    def _encrypt(self, step: Json) -> None:
        plaintext = bytes.fromhex(step["plaintext"])
        if "chain" in step:
            entropy = RecordedEntropy(step)
            expect("body", self.chains[step["chain"]].encrypt(plaintext, entropy=entropy), step["body"])
            entropy.finish()
        self.messages.append((bytes.fromhex(step["body"]), plaintext))

    def _add(self, step: Json) -> None:
        body = self.distributions[step["distribution"]] if "distribution" in step else bytes.fromhex(step["body"])
        if step["by"] in self.members:
            self.members[step["by"]].add_distribution_message(body)
        else:
            self.members[step["by"]] = PeerSenderKey.from_distribution_message(body)

    def _decrypt(self, step: Json) -> None:
        if step["by"] not in self.members:
            raise UnknownSenderKey("nothing was distributed to this member")
        if "message" in step:
            body, plaintext = self.messages[step["message"]]
        else:
            body, plaintext = bytes.fromhex(step["body"]), bytes.fromhex(step.get("plaintext", ""))
        expect("plaintext", self.members[step["by"]].decrypt(body), plaintext.hex())


def own_sender_key(distribution_id: UUID, stated: Json) -> OwnSenderKey:
    """Make a sender's chain as `OwnSenderKey.create` does from entropy, or from the keys that the vector states."""
    if "entropy" in stated:
        entropy = RecordedEntropy(stated)
        made = OwnSenderKey.create(distribution_id, entropy=entropy)
        entropy.finish()
        expect("chain id", made.chain_id, stated["chain_id"])
        return made
    if "signing_private" not in stated:
        raise Mismatch("a chain without entropy has its signing key as an X25519 private key")
    signing = SigningKeyPair.from_private(bytes.fromhex(stated["signing_private"]))
    return OwnSenderKey(distribution_id, stated["chain_id"], bytes.fromhex(stated["chain_key"]), 0, signing)
