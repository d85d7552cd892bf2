"""The end of an account and another identity for it: rules R4.19, R4.21 and R4.22 of docs/protocol.md, on the core."""

from __future__ import annotations

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import (
    AccountDeleted,
    DeleteAccount,
    DeviceList,
    DeviceRef,
    IdentityReplaced,
    ListDevices,
    RefusedRequest,
    RemoveDevice,
    ReplaceIdentity,
    UserNotice,
    UserNotices,
    WatchUsers,
    Welcome,
)
from e2ee.relay.connection import Sweep
from e2ee.relay.limits import IdentityChange, RelayOptions
from store.relay import limits as stored
from tests.support.relay_device import NAME, Device
from tests.support.relay_talk import Desk, Line

REPLACE = RelayOptions(identity_change=IdentityChange.REPLACE)


def replacement(line: Line, new: Device, *, name: str = NAME) -> ReplaceIdentity:
    """A request of *line* to bind its user to the key of *new*."""
    login = new.login(line.connection.nonce, name=name)
    return ReplaceIdentity(0, 7, login.claim, login.identity_key, login.signature)


def refusal(line: Line, request: ReplaceIdentity) -> RefusalCode:
    return RefusalCode(line.send(request).one(RefusedRequest).code)


def test_r4_21_a_deleted_account_takes_mail_prekeys_and_connections_with_it_and_frees_its_name() -> None:
    desk = Desk()
    first = Device("alice")
    alice, second, bob = desk.join(first), desk.join(Device("alice", 2, of=first)), desk.join(Device("bob"))
    bob.submitted([first, second.device], b"for both")
    assert alice.send(DeleteAccount(0, 5)).one(AccountDeleted).request == 5
    assert (alice.code, second.code, bob.code) == (RefusalCode.NOT_AUTHORIZED, RefusalCode.NOT_AUTHORIZED, None)
    other = desk.join(Device("alice"))
    assert other.mail() == []
    assert other.send(ListDevices(0, 6)).one(DeviceList).devices == (other.device.ref,)


def test_r4_21_a_device_of_a_deleted_account_does_not_bring_it_back() -> None:
    desk = Desk()
    first = Device("alice")
    alice, second = desk.join(first), desk.join(Device("alice", 2, of=first))
    second.end()
    again = desk.open(second.device)
    login = second.device.login(again.connection.nonce)
    desk.handle(again.arrival(login), alice.arrival(DeleteAccount(0, 5)))  # it logs in just now
    assert again.code is RefusalCode.NOT_AUTHORIZED
    for device in (first, second.device):
        assert desk.log_in(device).code is RefusalCode.NOT_AUTHORIZED
    assert desk.join(Device("alice", of=first)).closed is None  # a new store


def test_r4_21_a_connection_of_an_account_that_another_worker_has_deleted_deletes_nothing() -> None:
    desk = Desk()
    alice = desk.join(Device("alice"))
    other = Desk(store=desk.store, options=REPLACE)
    new = other.join(Device("alice"))
    alice.send(DeleteAccount(0, 5))
    assert alice.code is RefusalCode.NOT_AUTHORIZED
    assert new.send(ListDevices(0, 6)).one(DeviceList).devices == (new.device.ref,)


def test_r4_21_mail_of_a_deleted_account_still_arrives() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.end()
    alice.submitted(bob.device, b"farewell")
    alice.send(DeleteAccount(0, 5))
    assert [one.sender_user_id for one in desk.log_in(bob.device).mail()] == ["alice"]


def test_r4_21_who_watches_the_directory_is_told_of_a_deleted_account() -> None:
    desk = Desk(options=RelayOptions(directory=True))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.send(WatchUsers(0, 4, on=True)).take(UserNotices)
    alice.send(DeleteAccount(0, 5))
    assert bob.one(UserNotices).users == (UserNotice("alice", exists=False),)


