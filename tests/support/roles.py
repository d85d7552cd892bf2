"""What runs in the processes of `processes`: a relay that notes every ciphertext, a client with its application.

Both tell their progress through a pipe, and live until they are killed or told to stop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from e2ee import Client, ClientOptions, DeliveryState, DirectMessage, DurableEvent, MessageState, OwnMessage, Relay
from e2ee.frames import Deliver, EnvelopeKind, Submit, SubmitGroup, Uploaded
from e2ee.limits import GROUP_ID_SIZE
from e2ee.relay import RelayHooks
from e2ee.relay.hooks import Peer, Verdict
from e2ee.shell import Surroundings
from e2ee.wire import encode_frame

from .journal import Journal, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
    from e2ee.relay import RelayOptions

__all__ = ["ClientSettings", "Hasty", "RelaySettings", "commands", "live_as_client", "live_as_relay"]

AHEAD_MAX: Final = 20  # messages that an application sends before it has had as many from each device of its peer
HASTE: Final = 10  # how much faster a client's clock goes: it waits a tenth of the time before it connects again


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """A relay's process. It keeps its store and its record of ciphertexts in *folder*.

    If it *shows_everything*, that is: its log in full, every message in and out, and on command ``objects`` what the
    collector can reach.
    """

    folder: Path
    port: int
    options: RelayOptions | None = None
    shows_everything: bool = False

    @property
    def record(self) -> Path:
        """Where every ciphertext is noted, in and out."""
        return self.folder / "relay.record"

    @property
    def log(self) -> Path:
        """Its log, at the level DEBUG."""
        return self.folder / "relay.log"

    @property
    def frames(self) -> Path:
        """Every message as it came and went, one after the other."""
        return self.folder / "relay.frames"

    @property
    def objects(self) -> Path:
        """Every byte string and text in its objects, one after the other."""
        return self.folder / "relay.objects"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """A client's process, and what its application does: *count* numbered messages to *peer*."""

    folder: Path
    port: int
    user_id: str
    device_id: int
    peer: str
    peer_devices: int
    count: int
    identity: bytes | None = None  # export of the user's first device, under the passphrase "identity"

    @property
    def name(self) -> str:
        """Of the device, in messages and files."""
        return f"{self.user_id}-{self.device_id}"

    @property
    def store(self) -> str:
        """Where its store is."""
        return f"sqlite:///{self.folder}/{self.name}.db"

    @property
    def journal(self) -> Path:
        """Where its application notes what it sends and sees."""
        return self.folder / f"{self.name}.journal"


@contextmanager
def commands(pipe: Connection) -> Iterator[dict[str, asyncio.Event]]:
    """Events that are set when the other end of *pipe* says their names."""
    events = {name: asyncio.Event() for name in ("go", "objects", "stop")}

    def come() -> None:
        try:
            events[pipe.recv()].set()
        except (EOFError, OSError):  # the test is gone, and with it every reason to live
            os._exit(1)

    asyncio.get_running_loop().add_reader(pipe.fileno(), come)
    try:
        yield events
    finally:
        asyncio.get_running_loop().remove_reader(pipe.fileno())


# The relay.


def live_as_relay(settings: RelaySettings, pipe: Connection) -> None:
    """Serve until told to stop."""
    asyncio.run(_relay(settings, pipe))


async def _relay(settings: RelaySettings, pipe: Connection) -> None:
    record = Journal(settings.record)

    def inbound(peer: Peer, frame: ClientFrame | UnknownFrame) -> Verdict:
        for recipient, envelope_id, kind, body in _submitted(frame):
            record.write("in", (peer.user_id, peer.device_id), recipient, envelope_id.hex(), int(kind), body.hex())
        return Verdict.PASS

    def outbound(peer: Peer, frame: RelayFrame) -> Verdict:
        if isinstance(frame, Deliver):
            for one in frame.deliveries:
                sender, recipient = (one.sender_user_id, one.sender_device_id), (peer.user_id, peer.device_id)
                body = one.body[GROUP_ID_SIZE:] if one.kind == EnvelopeKind.SENDER_KEY else one.body
                record.write("out", sender, recipient, one.envelope_id.hex(), int(one.kind), body.hex())
        if isinstance(frame, Uploaded):
            pipe.send(("uploaded", f"{peer.user_id}-{peer.device_id}"))
        return Verdict.PASS

    hooks = RelayHooks(on_inbound=inbound, on_outbound=outbound)
    store = f"sqlite:///{settings.folder}/relay.db"
    with commands(pipe) as events, _everything_shown(settings, hooks) as shown:
        async with Relay(port=settings.port, store=store, options=settings.options, hooks=shown):
            pipe.send(("ready",))
            showing = asyncio.create_task(_show_objects(settings, events["objects"], pipe))
            await events["stop"].wait()
            showing.cancel()


def _submitted(frame: ClientFrame | UnknownFrame) -> list[tuple[tuple[str, int], bytes, EnvelopeKind, bytes]]:
    """Recipient, id, kind and body of every envelope in a frame; of a message to a group the id stands for all."""
    match frame:
        case Submit(user_id=user_id, submissions=submissions):
            envelopes = [one for submission in submissions for one in submission.envelopes]
            return [((user_id, one.device_id), one.envelope_id, one.kind, one.body) for one in envelopes]
        case SubmitGroup(group_id=group_id, messages=messages):
            return [((group_id.hex(), 0), one.envelope_id, EnvelopeKind.SENDER_KEY, one.body) for one in messages]
        case _:
            return []


