"""Clients that load a server: raw frames over real WebSockets, bodies made before, nothing decrypted or stored.

A *talker* is one connection. It keeps as many frames and envelopes on their way as a client may have, and is done
when each of its envelopes came back (echo), or was answered as stored, delivered to its partner and acknowledged by it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgpack
from websockets.asyncio.client import ClientConnection, connect

from e2ee.codec import encode_array
from e2ee.frames import Challenge
from e2ee.limits import REQUESTS_OPEN_MAX, UNACKNOWLEDGED_DELIVERIES_MAX
from e2ee.wire import decode_relay_frame, encode_frame
from ratchet import Account

from .harness import WrongResultError, expect
from .peer import payload
from .relay_logins import REGISTRATION, login, upload

if TYPE_CHECKING:
    from collections.abc import Callable

BODY: Final = payload(600)  # a message of 256 bytes, padded and encrypted, with its header
KIND: Final = 2  # an ordinary message between two devices
ACKNOWLEDGE_BEHIND: Final = UNACKNOWLEDGED_DELIVERIES_MAX // 2  # deliveries; fewer ride on the next frame
DIALLING: Final = 50  # connections that are made at the same time
_SUBMIT, _ACKNOWLEDGE, _PING = 6, 2, 3
_WELCOME, _PONG, _UPLOADED, _SUBMITTED, _DELIVER, _DRAINED = 65, 66, 67, 69, 71, 72

_numbers = count(1)


class Talker(Protocol):
    """One connection under load."""

    async def talk(self, envelopes: int, per_frame: int) -> None:
        """Pass that many envelopes as fast as it goes."""

    async def paced(self, frames: int, per_frame: int, start: float, interval: float, told: list[float]) -> None:
        """Send a frame every *interval* seconds from *start* on; note how many seconds each envelope took."""

    async def close(self) -> None:
        """Hang up."""


async def _dial(url: str) -> ClientConnection:
    return await connect(url, compression=None, ping_interval=None, max_size=None, proxy=None, close_timeout=1)


class EchoTalker:
    """Sends frames of one envelope and waits for them to come back."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        # As large as the relay's frame for one envelope.
        self._frame = encode_array([_SUBMIT, 0, 0, "0" * 36, [[1, 1]], [[1, [[1, bytes(16), KIND, BODY]]]]])

    async def talk(self, envelopes: int, per_frame: int) -> None:
        """Keep as many frames on their way as a client may have."""
        expect(per_frame, 1, "envelopes in a frame of the echo")
        websocket, frame = self._websocket, self._frame
        first = min(envelopes, REQUESTS_OPEN_MAX)
        for _ in range(first):
            await websocket.send(frame)
        for left in range(envelopes - first, -first, -1):
            if len(await websocket.recv(decode=False)) != len(frame):
                raise WrongResultError("the echo has another length")
            if left > 0:
                await websocket.send(frame)

    async def paced(self, frames: int, per_frame: int, start: float, interval: float, told: list[float]) -> None:
        """Send at fixed times, whether or not what was sent before is back."""
        expect(per_frame, 1, "envelopes in a frame of the echo")
        due: deque[float] = deque()

        async def read() -> None:
            for _ in range(frames):
                await self._websocket.recv(decode=False)
                told.append(perf_counter() - due.popleft())

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for number in range(frames):
                at = start + number * interval
                await asyncio.sleep(at - perf_counter())
                due.append(at)
                await self._websocket.send(self._frame)

    async def close(self) -> None:
        """Hang up."""
        await self._websocket.close()


