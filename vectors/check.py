"""Runs every vector through `ratchet`: what it makes is right to the byte, what it refuses has the stated class.

A refused input also leaves the object's stored form as it was.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import ratchet
from ratchet import chains, handshake, primitives
from ratchet.keys import KeyPair, parse_public_key
from ratchet.messages import PreKeyMessage, SignalMessage
from vectors.ours.conversation import Conversation, VectorPreKeys, encapsulation_of, read_bundle
from vectors.ours.frames import check_frame
from vectors.ours.group import Group
from vectors.ours.outcome import expect_outcome
from vectors.ours.post_quantum import Exchange
from vectors.ours.snapshots import check_snapshots
from vectors.reference.expectations import Json, expect, place

if TYPE_CHECKING:
    from collections.abc import Callable


def check(content: Json) -> int:
    """Run every test of one vector file that `ratchet` has a way for; return how many. Raises Mismatch."""
    run_group = KINDS[content["kind"]]
    count = 0
    for group in content["groups"]:
        with place(group["comment"]):
            count += run_group(group)
    return count


def _each_test(group: Json, run: Callable[[Json], None]) -> int:
    for test in group["tests"]:
        with place(_name(test)):
            expect_outcome(test, partial(run, test))
    return len(group["tests"])


def _name(test: Json) -> str:
    return f"test {test['id']} ({test['comment']})"


# Signatures


def _check_xeddsa(group: Json) -> int:
    return _each_test(group, _check_signature)


def _check_signature(test: Json) -> None:
    message = bytes.fromhex(test["message"])
    match test["op"]:
        case "sign":
            private = bytes.fromhex(test["private_key"])
            public = primitives.x25519_public(private)
            signature = primitives.xeddsa_sign(private, message, bytes.fromhex(test["randomness"]))
        case "sign_with_seed":
            private, public, signing = primitives.keys_from_seed(bytes.fromhex(test["seed"]))
            expect("private key", private, test["private_key"])
            signature = primitives.sign_with_seed(signing, message)
        case _:
            public = parse_public_key(bytes.fromhex(test["public_key"]))[1:]
            primitives.xeddsa_verify(public, message, bytes.fromhex(test["signature"]))
            return
    expect("public key", b"\x05" + public, test["public_key"])
    expect("signature", signature, test["signature"])
    primitives.xeddsa_verify(public, message, signature)


# Key derivations: `ratchet` has functions of its own for three of them. The others it uses inside larger steps,
# which the conversations and the post-quantum vectors compare.


def _check_kdf_chain(group: Json) -> int:
    count = 0
    for test in group["tests"]:
        with place(_name(test)):
            count += _check_derivation(test["op"], test["input"], test["output"])
    return count


def _check_derivation(operation: str, stated: Json, output: Json) -> int:
    match operation:
        case "root_step":
            derived = chains.root_step(bytes.fromhex(stated["root_key"]), bytes.fromhex(stated["shared"]))
            expect("keys", b"".join(derived), output["root_key"] + output["chain_key"])
        case "chain_step":
            derived = chains.chain_step(bytes.fromhex(stated["chain_key"]))
            expect("keys", b"".join(derived), output["message_seed"] + output["chain_key"])
        case "message_keys":
            salt = None if stated["pq_key"] is None else bytes.fromhex(stated["pq_key"])
            keys = chains.message_keys(bytes.fromhex(stated["message_seed"]), salt)
            expect("keys", keys, output["cipher_key"] + output["mac_key"] + output["initial_vector"])
        case _:
            return 0
    return 1


# Handshakes


def _check_handshake(group: Json) -> int:
    return _each_test(group, _check_agreement)


def _check_agreement(test: Json) -> None:
    match test["op"]:
        case "check_bundle":
            read_bundle(test["bundle"]).verify()
            return
        case "check_base_key":
            primitives.require_canonical(parse_public_key(bytes.fromhex(test["base_key"]))[1:])
            return
    base_private = bytes.fromhex(test["initiator"]["base_private"])
    identity = ratchet.IdentityKeyPair.from_private_key(bytes.fromhex(test["initiator"]["identity_private"]))
    bundle = read_bundle(test["bundle"])
    initiated = handshake.initiate(
        identity,
        registration_id=1,
        bundle=bundle,
        allow_x3dh=True,
        entropy=lambda _: base_private,
        encapsulate=encapsulation_of(bundle, test.get("encapsulation")),
    )
    expect("version", initiated.version, test["version"])
    _expect_secrets(initiated.secrets, test["secrets"])
    # Only the outer message is needed: any inner one will do.
    inner = SignalMessage(test["version"], KeyPair.from_private(base_private).public, 0, b"", b"", None, b"", b"")
    pending = initiated.pending
    first = PreKeyMessage(
        version=initiated.version,
        registration_id=pending.registration_id,
        one_time_prekey_id=pending.one_time_prekey_id,
        signed_prekey_id=pending.signed_prekey_id,
        kem_prekey_id=pending.kem_prekey_id,
        kem_ciphertext=pending.kem_ciphertext,
        base_key=pending.base_key,
        identity_key=pending.identity_key,
        message=inner,
    )
    accepted = handshake.accept(VectorPreKeys(test["responder"]), first, allow_x3dh=True)
    _expect_secrets(accepted.secrets, test["secrets"])


def _expect_secrets(derived: handshake.Secrets, stated: Json) -> None:
    expect("root key", derived.root_key, stated["root_key"])
    expect("chain key", derived.chain_key, stated["chain_key"])
    expect("post-quantum key", derived.post_quantum_key, stated.get("pq_auth_key"))


# Conversations


def _check_conversation(group: Json) -> int:
    for test in group["tests"]:
        with place(_name(test)):
            Conversation.of(test["parties"]).run(test["steps"])
    return len(group["tests"])


def _check_rejects(group: Json) -> int:
    return _check_forks(group, Conversation.of(group["parties"]))


def _check_spqr(group: Json) -> int:
    return _check_forks(group, Exchange.of(bytes.fromhex(group["auth_key"])))


def _check_sender_keys(group: Json) -> int:
    return _check_forks(group, Group.of(group["distribution_id"], group["chains"]))


def _check_forks(group: Json, start: Conversation | Exchange | Group) -> int:
    """Run the group's steps once, then each test on a copy of what they leave, then what must still succeed."""
    start.run(group.get("steps", []))
    for test in group["tests"]:
        with place(_name(test)):
            fork = start.fork()
            fork.run(test["steps"])
            fork.run(group.get("then", []))
    return len(group["tests"])


