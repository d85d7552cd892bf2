"""A power cut while a store is made, from nothing on: afterwards it opens, whole or as if it had never been made.

A client and a relay are made on a recording disk. Every prefix of what was written there, with the unsynced part kept,
dropped or torn, is opened. What was told to be there must be there, and nothing that is left may be taken for damage.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Protocol

import pytest

from store import TESTING, ClientStore, StoreError
from store.relay import RelayStore
from tests.store.relay.world import identity
from tests.support.messenger import Messenger
from tests.support.torn_disk import Disk, driver, watched

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

WAYS: Final = ("torn", "dropped", "kept")
OPEN, FILLED = 1, 2  # how far a store has come


class Kind(Protocol):
    """One of the two stores."""

    def make(self, url: str, module: ModuleType, told: list[int], disk: Disk) -> None:
        """Make it and fill it; note in *told* how much the disk had been asked for when it was open, and filled."""

    def stage(self, url: str) -> int:
        """Open it, making it anew if it is not there; tell how far it had come."""


class Client:
    def make(self, url: str, module: ModuleType, told: list[int], disk: Disk) -> None:
        with ClientStore.open(url, passphrase="right", profile=TESTING, dbapi=module) as store:
            told.append(len(disk.log))
            Messenger(store).create("alice")
            told.append(len(disk.log))

    def stage(self, url: str) -> int:
        with ClientStore.open(url, passphrase="right", profile=TESTING) as store:
            assert store.check() == ()
            with store.begin() as unit:
                filled = unit.account.load() is not None
            return FILLED if filled else OPEN if store.epoch > 1 else 0


class Relay:
    def make(self, url: str, module: ModuleType, told: list[int], disk: Disk) -> None:
        with RelayStore.open(url, dbapi=module) as store:
            told.append(len(disk.log))
            with store.begin() as unit:
                unit.users.register("alice", identity("alice"))
            told.append(len(disk.log))

    def stage(self, url: str) -> int:
        with RelayStore.open(url) as store, store.begin() as unit:
            return OPEN if unit.users.find("alice") is None else FILLED


KINDS: Final = pytest.mark.parametrize("kind", [Client(), Relay()], ids=["client", "relay"])


def recorded(folder: Path, kind: Kind) -> tuple[Disk, list[int]]:
    """Make a store on a disk that records; return when it was open, and when filled."""
    folder.mkdir()
    disk, told = Disk(folder), list[int]()
    module, vfs = driver(disk)
    with watched(disk):
        kind.make(f"sqlite:///{folder}/store.db", module, told, disk)
    vfs.unregister()
    assert [one.to for one in disk.log if one.kind == "rename"] == ["store.db"], "the making is no longer seen"
    return disk, told


def judge_cut(folder: Path, kind: Kind, disk: Disk, told: list[int], position: int, how: str) -> None:
    """Cut the power behind *position* operations, open what is left, and open it again."""
    folder.mkdir()
    for name, content in disk.after_cut(position, how, random.Random(f"{position} {how}")).items():
        (folder / name).write_bytes(content)
    stage = kind.stage(f"sqlite:///{folder}/store.db")
    assert stage >= sum(when <= position for when in told), f"{how} behind {position}: what was told is not there"
    assert kind.stage(f"sqlite:///{folder}/store.db") >= max(stage, OPEN)


@KINDS
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)], ids=["some writes", "every write"])
def test_a_power_cut_while_a_store_is_made_leaves_a_whole_one_or_none(kind: Kind, step: int, tmp_path: Path) -> None:
    disk, told = recorded(tmp_path / "source", kind)
    assert len(disk.log) > 40, "writes are no longer recorded"
    for position in range(0, len(disk.log) + 1, step):
        for how in WAYS if step == 1 else WAYS[position % 3 : position % 3 + 1]:
            judge_cut(tmp_path / f"{position} {how}", kind, disk, told, position, how)


@KINDS
def test_a_store_whose_name_or_content_is_not_synced_is_found_out(kind: Kind, tmp_path: Path) -> None:
    disk, (_, filled_at) = recorded(tmp_path / "source", kind)
    whole = disk.log[:filled_at]
    for number, lost in enumerate(("", "store.db.new")):
        disk.log = [one for one in whole if one.kind != "sync" or one.name != lost]
        assert len(disk.log) < len(whole)
        with pytest.raises((AssertionError, StoreError)):
            judge_cut(tmp_path / f"{number}", kind, disk, [len(disk.log)] * 2, len(disk.log), "dropped")
