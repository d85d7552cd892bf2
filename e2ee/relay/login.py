"""Logging in: the checks of R4.3 in their order, and the binding of a user id to its first identity key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import PROTOCOL_VERSION, Login, UserNotice, Welcome
from e2ee.limits import DEVICES_PER_USER_MAX
from ratchet import NotAuthentic, RatchetError, verify_signature
from ratchet.labels import SIGN_LOGIN

from .claim import Claim, parse_claim
from .connection import Close, Connection, Session
from .limits import IdentityChange
from .plan import Entered, Plan, Run
from .refusal import closing

if TYPE_CHECKING:
    from collections.abc import Collection

    from store.relay import DeviceKey, DeviceState, RelayUnit, User

__all__ = ["LoginRefused", "check_login", "entering"]


class LoginRefused(Exception):
    """The login is refused; the connection is closed with *code*."""

    def __init__(self, code: RefusalCode, explanation: str) -> None:
        super().__init__(explanation)
        self.code = code
        self.explanation = explanation


def check_login(login: Login, nonce: bytes, names: Collection[str]) -> Claim:
    """Check what needs neither the application nor the store: form, version, name, nonce, signature (R4.3).

    Raises LoginRefused.
    """
    try:
        claim = parse_claim(login.claim)
    except MalformedFrame as error:
        raise LoginRefused(RefusalCode.MALFORMED, f"the claim: {error}") from error
    if claim.version != PROTOCOL_VERSION:
        raise LoginRefused(RefusalCode.UNSUPPORTED_VERSION, f"this relay speaks version {PROTOCOL_VERSION}")
    # Without this check another relay could pass on our challenge, and the login that it is answered with.
    if claim.name.lower() not in names:
        raise LoginRefused(RefusalCode.WRONG_NAME, "the login is for another relay, or its options lack this name")
    if claim.nonce != nonce:
        raise LoginRefused(RefusalCode.NOT_AUTHENTIC, "the login answers another challenge")
    try:
        verify_signature(login.identity_key, SIGN_LOGIN, login.claim, login.signature)
    except NotAuthentic as error:
        raise LoginRefused(RefusalCode.NOT_AUTHENTIC, "the signature of the login does not verify") from error
    except RatchetError as error:
        raise LoginRefused(RefusalCode.MALFORMED, "the identity key has no form") from error
    return claim


def entering(connection: Connection, *, open_registration: bool, identity_change: IdentityChange) -> Run:
    """The step that lets a connection in whose login was checked, or closes it."""
    return partial(_enter, connection, open_registration, identity_change)


def _enter(
    connection: Connection,
    open_registration: bool,  # noqa: FBT001 - bound by name above
    identity_change: IdentityChange,
    plan: Plan,
    unit: RelayUnit,
) -> None:
    claim = connection.claim
    if claim is None:
        return
    try:
        user = _bind(plan, unit, claim, connection.identity_key, open_registration, identity_change)
        state = _register(plan, unit, claim, user)
    except LoginRefused as refused:
        plan.outputs.append(Close(connection, closing(refused.code, refused.explanation)))
        return
    _welcome(plan, unit, connection, claim, user, state)


def _bind(
    plan: Plan,
    unit: RelayUnit,
    claim: Claim,
    identity_key: bytes,
    open_registration: bool,  # noqa: FBT001 - as above
    identity_change: IdentityChange,
) -> User:
    """Find the user, or bind the id to the key that the login proved."""
    user = unit.users.find(claim.user_id)
    if user is None:
        if not open_registration:
            raise LoginRefused(RefusalCode.NOT_AUTHORIZED, "this relay takes no new users")
        if _came_back(unit, claim):
            raise LoginRefused(RefusalCode.NOT_AUTHORIZED, "the account was deleted")
        unit.users.register(claim.user_id, identity_key)
        plan.notices.append(UserNotice(claim.user_id, exists=True))
    elif user.identity_key != identity_key:
        if identity_change is not IdentityChange.REPLACE:
            raise LoginRefused(RefusalCode.IDENTITY_TAKEN, "the user id has another identity key")
        for device in unit.users.replace_identity(claim.user_id, identity_key):
            plan.gone[device.key] = RefusalCode.IDENTITY_TAKEN
            _supersede(plan, device.key)
        plan.lists_changed()
    else:
        return user
    user = unit.users.find(claim.user_id)
    if user is None or user.identity_key != identity_key:  # another worker bound it in between
        raise LoginRefused(RefusalCode.IDENTITY_TAKEN, "the user id has another identity key")
    return user


def _came_back(unit: RelayUnit, claim: Claim, since: float = 0.0) -> bool:
    """Whether a device was removed here and comes back with the store that it had (R4.19).

    Whoever wants the device, or the account, gives it a new one.
    """
    return claim.upload_number > 0 and unit.devices.was_removed(claim.user_id, claim.device_id, since=since)


def _register(plan: Plan, unit: RelayUnit, claim: Claim, user: User) -> DeviceState:
    """Find the device, or add it; under a new registration id it starts anew."""
    known = unit.devices.find(claim.user_id, claim.device_id)
    if known is None and _came_back(unit, claim, user.created_at):
        raise LoginRefused(RefusalCode.NOT_AUTHORIZED, "another device of the user has removed this one")
    if known is None or known.device.user_key != user.key or known.device.registration_id != claim.registration_id:
        unit.exclusive()  # the count below must still hold at the commit
        others = {device.device_id for device in unit.users.devices(user)} - {claim.device_id}
        if len(others) >= DEVICES_PER_USER_MAX:
            raise LoginRefused(RefusalCode.NOT_AUTHORIZED, f"a user has at most {DEVICES_PER_USER_MAX} devices")
        unit.devices.register(user, claim.device_id, claim.registration_id)
        plan.lists_changed()
        known = unit.devices.find(claim.user_id, claim.device_id)
    if known is None:
        raise LoginRefused(RefusalCode.UNAVAILABLE, "the device was removed just now")
    return known


def _welcome(plan: Plan, unit: RelayUnit, connection: Connection, claim: Claim, user: User, state: DeviceState) -> None:
    device, counters = state.device, state.counters
    # What an earlier connection of the device has submitted in this very batch counts too.
    submitted = max((n for key, n in plan.numbers if key == device.key), default=0)
    submitted = max(submitted, counters.submission_number)
    number = unit.devices.connect(device.key)
    if number is None:
        plan.outputs.append(Close(connection, closing(RefusalCode.UNAVAILABLE, "the device was removed just now")))
        return
    start = counters.delivery_number
    # The claim acknowledges nothing (R4.17): if this relay has lost data, its mailboxes count anew, and a number of
    # before would swallow mail that nobody has seen. What the client has already comes once more.
    stock = unit.prekeys.stock(device.key)
    session = Session(
        device,
        user.identity_key,
        number,
        range(claim.submission_number + 1, submitted + 1),
        range(claim.upload_number + 1, counters.upload_number + 1),
    )
    registered = any(one.key == device.key for one in plan.listed(unit, claim.user_id))
    _supersede(plan, device.key)
    plan.entered[device.key] = Entered(connection, session, start, submitted, registered)
    plan.reply(
        connection,
        Welcome(
            number,
            submitted,
            start,
            counters.upload_number,
            stock.ec,
            stock.kem,
            int(unit.now * 1000),
        ),
    )
    plan.touched.add(device.key)


def _supersede(plan: Plan, device: DeviceKey) -> None:
    """Let a login of the same batch count for nothing: a later one has taken its place."""
    before = plan.entered.pop(device, None)
    if before is not None:
        plan.replaced.append(before.connection)
