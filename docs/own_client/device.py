"""One device of a user, from the login to messages in a group."""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from uuid import UUID, uuid4

from ratchet import (
    Account,
    Address,
    Ciphertext,
    CiphertextKind,
    OwnSenderKey,
    PeerSenderKey,
    PreKeyBundle,
    Session,
)

from .group_log import JOIN, MEMBER, Log, pack, unpack

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

# Frames, by section 3; those of the relay first.
CHALLENGE, WELCOME, DELIVER = 64, 65, 71
UPLOADED, BUNDLES, SUBMITTED, GROUP_LOG, GROUP_DEVICES, GROUP_SUBMITTED = 67, 68, 69, 76, 77, 78
LOGIN, ACKNOWLEDGE, UPLOAD, GET_BUNDLES, SUBMIT, APPEND, GET_LOG, GET_DEVICES, SUBMIT_GROUP = (
    1,
    2,
    4,
    5,
    6,
    8,
    9,
    10,
    11,
)
SENDER_KEY_MESSAGE, GROUP_ENTRY = 7, 9  # kinds of envelope; 2 and 3 are Signal's own
DELIVERED: Final = 1


class Content(IntEnum):
    """Those of the kinds of content of section 5 that are used here."""

    TEXT = 1
    RECEIPT = 3
    SENDER_KEY = 8
    KEY_ACK = 10


class Received(NamedTuple):
    """What has arrived: a text (*group* is None for a direct one), or a receipt with its conversation numbers."""

    kind: int
    sender: str
    group: bytes | None
    text: str
    ranges: list[list[int]]


