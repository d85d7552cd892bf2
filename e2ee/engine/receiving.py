"""Opening deliveries: each ends as opened, duplicate, pending or refused, in the step that acknowledges it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from e2ee.content import Content, ContentKind, decode_content, decode_read_copy
from e2ee.errors import MalformedFrame
from e2ee.events import (
    DeliveryRefused,
    DirectMessage,
    HandshakeWithoutOneTimeKey,
    MessageLost,
    MessagePending,
    OwnMessage,
    OwnRead,
    UnknownContent,
)
from e2ee.frames import Delivery, EnvelopeKind
from e2ee.ids import MessageId, UserId
from e2ee.trust import Decision, Direction, IdentityChange, IdentityPolicy, Verdict, decide
from ratchet import (
    Ciphertext,
    CiphertextKind,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    Session,
    TooFarAhead,
    UnknownPreKey,
    UnsupportedVersion,
)
from ratchet.messages import PreKeyMessage
from store import Received, seen_envelope, seen_message

from .contents import unpadded_content
from .identities import judge_identity, shows
from .receipts import due, take_receipt
from .step import Step, address, conversation_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratchet import IdentityKeyPair
    from ratchet.prekeys import KemPreKey, OneTimePreKey, PreKeySource, PreKeyUse, SignedPreKey

__all__ = ["Ending", "open_delivery", "reopen", "take_numbers"]

GAPS_KEPT_MAX: Final = 200  # runs of missing numbers of one device; the oldest are forgotten


class Ending(Enum):
    """How a delivery ended."""

    OPENED = "opened"
    DUPLICATE = "duplicate"
    PENDING = "pending"
    REFUSED = "refused"


class _IdentityHeld(Exception):
    """The message is authentic, under an identity key that somebody has to decide about."""


class _Trial:
    """A prekey source that forgets nothing: to see whether a first message is authentic, before anything counts."""

    def __init__(self, source: PreKeySource) -> None:
        self._source = source
        self.signed_prekey: Callable[[int], SignedPreKey] = source.signed_prekey
        self.one_time_prekey: Callable[[int], OneTimePreKey] = source.one_time_prekey
        self.kem_prekey: Callable[[int], KemPreKey] = source.kem_prekey
        self.base_key_used: Callable[[PreKeyUse], bool] = source.base_key_used

    @property
    def identity(self) -> IdentityKeyPair:
        """The account's."""
        return self._source.identity

    @property
    def registration_id(self) -> int:
        """The account's."""
        return self._source.registration_id

    def consume(self, use: PreKeyUse) -> None:
        """Keep what was used."""


def open_delivery(step: Step, delivery: Delivery) -> Ending:
    """Deal with one delivery. What it raises is a bug of ours, or the store's error; nothing of it is then kept."""
    key = seen_envelope(delivery.sender_user_id, delivery.sender_device_id, delivery.envelope_id)
    if key in step.seen:
        return Ending.DUPLICATE
    unwanted = _unwanted(step, delivery)
    if unwanted is not None:
        return unwanted
    try:
        plaintext = _decrypt(step, delivery)
    except MessageKeyGone:
        return Ending.DUPLICATE
    except (MalformedMessage, UnsupportedVersion) as cause:
        return _refuse(step, delivery, str(cause))
    except (_IdentityHeld, NotAuthentic, TooFarAhead, UnknownPreKey, NoActiveSession) as cause:
        return _park(step, delivery, str(cause))
    _add_seen(step, key)
    return _take(step, delivery, plaintext)


def _unwanted(step: Step, delivery: Delivery) -> Ending | None:
    """Refuse what is not opened at all."""
    if step.blocked is None:
        step.blocked = step.unit.blocked.all()
    if delivery.sender_user_id in step.blocked:
        return Ending.REFUSED
    if (delivery.sender_user_id, delivery.sender_device_id) == (step.user_id, step.account.device_id):
        return _refuse(step, delivery, "sent by this very device")
    if delivery.kind not in (EnvelopeKind.SIGNAL, EnvelopeKind.PREKEY):
        return _refuse(step, delivery, "an envelope of a group that is not known here")
    return None


def reopen(step: Step, user_id: str) -> None:
    """Try again what waits of a user's devices, in the order of arrival: an identity was decided about."""
    for device_id in range(1, 128):
        for message in step.unit.pending.from_device(user_id, device_id):
            step.unit.pending.take_out(message)
            kind = EnvelopeKind(message.kind)
            open_delivery(step, Delivery(0, user_id, device_id, message.envelope_id, kind, message.ciphertext, 0))


# Endings.


def _refuse(step: Step, delivery: Delivery, reason: str) -> Ending:
    step.tell(DeliveryRefused(UserId(delivery.sender_user_id), delivery.sender_device_id, reason))
    return Ending.REFUSED


