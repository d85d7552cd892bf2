"""A power cut at any write of a client: what was committed is there, what was handed out was committed.

The script of the crash tests runs once on a recording disk. Then every prefix of what it wrote, with the unsynced
part kept, dropped or torn, is opened, finished and judged.
"""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Final

import pytest

from store import TESTING, ClientStore, StoreError
from tests.support.crash import Relay, Script
from tests.support.torn_disk import Disk, driver

if TYPE_CHECKING:
    from pathlib import Path

WAYS: Final = ("torn", "dropped", "kept")


class TimedRelay(Relay):
    """A relay that notes how much the disk had been asked for at each event."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk
        self.events: list[tuple[int, str, tuple[object, ...]]] = []

    def submit(self, envelope_id: bytes, user_id: str, kind: int, ciphertext: bytes) -> None:
        super().submit(envelope_id, user_id, kind, ciphertext)
        self.events.append((len(self._disk.log), "submit", (envelope_id, user_id, kind, ciphertext)))

    def acknowledge(self, number: int) -> None:
        super().acknowledge(number)
        self.events.append((len(self._disk.log), "acknowledge", (number,)))

    def as_of(self, position: int) -> Relay:
        """The relay as it was when the power failed behind *position* operations."""
        relay = Relay()
        for when, what, values in self.events:
            if when <= position:
                getattr(relay, what)(*values)
        return relay


def recorded(folder: Path, seed: int) -> tuple[Script, Disk, TimedRelay]:
    """Run the script of *seed* once, on a disk that records."""
    url = f"sqlite:///{folder}/a.db"
    script = Script(seed)
    with ClientStore.open(url, passphrase="right", profile=TESTING) as store:
        script.prepare(store)
    (folder / "a.db.lock").unlink()
    disk = Disk(folder)
    relay = TimedRelay(disk)
    module, vfs = driver(disk)
    with ClientStore.open(url, passphrase="right", profile=TESTING, dbapi=module) as store:
        script.run(store, relay, entropy=random.Random(f"recorded {seed}").randbytes)
    vfs.unregister()
    return script, disk, relay


def judge_cut(folder: Path, script: Script, disk: Disk, relay: TimedRelay, position: int, how: str) -> None:
    """Cut the power behind *position* operations, open what is left, go on, judge."""
    folder.mkdir()
    for name, content in disk.after_cut(position, how, random.Random(f"{script.seed} {position}")).items():
        (folder / name).write_bytes(content)
    resumed, there = script.copy(), relay.as_of(position)
    with ClientStore.open(f"sqlite:///{folder}/a.db", passphrase="right", profile=TESTING) as store:
        resumed.run(store, there, entropy=random.Random(f"after {position}").randbytes)
        resumed.judge(store, there)
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_at_any_write_loses_doubles_and_reuses_nothing(seed: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    script, disk, relay = recorded(source, seed)
    assert len(disk.log) > 100, "writes are no longer recorded"
    syncs = sum(operation.kind == "sync" for operation in disk.log)
    assert syncs > 10, "commits are no longer synced"
    for position in range(len(disk.log) + 1):
        judge_cut(tmp_path / str(position), script, disk, relay, position, WAYS[(position + seed) % 3])


@pytest.mark.slow
def test_a_disk_that_does_not_sync_is_found_out_by_the_same_judgement(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    script, disk, relay = recorded(source, 0)
    disk.log = [operation for operation in disk.log if operation.kind != "sync"]
    failed = 0
    for position in range(len(disk.log) // 2, len(disk.log), 20):
        whole = TimedRelay(disk)
        whole.events = [(0, what, values) for _, what, values in relay.events]  # all of it was handed out
        try:
            judge_cut(tmp_path / str(position), script, disk, whole, position, "dropped")
        except (AssertionError, StoreError):
            failed += 1
    assert failed > 0
