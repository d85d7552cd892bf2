"""Groups from application to application: a whole client, a relay's process, and members that are real to both.

The members have accounts whose prekeys verify, and seats in a log that each of them signed; all but one are away. Two
clients join this group as any client does: one that sends, and one that reads what is sent.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from e2ee import ClientOptions
from e2ee.frames import EnvelopeKind
from e2ee.groups import GroupKind, Membership, Operation, take_entry
from e2ee.ids import UserId
from e2ee.limits import GROUP_MEMBERS_MAX
from ratchet import Account
from store.relay import Appended, Entry, LongLivedPreKeys, RelayStore, Seat

from . import harness
from .guests import TEXT, WAIT_S, guest, in_ms, seconds
from .harness import Series, WrongResultError, expect
from .relay_servers import server
from .targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.relay import Device, RelayUnit

    from .guests import Guest
    from .peer import Bench

SIZES: Final = (10, 100, GROUP_MEMBERS_MAX)
SIZES_SMOKE: Final = (4,)
GROUP: Final = "team"
BURST: Final = 64  # messages that are queued at once
BURSTS: Final = 9
CHANGES: Final = 5  # joins and leaves of each size
REGISTRATION: Final = 1
GUESTS: Final = 2  # the clients that join


def run(bench: Bench) -> Iterator[harness.Outcome]:
    """Measure each size of a group on a relay of its own."""
    smoke = bench.settings.smoke
    for members in SIZES_SMOKE if smoke else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'relay.db'}"
            fill(url, members - GUESTS)
            with server("relay", url) as process:
                found = asyncio.run(measure(process.url, Path(folder), smoke=smoke))
        for key, (title, unit, samples) in found.items():
            yield harness.Outcome(
                f"groups.{key}.{members}",
                f"{title}, group of {members:,}",
                unit,
                (Series(OURS, tuple(samples)),),
                paired=False,
            )


def fill(url: str, members: int) -> None:
    """Make a group of *members* users, each with a device, prekeys and an entry that it signed."""
    names = [f"member-{number:04}" for number in range(members)]
    accounts = [Account.create(registration_id=REGISTRATION, one_time_prekeys=0) for _ in names]
    with RelayStore.open(url) as store, store.begin() as unit:
        # The log comes before the devices: so no mailbox has a thousand entries that nobody reads.
        founder, identity = UserId(names[0]), accounts[0].identity
        genesis = Membership.genesis(identity, founder, name=GROUP, kind=GroupKind.OPEN, time_ms=1, entropy=os.urandom)
        group = Membership.start(take_entry(genesis))
        unit.users.register(founder, identity.public_key)
        actor = _device(unit, founder)
        creator = Seat(founder, identity.public_key, int(group.members[founder].role))
        unit.groups.create(group.group_id, GROUP, int(GroupKind.OPEN), genesis, group.hash, creator=creator)
        for name, account in zip(names[1:], accounts[1:], strict=True):
            user_id = UserId(name)
            data = group.next_entry(account.identity, user_id, Operation.JOIN, time_ms=1, entropy=os.urandom)
            group = group.apply(take_entry(data))
            seat = Seat(user_id, account.identity_key, int(group.members[user_id].role))
            entry = Entry(group.number, data, group.hash)
            appended = unit.groups.append(
                group.group_id, entry, epoch=group.epoch, actor=actor, kind=EnvelopeKind.GROUP_ENTRY, seats=[seat]
            )
            expect(type(appended), Appended, "appended")
        for name, account in zip(names, accounts, strict=True):
            unit.users.register(name, account.identity_key)
            unit.prekeys.upload(_device(unit, name).key, _published(account))


def _device(unit: RelayUnit, user_id: str) -> Device:
    user = unit.users.find(user_id)
    if user is None:
        raise WrongResultError("a user that was registered is there")
    return unit.devices.register(user, 1, REGISTRATION)


def _published(account: Account) -> LongLivedPreKeys:
    keys = account.published_prekeys()
    signed, kem = keys.signed_prekey, keys.last_resort_kem_prekey
    if signed is None or kem is None:
        raise WrongResultError("a new account publishes its prekeys")
    return LongLivedPreKeys(signed.id, signed.public_key, signed.signature, kem.id, kem.public_key, kem.signature)


async def measure(url: str, folder: Path, *, smoke: bool) -> dict[str, tuple[str, str, list[float]]]:
    """Join, send, change the group, send again; the samples of each kind, with title and unit."""
    changes, bursts, burst = (1, 1, 2) if smoke else (CHANGES, BURSTS, BURST)
    options = ClientOptions(one_time_prekeys=10, receipts=False)  # as large groups have it
    async with guest("sender", url, folder, options) as sender, guest("reader", url, folder, options) as reader:
        await reader.client.join_group(GROUP, timeout=WAIT_S)
        first_join = await seconds(sender.client.join_group(GROUP, timeout=WAIT_S))
        key = [await _burst(sender, reader, 1)]  # the key to everybody, with a session for each
        rates = [burst / await _burst(sender, reader, burst) for _ in range(bursts)]
        single = [await _burst(sender, reader, 1) for _ in range(bursts)]
        joins, leaves, rekeys = [], [], []
        for _ in range(changes):
            leaves.append(await seconds(reader.client.leave_group(GROUP, timeout=WAIT_S)))
            rekeys.append(await _sent(sender))  # a new chain, its key to everybody who is left
            joins.append(await seconds(reader.client.join_group(GROUP, timeout=WAIT_S)))
    milliseconds = "ms"
    return {
        "send": ("messages sent and read by a member", "messages/s", rates),
        "message": ("one message, from the call until a member has read it", milliseconds, in_ms(single)),
        "first": ("first message: a session with each member, the key to each", milliseconds, in_ms(key)),
        "rekeyed": ("message after a leave: a new key to each member", milliseconds, in_ms(rekeys)),
        "enter": ("join by a new device: the log fetched and verified", milliseconds, in_ms([first_join])),
        "join": ("join by who was there before", milliseconds, in_ms(joins)),
        "leave": ("leave", milliseconds, in_ms(leaves)),
    }


async def _burst(sender: Guest, reader: Guest, messages: int) -> float:
    """Seconds from the first call until the reader has read the last message."""
    before = reader.read
    start = perf_counter()
    for _ in range(messages):
        await sender.client.send_group(GROUP, TEXT)
    await reader.until(lambda: reader.read == before + messages)
    return perf_counter() - start


async def _sent(sender: Guest) -> float:
    """Seconds from the call until the relay has stored the message for everybody."""
    start = perf_counter()
    message_id = await sender.client.send_group(GROUP, TEXT)
    await sender.until(lambda: message_id in sender.stored)
    return perf_counter() - start