def _park(step: Step, delivery: Delivery, reason: str) -> Ending:
    """Keep what does not open. Nothing of it is authentic: it changes no session."""
    sender, device = delivery.sender_user_id, delivery.sender_device_id
    if any(one.envelope_id == delivery.envelope_id for one in step.unit.pending.from_device(sender, device)):
        return Ending.PENDING  # delivered again before the acknowledgement arrived
    lost = step.unit.pending.add(sender, device, delivery.envelope_id, int(delivery.kind), delivery.body, reason=reason)
    step.tell(MessagePending(UserId(sender), device, delivery.envelope_id, reason))
    for one in lost:
        step.keep(MessageLost(sender=UserId(one.user_id), sender_device=one.device_id, reason=one.reason))
    return Ending.PENDING


def _add_seen(step: Step, key: bytes) -> None:
    step.unit.seen.add(key)
    step.seen.add(key)


# Opening.


def _decrypt(step: Step, delivery: Delivery) -> bytes:
    sender, device = delivery.sender_user_id, delivery.sender_device_id
    ciphertext = Ciphertext(CiphertextKind(delivery.kind), delivery.body)
    session = step.sessions.get(sender, device)
    if ciphertext.kind is CiphertextKind.SIGNAL:
        if session is None:
            raise NoActiveSession("there is no session with this device")
        verdict = judge_identity(step, sender, session.remote_identity_key, Direction.RECEIVING)
        if verdict is not Verdict.USE:
            raise _IdentityHeld(verdict.value)
    else:
        session = _judged(step, delivery, ciphertext, session)
    if session is None:
        return _accept(step, delivery, ciphertext)
    plaintext = session.decrypt(step.unit.prekeys, ciphertext, now=step.now, entropy=step.entropy)
    step.sessions.put(sender, device, session)
    if ciphertext.kind is CiphertextKind.PREKEY:
        _learn_device(step, sender, device, session.remote_registration_id)
    return plaintext


def _judged(step: Step, delivery: Delivery, ciphertext: Ciphertext, session: Session | None) -> Session | None:
    """The session that a first message may open on, if its sender's identity may be used; None: a new one.

    Raises _IdentityHeld, but only for a message that has proved its identity key: a relay that makes one
    up changes nothing. Raises NotAuthentic for another identity key of our own user.
    """
    sender, device = delivery.sender_user_id, delivery.sender_device_id
    shown = PreKeyMessage.parse(ciphertext.body).identity_key
    verdict = judge_identity(step, sender, shown, Direction.RECEIVING)
    if sender == step.user_id and verdict is not Verdict.USE:
        raise NotAuthentic("a device of our own user has another identity key")
    if verdict is Verdict.USE or _welcome(step, sender, shown):
        return session
    Session.accept(
        _Trial(step.unit.prekeys),
        ciphertext,
        local=step.local,
        remote=address(sender, device),
        now=step.now,
        entropy=step.entropy,
    )
    verdict = shows(step, sender, shown, Direction.RECEIVING)
    if verdict is Verdict.USE:
        return None
    raise _IdentityHeld(verdict.value)


def _welcome(step: Step, user_id: str, shown: bytes) -> bool:
    """Whether the policy takes any stranger: then one accepting of the message is proof and opening at once."""
    policy = step.policies.receiving
    if not isinstance(policy, IdentityPolicy) or step.unit.identities.current(user_id) is not None:
        return False
    change = IdentityChange(
        user=UserId(user_id), on_record=None, verified=False, shown=shown, direction=Direction.RECEIVING
    )
    return decide(policy, change) is Decision.TRUST


def _accept(step: Step, delivery: Delivery, ciphertext: Ciphertext) -> bytes:
    sender, device = delivery.sender_user_id, delivery.sender_device_id
    session, plaintext = Session.accept(
        step.unit.prekeys,
        ciphertext,
        local=step.local,
        remote=address(sender, device),
        now=step.now,
        entropy=step.entropy,
    )
    if sender != step.user_id:
        shows(step, sender, session.remote_identity_key, Direction.RECEIVING)
    step.sessions.put(sender, device, session)
    _learn_device(step, sender, device, session.remote_registration_id)
    if not session.one_time_prekey_used:
        step.memory.stock.look_at = 0.0  # the long-lived keys may have opened all they may
        step.tell(HandshakeWithoutOneTimeKey(UserId(sender), device))
    return plaintext


def _learn_device(step: Step, user_id: str, device_id: int, registration_id: int) -> None:
    """A device that has proved the identity on record belongs to the user, whatever the relay's list says."""
    known = {device.device_id: device.registration_id for device in step.unit.devices.of(user_id)}
    if known and known.get(device_id) != registration_id:
        # Only into a list that the relay has told before: else the first send would miss the user's other devices.
        step.unit.devices.put(user_id, device_id, registration_id)
    if user_id == step.user_id and not known:
        step.memory.own_devices_at = None  # we are not alone: ask before the next copy


