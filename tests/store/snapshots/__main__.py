"""Write the dump of the present schema: ``python -m tests.store.snapshots``. Refuses to replace one."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from uuid import UUID

from store import TESTING, ClientStore
from store.schema import CLIENT
from tests.store.snapshots import FOLDER, PASSPHRASE, TEXT, TIME
from tests.support.conversation import account, seeded
from tests.support.messenger import Messenger


def fill(store: ClientStore) -> None:
    """Put a row into the tables that a conversation uses, in one way that never changes."""
    messenger = Messenger(store, entropy=seeded("snapshot"))
    messenger.create("alice", one_time_prekeys=1)
    messenger.initiate("bob", account("bob").bundle())
    messenger.queue("bob", TEXT)
    with store.begin() as unit:
        unit.inbox.add("direct", TEXT)
        unit.send_log.add(bytes(16), "bob", TEXT)
        unit.receipts.add("bob", 1, b"bob", 1, "delivered")
        unit.pending.add("bob", 1, bytes(16), 2, b"ciphertext", reason="no key", waits_for=UUID(int=1).bytes)


def main() -> int:
    """Make a store, dump it."""
    target = FOLDER / f"client-{CLIENT.version}.sql"
    if target.exists():
        sys.stderr.write(f"{target.name} is there: a released form does not change, add a version\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.db")
        url = f"sqlite:///{path}"
        with ClientStore.open(url, passphrase=PASSPHRASE, profile=TESTING, clock=lambda: TIME) as store:
            fill(store)
        with closing(sqlite3.connect(path)) as connection:
            target.write_text("\n".join(connection.iterdump()) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
