"""Suite ``relay_groups``: one member's messages to a group of 10, 100 and 1,000, through a relay's process.

A frame with its messages (600 bytes each) is sent when the one before is answered; the answer says that all are stored
durably for every member's device, in a SQLite file as `store` sets it up. The members are not connected. Of one frame
the figure is messages × devices ÷ the time to its answer.
"""

from __future__ import annotations

import asyncio
import tempfile
from hashlib import sha256
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from e2ee.frames import (
    Challenge,
    Closing,
    GetGroupDevices,
    GroupDevices,
    GroupSubmission,
    GroupSubmitted,
    SubmitGroup,
    Uploaded,
    Welcome,
)
from e2ee.groups import device_digest
from e2ee.wire import decode_relay_frame, encode_frame
from ratchet import Account
from store.relay import Appended, Device, Entry, LongLivedPreKeys, RelayStore, RelayUnit, Seat

from . import harness
from .harness import Series, WrongResultError, expect
from .peer import payload
from .relay_logins import REGISTRATION, login, upload
from .relay_servers import server
from .targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .peer import Bench

DEVICES: Final = (10, 100, 999)  # the sender is the thousandth member
DEVICES_SMOKE: Final = (10,)
PER_FRAME: Final = (1, 16)
FRAMES: Final = 21
BODY: Final = payload(600)
SENDER: Final = "sender"
GROUP: Final = sha256(b"group").digest()

Frame = TypeVar("Frame")
_numbers = count(1)


def run(bench: Bench) -> Iterator[harness.Outcome]:
    """Measure each size of a group on a relay of its own."""
    smoke = bench.settings.smoke
    for devices in DEVICES_SMOKE if smoke else DEVICES:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'relay.db'}"
            account = Account.create(registration_id=REGISTRATION, one_time_prekeys=0)
            fill(url, account, devices)
            with server("relay", url) as process:
                rates = asyncio.run(measure(process.url, account, harness.SMOKE_ROUNDS if smoke else FRAMES))
        for per_frame, samples in rates.items():
            yield harness.Outcome(
                f"relay.group.{devices}.{per_frame}",
                f"message to a group of {devices:,} other devices, {per_frame} a frame, through the relay",
                "deliveries/s",
                (Series(OURS, samples),),
                paired=False,
            )


def fill(url: str, account: Account, devices: int) -> None:
    """Make a group of the sender and users of one device each."""
    prekeys = LongLivedPreKeys(1, bytes(33), bytes(64), 1, bytes(1569), bytes(64))
    names = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(devices)]
    seats = [Seat(name, b"\x05" + sha256(name.encode()).digest(), 1) for name in names]
    with RelayStore.open(url) as store, store.begin() as unit:
        for seat in seats:
            unit.prekeys.upload(_register(unit, seat).key, prekeys)
        creator = Seat(SENDER, account.identity_key, 2)
        sender = _register(unit, creator)
        unit.groups.create(GROUP, "team", 1, b"genesis", GROUP, creator=creator)
        appended = unit.groups.append(GROUP, Entry(1, b"all", bytes(32)), epoch=1, actor=sender, kind=9, seats=seats)
    expect(type(appended), Appended, "appended")


def _register(unit: RelayUnit, seat: Seat) -> Device:
    unit.users.register(seat.user_id, seat.identity_key)
    user = unit.users.find(seat.user_id)
    if user is None:
        raise WrongResultError("a user that was registered is there")
    return unit.devices.register(user, 1, REGISTRATION)


async def measure(url: str, account: Account, frames: int) -> dict[int, tuple[float, ...]]:
    """Send to the group as its sender; deliveries a second of each frame, by messages in a frame."""
    async with connect(url, compression=None, ping_interval=None, max_size=None, proxy=None) as websocket:
        await log_in(websocket, url, account)
        await websocket.send(encode_frame(GetGroupDevices(0, 2, GROUP)))
        members = (await _next(websocket, GroupDevices)).members
        digest = device_digest(members)
        rates: dict[int, tuple[float, ...]] = {}
        for per_frame in PER_FRAME:
            samples = []
            for _ in range(frames):
                messages = tuple(
                    GroupSubmission(number, number.to_bytes(16, "big"), BODY)
                    for number in (next(_numbers) for _ in range(per_frame))
                )
                frame = encode_frame(SubmitGroup(0, 3, GROUP, 1, 1, digest, messages))
                start = perf_counter()
                await websocket.send(frame)
                answer = await _next(websocket, GroupSubmitted)
                samples.append(per_frame * len(members) / (perf_counter() - start))
                expect((answer.accepted, answer.missed), (per_frame, ()), "stored")
            rates[per_frame] = tuple(samples)
    return rates


async def log_in(websocket: ClientConnection, url: str, account: Account) -> None:
    """Log in and upload what a listed device needs."""
    challenge = await _next(websocket, Challenge)
    await websocket.send(encode_frame(login(account, challenge, url, SENDER)))
    await _next(websocket, Welcome)
    await websocket.send(encode_frame(upload(account)))
    await _next(websocket, Uploaded)


async def _next(websocket: ClientConnection, kind: type[Frame]) -> Frame:
    """The next frame of a kind; what else comes meanwhile is passed over."""
    while True:
        frame = decode_relay_frame(bytes(await websocket.recv(decode=False)))
        if isinstance(frame, kind):
            return frame
        if isinstance(frame, Closing):
            raise WrongResultError(f"the relay closes: {frame.explanation}")
