"""Suite ``relay_store``: what it costs the relay to keep an envelope, beside a bare commit of as many rows.

One operation is one envelope of 600 bytes, each from another device to another device of 1,000, on a
SQLite file as `store` sets it up. *Bare commit* is one transaction that inserts as many rows of a number and
600 bytes into a table without anything else, through the same engine. With a server's URL in
E2EE_BENCH_POSTGRES the same is measured there, in a schema of its own: how durable its commits are is
the server's setting.
"""

from __future__ import annotations

import os
import random
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine

from store.relay import Device, Envelope, LongLivedPreKeys, Outcome, RelayStore

from . import harness
from .harness import Contest, Entrant, Series, expect, measure, timed
from .peer import payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .harness import Prepared, Run
    from .peer import Bench

DEVICES: Final = 1_000  # and so the members of the largest group
DEVICES_SMOKE: Final = 20
BATCHES: Final = (1, 16, 64)  # envelopes in one transaction
SLICE_UNITS: Final = {1: 16, 16: 4, 64: 1}  # transactions in a slice: some milliseconds each
FAN_OUT_ROUNDS: Final = 21  # messages to the whole group
CONTENT: Final = payload(600)  # a message of 256 bytes, padded and encrypted, with its header
KIND: Final = 1
BARE: Final = "bare commit"


class Relay:
    """A store with users of one device each; the next envelope goes from the next device to the one after it."""

    def __init__(self, store: RelayStore, devices: int) -> None:
        self.store = store
        self.dice = random.Random(1)
        self.turn = count()
        self.devices = self._register(devices)

    def _register(self, devices: int) -> list[Device]:
        prekeys = LongLivedPreKeys(1, bytes(33), bytes(64), 1, bytes(1569), bytes(64))
        names = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(devices)]
        with self.store.begin() as unit:
            for name in names:
                unit.users.register(name, bytes(33))
                user = unit.users.find(name)
                if user is not None:
                    unit.prekeys.upload(unit.devices.register(user, 1, 1).key, prekeys)
            return unit.devices.of_users(names)

    def envelopes(self, number: int, *, to: Device | None = None) -> list[Envelope]:
        """As many envelopes with new ids, to one device or to each in turn."""
        made = []
        for _ in range(number):
            turn = next(self.turn)
            sender = self.devices[turn % len(self.devices)]
            recipient = to or self.devices[(turn * 7 + 1) % len(self.devices)]
            made.append(Envelope(sender, recipient.key, self.dice.randbytes(16), KIND, CONTENT))
        return made

    def put(self, batches: Sequence[Sequence[Envelope]]) -> list[Outcome]:
        """Store each batch in a transaction of its own."""
        outcomes: list[Outcome] = []
        for batch in batches:
            with self.store.begin() as unit:
                outcomes += unit.mailboxes.append(batch)
        return outcomes

    def append(self, batch: int) -> Run:
        """Put envelopes in, *batch* in a transaction."""

        def prepare(operations: int) -> Prepared[list[Outcome]]:
            envelopes = self.envelopes(operations)
            batches = [envelopes[start : start + batch] for start in range(0, operations, batch)]
            return lambda: self.put(batches), self.all_stored

        return timed(prepare)

    def deliver(self, batch: int) -> Run:
        """List what waits for one device and acknowledge it, *batch* at a time, in two transactions each."""
        device = self.devices[0]

        def prepare(operations: int) -> Prepared[int]:
            self.all_stored(self.put([self.envelopes(operations, to=device)]))

            def work() -> int:
                delivered, cursor = 0, 0
                while delivered < operations:
                    with self.store.begin() as unit:
                        found = unit.mailboxes.deliveries(device.key, after=cursor, count_max=batch)
                    cursor = found[-1].number
                    with self.store.begin() as unit:
                        delivered += unit.mailboxes.acknowledge({device.key: cursor})
                return delivered

            return work, lambda delivered: expect(delivered, operations, "acknowledged")

        return timed(prepare)

    def fan_out(self, rounds: int) -> tuple[float, ...]:
        """Messages to everybody, each in a transaction of its own: deliveries a second, message by message."""
        rates = []
        keys = [device.key for device in self.devices]
        for _ in range(rounds):
            envelope_id = self.dice.randbytes(16)
            start = perf_counter()
            with self.store.begin() as unit:
                outcomes = unit.mailboxes.fan_out(
                    self.devices[0], keys, envelope_id=envelope_id, kind=KIND, body=CONTENT
                )
            rates.append(len(keys) / (perf_counter() - start))
            self.all_stored(outcomes)
        return tuple(rates)

    def empty(self) -> None:
        """Acknowledge everything, so that no mailbox fills up from contest to contest."""
        with self.store.begin() as unit:
            unit.mailboxes.acknowledge({device.key: 2**62 for device in self.devices})

    @staticmethod
    def all_stored(outcomes: Sequence[Outcome]) -> None:
        """Check that nothing was refused."""
        expect(list(outcomes), [Outcome.STORED] * len(outcomes), "stored")


