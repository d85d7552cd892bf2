"""Opening deliveries: each ends as opened, duplicate, pending or refused, in the step that acknowledges it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import Content, ContentKind, decode_content
from e2ee.diagnostics import Reason
from e2ee.errors import MalformedFrame
from e2ee.events import (
    DirectMessage,
    HandshakeWithoutOneTimeKey,
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
from store import seen_envelope, seen_message

from .contents import unpadded_content
from .copies import take_copy, take_read_copy
from .endings import Ending, add_seen, park, refuse
from .groups.chains import arrived, log_name, take_key, take_key_request
from .groups.distribution import take_key_ack
from .groups.log import take_delivered
from .groups.opening import (
    GroupWaits,
    NotOurGroup,
    NotWaitedFor,
    SentBeforeKey,
    compare_resent,
    open_group_message,
    take_group_message,
)
from .groups.receipts import take_any_receipt
from .healing import note_opened, note_parked
from .identities import judge_identity, shows
from .numbers import note_number
from .own_devices import take_new_device
from .peers import learn_device
from .receipts import due
from .relay_loss import confirm_again
from .retries import give_up_answers, take_answers, take_gone, take_retry_request, tell_healed
from .step import Step, address, conversation_with
from .trial import Trial
from .without_key import ask_for_the_message, ask_once, ask_those_who_have_left, delivered, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from store import PendingMessage

__all__ = ["Ending", "open_delivery", "reopen", "reopen_moved"]

_REFUSED: Final[dict[type[Exception], Reason]] = {
    MalformedMessage: Reason.MALFORMED,
    UnsupportedVersion: Reason.UNSUPPORTED_VERSION,
}
# What waits for its sender to send it again, and why.
_PARKED: Final[dict[type[Exception], Reason]] = {
    NotAuthentic: Reason.NOT_AUTHENTIC,
    TooFarAhead: Reason.TOO_FAR_AHEAD,
    UnknownPreKey: Reason.UNKNOWN_PREKEY,
    NoActiveSession: Reason.NO_SESSION,
}
# A chain that was given in a session opens what its sender made. What it does not is somebody else's work.
_REFUSED_IN_GROUPS: Final[dict[type[Exception], Reason]] = {
    **_REFUSED,
    MalformedFrame: Reason.CONTENT_MISMATCH,
    NotAuthentic: Reason.NOT_AUTHENTIC,
    TooFarAhead: Reason.TOO_FAR_AHEAD,
    NotOurGroup: Reason.UNKNOWN_GROUP,
}
# Each raises MalformedFrame for a body that is not in its form.
_CONTROL: Final[dict[ContentKind, Callable[[Step, Content], None]]] = {
    ContentKind.RECEIPT: take_any_receipt,
    ContentKind.RETRY_REQUEST: take_retry_request,
    ContentKind.GONE: take_gone,
    ContentKind.READ_COPY: take_read_copy,
    ContentKind.KEY_REQUEST: take_key_request,
    ContentKind.KEY_ACK: take_key_ack,
    ContentKind.NEW_DEVICE: take_new_device,
}


class _IdentityHeld(Exception):
    """The message is authentic, under an identity key that somebody has to decide about."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.value)
        self.reason = Reason.of(verdict.value)


def open_delivery(step: Step, delivery: Delivery) -> Ending:
    """Deal with one delivery. What it raises is a bug of ours, or the store's error; nothing of it is then kept."""
    ending = _open(step, delivery)
    step.tally.deliveries[ending.value] += 1
    return ending


def _open(step: Step, delivery: Delivery) -> Ending:
    key = seen_envelope(delivery.sender_user_id, delivery.sender_device_id, delivery.envelope_id)
    ended = _unwanted(step, delivery, key)
    if ended is None and delivery.kind is EnvelopeKind.SENDER_KEY:
        ended = _open_group_message(step, delivery, key)
    if ended is not None:
        return ended
    try:
        plaintext = _decrypt(step, delivery)
    except MessageKeyGone:
        # Not an envelope that we know: repeated under another id, altered, or made by a sender that went back in time.
        step.tally.trouble(step.now, Reason.KEY_USED, delivery.envelope_id)
        return Ending.DUPLICATE
    except tuple(_REFUSED) as cause:
        return refuse(step, delivery, _REFUSED[type(cause)])
    except tuple(_PARKED) as cause:
        note_parked(step, (delivery.sender_user_id, delivery.sender_device_id))
        return park(step, delivery, _PARKED[type(cause)])
    except _IdentityHeld as held:
        return park(step, delivery, held.reason)
    add_seen(step, key)
    return _take(step, delivery, plaintext)