def test_r4_22_another_identity_removes_what_the_old_one_had_and_lets_the_new_one_in() -> None:
    desk = Desk(options=REPLACE)
    first = Device("alice")
    alice, second, bob = desk.join(first), desk.join(Device("alice", 2, of=first)), desk.join(Device("bob"))
    bob.submitted([first, second.device], b"for the old one")
    new = Device("alice")
    assert alice.send(replacement(alice, new)).one(IdentityReplaced).request == 7
    assert (alice.code, second.code, bob.code) == (RefusalCode.SHUTTING_DOWN, RefusalCode.IDENTITY_TAKEN, None)
    again = desk.join(new)
    assert again.mail() == []
    assert again.send(ListDevices(0, 8)).one(DeviceList).devices == (DeviceRef(1, new.account.registration_id),)


def test_r4_22_a_relay_that_keeps_identities_refuses_another_one() -> None:
    desk = Desk()
    alice = desk.join(Device("alice"))
    assert refusal(alice, replacement(alice, Device("alice"))) is RefusalCode.IDENTITY_TAKEN
    assert desk.log_in(alice.device).closed is None


@pytest.mark.parametrize("user_id", ["bob", "alice"])
def test_r4_22_the_new_key_proves_itself_for_this_user_device_and_connection(user_id: str) -> None:
    desk = Desk(options=REPLACE)
    alice, other = desk.join(Device("alice")), desk.join(Device("carol"))
    new = Device(user_id, 1 if user_id == "bob" else 2)
    assert refusal(alice, replacement(alice, new)) is RefusalCode.NOT_AUTHENTIC
    assert refusal(alice, replacement(other, Device("alice"))) is RefusalCode.NOT_AUTHENTIC
    assert refusal(alice, replacement(alice, Device("alice"), name="elsewhere:1")) is RefusalCode.WRONG_NAME
    forged = replacement(alice, Device("alice"))
    stolen = ReplaceIdentity(0, 7, forged.claim, Device("alice").account.identity_key, forged.signature)
    assert refusal(alice, stolen) is RefusalCode.NOT_AUTHENTIC
    alice.end()
    assert desk.log_in(alice.device).closed is None


def test_r4_22_whose_reply_was_lost_takes_its_name_back_with_the_store_it_has() -> None:
    desk = Desk(options=REPLACE)
    alice = desk.join(Device("alice"))
    alice.send(replacement(alice, Device("alice")))
    assert desk.log_in(alice.device).one(Welcome).connection_number == 1


def test_r4_19_a_removed_device_is_told_when_it_comes_back_and_a_new_installation_is_let_in() -> None:
    desk = Desk()
    first = Device("alice")
    alice, second = desk.join(first), desk.join(Device("alice", 2, of=first))
    second.end()
    desk.now += 1
    alice.send(RemoveDevice(0, 9, 2))
    assert desk.log_in(second.device).code is RefusalCode.NOT_AUTHORIZED
    assert desk.join(Device("alice", 2, of=first)).closed is None


@pytest.mark.parametrize(("days", "code"), [(59, RefusalCode.NOT_AUTHORIZED), (61, None)])
def test_r4_19_a_removed_device_is_remembered_for_sixty_days(days: int, code: RefusalCode | None) -> None:
    desk = Desk()
    first = Device("alice")
    alice, second = desk.join(first), desk.join(Device("alice", 2, of=first))
    second.end()
    desk.now += 1
    alice.send(RemoveDevice(0, 9, 2)).end()
    desk.now += days * 24 * 3600.0
    desk.handle(Sweep())
    assert desk.log_in(second.device).code is code


def test_r4_19_a_device_that_was_removed_as_idle_comes_back() -> None:
    desk = Desk()
    alice = desk.join(Device("alice"))
    alice.end()
    desk.now += stored.DEVICE_IDLE_S + 1
    with desk.store.begin() as unit:
        assert [device.user_id for device in unit.sweep().devices] == ["alice"]
    assert desk.log_in(alice.device).one(Welcome).connection_number == 1