def _check_snapshot(group: Json) -> int:
    for test in group["tests"]:
        with place(_name(test)):
            check_snapshots(test)
    return len(group["tests"])


# Safety numbers


def _check_safety_number(group: Json) -> int:
    return _each_test(group, _check_number)


def _check_number(test: Json) -> None:
    local, remote = test["local"], test["remote"]
    number = ratchet.safety_number(
        bytes.fromhex(local["id"]),
        bytes.fromhex(local["identity_key"]),
        bytes.fromhex(remote["id"]),
        bytes.fromhex(remote["identity_key"]),
        test["iterations"],
        version=test["version"],
    )
    if test["op"] == "check_scanned":
        number.check_scanned(bytes.fromhex(test["scanned"]))
        return
    expect("digits", number.digits, test["digits"])
    expect("scannable", number.scannable, test["scannable"])


# Frames


def _check_frames(group: Json) -> int:
    return _each_test(group, check_frame)


KINDS: dict[str, Callable[[Json], int]] = {
    "xeddsa": _check_xeddsa,
    "kdf_chain": _check_kdf_chain,
    "handshake": _check_handshake,
    "conversation": _check_conversation,
    "rejects": _check_rejects,
    "spqr": _check_spqr,
    "sender_keys": _check_sender_keys,
    "safety_number": _check_safety_number,
    "snapshot": _check_snapshot,
    "frames": _check_frames,
}
