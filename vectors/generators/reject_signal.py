"""Forged messages within a session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vectors.generators.forgeries import Begin, Forgeries
from vectors.generators.script import Script
from vectors.reference import protobuf
from vectors.reference.chains import MessageKeys
from vectors.reference.faults import Fault
from vectors.reference.primitives import aes_cbc_encrypt

if TYPE_CHECKING:
    from vectors.files import Json
    from vectors.reference.double_ratchet import Draft

TEXT: Final = b"a genuine text"
SIGNAL: Final = 2


def groups(begin: Begin = Script.start) -> list[Json]:
    """Return the groups of this module, each from one script that *begin* makes."""
    return [_tolerated(begin), _wire(begin), _tags(begin), _inside_tag(begin)]


def _start(begin: Begin, name: str) -> tuple[Script, Forgeries, Draft]:
    """Return a session in which alice has sent two more messages, and what the first of them is made from."""
    # Far enough that no chunk of these messages completes anything: a wrong one is then found by the tag alone.
    script = begin(f"forged {name}").initiate("alice")
    for _ in range(4):
        script.say("alice").say("bob")
    script.say("alice")
    script.encrypt("alice", TEXT)
    script.encrypt("alice")
    forgeries = Forgeries(script, "bob", SIGNAL)
    first, draft = script.draft(forgeries.genuine)
    if first is not None or draft.encode(TEXT) != script.encrypted_body(forgeries.genuine):
        raise RuntimeError("the draft is that of the genuine message")
    return script, forgeries, draft


def _tolerated(begin: Begin) -> Json:
    _, forgeries, draft = _start(begin, "tolerated")
    fields = draft.fields(TEXT)
    encoded = protobuf.encode(fields)
    backwards = b"".join(protobuf.encode({number: fields[number]}) for number in sorted(fields, reverse=True))
    twice = protobuf.encode({2: draft.counter + 7}) + encoded
    padded_counter = b"\x10" + bytes([draft.counter | 0x80, 0])
    for comment, body in (
        ("The low nibble of the version is not looked at", draft.tagged(encoded, 0x4F)),
        ("Fields in descending order", draft.tagged(backwards)),
        ("A field twice: the last one counts", draft.tagged(twice)),
        ("No previous counter", draft.tagged(protobuf.encode({**fields, 3: None}))),
        ("Another previous counter", draft.tagged(protobuf.encode({**fields, 3: 77}))),
        ("An unknown field of bytes", draft.tagged(protobuf.encode({**fields, 100: b"new"}))),
        ("An unknown field with a number", draft.tagged(protobuf.encode({**fields, 15: 2**64 - 1}))),
        ("An unknown field of eight bytes", draft.tagged(encoded + b"\x79" + bytes(8))),
        ("An unknown field of four bytes", draft.tagged(encoded + b"\x7d" + bytes(4))),
        ("A counter in more bytes than it needs", draft.tagged(protobuf.encode({**fields, 2: None}) + padded_counter)),
    ):
        forgeries.accept(comment, body, TEXT)
    return forgeries.group("Odd messages that are read all the same")


def _wire(begin: Begin) -> Json:
    script, forgeries, draft = _start(begin, "wire")
    genuine = script.encrypted_body(forgeries.genuine)
    fields = draft.fields(TEXT)
    encoded = protobuf.encode(fields)
    key = fields[1] if isinstance(fields[1], bytes) else b""
    for comment, fault, body in (
        ("Nothing", Fault.TRUNCATED, b""),
        ("The version alone", Fault.TRUNCATED, genuine[:1]),
        ("Eight bytes", Fault.TRUNCATED, genuine[:8]),
        ("No ratchet key", Fault.FIELD_MISSING, draft.tagged(protobuf.encode({**fields, 1: None}))),
        ("No counter", Fault.FIELD_MISSING, draft.tagged(protobuf.encode({**fields, 2: None}))),
        ("No ciphertext", Fault.FIELD_MISSING, draft.tagged(protobuf.encode({**fields, 4: None}))),
        ("No field at all", Fault.FIELD_MISSING, draft.tagged(b"")),
        ("A ratchet key of type 6", Fault.KEY_TYPE, draft.tagged(protobuf.encode({**fields, 1: b"\x06" + key[1:]}))),
        ("A ratchet key of 32 bytes", Fault.FIELD_SIZE, draft.tagged(protobuf.encode({**fields, 1: key[:-1]}))),
        ("An empty ratchet key", Fault.FIELD_SIZE, draft.tagged(protobuf.encode({**fields, 1: b""}))),
        ("A field that runs past the end", Fault.WIRE, draft.tagged(encoded + b"\x7a\x05abc")),
        ("A field of 2^63 bytes", Fault.WIRE, draft.tagged(encoded + b"\x7a" + protobuf.varint(2**63) + b"abc")),
        ("A field number that does not end", Fault.WIRE, draft.tagged(encoded + b"\x80")),
        ("A number in eleven bytes", Fault.WIRE, draft.tagged(encoded + b"\x78" + b"\x80" * 10 + b"\x00")),
        ("Field number 0", Fault.WIRE, draft.tagged(encoded + b"\x00\x00")),
        ("Wire type 6", Fault.WIRE, draft.tagged(encoded + b"\x7e")),
        ("Eight bytes cut to seven", Fault.WIRE, draft.tagged(encoded + b"\x79" + bytes(7))),
        ("The ratchet key as a number", Fault.WIRE, draft.tagged(protobuf.encode({**fields, 1: 5}))),
        ("The previous counter as bytes", Fault.WIRE, draft.tagged(protobuf.encode({**fields, 3: b"\x02"}))),
        ("The ciphertext as a number", Fault.WIRE, draft.tagged(protobuf.encode({**fields, 4: 5}))),
        ("The post-quantum part as a number", Fault.WIRE, draft.tagged(protobuf.encode({**fields, 5: 5}))),
        ("The addresses as a number", Fault.WIRE, draft.tagged(protobuf.encode({**fields, 6: 5}))),
        ("The counter as bytes", Fault.WIRE, draft.tagged(protobuf.encode({**fields, 2: b"\x02"}))),
    ):
        forgeries.refuse(comment, fault, "Wire", body)
    return forgeries.group("Messages without a message's form")


def _tags(begin: Begin) -> Json:
    script, forgeries, draft = _start(begin, "tags")
    genuine = script.encrypted_body(forgeries.genuine)
    fields = draft.fields(TEXT)
    prefix = draft.mac_prefix
    for comment, body in (
        ("The first bit of the tag", _flipped(genuine, len(genuine) - 8, 0x80)),
        ("The last bit of the tag", _flipped(genuine, len(genuine) - 1, 0x01)),
        ("A tag of zeros", genuine[:-8] + bytes(8)),
        ("The low nibble of the version", _flipped(genuine, 0, 0x01)),
        ("One bit of the ciphertext", _flipped(genuine, genuine.index(_bytes(fields, 4)), 0x01)),
        ("One bit of the chunk", _flipped(genuine, genuine.index(_bytes(fields, 5)) + 37 - 1, 0x01)),
        ("Another previous counter", genuine.replace(_between(fields, 3), _between({**fields, 3: 7}, 3), 1)),
        ("The ratchet key of another", draft.tagged(protobuf.encode({**fields, 1: b"\x05" + bytes(31) + b"\x09"}))),
        ("The identities the wrong way round", replace(draft, mac_prefix=prefix[33:] + prefix[:33]).encode(TEXT)),
        ("No identities", replace(draft, mac_prefix=b"").encode(TEXT)),
        ("The MAC key of the next message", _with_next_mac_key(script, forgeries, draft)),
        ("A byte between message and tag", genuine[:-8] + b"\x7a\x00" + genuine[-8:]),
    ):
        forgeries.refuse(comment, Fault.MAC, "Authentication", body)
    return forgeries.group("Wrong tags, and right ones over something else")


def _with_next_mac_key(script: Script, forgeries: Forgeries, draft: Draft) -> bytes:
    _, following = script.draft(forgeries.following)
    keys = MessageKeys(draft.keys.cipher_key, following.keys.mac_key, draft.keys.initial_vector)
    return replace(draft, keys=keys).encode(TEXT)


def _inside_tag(begin: Begin) -> Json:
    script, forgeries, draft = _start(begin, "inside")
    fields = draft.fields(TEXT)
    ciphertext = _bytes(fields, 4)
    binding = _binding(script)
    for comment, fault, changed in (
        ("Version 2", Fault.VERSION_OLD, draft.tagged(protobuf.encode(fields), 0x24)),
        ("Version 0", Fault.VERSION_OLD, draft.tagged(protobuf.encode(fields), 0x04)),
        ("Version 5", Fault.VERSION_NEW, draft.tagged(protobuf.encode(fields), 0x54)),
        ("Version 15", Fault.VERSION_NEW, draft.tagged(protobuf.encode(fields), 0xF4)),
        ("Version 3 in a session of version 4", Fault.NO_SESSION, draft.tagged(protobuf.encode(fields), 0x34)),
        ("No post-quantum part", Fault.PQ_VERSION, _changed(draft, fields, 5, None)),
        ("An empty post-quantum part", Fault.PQ_VERSION, _changed(draft, fields, 5, b"")),
        ("An empty ciphertext", Fault.PADDING, _changed(draft, fields, 4, b"")),
        ("A ciphertext of 15 bytes", Fault.PADDING, _changed(draft, fields, 4, ciphertext[:15])),
        ("Padding of 0", Fault.PADDING, _changed(draft, fields, 4, _padded(draft, b"\x00"))),
        ("Padding of 17", Fault.PADDING, _changed(draft, fields, 4, _padded(draft, b"\x11"))),
        ("Uneven padding", Fault.PADDING, _changed(draft, fields, 4, _padded(draft, b"\x01\x02"))),
        ("Addresses the wrong way round", Fault.ADDRESSES, _changed(draft, fields, 6, binding[18:] + binding[:18])),
        ("Another device id in the addresses", Fault.ADDRESSES, _changed(draft, fields, 6, binding[:-1] + b"\x7f")),
        ("Addresses of 35 bytes", Fault.ADDRESSES, _changed(draft, fields, 6, binding[:-1])),
        ("Empty addresses", Fault.ADDRESSES, _changed(draft, fields, 6, b"")),
    ):
        flag = "Version" if comment.startswith("Version") else "InsideTag"
        forgeries.refuse(comment, fault, flag, changed)
    return forgeries.group("What only the peer can send, under a right tag")


def _binding(script: Script) -> bytes:
    """Return what field 6 is from alice to bob: the first message has it."""
    _, first = script.draft(0)
    return first.addresses or b""


def _changed(draft: Draft, fields: dict[int, int | bytes | None], number: int, value: bytes | None) -> bytes:
    return draft.tagged(protobuf.encode({**fields, number: value}))


def _padded(draft: Draft, ending: bytes) -> bytes:
    """Return one block of ciphertext whose plaintext ends in these bytes instead of PKCS #7."""
    block = bytes(16 - len(ending)) + ending
    # The cipher pads the block with another one, which is cut off again.
    return aes_cbc_encrypt(draft.keys.cipher_key, draft.keys.initial_vector, block)[:16]


def _bytes(fields: dict[int, int | bytes | None], number: int) -> bytes:
    value = fields[number]
    if not isinstance(value, bytes):
        raise TypeError(f"field {number} is not bytes")
    return value


def _between(fields: dict[int, int | bytes | None], number: int) -> bytes:
    """Return one field as it is encoded, with the two bytes of the next one's beginning, to find it by."""
    return protobuf.encode({number: fields[number]}) + protobuf.encode({4: fields[4]})[:2]


def _flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
