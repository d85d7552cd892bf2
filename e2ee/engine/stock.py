"""Prekeys: made in small steps, uploaded under numbers that rise, stocked up when the relay runs low."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.errors import InvalidArgument
from e2ee.frames import KemPreKey, OneTimePreKey, SignedPreKey, UploadPreKeys
from e2ee.limits import PREKEYS_PER_UPLOAD_MAX
from e2ee.options import PREKEY_STEP

from .own_devices import announce

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, Uploaded
    from ratchet.prekeys import PublishedKemPreKey

    from .step import Step

__all__ = ["found_left", "pump_stock", "republish", "take_upload_refused", "take_uploaded"]

ROTATION_AGE_S: Final = 7 * 24 * 3600.0  # seconds that a signed and a last-resort key are handed out for
ROTATION_LOOK_S: Final = 3600.0  # seconds between two looks at their age
UPLOAD_WAIT_S: Final = 30.0  # seconds until an upload that was refused is tried again


def found_left(step: Step, one_time: int, one_time_kem: int) -> bool:
    """Take note of how many one-time keys the relay has left; tell whether that is few."""
    low, full = step.options.prekeys_low, step.options.one_time_prekeys
    stock = step.memory.stock
    if one_time < low:
        stock.one_time = full - one_time
    if one_time_kem < low:
        stock.one_time_kem = full - one_time_kem
    return one_time < low or one_time_kem < low


def pump_stock(step: Step) -> None:
    """Make some of the keys that are wanted; once all are there, upload what has not been uploaded."""
    stock = step.memory.stock
    if not step.memory.online or stock.uploading or step.now < stock.not_before:
        # Nothing is made during an upload: its reply marks all there is as published.
        return
    stock.not_before = 0.0  # the wait is over: kept, it would be due at every moment from now on
    _rotate_if_due(step)
    if stock.wanted:
        one_time, kem = min(stock.one_time, PREKEY_STEP), min(stock.one_time_kem, PREKEY_STEP)
        step.unit.prekeys.add_one_time(one_time, kem)
        stock.one_time -= one_time
        stock.one_time_kem -= kem
        if stock.wanted:
            return
    _upload(step)


def _rotate_if_due(step: Step) -> None:
    """Replace the signed and the last-resort key when they are old, or have opened all they may; the old ones stay."""
    stock, keys = step.memory.stock, step.unit.prekeys
    if step.now < stock.look_at:
        return
    stock.look_at = step.now + ROTATION_LOOK_S
    made_at = keys.made_at()
    if made_at is None or step.now >= made_at + ROTATION_AGE_S or keys.is_worn_out():
        keys.rotate()


def republish(step: Step) -> ClientFrame:
    """Ask the relay to forget every one-time key; once it has, `take_uploaded` makes new keys of all kinds.

    Raises InvalidArgument while an upload is under way.
    """
    stock = step.memory.stock
    if stock.uploading:
        raise InvalidArgument("an upload is under way: ask again after it")
    stock.uploading = True
    step.unit.counters.upload_number += 1
    purge = UploadPreKeys(
        0,
        0,
        number=step.unit.counters.upload_number,
        purge=True,
        signed_prekey=None,
        last_resort_kem_prekey=None,
        one_time_prekeys=(),
        one_time_kem_prekeys=(),
    )
    step.requests.append(purge)
    return purge


def _upload(step: Step) -> None:
    if not step.unit.prekeys.has_unpublished():
        return
    keys = step.unit.prekeys.unpublished()
    signed, last_resort = keys.signed_prekey, keys.last_resort_kem_prekey
    # More than one upload takes are held only if the relay forgot them: then some were handed out before.
    one_time = keys.one_time_prekeys[-PREKEYS_PER_UPLOAD_MAX:]
    kem = keys.one_time_kem_prekeys[-PREKEYS_PER_UPLOAD_MAX:]
    step.memory.stock.uploading = True
    step.unit.counters.upload_number += 1
    step.requests.append(
        UploadPreKeys(
            0,
            0,
            number=step.unit.counters.upload_number,
            # With none published, whatever the relay still has of ours is useless: those who get it cannot be read.
            purge=signed is not None and step.unit.prekeys.count_published() == 0,
            signed_prekey=None if signed is None else SignedPreKey(signed.id, signed.public_key, signed.signature),
            last_resort_kem_prekey=None if last_resort is None else _kem(last_resort),
            one_time_prekeys=tuple(OneTimePreKey(key.id, key.public_key) for key in one_time),
            one_time_kem_prekeys=tuple(_kem(key) for key in kem),
        )
    )


def _kem(key: PublishedKemPreKey) -> KemPreKey:
    return KemPreKey(key.id, key.public_key, key.signature)


def take_uploaded(step: Step, request: UploadPreKeys, reply: Uploaded) -> None:
    """The relay has stored an upload."""
    step.memory.stock.uploading = False
    if request.purge and request.signed_prekey is None:  # `republish` asked for it
        counters = step.unit.counters
        counters.confirmed_upload_number = max(counters.confirmed_upload_number, request.number)
        step.unit.prekeys.purge_one_time()
        step.unit.prekeys.rotate()
    else:
        listed = not step.unit.prekeys.is_published()  # it was not before: its first upload, or its first one anew
        step.unit.prekeys.published(request.number)
        step.memory.ready = True
        if listed:
            announce(step)
    found_left(step, reply.one_time_prekeys, reply.one_time_kem_prekeys)


def take_upload_refused(step: Step, wait_s: float | None) -> None:
    """The relay has not stored an upload: the keys stay unpublished, and go again later."""
    stock = step.memory.stock
    stock.uploading = False
    stock.not_before = step.now + (UPLOAD_WAIT_S if wait_s is None else wait_s)
