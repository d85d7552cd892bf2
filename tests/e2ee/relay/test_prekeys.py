"""Uploads and bundles: rules R4.7, R4.8 and R4.16 of docs/protocol.md, on the core."""

from __future__ import annotations

from dataclasses import replace

from e2ee.errors import RefusalCode
from e2ee.frames import (
    Bundles,
    DeviceRef,
    LowPreKeys,
    RefusedRequest,
    Removed,
    RemoveDevice,
    Submitted,
    Uploaded,
    UploadPreKeys,
    WantedDevices,
)
from e2ee.relay.limits import RelayOptions
from ratchet import PreKeyBundle
from store.relay import Entry, Seat
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk, Line


def bundle_of(answer: Bundles) -> PreKeyBundle:
    """The only bundle of an answer, as a sender would use it."""
    (user,) = answer.users
    (bundle,) = user.bundles
    assert user.identity_key is not None
    one_time = bundle.one_time_prekey
    return PreKeyBundle(
        registration_id=bundle.registration_id,
        device_id=bundle.device_id,
        identity_key=user.identity_key,
        signed_prekey_id=bundle.signed_prekey.id,
        signed_prekey=bundle.signed_prekey.public_key,
        signed_prekey_signature=bundle.signed_prekey.signature,
        kem_prekey_id=bundle.kem_prekey.id,
        kem_prekey=bundle.kem_prekey.public_key,
        kem_prekey_signature=bundle.kem_prekey.signature,
        one_time_prekey_id=None if one_time is None else one_time.id,
        one_time_prekey=None if one_time is None else one_time.public_key,
    )


def ask(line: Line, user_id: str, request_id: bytes | None = None) -> Bundles:
    return line.send(line.device.bundles(user_id, request_id=request_id)).one(Bundles)


def test_an_upload_tells_how_many_one_time_keys_are_left() -> None:
    desk, alice = Desk(), Device("alice")
    uploaded = desk.log_in(alice).send(alice.upload()).one(Uploaded)
    assert (uploaded.one_time_prekeys, uploaded.one_time_kem_prekeys) == (2, 2)


def test_a_bundle_that_was_uploaded_verifies_at_who_asks_for_it() -> None:
    desk = Desk()
    bob = desk.join(Device("bob"))
    bundle = bundle_of(ask(desk.join(Device("alice")), "bob"))
    bundle.verify()
    assert bundle.identity_key == bob.device.account.identity_key


def test_r4_7_a_device_is_listed_from_its_first_complete_upload_on() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.log_in(Device("bob"))
    assert ask(alice, "bob").users[0].bundles == ()
    bob.send(bob.device.upload())
    assert ask(alice, "bob").users[0].bundles != ()


def test_r4_7_a_first_upload_without_the_long_lived_keys_is_refused() -> None:
    desk, alice = Desk(), Device("alice")
    upload = replace(alice.upload(), signed_prekey=None, last_resort_kem_prekey=None)
    refused = desk.log_in(alice).send(upload).one(RefusedRequest)
    assert refused.code == RefusalCode.NOT_REGISTERED


def test_r4_7_one_wrong_signature_refuses_all_of_an_upload() -> None:
    desk, alice, eve = Desk(), Device("alice"), Device("eve")
    kem = alice.account.published_prekeys().one_time_kem_prekeys
    bad = replace(kem[1], signature=eve.account.published_prekeys().one_time_kem_prekeys[0].signature)
    published = replace(alice.account.published_prekeys(), one_time_kem_prekeys=(kem[0], bad))
    line = desk.log_in(alice).send(alice.upload(published))
    assert line.one(RefusedRequest).code == RefusalCode.NOT_AUTHENTIC
    assert ask(desk.join(Device("bob")), "alice").users[0].bundles == ()


def test_r4_7_prekeys_signed_by_somebody_else_are_refused() -> None:
    desk, alice, eve = Desk(), Device("alice"), Device("eve")
    line = desk.log_in(alice).send(alice.upload(eve.account.published_prekeys()))
    assert line.one(RefusedRequest).code == RefusalCode.NOT_AUTHENTIC


