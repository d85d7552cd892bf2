"""Prekeys in and out: uploads are verified, bundles are handed out within allowances (R4.7, R4.8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import (
    Bundles,
    DeviceBundle,
    GetBundles,
    KemPreKey,
    LowPreKeys,
    OneTimePreKey,
    RefusedRequest,
    SignedPreKey,
    Uploaded,
    UploadPreKeys,
    UserBundles,
)
from e2ee.limits import DEVICES_PER_REQUEST_MAX
from e2ee.wire import encode_frame
from ratchet import RatchetError
from ratchet.prekeys import (
    PublishedKemPreKey,
    PublishedOneTimePreKey,
    PublishedPreKeys,
    PublishedSignedPreKey,
)
from store import relay as stored
from store.relay import Device, DeviceKey, LongLivedPreKeys, PreKeyKind, RelayUnit, UploadRefused
from store.relay.limits import DIGEST_SIZE

from .connection import Connection, Send, Session
from .plan import Plan, RollBack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .limits import RelayOptions

__all__ = ["WrongSignature", "check_upload", "hand_out", "upload"]


class WrongSignature(Exception):
    """A prekey is not the user's: the whole upload is refused."""


def check_upload(frame: UploadPreKeys, session: Session) -> None:
    """Check an upload: what its parts say of each other (R4.16), then every signature (R4.7).

    Takes 0.1 ms for each signature. Raises MalformedFrame or WrongSignature.
    """
    if (frame.signed_prekey is None) != (frame.last_resort_kem_prekey is None):
        raise MalformedFrame("signed prekey and last-resort KEM prekey come together")
    kem = (*frame.one_time_kem_prekeys, *([frame.last_resort_kem_prekey] if frame.last_resort_kem_prekey else []))
    for ids in ([key.id for key in kem], [key.id for key in frame.one_time_prekeys]):
        if len(set(ids)) != len(ids):
            raise MalformedFrame("a prekey id stands twice")
    signed, last_resort = frame.signed_prekey, frame.last_resort_kem_prekey
    published = PublishedPreKeys(
        session.device.registration_id,
        session.identity_key,
        None if signed is None else PublishedSignedPreKey(signed.id, signed.public_key, signed.signature),
        None if last_resort is None else _published(last_resort),
        tuple(PublishedOneTimePreKey(key.id, key.public_key) for key in frame.one_time_prekeys),
        tuple(_published(key) for key in frame.one_time_kem_prekeys),
    )
    try:
        published.verify()
    except RatchetError as error:
        raise WrongSignature from error


def _published(key: KemPreKey) -> PublishedKemPreKey:
    return PublishedKemPreKey(key.id, key.public_key, key.signature)


def upload(connection: Connection, session: Session, frame: UploadPreKeys, plan: Plan, unit: RelayUnit) -> None:
    """Store an upload that was checked. A repetition changes nothing; an older number is refused."""
    device = session.device
    state = unit.devices.find(device.user_id, device.device_id)
    if state is None or state.device.key != device.key:
        plan.gone[device.key] = RefusalCode.NOT_AUTHORIZED
        return
    digest = _upload_digest(frame)
    known = state.upload_digest if frame.number == state.counters.upload_number else None
    other = known is not None and known != digest  # a clone has used the number
    if other or frame.number in session.lost_uploads or frame.number < state.counters.upload_number:
        plan.reply(connection, RefusedRequest(frame.request, RefusalCode.ROLLED_BACK, None))
        return
    signed, kem = frame.signed_prekey, frame.last_resort_kem_prekey
    registered = connection.registered or connection in plan.uploaded
    if signed is None and not registered:
        plan.reply(connection, RefusedRequest(frame.request, RefusalCode.NOT_REGISTERED, None))
        return
    if frame.purge and frame.number > state.counters.upload_number:  # a repetition would purge what it uploaded
        unit.prekeys.purge(device.key)
    long_lived = None
    if signed is not None and kem is not None:
        long_lived = LongLivedPreKeys(
            signed.id, signed.public_key, signed.signature, kem.id, kem.public_key, kem.signature
        )
    stock = unit.prekeys.upload(device.key, long_lived, _one_time(frame))
    if isinstance(stock, UploadRefused):
        code = RefusalCode.ROLLED_BACK if stock is UploadRefused.OTHER_KEY else RefusalCode.TOO_LARGE
        raise RollBack(Send(connection, RefusedRequest(frame.request, code, None)))
    unit.devices.record_upload(device.key, frame.number, digest)
    if not registered:
        plan.lists_changed()
    plan.uploaded.add(connection)
    plan.reply(connection, Uploaded(frame.request, stock.ec, stock.kem))


