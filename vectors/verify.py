"""Derives every vector again with the reference implementation beside it, which shares nothing with `ratchet`.

A valid vector is right to the byte. An invalid one has exactly the fault that it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from vectors.reference import chains, edwards, handshake, safety_number
from vectors.reference.expectations import Json, Mismatch, expect, expected_outcome, place
from vectors.reference.frames import check_frame
from vectors.reference.handshake import KeyPair
from vectors.reference.messages import PreKeyMessage, raw_key, serialise_key
from vectors.reference.primitives import x25519_public
from vectors.reference.replay_conversation import Conversation, read_bundle, read_encapsulation, read_prekeys
from vectors.reference.replay_group import Group
from vectors.reference.replay_spqr import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    Derivation: TypeAlias = Callable[..., Any]


def verify(content: Json) -> None:
    """Check every test of one vector file. Raises Mismatch, which says where and what."""
    check = KINDS[content["kind"]]
    for group in content["groups"]:
        with place(group["comment"]):
            check(group)


def _each_test(group: Json, check: Callable[[Json], None]) -> None:
    for test in group["tests"]:
        with place(f"test {test['id']} ({test['comment']})"), expected_outcome(test):
            check(test)


# Signatures


def _verify_xeddsa(group: Json) -> None:
    _each_test(group, _check_signature)


def _check_signature(test: Json) -> None:
    message = bytes.fromhex(test["message"])
    match test["op"]:
        case "sign":
            private = bytes.fromhex(test["private_key"])
            signature = edwards.sign(private, message, bytes.fromhex(test["randomness"]))
        case "sign_with_seed":
            seed = bytes.fromhex(test["seed"])
            private = edwards.private_key_of_seed(seed)
            expect("private key", private, test["private_key"])
            signature = edwards.sign_with_seed(seed, message)
        case _:
            public = raw_key(bytes.fromhex(test["public_key"]))
            edwards.verify(public, message, bytes.fromhex(test["signature"]))
            return
    expect("public key", serialise_key(x25519_public(private)), test["public_key"])
    expect("signature", signature, test["signature"])
    edwards.verify(x25519_public(private), message, signature)


# Key derivations


def _message_keys(seed: bytes, pq_key: bytes | None) -> tuple[bytes, bytes, bytes]:
    keys = chains.message_keys(seed, pq_key)
    return keys.cipher_key, keys.mac_key, keys.initial_vector


def _header_mac(mac_key: bytes, epoch: int, header: bytes) -> tuple[bytes]:
    return (chains.pq_mac(mac_key, b"ekheader", epoch, header),)


def _ciphertext_mac(mac_key: bytes, epoch: int, ciphertext: bytes) -> tuple[bytes]:
    return (chains.pq_mac(mac_key, b"ciphertext", epoch, ciphertext),)


def _epoch_secret(shared: bytes, epoch: int) -> tuple[bytes]:
    return (chains.pq_epoch_secret(shared, epoch),)


# Operation → (derivation, names of its inputs in order, names of its outputs in order).
DERIVATIONS: dict[str, tuple[Derivation, tuple[str, ...], tuple[str, ...]]] = {
    "root_step": (chains.root_step, ("root_key", "shared"), ("root_key", "chain_key")),
    "chain_step": (chains.chain_step, ("chain_key",), ("message_seed", "chain_key")),
    "message_keys": (_message_keys, ("message_seed", "pq_key"), ("cipher_key", "mac_key", "initial_vector")),
    "sender_message_keys": (chains.sender_message_keys, ("message_seed",), ("initial_vector", "cipher_key")),
    "handshake_keys": (chains.handshake_keys, ("version", "secret_input"), ("root_key", "chain_key", "pq_auth_key")),
    "pq_chain_start": (chains.pq_chain_start, ("auth_key",), ("next_root", "a_to_b", "b_to_a")),
    "pq_chain_add_epoch": (
        chains.pq_chain_add_epoch,
        ("next_root", "epoch_secret"),
        ("next_root", "a_to_b", "b_to_a"),
    ),
    "pq_chain_next": (chains.pq_chain_next, ("chain", "index"), ("chain", "key")),
    "pq_authenticator_update": (chains.pq_authenticator_update, ("root", "epoch", "key"), ("root", "mac_key")),
    "pq_epoch_secret": (_epoch_secret, ("kem_secret", "epoch"), ("epoch_secret",)),
    "pq_header_mac": (_header_mac, ("mac_key", "epoch", "header"), ("mac",)),
    "pq_ciphertext_mac": (_ciphertext_mac, ("mac_key", "epoch", "ciphertext"), ("mac",)),
}


def _verify_kdf_chain(group: Json) -> None:
    _each_test(group, _check_derivation)


def _check_derivation(test: Json) -> None:
    derive, inputs, outputs = DERIVATIONS[test["op"]]
    expect("names of the inputs", sorted(test["input"]), sorted(inputs))
    expect("names of the outputs", sorted(test["output"]), sorted(outputs))
    values = [test["input"][name] for name in inputs]
    derived = derive(*(bytes.fromhex(value) if isinstance(value, str) else value for value in values))
    for name, value in zip(outputs, derived, strict=True):
        expect(name, value, test["output"][name])


# Handshakes


def _verify_handshake(group: Json) -> None:
    _each_test(group, _check_handshake)


def _check_handshake(test: Json) -> None:
    match test["op"]:
        case "check_bundle":
            read_bundle(test["bundle"]).check()
        case "check_base_key":
            edwards.check_base_key(raw_key(bytes.fromhex(test["base_key"])))
        case "agree":
            _check_agreement(test)


def _check_agreement(test: Json) -> None:
    bundle = read_bundle(test["bundle"])
    bundle.check()
    expect("version", bundle.version, test["version"])
    encapsulation = None
    if bundle.kem_prekey is not None:
        encapsulation = read_encapsulation(test["encapsulation"], bundle.kem_prekey)
    identity = KeyPair.from_private(bytes.fromhex(test["initiator"]["identity_private"]))
    base = KeyPair.from_private(bytes.fromhex(test["initiator"]["base_private"]))
    kem_secret = None if encapsulation is None else encapsulation.secret
    initiated = handshake.initiate(identity, base, bundle, kem_secret)
    first = PreKeyMessage(
        version=bundle.version,
        registration_id=0,
        one_time_prekey_id=bundle.one_time_prekey_id,
        signed_prekey_id=bundle.signed_prekey_id,
        kem_prekey_id=bundle.kem_prekey_id,
        kem_ciphertext=None if encapsulation is None else encapsulation.ciphertext,
        base_key=base.public,
        identity_key=identity.public,
        message=b"",
    )
    accepted, _ = read_prekeys(test["responder"]).respond(first)
    if accepted != initiated:
        raise Mismatch("initiator and responder agree on different secrets")
    secrets = test["secrets"]
    expect("Diffie-Hellman results", [result.hex() for result in initiated.diffie_hellman], secrets["diffie_hellman"])
    for name in ("kem_secret", "root_key", "chain_key", "pq_auth_key"):
        expect(name, getattr(initiated, name), secrets.get(name))


# Conversations


def _verify_conversation(group: Json) -> None:
    for test in group["tests"]:
        with place(f"test {test['id']} ({test['comment']})"):
            Conversation(test["parties"]).run(test["steps"])


def _verify_rejects(group: Json) -> None:
    start = Conversation(group["parties"])
    start.run(group["steps"])
    for test in group["tests"]:
        with place(f"test {test['id']} ({test['comment']})"):
            fork = start.fork()
            fork.run(test["steps"])
            _check_refusals(test)
            # What was refused left nothing behind.
            fork.run(group["then"])


def _check_refusals(test: Json) -> None:
    """Check that a test's result is that of its last step, and that every step before it succeeds."""
    *before, last = test["steps"]
    expect("faults before the last step", [step["fault"] for step in before if "fault" in step], [])
    expect("fault of the last step", last.get("fault"), test.get("fault"))
    expect("error of the last step", last.get("error"), test.get("error"))