def _open_group_message(step: Step, delivery: Delivery, key: bytes) -> Ending:
    try:
        content = open_group_message(step, delivery)
    except MessageKeyGone:
        return Ending.DUPLICATE
    except SentBeforeKey:
        return ask_once(step, delivery)
    except GroupWaits as cause:
        return wait(step, delivery, cause)
    except tuple(_REFUSED_IN_GROUPS) as cause:
        return refuse(step, delivery, _REFUSED_IN_GROUPS[type(cause)])
    add_seen(step, key)
    message_key = seen_message(content.sender_user_id, content.message_id)
    if step.is_seen(message_key):
        confirm_again(step, content)
        return Ending.DUPLICATE
    add_seen(step, message_key)
    take_group_message(step, content)
    return Ending.OPENED


def _unwanted(step: Step, delivery: Delivery, key: bytes) -> Ending | None:
    """What is not opened at all; an entry of a group's log proves itself, whoever sent it."""
    if delivery.kind is EnvelopeKind.GROUP_ENTRY:
        reason = take_delivered(step, delivery.body)
        return Ending.OPENED if reason is None else refuse(step, delivery, reason)
    if key in step.seen:
        return Ending.DUPLICATE
    if step.blocked is None:
        step.blocked = step.unit.blocked.all()
    if delivery.sender_user_id in step.blocked:
        return Ending.REFUSED
    if (delivery.sender_user_id, delivery.sender_device_id) == (step.user_id, step.account.device_id):
        return refuse(step, delivery, Reason.OWN_DEVICE)
    return None


def reopen(step: Step, user_id: str) -> None:
    """Try again what waits of a user's devices, in the order of arrival: an identity was decided about."""
    for device_id in range(1, 128):
        for message in step.unit.pending.from_device(user_id, device_id):
            _reopen(step, message)


def _reopen_waiting(step: Step, name: bytes) -> None:
    """Try again what waits for a sender key, or for a group's log: it has come, in this very step."""
    for message in step.unit.pending.waiting_for(name):
        _reopen(step, message)


def reopen_moved(step: Step) -> None:
    """Try again what waits for entries that have come in this step. What it brings on may be keys, not entries."""
    for group_id in list(step.moved_logs):  # what is opened may have a group forgotten, to make room
        for name in (log_name(group_id), *arrived(step, group_id)):
            _reopen_waiting(step, name)
    step.moved_logs.clear()
    ask_those_who_have_left(step)


def _reopen(step: Step, message: PendingMessage) -> None:
    delivery = delivered(step.unit.pending.take_out(message))
    if open_delivery(step, delivery) is Ending.DUPLICATE and delivery.kind is EnvelopeKind.SENDER_KEY:
        ask_for_the_message(step, delivery)


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
            raise _IdentityHeld(verdict)
    else:
        session = _judged(step, delivery, ciphertext, session)
    if session is None:
        return _accept(step, delivery, ciphertext)
    plaintext = session.decrypt(step.unit.prekeys, ciphertext, now=step.now, entropy=step.entropy)
    step.sessions.put(sender, device, session)
    note_opened(step, (sender, device), session)
    # A retired ratchet tells nothing new. One that works, of our own user: we may have been told that we are alone.
    if (ciphertext.kind is CiphertextKind.PREKEY or sender == step.user_id) and session.can_encrypt:
        learn_device(step, sender, device, session.remote_registration_id)
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
        Trial(step.unit.prekeys),
        ciphertext,
        local=step.local,
        remote=address(sender, device),
        now=step.now,
        entropy=step.entropy,
    )
    verdict = shows(step, sender, shown, Direction.RECEIVING, again=True)
    if verdict is Verdict.USE:
        return None
    raise _IdentityHeld(verdict)


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
    note_opened(step, (sender, device), session)
    learn_device(step, sender, device, session.remote_registration_id)
    if not session.one_time_prekey_used:
        step.memory.stock.look_at = 0.0  # the long-lived keys may have opened all they may
        step.tell(HandshakeWithoutOneTimeKey(UserId(sender), device))
    return plaintext


