"""The conversation with the relay: logging in, noticing a rollback, taking answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.codec import encode_array
from e2ee.errors import RefusalCode
from e2ee.events import Connected
from e2ee.frames import (
    PROTOCOL_VERSION,
    AppendEntry,
    Bundles,
    GetBundles,
    GetGroupDevices,
    GetGroupLog,
    GroupDevices,
    GroupLog,
    GroupSubmitted,
    IdentityReplaced,
    RefusedRequest,
    Removed,
    RemoveDevice,
    ReplaceIdentity,
    Submit,
    SubmitGroup,
    Submitted,
    Uploaded,
    UploadPreKeys,
)

from . import account, stock
from .groups import operations
from .groups.asking import resume_asking
from .groups.distribution import bundles_came
from .groups.lane import group_of
from .groups.old_chains import resume_chains
from .groups.replies import take_group_refused, take_group_reply
from .healing import heal_refused, resume_heals, take_heal
from .outcomes import take_refused, take_submitted
from .peers import take_bundles
from .relay_loss import take_loss
from .rollback import count_on, is_behind, recover
from .step import QUEUED, user_of

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, RelayFrame, Welcome
    from store import Unit

    from .step import Step

__all__ = ["claim", "take_reply", "take_welcome"]

_MS: Final = 1000.0


def claim(unit: Unit, relay: str, nonce: bytes) -> bytes:
    """Encode what a login signs (R4.2)."""
    device, counters = unit.account.require(), unit.counters
    numbers = (counters.submission_number, counters.delivery_number, counters.upload_number)
    who = (device.user_id, device.device_id, device.registration_id)
    return encode_array([PROTOCOL_VERSION, relay, nonce, *who, *numbers])


def take_welcome(step: Step, welcome: Welcome) -> None:
    """Take up a connection; one that shows the store to be older than the relay's memory only to give up old keys.

    Raises StoreRolledBack, as `rollback.recover`.
    """
    counters, memory = step.unit.counters, step.memory
    if not (counters.submission_number or counters.delivery_number or counters.upload_number):
        # A new store has nothing that could be used twice: it counts on from an earlier installation of the device.
        count_on(counters, welcome)
    if is_behind(counters, welcome):
        recover(step, welcome)
        return
    memory.online = True
    take_loss(step, welcome)
    for lane in (*step.unit.envelopes.lanes(), *step.unit.outgoing.lanes(QUEUED)):
        user_id = user_of(lane)
        group_id = group_of(lane)
        if user_id is not None:
            memory.active[user_id] = None
        elif group_id is not None:
            memory.active_groups[group_id] = None
    if step.unit.receipts.devices():
        memory.receipts_since = 0.0  # they have waited for this connection
    memory.ready = step.unit.prekeys.is_published()
    resume_heals(step)
    resume_chains(step)
    resume_asking(step)
    operations.take_up(step)
    stock.found_left(step, welcome.one_time_prekeys, welcome.one_time_kem_prekeys)
    step.tell(Connected())


def take_reply(step: Step, request: ClientFrame, reply: RelayFrame) -> None:
    """Take the answer to a request; of another kind, it is passed over."""
    match request, reply:
        case Submit(), Submitted():
            take_submitted(step, request, reply)
        case GetBundles(), Bundles():
            if not take_heal(step, request, reply):
                take_bundles(step, request, reply)
            bundles_came(step, request)
        case UploadPreKeys(), Uploaded():
            stock.take_uploaded(step, request, reply)
        case RemoveDevice(device_id=device_id), Removed():
            account.removed(step, device_id)
        case ReplaceIdentity(), IdentityReplaced():
            account.take_identity(step)
        case _, GroupLog() | GroupDevices() | GroupSubmitted():
            take_group_reply(step, request, reply)
        case _, RefusedRequest():
            _refused(step, request, reply)
        case _:
            pass


def _refused(step: Step, request: ClientFrame, reply: RefusedRequest) -> None:
    """Nothing of a request was stored."""
    wait_s = None if reply.retry_after_ms is None else reply.retry_after_ms / _MS
    match request:
        case Submit():
            take_refused(step, request, reply.code, wait_s)
        case GetBundles() if not heal_refused(step, request, wait_s):
            for wanted in request.wanted:
                lane = step.memory.lane(wanted.user_id)
                lane.asking = False
                lane.wait(step.now, wait_s)
            bundles_came(step, request)
        case UploadPreKeys() if reply.code == RefusalCode.ROLLED_BACK:
            recover(step, None)
        case UploadPreKeys() if reply.code == RefusalCode.NOT_REGISTERED and request.signed_prekey is None:
            stock.take_upload_refused(step, 0.0)
            step.unit.prekeys.publish_again()  # another life of the device, or of the relay, has put them away
        case UploadPreKeys():
            stock.take_upload_refused(step, wait_s)
        case AppendEntry() | GetGroupLog() | GetGroupDevices() | SubmitGroup():
            take_group_refused(step, request, reply)
        case _:
            pass