def _upload_digest(frame: UploadPreKeys) -> bytes:
    """What tells one upload from another under the same number."""
    return sha256(encode_frame(replace(frame, acknowledged=0, request=0))).digest()[:DIGEST_SIZE]


def _one_time(frame: UploadPreKeys) -> list[stored.OneTimePreKey]:
    ec = [stored.OneTimePreKey(PreKeyKind.EC, key.id, key.public_key) for key in frame.one_time_prekeys]
    return ec + [
        stored.OneTimePreKey(PreKeyKind.KEM, key.id, key.public_key, key.signature)
        for key in frame.one_time_kem_prekeys
    ]


@dataclass(frozen=True, slots=True)
class _WantedUser:
    """One user of a request, and those of the devices asked for that there are."""

    user_id: str
    devices: tuple[Device, ...]


def hand_out(
    connection: Connection,
    session: Session,
    options: RelayOptions,
    frame: GetBundles,
    plan: Plan,
    unit: RelayUnit,
) -> None:
    """Answer a request for bundles; beyond an allowance they come without one-time keys."""
    wanted = _wanted(session, frame, plan, unit)
    devices = list({device.key: device for one in wanted for device in one.devices}.values())
    if len(devices) > DEVICES_PER_REQUEST_MAX:
        plan.reply(connection, RefusedRequest(frame.request, RefusalCode.TOO_LARGE, None))
        return
    asked = _within_allowances(session.device, devices, options, unit)
    bundles = {one.device.key: one for one in unit.prekeys.hand_out(session.device, frame.request_id, asked)}
    users: list[UserBundles] = []
    for one in wanted:
        found = [bundles[device.key] for device in one.devices if device.key in bundles]
        identity_key = found[0].identity_key if found else None
        if identity_key is None:
            user = unit.users.find(one.user_id)
            identity_key = None if user is None else user.identity_key
        users.append(UserBundles(one.user_id, identity_key, tuple(_bundle(bundle) for bundle in found)))
    plan.bundles += len(bundles)
    plan.withheld += sum(not one.one_time for one in asked)
    plan.reply(connection, Bundles(frame.request, tuple(users)))
    _tell_low(
        [key for key, bundle in bundles.items() if bundle.one_time_ec or bundle.one_time_kem], options, plan, unit
    )


def _wanted(session: Session, frame: GetBundles, plan: Plan, unit: RelayUnit) -> list[_WantedUser]:
    found: list[_WantedUser] = []
    for one in frame.wanted:
        devices = plan.listed(unit, one.user_id)
        if one.device_ids is None:
            devices = [device for device in devices if device.key != session.device.key]  # it needs none of its own
        else:
            devices = [device for device in devices if device.device_id in one.device_ids]
        found.append(_WantedUser(one.user_id, tuple(devices)))
    return found


def _within_allowances(
    asker: Device, devices: Sequence[Device], options: RelayOptions, unit: RelayUnit
) -> list[stored.Wanted]:
    shared = unit.groups.shared(asker.user_id, {device.user_id for device in devices})
    taken = unit.prekeys.taken(asker.user_key)
    taken_from = unit.prekeys.taken_from([device.key for device in devices])
    wanted: list[stored.Wanted] = []
    for device in devices:
        stranger = device.user_id not in shared and device.user_key != asker.user_key
        # A group may be as large as it is: whoever sends to it needs a session with each member.
        allowance = max(options.one_time_keys_per_asker, shared.get(device.user_id, 0))
        one_time = taken < allowance and not (stranger and taken_from[device.key] >= options.one_time_keys_to_strangers)
        taken += one_time
        wanted.append(stored.Wanted(device, one_time, stranger))
    return wanted


def _bundle(bundle: stored.Bundle) -> DeviceBundle:
    keys, ec, kem = bundle.prekeys, bundle.one_time_ec, bundle.one_time_kem
    return DeviceBundle(
        bundle.device.device_id,
        bundle.device.registration_id,
        SignedPreKey(keys.signed_id, keys.signed_key, keys.signed_signature),
        KemPreKey(keys.kem_id, keys.kem_key, keys.kem_signature)
        if kem is None or kem.signature is None
        else KemPreKey(kem.key_id, kem.public_key, kem.signature),
        None if ec is None else OneTimePreKey(ec.key_id, ec.public_key),
    )


def _tell_low(handed: Sequence[DeviceKey], options: RelayOptions, plan: Plan, unit: RelayUnit) -> None:
    """Tell the devices connected here whose keys run out, once until they upload."""
    for key in handed:
        target = plan.connected.get(key)
        if target is None or target.low_told or target in plan.told_low:
            continue
        stock = unit.prekeys.stock(key)
        if min(stock.ec, stock.kem) < options.low_prekeys:
            plan.told_low.add(target)
            plan.reply(target, LowPreKeys(stock.ec, stock.kem))
