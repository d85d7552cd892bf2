"""Replays a conversation step by step, both sides at once where the vector has the keys of both."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vectors.reference import kem
from vectors.reference.double_ratchet import Address, Trace
from vectors.reference.expectations import Json, Mismatch, RecordedEntropy, expect, expected_outcome, place
from vectors.reference.handshake import Bundle, KeyPair, PreKeys
from vectors.reference.messages import KYBER_TYPE, raw_kem, raw_key, serialise_key
from vectors.reference.session import Encapsulation, Session

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class SentMessage:
    """What an encrypt step made, or what a recorded peer made."""

    kind: int
    body: bytes
    plaintext: bytes


class Conversation:
    """The sessions of the parties whose private keys the vector has, and the messages so far."""

    def __init__(self, parties: Json) -> None:
        self.sessions: dict[str, Session] = {}
        self.messages: list[SentMessage] = []
        first, second = parties
        for name, peer in ((first, second), (second, first)):
            if "identity_private" in parties[name]:
                self.sessions[name] = _session(parties[name], parties[peer])

    def fork(self) -> Conversation:
        """Return an independent copy."""
        return copy.deepcopy(self)

    def run(self, steps: Sequence[Json]) -> None:
        """Take steps and compare everything that they state. Raises Mismatch."""
        for number, step in enumerate(steps):
            with place(f"step {number} ({step['by']} {step['do']})"):
                self._take(step)

    def _take(self, step: Json) -> None:
        session = self.sessions.get(step["by"])
        if session is None:
            self._take_recorded(step)
            return
        entropy = RecordedEntropy(step)
        with expected_outcome(step):
            match step["do"]:
                case "initiate":
                    _initiate(session, step, entropy)
                case "encrypt":
                    self._encrypt(session, step, entropy)
                case "decrypt":
                    message = self._received(step)
                    plaintext = session.decrypt(message.kind, message.body, entropy)
                    expect("plaintext", plaintext, message.plaintext.hex())
                case "skip":
                    session.skip(step["count"], entropy, step.get("now", 0))
                case "archive":
                    session.archive()
                case "forget":
                    session.forget()
        if "fault" not in step:
            entropy.finish()
            if "trace" in step:
                _check_trace(session.ratchet.trace, step["trace"])

    def _take_recorded(self, step: Json) -> None:
        """Take a step of a party without private keys: its messages are input, its reading was observed."""
        if step["do"] == "encrypt":
            plaintext, body = bytes.fromhex(step["plaintext"]), bytes.fromhex(step["body"])
            self.messages.append(SentMessage(step["kind"], body, plaintext))

    def _encrypt(self, session: Session, step: Json, entropy: RecordedEntropy) -> None:
        plaintext = bytes.fromhex(step["plaintext"])
        kind, body = session.encrypt(plaintext, entropy, step.get("now", 0))
        expect("kind", kind, step.get("kind"))
        expect("body", body, step.get("body"))
        self.messages.append(SentMessage(kind, body, plaintext))

    def _received(self, step: Json) -> SentMessage:
        if "message" in step:
            return self.messages[step["message"]]
        return SentMessage(step["kind"], bytes.fromhex(step["body"]), bytes.fromhex(step.get("plaintext", "")))


def _initiate(session: Session, step: Json, entropy: RecordedEntropy) -> None:
    bundle = read_bundle(step["bundle"])
    encapsulation = None
    if "encapsulation" in step:
        if bundle.kem_prekey is None:
            raise Mismatch("an encapsulation without a KEM prekey")
        encapsulation = read_encapsulation(step["encapsulation"], bundle.kem_prekey)
    with_pq = not step.get("without_spqr", False)
    session.initiate(bundle, encapsulation, entropy, step.get("now", 0), with_pq=with_pq)


def _check_trace(trace: Trace | None, stated: Json) -> None:
    if trace is None:
        raise Mismatch("nothing was encrypted or decrypted")
    expect("root key", trace.root_key, stated["root_key"])
    expect("message seed", trace.message_seed, stated["message_seed"])
    expect("post-quantum key", trace.pq_key, stated.get("pq_key"))
    expect("cipher key", trace.keys.cipher_key, stated["cipher_key"])
    expect("MAC key", trace.keys.mac_key, stated["mac_key"])
    expect("initial vector", trace.keys.initial_vector, stated["initial_vector"])


def trace_json(trace: Trace) -> Json:
    """Return the form in which a vector states the secrets of a step."""
    stated = {
        "root_key": trace.root_key.hex(),
        "message_seed": trace.message_seed.hex(),
        "cipher_key": trace.keys.cipher_key.hex(),
        "mac_key": trace.keys.mac_key.hex(),
        "initial_vector": trace.keys.initial_vector.hex(),
    }
    return stated if trace.pq_key is None else stated | {"pq_key": trace.pq_key.hex()}


# Reading the vectors' forms


def read_address(party: Json) -> Address | None:
    """Return the party's address, if it has one."""
    return Address(party["address"]["name"], party["address"]["device_id"]) if "address" in party else None