class RelayTalker:
    """A device of a user of its own, logged in, its prekeys uploaded; sends to its partner what it is told to."""

    def __init__(self, websocket: ClientConnection, user_id: str) -> None:
        self.user_id = user_id
        self.partner = self
        self._websocket = websocket
        self._request = 0
        self._submission = 0
        self._delivered = 0
        self._acknowledged = 0
        self._stored = 0  # envelopes answered
        self._received = 0
        self._pongs = 0
        self._arrived: Callable[[bytes], None] | None = None  # told of each envelope id

    async def join(self, url: str) -> None:
        """Log in under a new identity and upload what a listed device needs."""
        account = Account.create(registration_id=REGISTRATION, one_time_prekeys=0)
        challenge = decode_relay_frame(bytes(await self._websocket.recv(decode=False)))
        if not isinstance(challenge, Challenge):
            raise WrongResultError("the relay does not begin with its challenge")
        await self._websocket.send(encode_frame(login(account, challenge, url, self.user_id)))
        await self._until(_WELCOME)
        await self._websocket.send(encode_frame(upload(account)))
        await self._until(_UPLOADED)

    async def talk(self, envelopes: int, per_frame: int) -> None:
        """Send to the partner, and take as many from it."""
        stored, received, left = self._stored + envelopes, self._received + envelopes, envelopes
        window = min(REQUESTS_OPEN_MAX * per_frame, UNACKNOWLEDGED_DELIVERIES_MAX)
        while self._stored < stored or self._received < received:
            while left and stored - left - self._stored + min(per_frame, left) <= window:
                await self._submit(min(per_frame, left))
                left -= min(per_frame, left)
            if self._delivered - self._acknowledged >= ACKNOWLEDGE_BEHIND:
                await self._acknowledge()
            self._take(await self._websocket.recv(decode=False))
        await self._settle()

    async def paced(self, frames: int, per_frame: int, start: float, interval: float, told: list[float]) -> None:
        """Send at fixed times, whether or not what was sent before is answered; note when the partner has it."""
        due: dict[bytes, float] = {}
        self.partner._arrived = lambda envelope_id: told.append(perf_counter() - due.pop(envelope_id))  # noqa: SLF001 - its other half
        stored, received = self._stored + frames * per_frame, self._received + frames * per_frame

        async def read() -> None:
            while self._stored < stored or self._received < received:
                self._take(await self._websocket.recv(decode=False))
                if self._delivered - self._acknowledged >= ACKNOWLEDGE_BEHIND:
                    await self._acknowledge()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for number in range(frames):
                at = start + number * interval
                await asyncio.sleep(at - perf_counter())
                await self._submit(per_frame, partial(_note, due, at))
        await self._settle()

    async def close(self) -> None:
        """Hang up."""
        await self._websocket.close()

    async def _submit(self, envelopes: int, sent: Callable[[list[bytes]], None] | None = None) -> None:
        ids = [next(_numbers).to_bytes(16, "little") for _ in range(envelopes)]
        if sent is not None:
            sent(ids)
        first = self._submission + 1
        self._submission += envelopes
        submissions = [(first + place, ((1, one, KIND, BODY),)) for place, one in enumerate(ids)]
        await self._send(_SUBMIT, self.partner.user_id, ((1, REGISTRATION),), submissions)

    async def _acknowledge(self) -> None:
        self._acknowledged = self._delivered
        await self._websocket.send(msgpack.packb((_ACKNOWLEDGE, self._delivered)))

    async def _settle(self) -> None:
        """Acknowledge what is left and wait until the relay has taken it."""
        pongs = self._pongs + 1
        await self._send(_PING)
        while self._pongs < pongs:
            self._take(await self._websocket.recv(decode=False))

    async def _send(self, kind: int, *values: Any) -> None:  # noqa: ANN401 - what msgpack takes
        self._request += 1
        self._acknowledged = self._delivered
        await self._websocket.send(msgpack.packb((kind, self._delivered, self._request, *values)))

    async def _until(self, kind: int) -> None:
        while self._take(await self._websocket.recv(decode=False)) != kind:
            pass

    def _take(self, data: bytes) -> int:
        frame = msgpack.unpackb(data)
        kind: int = frame[0]
        if kind == _SUBMITTED:
            if frame[3] is not None or any(outcome != [0] for outcome in frame[2]):
                raise WrongResultError(f"the relay did not store everything: {frame[2:]}")
            self._stored += len(frame[2])
        elif kind == _DELIVER:
            for number, _user, _device, envelope_id, _kind, _body, *_more in frame[1]:
                expect(number, self._delivered + 1, "the delivery number")
                self._delivered = number
                if self._arrived is not None:
                    self._arrived(envelope_id)
            self._received += len(frame[1])
        elif kind == _PONG:
            self._pongs += 1
        elif kind not in (_WELCOME, _UPLOADED, _DRAINED):
            raise WrongResultError(f"the relay sent {frame}")
        return kind


def _note(due: dict[bytes, float], at: float, ids: list[bytes]) -> None:
    due.update(dict.fromkeys(ids, at))


async def echo_talkers(url: str, number: int) -> list[Talker]:
    """Connect to the echo server."""
    return [EchoTalker(await _dial(url)) for _ in range(number)]


async def relay_talkers(url: str, number: int, start: int = 0) -> list[Talker]:
    """Connect and log in as users of one device each, whose numbers begin with *start*; partners in pairs."""
    dialling = asyncio.Semaphore(DIALLING)

    async def one(user: int) -> RelayTalker:
        async with dialling:
            talker = RelayTalker(await _dial(url), f"{user:08d}-0000-4000-8000-000000000000")
            await talker.join(url)
            return talker

    talkers = await asyncio.gather(*(one(user) for user in range(start, start + number)))
    for left, right in zip(talkers[::2], talkers[1::2], strict=True):
        left.partner, right.partner = right, left
    return list(talkers)