def test_r4_16_one_long_lived_key_without_the_other_closes_the_connection() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.log_in(alice).send(replace(alice.upload(), last_resort_kem_prekey=None))
    assert line.code is RefusalCode.MALFORMED


def test_r4_16_a_prekey_id_that_stands_twice_closes_the_connection() -> None:
    desk, alice = Desk(), Device("alice")
    upload = alice.upload()
    line = desk.log_in(alice).send(replace(upload, one_time_prekeys=upload.one_time_prekeys[:1] * 2))
    assert line.code is RefusalCode.MALFORMED


def test_an_upload_that_comes_again_changes_nothing() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.log_in(alice)
    upload = alice.upload()
    first, second = line.send(upload, upload).take(Uploaded)
    assert first == second


def test_a_repeated_purge_does_not_purge_what_it_uploaded() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.join(alice)
    new = alice.account.replenish(3)
    upload = alice.upload(new, purge=True)
    assert line.send(upload).one(Uploaded).one_time_prekeys == 1
    assert line.send(upload).one(Uploaded).one_time_prekeys == 1


def test_an_upload_with_an_older_number_is_refused() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.log_in(alice)
    first, second = alice.upload(), alice.upload()
    line.send(second).one(Uploaded)
    assert line.send(first).one(RefusedRequest).code == RefusalCode.ROLLED_BACK


def test_another_key_under_a_known_id_is_refused_and_nothing_of_that_upload_stays() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.join(alice)
    upload = alice.upload()
    other = replace(upload.one_time_prekeys[0], public_key=Device("eve").account.identity_key)
    asker = desk.join(Device("bob"))
    ask(asker, "alice")  # so that an id is remembered as handed out, which a purge does not free
    bad = UploadPreKeys(0, 99, upload.number, True, None, None, (other,), ())  # noqa: FBT003 - the frame's order
    assert line.send(bad).one(RefusedRequest).code == RefusalCode.ROLLED_BACK
    assert line.send(alice.upload()).one(Uploaded).one_time_prekeys == 1  # the purge was undone with the rest


def test_r4_8_a_one_time_key_is_handed_out_once() -> None:
    desk = Desk()
    desk.join(Device("bob"))
    askers = [desk.join(Device(name)) for name in ("alice", "carol", "dave")]
    answers = [bundle_of(ask(line, "bob")) for line in askers]
    assert len({answer.one_time_prekey_id for answer in answers}) == 3  # two keys and then none
    assert answers[2].one_time_prekey is None


def test_r4_8_the_same_request_id_has_the_same_answer() -> None:
    desk = Desk()
    desk.join(Device("bob"))
    alice = desk.join(Device("alice"))
    first = ask(alice, "bob", b"q" * 16)
    assert ask(alice, "bob", b"q" * 16).users == first.users
    assert ask(alice, "bob", b"r" * 16).users != first.users


def test_r4_8_the_same_request_id_has_another_answer_after_ten_minutes() -> None:
    desk = Desk()
    desk.join(Device("bob"))
    alice = desk.join(Device("alice"))
    first = ask(alice, "bob", b"q" * 16)
    desk.now += 601
    assert ask(alice, "bob", b"q" * 16).users != first.users


def test_r4_8_beyond_the_askers_allowance_bundles_come_without_one_time_keys() -> None:
    desk = Desk(options=RelayOptions(one_time_keys_per_asker=1))
    desk.join(Device("bob"))
    desk.join(Device("carol"))
    alice = desk.join(Device("alice"))
    assert bundle_of(ask(alice, "bob")).one_time_prekey is not None
    withheld = bundle_of(ask(alice, "carol"))
    assert withheld.one_time_prekey is None
    withheld.verify()


def test_r4_8_beyond_the_targets_allowance_strangers_get_no_one_time_keys() -> None:
    desk = Desk(options=RelayOptions(one_time_keys_to_strangers=1))
    desk.join(Device("bob"))
    assert bundle_of(ask(desk.join(Device("alice")), "bob")).one_time_prekey is not None
    assert bundle_of(ask(desk.join(Device("carol")), "bob")).one_time_prekey is None