async def _show_objects(settings: RelaySettings, asked: asyncio.Event, pipe: Connection) -> None:
    await asked.wait()
    settings.objects.write_bytes(b"\x00".join(reachable()))
    pipe.send(("objects",))


@contextmanager
def _everything_shown(settings: RelaySettings, hooks: RelayHooks) -> Iterator[RelayHooks]:
    if not settings.shows_everything:
        yield hooks
        return
    logging.basicConfig(filename=settings.log, level=logging.DEBUG)
    outbound = hooks.on_outbound
    assert outbound is not None
    with settings.frames.open("wb", buffering=0) as frames:

        def raw(_peer: Peer, message: str | bytes) -> Verdict:
            frames.write(message.encode() if isinstance(message, str) else message)
            return Verdict.PASS

        def out(peer: Peer, frame: RelayFrame) -> Verdict:
            frames.write(encode_frame(frame))
            return outbound(peer, frame)

        yield replace(hooks, on_raw=raw, on_outbound=out)


def reachable() -> list[bytes]:
    """Every byte string and text that an object of this process refers to, as far as the collector knows."""
    found: dict[int, bytes] = {}
    for tracked in gc.get_objects():
        for one in gc.get_referents(tracked):
            # By type: to ask a stand-in (a weak proxy, say) for its class may raise.
            if issubclass(type(one), bytes | bytearray):
                found[id(one)] = bytes(one)
            elif issubclass(type(one), str):
                found[id(one)] = str.encode(one, "utf-8", "surrogatepass")
    return list(found.values())


# The client.


class Hasty:
    """An event loop's clock, going faster."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        return self._loop.time() * HASTE

    def call_at(self, when: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        return self._loop.call_at(when / HASTE, callback)


class _Application:
    """Sends its messages, and notes what it sees before it acknowledges it."""

    def __init__(self, settings: ClientSettings, client: Client, pipe: Connection) -> None:
        self._settings = settings
        self._client = client
        self._pipe = pipe
        before = read_journal(settings.journal)
        self._life = 1 + sum(line[0] == "life" for line in before)
        self._queued = {line[1] for line in before if line[0] == "queued"}
        self._seen = {line[1] for line in before if line[0] == "seen"}
        self._journal = Journal(settings.journal)
        self._journal.write("life", self._life)
        self._more = asyncio.Event()

    def _note(self, *line: object) -> None:
        self._journal.write(*line, sync=True)
        self._pipe.send(line)

    async def send_all(self) -> None:
        """Send what is not queued yet; what may be or not is sent again, under another id."""
        settings = self._settings
        for number in range(1, settings.count + 1):
            if number in self._queued:
                continue
            while number > len(self._seen) / settings.peer_devices + AHEAD_MAX:
                self._more.clear()
                await self._more.wait()
            self._note("intended", number)
            message_id = await self._client.send(settings.peer, f"{settings.name} {number}")
            self._note("queued", number, message_id)

    async def read_all(self) -> None:
        """Read until there is nothing more, which is never."""
        async for event in self._client.events(acknowledge="manual"):
            if not isinstance(event, DurableEvent):
                continue
            self._see(event)
            await self._client.acknowledge(event)

    def _see(self, event: DurableEvent) -> None:
        match event:
            case DirectMessage(message_id=message_id, text=text, late=late, redelivered=again):
                sender = f"{event.sender}-{event.sender_device}"
                self._note("seen", message_id, sender, text, event.conversation_number, late, again, self._life)
                self._seen.add(message_id)
                self._more.set()
            case OwnMessage(message_id=message_id, text=text, redelivered=again):
                self._note("copied", message_id, f"{event.recipient}", text, again, self._life)
            case MessageState(message_id=message_id, state=state, reason=reason):
                if state in (DeliveryState.FAILED, DeliveryState.EXPIRED):
                    self._note("trouble", state.name, reason)
                else:
                    self._note("state", message_id, state.name)
            case _:
                self._note("trouble", type(event).__name__, "")


def live_as_client(settings: ClientSettings, pipe: Connection) -> None:
    """Be a client whose application sends and reads until told to stop."""
    asyncio.run(_client(settings, pipe))


async def _client(settings: ClientSettings, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    export: dict[str, Any] = {}
    if settings.identity is not None:
        export = {"identity": settings.identity, "identity_passphrase": "identity"}
    with commands(pipe) as events:
        async with Client(
            settings.user_id,
            relay=f"ws://127.0.0.1:{settings.port}",
            store=settings.store,
            device_id=settings.device_id,
            options=ClientOptions(one_time_prekeys=20),
            surroundings=Surroundings(timers=Hasty(loop)),
            **export,
        ) as client:
            application = _Application(settings, client, pipe)
            reading = loop.create_task(application.read_all())
            pipe.send(("ready",))
            await events["go"].wait()
            sending = loop.create_task(application.send_all())
            stop = loop.create_task(events["stop"].wait())
            done, _ = await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                reading.result()  # what ended it
            await sending
            reading.cancel()