def service_id(user: str) -> str:
    """The name of a user in addresses of sessions (R2.3), for user ids that are no UUID."""
    digest = bytearray(hashlib.sha256(b"e2ee service id v1\x00" + user.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


class Device:
    """Device 1 of a user, on a WebSocket to a relay (R1.1: messages of up to 1 MiB)."""

    def __init__(self, socket: ClientConnection, user: str) -> None:
        self.socket = socket
        self.user = unicodedata.normalize("NFC", user)  # R2.1
        self.local = Address(service_id(self.user), 1)  # R2.4
        self.account = Account.create()
        self.acknowledged = self.requests = self.number = 0
        self.deliveries: deque[list[Any]] = deque()
        self.sessions: dict[tuple[str, int], Session] = {}
        self.registrations: dict[str, list[list[int]]] = {}  # of a user: [device, registration] of each device
        self.counters: dict[str | bytes, int] = {}  # conversation numbers (R5.4)
        self.log = Log()
        self.own_key = OwnSenderKey.create(uuid4())
        self.peer_keys: dict[tuple[str, int], PeerSenderKey] = {}

    async def log_in(self, name: str) -> Self:
        """Log in at the relay that was dialled as *name*, host:port (R4.1 to R4.4), and upload prekeys (R4.7)."""
        kind, _, nonce, _ = await self._read()
        if kind != CHALLENGE:
            raise ValueError("the relay speaks first")
        claim = pack([1, name, nonce, self.user, 1, self.account.registration_id, 0, 0, 0])
        await self.socket.send(
            pack([LOGIN, claim, self.account.identity_key, self.account.sign("login v1", claim), None, []])
        )
        kind, _, self.number, _, uploads, *_ = await self._read()
        if kind != WELCOME:
            raise ValueError("not let in: is the address right?")
        keys = self.account.published_prekeys()
        signed, kem = keys.signed_prekey, keys.last_resort_kem_prekey
        if signed is None or kem is None:
            raise ValueError("a first upload has all kinds")
        await self.ask(
            UPLOAD,
            UPLOADED,
            uploads + 1,
            False,  # noqa: FBT003 - no purge
            [signed.id, signed.public_key, signed.signature],
            [kem.id, kem.public_key, kem.signature],
            [[key.id, key.public_key] for key in keys.one_time_prekeys],
            [[key.id, key.public_key, key.signature] for key in keys.one_time_kem_prekeys],
        )
        return self

    async def _read(self) -> list[Any]:
        frame: list[Any] = unpack(bytes(await self.socket.recv()))  # type: ignore[arg-type]
        return frame

    async def ask(self, kind: int, answer: int, *fields: object) -> list[Any]:
        """Send a request and wait for its answer; deliveries that come first are kept."""
        self.requests += 1
        await self.socket.send(pack([kind, self.acknowledged, self.requests, *fields]))
        while True:
            frame = await self._read()
            if frame[:2] == [answer, self.requests]:
                return frame[2:]
            if frame[0] == DELIVER:
                self.deliveries.extend(frame[1])
            elif frame[0] in (74, 75):
                raise ValueError(f"refused: {frame}")

    def content(self, kind: int, body: bytes, *, to: str | None = None) -> bytes:
        """The plaintext of a message to a user, or to the group (section 5)."""
        number = 0
        if kind == Content.TEXT:
            conversation = to or self.log.id
            number = self.counters[conversation] = self.counters.get(conversation, 0) + 1
        log = self.log
        destination = [to, None, 0, 0, b""] if to is not None else [None, log.id, log.epoch, log.number, log.head]
        packed = pack([1, kind, os.urandom(16), number, time.time_ns() // 1_000_000, self.user, 1, destination, body])
        return packed + b"\x80" + bytes(-(len(packed) + 1) % 160)

    async def find(self, user: str) -> None:
        """Ask for a user's bundles and start a session with each device."""
        ((_, identity_key, bundles),) = (await self.ask(GET_BUNDLES, BUNDLES, os.urandom(16), [[user, None]]))[0]
        self.registrations[user] = [bundle[:2] for bundle in bundles]
        for device, registration, signed, kem, one_time in bundles:
            bundle = PreKeyBundle(
                registration_id=registration,
                device_id=device,
                identity_key=identity_key,
                **dict(zip(("signed_prekey_id", "signed_prekey", "signed_prekey_signature"), signed, strict=True)),
                **dict(zip(("kem_prekey_id", "kem_prekey", "kem_prekey_signature"), kem, strict=True)),
                **dict(zip(("one_time_prekey_id", "one_time_prekey"), one_time or (), strict=False)),
            )
            if (user, device) not in self.sessions:
                remote = Address(service_id(user), device)
                self.sessions[user, device] = Session.initiate(self.account, bundle, local=self.local, remote=remote)

    async def send(self, user: str, kind: int, body: bytes) -> list[int]:
        """Encrypt for every device of *user* and hand over in one submission; return the outcomes."""
        if user not in self.registrations:
            await self.find(user)
        plaintext = self.content(kind, body, to=user)
        envelopes = []
        for device, _ in self.registrations[user]:
            sealed = self.sessions[user, device].encrypt(plaintext)
            envelopes.append([device, os.urandom(16), int(sealed.kind.value), sealed.body])
        self.number += 1
        outcomes, refusal, *_ = await self.ask(
            SUBMIT, SUBMITTED, user, self.registrations[user], [[self.number, envelopes]]
        )
        if refusal is not None:
            raise ValueError(f"refused: {refusal}")
        return list(outcomes[0])

    async def receive(self) -> Received:
        """Take deliveries until a text or a receipt comes; each is acknowledged when it has been dealt with."""
        while True:
            while not self.deliveries:
                frame = await self._read()
                if frame[0] == DELIVER:
                    self.deliveries.extend(frame[1])
            number, sender, device, _, kind, body, _ = self.deliveries.popleft()
            received = await self._open(sender, device, kind, body)
            self.acknowledged = number
            await self.socket.send(pack([ACKNOWLEDGE, self.acknowledged]))
            if received is not None:
                return received

    async def _open(self, sender: str, device: int, kind: int, body: bytes) -> Received | None:
        if kind == GROUP_ENTRY:
            self.log.take(body)
            return None
        to_group = kind == SENDER_KEY_MESSAGE  # its body is group id || message
        if to_group:
            plaintext = self.peer_keys[sender, device].decrypt(body[32:])
        else:
            plaintext = self._decrypt(sender, device, Ciphertext(CiphertextKind(kind), body))
        fields = unpack(plaintext[: plaintext.rindex(b"\x80")])
        _, what, _, counter, _, said_user, said_device, (user, group, epoch, number, digest), value = fields[:9]
        expected = (None, body[:32]) if to_group else (self.user, None)
        if [said_user, said_device] != [sender, device] or (user, group) != expected:
            raise ValueError("the content does not belong to its envelope (R5.2)")
        identity_key = self.sessions[sender, device].remote_identity_key
        if to_group and not (group == self.log.id and self.log.allows(epoch, number, digest, sender, identity_key)):
            raise ValueError("not from a member, or of another log (R5.6)")
        match what:
            case Content.TEXT:
                receipt = pack([DELIVERED, device, group, [[counter, counter]]])
                await self.send(sender, Content.RECEIPT, receipt)
                return Received(what, sender, group, value.decode(), [])
            case Content.RECEIPT:
                _, _, group, ranges = unpack(value)[:4]
                return Received(what, sender, group, "", ranges)
            case Content.SENDER_KEY:
                group, distribution = unpack(value)[:2]
                if group != self.log.id or self.log.seats.get(sender, (b"", 0))[0] != identity_key:
                    raise ValueError("a sender key from who is no member (R5.7)")
                key = self.peer_keys[sender, device] = PeerSenderKey.from_distribution_message(distribution)
                await self.send(sender, Content.KEY_ACK, pack([device, group, list(key.chain_ids)]))
        return None

    def _decrypt(self, sender: str, device: int, sealed: Ciphertext) -> bytes:
        if (sender, device) in self.sessions:
            return self.sessions[sender, device].decrypt(self.account, sealed)
        remote = Address(service_id(sender), device)
        session, plaintext = Session.accept(self.account, sealed, local=self.local, remote=remote)
        self.sessions[sender, device] = session
        return plaintext

    async def join(self, name: str) -> None:
        """Find an open group by its name, check its log, and append our entry."""
        _, head, _, entries, _ = await self.ask(GET_LOG, GROUP_LOG, None, name, 0)
        for entry in entries:
            self.log.take(entry)
        if self.log.number != head:
            raise ValueError("the log is longer than one answer")
        log, key, now = self.log, self.account.identity_key, time.time_ns() // 1_000_000
        ours = [1, log.id, log.number + 1, log.head, log.epoch + 1, now, JOIN, self.user, key, self.user, key, MEMBER]
        body = pack([*ours, None, None, None])
        entry = body + self.account.sign("e2ee group entry v1", body)
        _, _, refusal, *_ = await self.ask(APPEND, GROUP_LOG, entry)
        if refusal is not None:
            raise ValueError(f"refused: {refusal}")
        log.take(entry)

    async def send_group(self, text: str) -> int:
        """Give every other member's devices our chain, then encrypt once; return how many messages were accepted."""
        distribution = self.own_key.distribution_message()
        _, _, _, members = await self.ask(GET_DEVICES, GROUP_DEVICES, self.log.id)
        for user, _ in members:
            if user != self.user:
                await self.send(user, Content.SENDER_KEY, pack([self.log.id, distribution]))
        listed = sorted([user, *device] for user, devices in members for device in devices)
        others = [device for device in listed if device[:2] != [self.user, 1]]
        digest = hashlib.sha256(b"e2ee group devices v1\x00" + pack(others)).digest()  # R7.6
        body = self.own_key.encrypt(self.content(Content.TEXT, text.encode()))
        self.number += 1
        message = [self.number, os.urandom(16), body]
        accepted, _, refusal, *_ = await self.ask(
            SUBMIT_GROUP, GROUP_SUBMITTED, self.log.id, self.log.epoch, self.log.number, digest, [message]
        )
        if refusal is not None:
            raise ValueError(f"refused: {refusal}")
        return int(accepted)