def read_prekeys(party: Json) -> PreKeys:
    """Return the party's own keys. Raises Mismatch if the public identity key is not the private one's."""
    identity = KeyPair.from_private(bytes.fromhex(party["identity_private"]))
    expect("identity key", serialise_key(identity.public), party["identity_key"])
    return PreKeys(
        identity=identity,
        registration_id=party["registration_id"],
        signed=_key_pairs(party["signed_prekeys"]),
        one_time=_key_pairs(party["one_time_prekeys"]),
        kem_seeds={prekey["id"]: bytes.fromhex(prekey["seed"]) for prekey in party["kem_prekeys"]},
        last_resort=frozenset(prekey["id"] for prekey in party["kem_prekeys"] if prekey["last_resort"]),
    )


def _key_pairs(prekeys: list[Json]) -> dict[int, KeyPair]:
    return {prekey["id"]: KeyPair.from_private(bytes.fromhex(prekey["private"])) for prekey in prekeys}


def _session(party: Json, peer: Json) -> Session:
    return Session(
        read_prekeys(party),
        read_address(party),
        read_address(peer),
        allow_x3dh=party.get("allow_x3dh", False),
        allow_without_spqr=party.get("allow_without_spqr", False),
    )


def read_bundle(stated: Json) -> Bundle:
    """Return a bundle with raw keys. Raises Refused."""
    return Bundle(
        registration_id=stated["registration_id"],
        device_id=stated["device_id"],
        identity_key=raw_key(bytes.fromhex(stated["identity_key"])),
        signed_prekey_id=stated["signed_prekey_id"],
        signed_prekey=raw_key(bytes.fromhex(stated["signed_prekey"])),
        signed_prekey_signature=bytes.fromhex(stated["signed_prekey_signature"]),
        kem_prekey_id=stated.get("kem_prekey_id"),
        kem_prekey=raw_kem(bytes.fromhex(stated["kem_prekey"])) if "kem_prekey" in stated else None,
        kem_prekey_signature=bytes.fromhex(stated["kem_prekey_signature"]) if "kem_prekey" in stated else None,
        one_time_prekey_id=stated.get("one_time_prekey_id"),
        one_time_prekey=raw_key(bytes.fromhex(stated["one_time_prekey"])) if "one_time_prekey" in stated else None,
    )


def read_encapsulation(stated: Json, public_key: bytes) -> Encapsulation:
    """Derive ciphertext and secret again from the randomness. Raises Mismatch."""
    ciphertext, secret = kem.kyber1024_encapsulate(public_key, bytes.fromhex(stated["randomness"]))
    expect("KEM ciphertext", bytes([KYBER_TYPE]) + ciphertext, stated["ciphertext"])
    expect("KEM secret", secret, stated["secret"])
    return Encapsulation(ciphertext, secret)