def _verify_spqr(group: Json) -> None:
    start = Exchange(bytes.fromhex(group["auth_key"]))
    start.run(group.get("steps", []))
    for test in group["tests"]:
        with place(f"test {test['id']} ({test['comment']})"):
            fork = start.fork()
            fork.run(test["steps"])
            _check_refusals(test)
            fork.run(group.get("then", []))


def _verify_sender_keys(group: Json) -> None:
    start = Group(group["distribution_id"], group["chains"])
    start.run(group.get("steps", []))
    for test in group["tests"]:
        with place(f"test {test['id']} ({test['comment']})"):
            fork = start.fork()
            fork.run(test["steps"])
            _check_refusals(test)
            fork.run(group.get("then", []))


def _verify_snapshot(group: Json) -> None:
    """Check the conversation around the stored states; the states themselves only `ratchet` can read."""
    for test in group["tests"]:
        with place(f"test {test['id']} ({test['comment']})"):
            if "parties" in test:
                Conversation(test["parties"]).run(test["steps"])
            else:
                Group(test["distribution_id"], test["chains"]).run(test["steps"])


# Safety numbers


def _verify_safety_number(group: Json) -> None:
    _each_test(group, _check_safety_number)


def _check_safety_number(test: Json) -> None:
    local, remote = (
        safety_number.fingerprint(
            bytes.fromhex(test[side]["id"]), bytes.fromhex(test[side]["identity_key"]), test["iterations"]
        )
        for side in ("local", "remote")
    )
    if test["op"] == "check_scanned":
        safety_number.check_scanned(bytes.fromhex(test["scanned"]), test["version"], local, remote)
        return
    expect("digits", safety_number.digits(local, remote), test["digits"])
    expect("scannable", safety_number.scannable(test["version"], local, remote), test["scannable"])


# Frames


def _verify_frames(group: Json) -> None:
    _each_test(group, check_frame)


KINDS: dict[str, Callable[[Json], None]] = {
    "xeddsa": _verify_xeddsa,
    "kdf_chain": _verify_kdf_chain,
    "handshake": _verify_handshake,
    "conversation": _verify_conversation,
    "rejects": _verify_rejects,
    "spqr": _verify_spqr,
    "sender_keys": _verify_sender_keys,
    "safety_number": _verify_safety_number,
    "snapshot": _verify_snapshot,
    "frames": _verify_frames,
}