def test_r4_8_members_of_one_group_have_an_allowance_of_the_groups_size_and_are_no_strangers() -> None:
    desk = Desk(options=RelayOptions(one_time_keys_per_asker=1, one_time_keys_to_strangers=1))
    members = [desk.join(Device(name)) for name in ("alice", "bob", "carol")]
    seats = [Seat(line.device.user_id, line.device.account.identity_key, 1) for line in members]
    with desk.store.begin() as unit:
        unit.groups.create(b"g" * 32, "team", 1, b"genesis", b"h" * 32, creator=seats[0])
        actor = unit.devices.of_users(["alice"])[0]
        unit.groups.append(b"g" * 32, Entry(1, b"entry", b"i" * 32), epoch=1, actor=actor, kind=9, seats=seats)
    stranger = desk.join(Device("eve"))
    assert bundle_of(ask(stranger, "bob")).one_time_prekey is not None
    assert bundle_of(ask(desk.join(Device("mallory")), "bob")).one_time_prekey is None
    assert [bundle_of(ask(members[0], name)).one_time_prekey is not None for name in ("bob", "carol")] == [True, True]


def test_an_unknown_user_has_no_identity_key_and_no_bundles() -> None:
    answer = ask(Desk().join(Device("alice")), "nobody")
    assert (answer.users[0].identity_key, answer.users[0].bundles) == (None, ())


def test_only_the_devices_named_are_answered() -> None:
    desk = Desk()
    bob = Device("bob")
    desk.join(bob)
    desk.join(Device("bob", 2, of=bob))
    alice = desk.join(Device("alice"))
    request = replace(alice.device.bundles("bob"), wanted=(WantedDevices("bob", (2, 3)),))
    assert [one.device_id for one in alice.send(request).one(Bundles).users[0].bundles] == [2]


def test_a_request_for_more_than_a_hundred_devices_is_too_large() -> None:
    desk = Desk(options=RelayOptions(requests_burst=1000))
    for user in range(6):
        first = Device(f"user{user}")
        desk.join(first)
        for device_id in range(2, 18):
            desk.join(Device(f"user{user}", device_id, of=first))
    alice = desk.join(Device("alice"))
    refused = alice.send(alice.device.bundles(*(f"user{user}" for user in range(6)))).one(RefusedRequest)
    assert refused.code == RefusalCode.TOO_LARGE


def test_a_device_hears_once_that_its_one_time_keys_run_out() -> None:
    desk = Desk(options=RelayOptions(low_prekeys=2))
    bob = desk.join(Device("bob"))
    ask(desk.join(Device("alice")), "bob")
    ask(desk.join(Device("carol")), "bob")
    low = bob.one(LowPreKeys)
    assert (low.one_time_prekeys, low.one_time_kem_prekeys) == (1, 1)


def test_who_asks_for_the_own_devices_gets_the_others() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.join(alice)
    desk.join(Device("alice", 2, of=alice))
    assert [one.device_id for one in ask(line, "alice").users[0].bundles] == [2]


def test_a_removed_device_is_closed_unlisted_and_its_mail_is_gone() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.join(alice)
    second = desk.join(Device("alice", 2, of=alice))
    bob = desk.join(Device("bob"))
    bob.submitted([alice, second.device], b"one")
    line.send(RemoveDevice(0, 70, 2)).one(Removed)
    assert second.code is RefusalCode.NOT_AUTHORIZED
    answer = bob.send(bob.device.submit([alice, second.device], b"two")).one(Submitted)
    assert answer.change is not None
    assert (answer.change.missing, answer.change.extra) == ((), (2,))
    assert desk.log_in(second.device).bodies() == []


def test_removing_a_device_that_is_not_there_is_answered_all_the_same() -> None:
    line = Desk().join(Device("alice"))
    assert line.send(RemoveDevice(0, 70, 9)).one(Removed).request == 70


def test_a_device_does_not_remove_itself_nor_one_of_somebody_else() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob", 2))
    assert alice.send(RemoveDevice(0, 70, 1)).one(RefusedRequest).code == RefusalCode.NOT_AUTHORIZED
    alice.send(RemoveDevice(0, 71, 2)).one(Removed)
    assert bob.closed is None
    assert bob.device.ref == DeviceRef(2, bob.device.account.registration_id)
    assert alice.submitted(bob.device, b"hello").refusal is None
