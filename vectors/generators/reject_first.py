"""Forged first messages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vectors.generators.forgeries import Begin, Forgeries
from vectors.generators.script import Script
from vectors.reference import edwards, protobuf
from vectors.reference.faults import Fault
from vectors.reference.primitives import x25519_public

if TYPE_CHECKING:
    from vectors.files import Json
    from vectors.generators.dice import Dice
    from vectors.reference.double_ratchet import Draft
    from vectors.reference.messages import PreKeyMessage

TEXT: Final = b"a genuine text"
PREKEY: Final = 3
VERSION_BYTE: Final = b"\x44"


def groups(begin: Begin = Script.start) -> list[Json]:
    """Return the groups of this module, each from one script that *begin* makes."""
    return [tolerated(begin), _wire(begin), _keys(begin), _inner(begin)]


def _start(begin: Begin, name: str) -> tuple[Script, Forgeries, PreKeyMessage, Draft]:
    """Return a session that bob has not heard of, and what its first message is made from."""
    script = begin(f"forged first {name}").initiate("alice")
    script.encrypt("alice", TEXT)
    script.encrypt("alice")
    forgeries = Forgeries(script, "bob", PREKEY)
    outer, draft = script.draft(forgeries.genuine)
    if outer is None:
        raise RuntimeError("a first message has an outer part")
    outer = replace(outer, message=draft.encode(TEXT))
    if outer.encode() != script.encrypted_body(forgeries.genuine):
        raise RuntimeError("the draft is that of the genuine message")
    return script, forgeries, outer, draft


def tolerated(begin: Begin) -> Json:
    """Return the group of odd messages that are read all the same."""
    script, forgeries, outer, draft = _start(begin, "tolerated")
    fields = outer.fields()
    entropy = script.entropy_to_read("bob", forgeries.genuine)
    backwards = b"".join(protobuf.encode({number: fields[number]}) for number in sorted(fields, reverse=True))
    unbound = replace(outer, message=replace(draft, addresses=None).encode(TEXT))
    for comment, body in (
        ("The low nibble of the version is not looked at", b"\x40" + protobuf.encode(fields)),
        ("Fields in descending order", VERSION_BYTE + backwards),
        ("An unknown field", VERSION_BYTE + protobuf.encode({**fields, 15: b"new"})),
        ("No registration id", VERSION_BYTE + protobuf.encode({**fields, 5: None})),
        ("No addresses", unbound.encode()),
    ):
        forgeries.accept(comment, body, TEXT, entropy=entropy)
    return forgeries.group("Odd first messages that are read all the same")


def _wire(begin: Begin) -> Json:
    _, forgeries, outer, _ = _start(begin, "wire")
    fields = outer.fields()
    base_key, identity_key = b"\x05" + outer.base_key, b"\x05" + outer.identity_key
    ciphertext = b"\x08" + (outer.kem_ciphertext or b"")
    for comment, fault, changed in (
        ("No base key", Fault.FIELD_MISSING, {2: None}),
        ("No identity key", Fault.FIELD_MISSING, {3: None}),
        ("No inner message", Fault.FIELD_MISSING, {4: None}),
        ("No id of the signed prekey", Fault.FIELD_MISSING, {6: None}),
        ("No id of the KEM prekey", Fault.FIELD_MISSING, {7: None}),
        ("No KEM ciphertext", Fault.FIELD_MISSING, {8: None}),
        ("Nothing of the KEM", Fault.FIELD_MISSING, {7: None, 8: None}),
        ("A base key of type 6", Fault.KEY_TYPE, {2: b"\x06" + base_key[1:]}),
        ("A base key of 32 bytes", Fault.FIELD_SIZE, {2: base_key[:-1]}),
        ("An identity key of type 0", Fault.KEY_TYPE, {3: b"\x00" + identity_key[1:]}),
        ("A KEM ciphertext of type 7", Fault.KEY_TYPE, {8: b"\x07" + ciphertext[1:]}),
        ("A KEM ciphertext of type 10", Fault.KEY_TYPE, {8: b"\x0a" + ciphertext[1:]}),
        ("A KEM ciphertext cut by a byte", Fault.FIELD_SIZE, {8: ciphertext[:-1]}),
        ("A KEM ciphertext with another byte", Fault.FIELD_SIZE, {8: ciphertext + b"\x00"}),
        ("The id of the one-time prekey as bytes", Fault.WIRE, {1: b"\x01"}),
        ("The registration id as bytes", Fault.WIRE, {5: b"\x01"}),
        ("The id of the KEM prekey as bytes", Fault.WIRE, {7: b"\x01"}),
        ("The KEM ciphertext as a number", Fault.WIRE, {8: 5}),
        ("The base key as a number", Fault.WIRE, {2: 5}),
        ("An inner message of eight bytes", Fault.TRUNCATED, {4: outer.message[:8]}),
    ):
        forgeries.refuse(comment, fault, "Wire", VERSION_BYTE + protobuf.encode({**fields, **changed}))
    encoded = protobuf.encode(fields)
    for comment, fault, flag, body in (
        ("Nothing", Fault.TRUNCATED, "Wire", b""),
        ("The version alone", Fault.FIELD_MISSING, "Wire", VERSION_BYTE),
        ("Cut by a byte", Fault.WIRE, "Wire", VERSION_BYTE + encoded[:-1]),
        ("Version 2", Fault.VERSION_OLD, "Version", b"\x24" + encoded),
        ("Version 5", Fault.VERSION_NEW, "Version", b"\x54" + encoded),
    ):
        forgeries.refuse(comment, fault, flag, body)
    return forgeries.group("First messages without a first message's form")


def _keys(begin: Begin) -> Json:
    script, forgeries, outer, _ = _start(begin, "keys")
    base_key = outer.base_key
    high_bit = base_key[:31] + bytes([base_key[31] | 0x80])
    other = x25519_public(script.dice.bytes(32))
    ciphertext = outer.kem_ciphertext or b""
    for comment, fault, flag, forged in (
        (
            "A base key with its high bit set",
            Fault.BASE_KEY_NOT_CANONICAL,
            "Handshake",
            replace(outer, base_key=high_bit),
        ),
        (
            "A base key of 2^255 - 19 + 9",
            Fault.BASE_KEY_NOT_CANONICAL,
            "Handshake",
            replace(outer, base_key=(edwards.P + 9).to_bytes(32, "little")),
        ),
        (
            "A base key with a component of small order: every Diffie-Hellman result is the genuine one",
            Fault.BASE_KEY_TORSION,
            "Handshake",
            replace(outer, base_key=_with_torsion(base_key, script.dice)),
        ),
        ("A base key of order 4", Fault.BASE_KEY_TORSION, "Handshake", replace(outer, base_key=b"\x01" + bytes(31))),
        ("A base key of 0", Fault.BASE_KEY_TORSION, "Handshake", replace(outer, base_key=bytes(32))),
        ("An identity key of 0", Fault.LOW_ORDER, "Handshake", replace(outer, identity_key=bytes(32))),
        ("Another base key", Fault.MAC, "Handshake", replace(outer, base_key=other)),
        ("Another identity key", Fault.MAC, "Handshake", replace(outer, identity_key=other)),
        (
            "One bit of the KEM ciphertext",
            Fault.MAC,
            "Handshake",
            replace(outer, kem_ciphertext=bytes([ciphertext[0] ^ 1]) + ciphertext[1:]),
        ),
        ("No one-time prekey", Fault.MAC, "Handshake", replace(outer, one_time_prekey_id=None)),
        ("Another KEM prekey", Fault.MAC, "Handshake", replace(outer, kem_prekey_id=script.last_resort_id("bob"))),
        ("An unknown one-time prekey", Fault.PRE_KEY_UNKNOWN, "PreKey", replace(outer, one_time_prekey_id=999)),
        ("An unknown signed prekey", Fault.PRE_KEY_UNKNOWN, "PreKey", replace(outer, signed_prekey_id=999)),
        ("An unknown KEM prekey", Fault.PRE_KEY_UNKNOWN, "PreKey", replace(outer, kem_prekey_id=999)),
    ):
        forgeries.refuse(comment, fault, flag, forged.encode())
    return forgeries.group("First messages with other keys")


def _inner(begin: Begin) -> Json:
    script, forgeries, outer, draft = _start(begin, "inner")
    message = outer.message
    fields = draft.fields(TEXT)
    binding = draft.addresses or b""
    _, following = script.draft(forgeries.following)
    for comment, fault, flag, inner in (
        ("The last bit of the tag", Fault.MAC, "Authentication", message[:-1] + bytes([message[-1] ^ 1])),
        ("Version 3 inside version 4", Fault.VERSION_OTHER, "Version", draft.tagged(protobuf.encode(fields), 0x34)),
        ("Version 5 inside", Fault.VERSION_NEW, "Version", draft.tagged(protobuf.encode(fields), 0x54)),
        ("No post-quantum part", Fault.PQ_VERSION, "InsideTag", replace(draft, pq_ratchet=b"").encode(TEXT)),
        (
            "The address of another sender",
            Fault.ADDRESSES,
            "InsideTag",
            replace(draft, addresses=bytes(17) + binding[17:]).encode(TEXT),
        ),
        (
            "The address of another receiver",
            Fault.ADDRESSES,
            "InsideTag",
            replace(draft, addresses=binding[:18] + bytes(17) + binding[35:]).encode(TEXT),
        ),
        ("Padding of 0", Fault.PADDING, "InsideTag", draft.tagged(protobuf.encode({**fields, 4: bytes(16)}))),
        (
            "The keys of the second message under the counter of the first",
            Fault.MAC,
            "Authentication",
            replace(following, counter=draft.counter, pq_ratchet=draft.pq_ratchet).encode(TEXT),
        ),
    ):
        forgeries.refuse(comment, fault, flag, replace(outer, message=inner).encode())
    return forgeries.group("First messages with another message inside")


def _with_torsion(public_key: bytes, dice: Dice) -> bytes:
    """Return the public key plus a point of small order; a clamped scalar removes it again."""
    u = int.from_bytes(public_key, "little")
    y = (u - 1) * pow(u + 1, -1, edwards.P) % edwards.P
    point = edwards.Point.from_y(y, 0)
    torsion = None
    while torsion is None:
        candidate = edwards.Point.from_y(int.from_bytes(dice.bytes(32), "little") % edwards.P, 0)
        if candidate is not None and not (candidate * edwards.Q * 4).is_neutral():
            torsion = candidate * edwards.Q
    if point is None:
        raise RuntimeError("a genuine key is on the curve")
    sum_y = int.from_bytes((point + torsion).compress(), "little") & (2**255 - 1)
    return ((1 + sum_y) * pow(1 - sum_y, -1, edwards.P) % edwards.P).to_bytes(32, "little")
