"""Libsignal as one party of a script: for recordings, and to ask it about forged messages."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Self

import ratchet
from tests.support.oracle import CURRENT, OracleError
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_values import OracleAddress, OracleMessage
from vectors.generators import reject_first, reject_signal
from vectors.generators.dice import Dice
from vectors.generators.script import Script, bundle_json, bundles_json, make_account, party_json, service_id
from vectors.ours.conversation import read_bundle
from vectors.reference.expectations import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.oracle import Oracle
    from tests.support.oracle_values import KemChoice
    from vectors.files import Json


class Recording(Script):
    """A script in which alice is `ratchet` and bob is libsignal."""

    def __init__(self, parties: Json, bundles: dict[str, dict[str, Json]], dice: Dice, peer: OracleDevice) -> None:
        super().__init__(parties, bundles, dice)
        self._peer = peer
        self._peer_can_speak = False
        address = parties["alice"]["address"]
        self._own_address = OracleAddress(address["name"], address["device_id"])

    @classmethod
    def with_peer(cls, oracle: Oracle, name: str, release: str, kem: KemChoice, options: Json) -> Self:
        """Make both parties; bob's bundle has the next one-time prekey and this kind of KEM prekey."""
        dice = Dice(f"recording {name}")
        peer = OracleDevice.create(oracle, service_id(dice), device_id=2, release=release, registration_id=2)
        account = make_account(dice)
        parties = {
            "alice": party_json(account, {"name": service_id(dice), "device_id": 1}) | options,
            "bob": {
                "address": {"name": peer.name, "device_id": peer.device_id},
                "registration_id": peer.registration_id,
                "identity_key": peer.identity_key.hex(),
            },
        }
        bundles = {
            "alice": bundles_json(account, 1),
            "bob": {"full": bundle_json(ratchet.PreKeyBundle(**asdict(peer.bundle(kem=kem))))},
        }
        return cls(parties, bundles, dice, peer)

    def peer_initiates(self, variant: str) -> Self:
        """Let libsignal start a session from alice's bundle of this variant."""
        bundle = self.bundles["alice"][variant]
        self._peer.process_bundle(self._own_address, read_bundle(bundle))
        self.steps.append({"by": "bob", "do": "initiate", "bundle": bundle})
        self._peer_can_speak = True
        return self

    def can_speak(self, party: str) -> bool:
        """Tell whether a party has a session."""
        return self._peer_can_speak if party == "bob" else super().can_speak(party)

    def encrypt(self, by: str, plaintext: bytes | None = None, now: int = 0) -> int:
        """Encrypt a text (or a random one); return the message's number."""
        if by == "alice":
            return super().encrypt(by, plaintext, now)
        if plaintext is None:
            plaintext = self.dice.bytes(self.dice.below(12))
        made = self._peer.encrypt(self._own_address, plaintext)
        ciphertext = ratchet.Ciphertext(ratchet.CiphertextKind(made.kind), made.body)
        return self.add_message({"by": by, "do": "encrypt", "plaintext": plaintext.hex()}, ciphertext, plaintext)

    def decrypt(self, by: str, message: int) -> Self:
        """Deliver a message."""
        if by == "alice":
            return super().decrypt(by, message)
        ciphertext, plaintext = self.message(message)
        opened = self._peer.decrypt(self._own_address, OracleMessage(int(ciphertext.kind), ciphertext.body))
        expect("plaintext at libsignal", opened, plaintext.hex())
        self.steps.append({"by": by, "do": "decrypt", "message": message})
        self._peer_can_speak = True
        return self

    def last_resort_id(self, party: str) -> int:
        """Return the id of a party's last-resort KEM prekey."""
        if party == "alice":
            return super().last_resort_id(party)
        prekey_id = self._peer.bundle(kem="last_resort").kem_prekey_id
        if prekey_id is None:
            raise RuntimeError("the bundle has a KEM prekey")
        return prekey_id

    def entropy_to_read(self, by: str, message: int) -> list[str]:
        """Return what reading a message draws; libsignal has dice of its own."""
        return [] if by == "bob" else super().entropy_to_read(by, message)

    def peer_reads(self, step: Json) -> bool:
        """Let libsignal try a delivery; tell whether it read it. A session that there was is then as before."""
        stored = self._peer.session_info(self._own_address) and self._peer.export_session(self._own_address)
        try:
            if "message" in step:
                self.decrypt("bob", step["message"])
                return True
            message = OracleMessage(step["kind"], bytes.fromhex(step["body"]))
            opened = self._peer.decrypt(self._own_address, message)
        except OracleError:
            return False
        expect("plaintext at libsignal", opened, step["plaintext"])
        if stored:
            self._peer.import_session(self._own_address, stored)
        return True


class Stage:
    """Makes scripts with libsignal as bob, and keeps them."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.scripts: list[Recording] = []

    def __call__(self, name: str) -> Script:
        """Make the script of a group."""
        script = Recording.with_peer(self._oracle, name, CURRENT, "one_time", {})
        self.scripts.append(script)
        return script


def libsignal_on_forgeries(oracle: Oracle) -> Iterator[tuple[str, bool, bool]]:
    """Give libsignal every forged message of the rejects; yield (comment, should it read it, did it)."""
    for make_groups in (reject_signal.groups, reject_first.groups):
        stage = Stage(oracle)
        for group, script in zip(make_groups(stage), stage.scripts, strict=True):
            if not _reads_first_messages(group):
                yield from _verdicts(script, group, group["tests"])
    # Of a first message that it reads libsignal keeps no way back: each has a device of its own.
    count = len(reject_first.tolerated(Stage(oracle))["tests"])
    for number in range(count):
        stage = Stage(oracle)
        group = reject_first.tolerated(stage)
        yield from _verdicts(stage.scripts[0], group, [group["tests"][number]])


def _reads_first_messages(group: Json) -> bool:
    test = group["tests"][0]
    return bool(test["result"] == "valid" and test["steps"][0]["kind"] == ratchet.CiphertextKind.PREKEY)


def _verdicts(script: Recording, group: Json, tests: list[Json]) -> Iterator[tuple[str, bool, bool]]:
    for test in tests:
        yield test["comment"], test["result"] == "valid", script.peer_reads(test["steps"][0])
    for step in group["then"]:
        yield f"A genuine message after: {group['comment']}", True, script.peer_reads(step)
