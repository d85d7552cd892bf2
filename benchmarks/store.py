"""Suite ``store``: what it costs to keep what was received, beside the ratchet alone and a bare commit.

One operation of a batch contest is one message of 256 bytes: loaded session, decrypted, seen ids, inbox row,
receipt due, counters, session saved, in a transaction of SQLite as `store` sets it up. *In memory* is the
decryption alone, with sessions that are loaded already.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from ratchet import Account, Ciphertext, CiphertextKind, Session
from store import TESTING, ClientStore
from store.database import SQLITE_SETTINGS
from tests.support.messenger import ID_SIZE, Delivery, Messenger, bundle, packed

from .harness import Contest, Entrant, Outcome, Series, Settings, expect, measure
from .peer import payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .harness import Run
    from .peer import Bench

BATCH: Final = 64  # messages in one transaction
TEXT: Final = payload(256)
CLIENT: Final = "ours"  # unsealed; the sealed store takes part under its own name
SESSIONS: Final = (2_000, 100_000)  # in the store
IN_TURN: Final = 2_000  # peers that write in turn: more sessions than are kept in memory, so each is read
SKIPPED: Final = (0, 2_000)  # keys in the session's record
DELAYS_S: Final = 3.0  # seconds for which the event loop is watched
DELAY_STEP_S: Final = 0.001  # seconds between two looks


class Peers:
    """Peer devices with sessions to one store; each has been answered, so that ordinary messages follow."""

    def __init__(self, store: ClientStore, count: int) -> None:
        self.store = store
        self.messenger = Messenger(store)
        self.messenger.create("alice", one_time_prekeys=1)
        self.account = Account.create(one_time_prekeys=0)
        self.number = 0
        self.sessions: dict[str, Session] = {}
        for index in range(count):
            name = f"peer {index}"
            with store.begin() as unit:
                if index:
                    unit.prekeys.add_one_time(1, 1)
                session = Session.initiate(self.account, bundle(unit.prekeys.unpublished()))
                ours, _ = Session.accept(unit.prekeys, session.encrypt(b"first"))
                session.decrypt(self.account, ours.encrypt(b"answer"))
                unit.sessions.add(name, 1, ours)
            self.sessions[name] = session

    def deliveries(self, count: int) -> list[Delivery]:
        """As many messages, one from each peer in turn."""
        names = list(self.sessions)
        return [self._delivery(names[index % len(names)]) for index in range(count)]

    def _delivery(self, name: str) -> Delivery:
        self.number += 1
        message_id = self.number.to_bytes(ID_SIZE, "big")
        ciphertext = self.sessions[name].encrypt(packed(message_id, self.number, TEXT))
        return Delivery(self.number, message_id, name, 1, int(ciphertext.kind), ciphertext.body)

    def read_all(self, count: int) -> None:
        """Check that *count* messages arrived as they were written; take them out, so that rounds are alike."""
        with self.store.begin() as unit:
            events = unit.inbox.after(0, limit=count + 1)
            expect([event.body[ID_SIZE + 8 :] for event in events], [TEXT] * count, "the inbox")
            for event in events:
                unit.inbox.acknowledge(event.number)

    def persisted(self, batch: int) -> Run:
        """Receive in batches."""

        def run(operations: int) -> float:
            deliveries = self.deliveries(operations)
            start = perf_counter()
            for first in range(0, operations, batch):
                self.messenger.receive(deliveries[first : first + batch])
            elapsed = perf_counter() - start
            self.read_all(operations)
            return elapsed

        return run

    def in_memory(self, commit: Run | None = None) -> Run:
        """Decrypt only, with sessions loaded before; with *commit*, then do one bare commit for each message."""

        def run(operations: int) -> float:
            deliveries = self.deliveries(operations)
            with self.store.begin() as unit:
                loaded = unit.sessions.load_many({(one.user_id, 1) for one in deliveries})
                keys = unit.prekeys
                messages = [
                    (loaded[one.user_id, 1].session, Ciphertext(CiphertextKind(one.kind), one.ciphertext))
                    for one in deliveries
                ]
                start = perf_counter()
                plaintexts = [session.decrypt(keys, ciphertext) for session, ciphertext in messages]
                elapsed = perf_counter() - start
                for one in loaded.values():
                    unit.sessions.save(one)
            expect([text[ID_SIZE + 8 :] for text in plaintexts], [TEXT] * operations, "decrypted")
            return elapsed + (commit(operations) if commit is not None else 0.0)

        return run

    def in_turn(self, commit: Run) -> Run:
        """Decrypt a message and do a bare commit, in turn: then caches are as cold as a client finds them."""

        def run(operations: int) -> float:
            deliveries = self.deliveries(operations)
            with self.store.begin() as unit:
                (loaded,) = unit.sessions.load_many({(one.user_id, 1) for one in deliveries}).values()
                elapsed = 0.0
                for one in deliveries:
                    ciphertext = Ciphertext(CiphertextKind(one.kind), one.ciphertext)
                    start = perf_counter()
                    loaded.session.decrypt(unit.prekeys, ciphertext)
                    elapsed += perf_counter() - start + commit(1)
                unit.sessions.save(loaded)
            return elapsed

        return run


def bare_commit(folder: Path) -> Run:
    """One row of 4,000 bytes overwritten and committed, through `sqlite3` alone with the store's settings."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for name, value, _ in SQLITE_SETTINGS:
        connection.execute(f"PRAGMA {name}={value}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b BLOB)")
    connection.execute("INSERT OR REPLACE INTO t VALUES (1, ?)", (payload(4_000),))

    rows = cycle([payload(3_999) + bytes([number]) for number in range(256)])  # the same again would not be written

    def run(operations: int) -> float:
        start = perf_counter()
        for _ in range(operations):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE t SET b = ? WHERE a = 1", (next(rows),))
            connection.execute("COMMIT")
        return perf_counter() - start

    return run


