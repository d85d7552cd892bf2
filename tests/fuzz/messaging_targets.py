"""What `e2ee` and `store` read: frames, contents, entries of groups, stored events; packed columns, exports, seals."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from e2ee import content, group_content
from e2ee.carrier import relay_name
from e2ee.errors import InvalidArgument, InvalidUserId, MalformedFrame
from e2ee.events import pack_event, unpack_event
from e2ee.events.packing import _FORMS
from e2ee.frames import UnknownFrame
from e2ee.groups import GroupKind, Membership, Operation, Role, reread_entry, take_entry
from e2ee.ids import UserId, parse_user_id
from e2ee.raw import raw_message, take_raw
from e2ee.relay.claim import parse_claim
from e2ee.wire import decode_client_frame, decode_relay_frame, encode_frame
from ratchet import IdentityKeyPair
from store.accounts import pack_identity, take_identity
from store.errors import ExportRefused, StoreCorrupt, StoreNewer
from store.identity_export import open_identity, seal_identity
from store.packing import unpack
from store.vault import TESTING, PassphraseProfile, Vault
from tests.support.conversation import seeded
from tests.support.relay_device import Device

from .frame_seeds import client_frames, every_event, relay_frames
from .target import Target, decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.frames import ClientFrame, RelayFrame

__all__ = ["TARGETS"]

MALFORMED: Final = (MalformedFrame,)
PACKED: Final = (StoreCorrupt, StoreNewer)
GROUP: Final = bytes(range(32))
ID: Final = bytes(range(16))
KEY: Final = b"\x05" + bytes(32)


def _encoded(frame: ClientFrame | RelayFrame | UnknownFrame) -> bytes | None:
    return None if isinstance(frame, UnknownFrame) else encode_frame(frame)


# Contents.


def _contents() -> list[bytes]:
    to_user = content.Destination("bob")
    to_group = content.Destination(None, GROUP, 3, 7, bytes(32))
    some = [
        content.Content(content.ContentKind.TEXT, ID, 1, 1_700_000_000_000, "alice", 1, to_user, b"hello"),
        content.Content(content.ContentKind.DATA, ID, 2, 1, "alice", 2, to_group, bytes(200), (ID, ID)),
        content.Content(200, ID, 0, 0, "Ж", 127, to_group, b""),
    ]
    return [content.encode_content(one) for one in some]


def _body(kind: str, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], *seeds: object) -> Target:
    return decoder(kind, decode, MALFORMED, encode=encode, seeds=lambda: [encode(one) for one in seeds])


BODIES: Final = (
    _body(
        "receipt",
        content.decode_receipt,
        content.encode_receipt,
        content.Receipt(content.ReceiptState.DELIVERED, 1, None, ((1, 4), (6, 6))),
        content.Receipt(content.ReceiptState.READ, 127, GROUP, ((1, 2**63 - 1),)),
    ),
    _body("read-copy", content.decode_read_copy, content.encode_read_copy, content.ReadCopy("alice", (ID, bytes(16)))),
    _body(
        "retry-request",
        content.decode_retry_request,
        content.encode_retry_request,
        content.RetryRequest((ID, bytes(16))),
    ),
    _body("gone", content.decode_gone, content.encode_gone, content.Gone(((ID, 1), (bytes(16), 255)))),
    _body(
        "sender-key-body",
        group_content.decode_sender_key,
        group_content.encode_body,
        group_content.SenderKeyBody(GROUP, bytes(110)),
    ),
    _body(
        "key-request",
        group_content.decode_key_request,
        group_content.encode_body,
        group_content.KeyRequest(1, GROUP, 2**32 - 1),
    ),
    _body("key-ack", group_content.decode_key_ack, group_content.encode_body, group_content.KeyAck(3, GROUP, (1, 2))),
)


# Groups.


@cache
def _log() -> tuple[list[bytes], Membership]:
    """A log with an entry of most kinds, and the membership after each of them together."""
    dice = seeded("fuzz log")
    alice, bob = (IdentityKeyPair.generate(dice) for _ in range(2))
    kind = GroupKind.INVITATION
    log = [Membership.genesis(alice, UserId("alice"), name="team", kind=kind, time_ms=1, entropy=dice)]
    state = Membership.start(take_entry(log[0]))
    about_bob = {"subject": UserId("bob"), "subject_key": bob.public_key}
    for actor, name, operation, subject in (
        (alice, "alice", Operation.INVITE, about_bob),
        (bob, "bob", Operation.ACCEPT, {}),
        (alice, "alice", Operation.PROMOTE, about_bob),
        (bob, "bob", Operation.LEAVE, {}),
    ):
        data = state.next_entry(
            actor,
            UserId(name),
            operation,
            role=Role.ADMIN,
            time_ms=2,
            entropy=dice,
            **subject,  # type: ignore[arg-type]
        )
        log.append(data)
        state = state.apply(take_entry(data))
    return log, state


def _memberships() -> list[bytes]:
    log, state = _log()
    return [Membership.start(take_entry(log[0])).to_bytes(), state.to_bytes()]


def _judged(data: bytes) -> None:
    """An entry that was signed right may still not follow; one that was not is never looked at."""
    try:
        entry = take_entry(data)
    except MalformedFrame:
        return
    assert entry.data == data
    assert reread_entry(data) == entry
    assert data in _log()[0], "an entry that nobody signed has verified"


# Stored events.


def _event(data: bytes) -> Any:  # noqa: ANN401 - an event of any kind
    """The first byte chooses the kind."""
    names = sorted(_FORMS)
    return unpack_event(names[data[0] % len(names)] if data else "", data[1:], number=1, redelivered=0)


def _packed_event(event: Any) -> bytes:  # noqa: ANN401 - an event of any kind
    name, body = pack_event(event)
    return bytes([sorted(_FORMS).index(name)]) + body


def _events() -> list[bytes]:
    return [_packed_event(event) for event in every_event()]


# Ids and names: text, where there is any.


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# What `store` packs and seals.

_MASTER: Final = bytes(range(32))
_SALT: Final = {1: bytes(16)}
_IDENTITY: Final = IdentityKeyPair.generate(seeded("fuzz identity"))


def _unsealed(data: bytes) -> None:
    """Only what was sealed for its place opens: what is made up never does."""
    vault = Vault(bytes(16), _MASTER, dict(_SALT))
    try:
        opened = vault.open("table", b"row", 1, data)
    except PACKED:
        return
    assert opened == b"sealed in its place"
    assert data in _sealed()


@cache
def _sealed() -> list[bytes]:
    return [Vault(bytes(16), _MASTER, {}, entropy=bytes).seal("table", b"row", 1, b"sealed in its place")]


def _profile(data: bytes) -> tuple[PassphraseProfile, bytes]:
    return PassphraseProfile.from_bytes(data)


def _export(data: bytes) -> object:
    """An export whose parameters are those of the tests: an hour of Argon2id says nothing of a decoder."""
    try:
        packed, *_rest = unpack(data, version=1, length=3, what="identity export")
        if PassphraseProfile.from_bytes(packed)[0] != TESTING:
            raise ExportRefused("of another profile")
    except PACKED:
        pass
    return open_identity(data, "fuzz")


TARGETS: Final = (
    decoder("client-frame", decode_client_frame, MALFORMED, encode=_encoded, seeds=client_frames),
    decoder("relay-frame", decode_relay_frame, MALFORMED, encode=_encoded, seeds=relay_frames),
    decoder("content", content.decode_content, MALFORMED, encode=content.encode_content, seeds=_contents),
    *BODIES,
    decoder(
        "group-entry", reread_entry, MALFORMED, encode=lambda one: one.data, canonical=True, seeds=lambda: _log()[0]
    ),
    Target("group-entry-signed", _judged, lambda: _log()[0]),
    decoder("membership", Membership.from_bytes, MALFORMED, encode=Membership.to_bytes, seeds=_memberships),
    decoder("raw", take_raw, MALFORMED, encode=raw_message, canonical=True, seeds=lambda: [b"\xc1\x00x", b"\xc1\x01x"]),
    decoder(
        "claim", parse_claim, MALFORMED, seeds=lambda: [Device("alice").claim(bytes(32)), Device("Ж").claim(bytes(32))]
    ),
    decoder("event", _event, MALFORMED, encode=_packed_event, seeds=_events),
    decoder(
        "user-id",
        lambda data: parse_user_id(_text(data)),
        (InvalidUserId,),
        encode=str.encode,
        seeds=lambda: [b"alice", "Ж".encode(), b"3f5b1a08-1c58-4d0e-9a2e-7e1f6a9b2b02"],
    ),
    decoder(
        "relay-url",
        lambda data: relay_name(_text(data)),
        (InvalidArgument,),
        seeds=lambda: [b"ws://127.0.0.1:8443", b"wss://relay.example/path", b"wss://[::1]:1"],
    ),
    decoder(
        "packed-column",
        lambda data: unpack(data, version=1, length=2, what="fuzz"),
        PACKED,
        seeds=lambda: [b"\x93\x01\xc4\x01x\xa1y"],
    ),
    decoder(
        "packed-identity",
        take_identity,
        PACKED,
        seeds=lambda: [pack_identity(_IDENTITY)],
    ),
    decoder("passphrase-parameters", _profile, PACKED, seeds=lambda: [TESTING.to_bytes(bytes(16))]),
    Target("sealed-value", _unsealed, _sealed),
    decoder(
        "identity-export",
        _export,
        (ExportRefused,),
        seeds=lambda: [seal_identity("alice", _IDENTITY, "fuzz", profile=TESTING, entropy=bytes)],
    ),
)