# What was inside.


def _take(step: Step, delivery: Delivery, plaintext: bytes) -> Ending:
    """Take an authentic message. Its ratchet has moved on and its envelope is remembered, whatever is in it."""
    try:
        content = decode_content(plaintext)
        _compare(step, delivery, content)
    except MalformedFrame as cause:
        return _refuse(step, delivery, str(cause))
    key = seen_message(content.sender_user_id, content.message_id)
    if key in step.seen or step.unit.seen.known([key]):
        return Ending.DUPLICATE  # another ciphertext of a message that we have
    _add_seen(step, key)
    if content.kind in (ContentKind.TEXT, ContentKind.DATA):
        _take_message(step, content)
    elif content.kind == ContentKind.RECEIPT:
        return _take_receipt(step, delivery, content)
    elif content.kind == ContentKind.SENT_COPY:
        _take_copy(step, content)
    elif content.kind == ContentKind.READ_COPY:
        return _take_read_copy(step, delivery, content)
    else:
        step.tell(UnknownContent(UserId(content.sender_user_id), content.sender_device_id, content.kind))
    return Ending.OPENED


def _compare(step: Step, delivery: Delivery, content: Content) -> None:
    """Raise MalformedFrame unless the content belongs to its envelope, and so to the session that opened it."""
    if (content.sender_user_id, content.sender_device_id) != (delivery.sender_user_id, delivery.sender_device_id):
        raise MalformedFrame("the content names another sender than the envelope")
    if content.destination.user_id != step.user_id:
        raise MalformedFrame("the content is for somebody else")
    if content.kind == ContentKind.SENT_COPY:
        copy = unpadded_content(content.body)
        if content.sender_user_id != step.user_id or copy.sender_user_id != step.user_id:
            raise MalformedFrame("a copy comes from our own devices only")
        if copy.destination.user_id is None or copy.kind not in (ContentKind.TEXT, ContentKind.DATA):
            raise MalformedFrame("a copy of something that is not copied")


def _take_message(step: Step, content: Content) -> None:
    sender, device = UserId(content.sender_user_id), content.sender_device_id
    conversation = conversation_with(sender)
    before = step.unit.conversations.received(conversation, sender, device)
    after = take_numbers(before, content.conversation_number, step.now)
    step.unit.conversations.save_received(conversation, sender, device, after)
    step.keep(
        DirectMessage(
            sender=sender,
            sender_device=device,
            message_id=MessageId(content.message_id.hex()),
            conversation_number=content.conversation_number,
            sent_at_ms=content.time_ms,
            text=content.body.decode() if content.kind == ContentKind.TEXT else None,
            data=content.body,
            late=content.conversation_number < before.highest,
        )
    )
    if step.options.receipts and sender != step.user_id:
        due(step, sender, device, content.conversation_number, "delivered")


def take_numbers(before: Received, number: int, now: float) -> Received:
    """Note that a conversation number has arrived. What came before the first that we saw is not missing."""
    gaps = list(before.gaps)
    if number > before.highest:
        if before.highest and number > before.highest + 1:
            gaps.append((before.highest + 1, number - 1))
        before = replace(before, highest=number)
    else:
        halves = [
            half for first, last in gaps for half in ((first, min(last, number - 1)), (max(first, number + 1), last))
        ]
        gaps = [half for half in halves if half[0] <= half[1]]
    gaps = gaps[-GAPS_KEPT_MAX:]
    since = None if not gaps else before.gaps_since if before.gaps_since is not None else now
    return Received(before.highest, tuple(gaps), since)


def _take_receipt(step: Step, delivery: Delivery, content: Content) -> Ending:
    try:
        take_receipt(step, content)
    except MalformedFrame as cause:
        return _refuse(step, delivery, str(cause))
    return Ending.OPENED


def _take_read_copy(step: Step, delivery: Delivery, content: Content) -> Ending:
    if content.sender_user_id != step.user_id:
        return _refuse(step, delivery, "a copy comes from our own devices only")
    try:
        copy = decode_read_copy(content.body)
    except MalformedFrame as cause:
        return _refuse(step, delivery, str(cause))
    ids = tuple(MessageId(one.hex()) for one in copy.message_ids)
    step.keep(OwnRead(sender=UserId(copy.sender_user_id), own_device=content.sender_device_id, message_ids=ids))
    return Ending.OPENED


def _take_copy(step: Step, content: Content) -> None:
    copy = unpadded_content(content.body)
    recipient = copy.destination.user_id
    if recipient is None:
        return
    step.keep(
        OwnMessage(
            recipient=UserId(recipient),
            own_device=content.sender_device_id,
            message_id=MessageId(copy.message_id.hex()),
            sent_at_ms=copy.time_ms,
            text=copy.body.decode() if copy.kind == ContentKind.TEXT else None,
            data=copy.body,
        )
    )