class Bare:
    """Rows of a number and some bytes, in a table beside the relay's."""

    def __init__(self, store: RelayStore) -> None:
        self.engine = store._engine  # noqa: SLF001 - the same settings and the same driver, nothing between
        self.number = count(1)
        server = self.engine.dialect.name == "postgresql"
        self.insert = "INSERT INTO bare VALUES (%s, %s)" if server else "INSERT INTO bare VALUES (?, ?)"
        with self.engine.begin() as connection:
            bytes_type = "BYTEA" if server else "BLOB"
            connection.exec_driver_sql(f"CREATE TABLE bare (number INTEGER PRIMARY KEY, content {bytes_type})")

    def commits(self, batch: int) -> Run:
        """Insert rows, *batch* in a transaction."""

        def prepare(operations: int) -> Prepared[int]:
            rows = [(next(self.number), CONTENT) for _ in range(operations)]
            batches = [rows[start : start + batch] for start in range(0, operations, batch)]

            def work() -> int:
                for many in batches:
                    with self.engine.begin() as connection:
                        connection.exec_driver_sql(self.insert, many if len(many) > 1 else many[0])
                return operations

            return work, lambda done: expect(done, operations, "inserted")

        return timed(prepare)


def run(bench: Bench) -> Iterator[harness.Outcome]:
    """Measure on a SQLite file, and on a server if one is named."""
    with tempfile.TemporaryDirectory(prefix="e2ee-bench-") as folder:
        yield from _on(f"sqlite:///{Path(folder) / 'relay.db'}", bench, "")
    server = os.environ.get("E2EE_BENCH_POSTGRES")
    if server is not None:
        url = f"{server}{'&' if '?' in server else '?'}schema=e2ee_bench_{os.getpid()}"
        with ExitStack() as cleaning:
            cleaning.callback(_drop, server, f"e2ee_bench_{os.getpid()}")
            yield from _on(url, bench, ", PostgreSQL")


def _on(url: str, bench: Bench, suffix: str) -> Iterator[harness.Outcome]:
    settings = bench.settings
    with RelayStore.open(url) as store:
        relay = Relay(store, DEVICES_SMOKE if settings.smoke else DEVICES)
        bare = Bare(store)

        def contest(what: str, title: str, batch: int, ours: Run) -> harness.Outcome:
            entrants = [Entrant("ours", lambda: ours), Entrant(BARE, lambda: bare.commits(batch))]
            operations = batch * SLICE_UNITS[batch]
            key = f"relay_store.{what} {batch}{suffix}"
            return measure(Contest(key, f"{title}{suffix}", entrants, operations, references=(BARE,)), settings)

        for batch in BATCHES:
            yield contest("append", f"store envelopes, {batch} in a transaction", batch, relay.append(batch))
            relay.empty()
        for batch in BATCHES:
            yield contest("deliver", f"list and acknowledge, {batch} at a time", batch, relay.deliver(batch))
        yield _fan_out(relay, settings, suffix)


def group_fan_out(url: str, settings: harness.Settings) -> Iterator[harness.Outcome]:
    """Measure messages to a group alone, on a store of its own."""
    with RelayStore.open(url) as store:
        yield _fan_out(Relay(store, DEVICES_SMOKE if settings.smoke else DEVICES), settings, "")


def _fan_out(relay: Relay, settings: harness.Settings, suffix: str) -> harness.Outcome:
    rates = relay.fan_out(harness.SMOKE_ROUNDS if settings.smoke else FAN_OUT_ROUNDS)
    title = f"group message into {len(relay.devices):,} mailboxes, one transaction{suffix}"
    return harness.Outcome(
        f"relay.group fan-out{suffix}", title, "deliveries/s", (Series("ours", rates),), paired=False
    )


def _drop(server: str, schema: str) -> None:
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    engine.dispose()