# What was inside.


def _take(step: Step, delivery: Delivery, plaintext: bytes) -> Ending:
    """Take an authentic message. Its ratchet has moved on and its envelope is remembered, whatever is in it."""
    content = _content_of(step, delivery, plaintext)
    if content is None:
        return Ending.REFUSED
    settled = take_answers(step, content)
    key = seen_message(content.sender_user_id, content.message_id)
    if step.is_seen(key):
        confirm_again(step, content)
        return Ending.DUPLICATE  # another ciphertext of a message that we have
    add_seen(step, key)
    if content.kind in (ContentKind.TEXT, ContentKind.DATA):
        _take_message(step, content) if content.destination.group_id is None else take_group_message(step, content)
        tell_healed(step, content, settled)
    elif content.kind in _CONTROL:
        try:
            _CONTROL[ContentKind(content.kind)](step, content)
        except MalformedFrame:
            return refuse(step, delivery, Reason.CONTENT_MISMATCH)
    elif content.kind == ContentKind.SENDER_KEY:
        return _take_key(step, delivery, content)
    elif content.kind == ContentKind.SENT_COPY:
        take_copy(step, content)
        tell_healed(step, content, settled)
    else:
        step.tell(UnknownContent(UserId(content.sender_user_id), content.sender_device_id, content.kind))
    return Ending.OPENED


def _content_of(step: Step, delivery: Delivery, plaintext: bytes) -> Content | None:
    """What was inside, if it belongs to its envelope; else None, and it is told why."""
    try:
        content = decode_content(plaintext)
    except MalformedFrame:
        refuse(step, delivery, Reason.CONTENT_MISMATCH)
        return None
    try:
        _compare(step, delivery, content)
    except GroupWaits as cause:
        refuse(step, delivery, cause.reason)  # what it takes the place of waits on
        return None
    except MalformedFrame as cause:
        if isinstance(cause, NotWaitedFor):
            give_up_answers(step, content)
        refuse(step, delivery, Reason.CONTENT_MISMATCH)
        return None
    return content


def _take_key(step: Step, delivery: Delivery, content: Content) -> Ending:
    try:
        taken = take_key(step, content)
    except MalformedFrame:
        return refuse(step, delivery, Reason.CONTENT_MISMATCH)
    for name in taken.opens:
        _reopen_waiting(step, name)
    for name in taken.passed_over:
        step.memory.groups.pass_over(name)
        for message in step.unit.pending.waiting_for(name):
            ask_for_the_message(step, delivered(step.unit.pending.take_out(message)))
    return Ending.OPENED


def _compare(step: Step, delivery: Delivery, content: Content) -> None:
    """Raise MalformedFrame unless the content belongs to its envelope, and so to the session that opened it.

    Raises GroupWaits for a message to a group that was sent again and is ahead of our log.
    """
    if (content.sender_user_id, content.sender_device_id) != (delivery.sender_user_id, delivery.sender_device_id):
        raise MalformedFrame("the content names another sender than the envelope")
    if content.destination.group_id is not None:
        compare_resent(step, content)
    elif content.destination.user_id != step.user_id:
        raise MalformedFrame("the content is for somebody else")
    if content.kind == ContentKind.SENT_COPY:
        copy = unpadded_content(content.body)
        if content.sender_user_id != step.user_id or copy.sender_user_id != step.user_id:
            raise MalformedFrame("a copy comes from our own devices only")
        if copy.destination.user_id is None or copy.kind not in (ContentKind.TEXT, ContentKind.DATA):
            raise MalformedFrame("a copy of something that is not copied")


def _take_message(step: Step, content: Content) -> None:
    sender, device = UserId(content.sender_user_id), content.sender_device_id
    late = note_number(step, conversation_with(sender), content)
    step.keep(
        DirectMessage(
            sender=sender,
            sender_device=device,
            message_id=MessageId(content.message_id.hex()),
            conversation_number=content.conversation_number,
            sent_at_ms=content.time_ms,
            text=content.body.decode() if content.kind == ContentKind.TEXT else None,
            data=content.body,
            late=late,
        )
    )
    if step.options.receipts and sender != step.user_id:
        due(step, sender, device, content.conversation_number, "delivered")