class Stores:
    """Stores in a temporary folder, closed and removed together."""

    def __init__(self, stack: ExitStack) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="benchmark-store-"))
        self._stack = stack
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._count = 0

    def open(self, *, sealed: bool = False) -> ClientStore:
        """A new store in a file."""
        self._count += 1
        url = f"sqlite:///{self.folder / str(self._count)}.db"
        store = ClientStore.open(url, passphrase="benchmark" if sealed else None, profile=TESTING)
        self._stack.callback(store.close)
        return store

    def peers(self, count: int, *, sealed: bool = False) -> Peers:
        """A new store with sessions."""
        return Peers(self.open(sealed=sealed), count)


def batches(stores: Stores, settings: Settings, *, key: str, title: str, peers: int) -> Outcome:
    """Batches of 64 against the ratchet alone."""
    entrants = [
        Entrant(CLIENT, lambda: stores.peers(peers).persisted(BATCH)),
        Entrant("ours, sealed", lambda: stores.peers(peers, sealed=True).persisted(BATCH)),
        Entrant("in memory", lambda: stores.peers(peers).in_memory()),
    ]
    return measure(Contest(key, title, entrants, BATCH), settings)


def single(stores: Stores, settings: Settings) -> Outcome:
    """One message, one transaction, against the ratchet alone with a bare commit after it.

    In turn, as a client does the two. Apart, 64 decryptions and then 64 commits, the first run from warm caches,
    which one message never finds: it comes after a wait for the disk.
    """
    in_turn = 1 if settings.smoke else IN_TURN
    entrants = [
        Entrant(CLIENT, lambda: stores.peers(1).persisted(1)),
        Entrant("ours, sealed", lambda: stores.peers(1, sealed=True).persisted(1)),
        Entrant("ours, session read from the file", lambda: stores.peers(in_turn).persisted(1)),
        Entrant("bare commit + in memory", lambda: stores.peers(1).in_turn(bare_commit(stores.folder))),
        Entrant("the two apart", lambda: stores.peers(1).in_memory(bare_commit(stores.folder))),
        Entrant("bare commit", lambda: bare_commit(stores.folder)),
    ]
    return measure(Contest("store.single", "client, persisted: one message", entrants, BATCH), settings)


def with_many_sessions(stores: Stores, count: int) -> Run:
    """Receive from `IN_TURN` peers in turn, in a store with *count* sessions."""
    peers = stores.peers(min(count, IN_TURN))
    with peers.store.begin() as unit:
        (loaded,) = unit.sessions.load_many([("peer 0", 1)]).values()
        for index in range(IN_TURN, count):
            unit.sessions.add(f"filler {index}", 1, loaded.session)
    return peers.persisted(1)


def with_skipped_keys(stores: Stores, count: int) -> Run:
    """Receive from one peer whose session holds *count* skipped keys, and keeps holding them."""
    peers = stores.peers(1)
    peers.deliveries(count)  # lost
    peers.messenger.receive(peers.deliveries(1))
    peers.read_all(1)
    return peers.persisted(1)


def growth(stores: Stores, settings: Settings) -> Iterator[Outcome]:
    """How the cost of one message grows with what the store holds."""
    sessions = (10,) if settings.smoke else SESSIONS
    entrants = [Entrant(f"{count:,} sessions", partial(with_many_sessions, stores, count)) for count in sessions]
    yield measure(Contest("store.sessions", "one message, by sessions in the store", entrants, BATCH), settings)
    entrants = [Entrant(f"{count:,} skipped keys", partial(with_skipped_keys, stores, count)) for count in SKIPPED]
    yield measure(Contest("store.skipped keys", "one message, by skipped keys in its session", entrants, 8), settings)


def loop_delay(stores: Stores, settings: Settings) -> Outcome:
    """How late an event loop runs while one thread receives batches of 64 from 64 peers."""
    peers = stores.peers(BATCH)
    duration = 0.1 if settings.smoke else DELAYS_S
    delays: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1) as writer:
            end = perf_counter() + duration
            prepared = [peers.deliveries(BATCH) for _ in range(int(duration * 400) + 1)]
            end = perf_counter() + duration
            work = loop.run_in_executor(writer, peers.messenger.receive, prepared.pop())
            while perf_counter() < end and prepared:
                before = perf_counter()
                await asyncio.sleep(DELAY_STEP_S)
                delays.append((perf_counter() - before - DELAY_STEP_S) * 1e3)
                if work.done():
                    await work
                    work = loop.run_in_executor(writer, peers.messenger.receive, prepared.pop())
            await work

    asyncio.run(watch())
    title = "event loop while 64-message batches run"
    return Outcome("store.event loop delay", title, "ms", (Series(CLIENT, tuple(delays)),), paired=False)


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure the persisted client path."""
    with ExitStack() as stack:
        stores = Stores(stack)
        one, many = "client, persisted: 64 from one peer", "client, persisted: 64 from 64 peers"
        yield batches(stores, bench.settings, key="store.batch from one peer", title=one, peers=1)
        yield batches(stores, bench.settings, key="store.batch from 64 peers", title=many, peers=BATCH)
        yield single(stores, bench.settings)
        yield from growth(stores, bench.settings)
        yield loop_delay(stores, bench.settings)
