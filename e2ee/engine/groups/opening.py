"""Opening group messages: whose chain it is, whether its sender was a member, whether we know the same log.

A sender key says nothing of group or sender: both are bound here. A chain is kept for the one device, the one
identity key and the one group that it was given for in a pairwise session; what opens on it must name the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.content import ContentKind, decode_content
from e2ee.diagnostics import Reason
from e2ee.engine.identities import judge_identity
from e2ee.engine.numbers import note_number
from e2ee.errors import MalformedFrame
from e2ee.events import GroupMessage, UnknownContent
from e2ee.frames import EnvelopeKind
from e2ee.ids import MessageId, UserId
from e2ee.limits import GROUP_ID_SIZE
from e2ee.trust import Direction, Verdict
from ratchet import MessageKeyGone, UnknownSenderKey
from ratchet.messages import SenderKeyMessage
from store import seen_message

from .chains import ask_for, identity_of, key_name, log_name, member_name
from .lane import group_lane
from .log import Standing, expect
from .receipts import due_in_group
from .state import epoch_at, membership, membership_at, was_member
from .wanted import want_log

if TYPE_CHECKING:
    from e2ee.content import Content
    from e2ee.engine.step import Step
    from e2ee.frames import Delivery
    from e2ee.groups import Membership
    from store import LoadedPeerSenderKey, PendingMessage

__all__ = [
    "GroupWaits",
    "NotOurGroup",
    "NotWaitedFor",
    "SentBeforeKey",
    "group_mail_of",
    "open_group_message",
    "take_group_message",
]


class GroupWaits(Exception):
    """The message cannot be judged yet: it waits for what *name* stands for."""

    def __init__(self, reason: Reason, name: bytes) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.name = name


class NotWaitedFor(MalformedFrame):
    """Nothing waits here that the message takes the place of."""


class SentBeforeKey(Exception):
    """The message is its sender's, and came after a key that begins later: no key that opens it has ever been here."""


class NotOurGroup(Exception):
    """The message is of a group that is not known here."""


def open_group_message(step: Step, delivery: Delivery) -> Content:
    """Open a delivery of kind SENDER_KEY, and judge what is in it. Whatever is raised, no chain has moved.

    Raises GroupWaits; SentBeforeKey; MessageKeyGone for a duplicate; and for what is refused MalformedFrame,
    MalformedMessage, UnsupportedVersion, NotAuthentic, TooFarAhead or NotOurGroup.
    """
    group_id, body = delivery.body[:GROUP_ID_SIZE], delivery.body[GROUP_ID_SIZE:]
    message = SenderKeyMessage.parse(body)
    sender, device = delivery.sender_user_id, delivery.sender_device_id
    group = membership(step, group_id)
    if group is None:
        # Another device of ours may be in it: then the relay lets us read its log.
        if not want_log(step, group_id):
            raise NotOurGroup
        raise GroupWaits(Reason.LOG_BEHIND, log_name(group_id))
    identity_key = identity_of(step, sender)
    name = key_name(group_id, sender, device, message.distribution_id, message.chain_id)
    if identity_key is None:
        if UserId(sender) in group.members:
            ask_for(step, name, group_id, sender, device, message.chain_id)  # which is how we meet
            raise GroupWaits(Reason.NO_SENDER_KEY, name)
        raise _of_a_stranger(step, group_id, sender)
    verdict = judge_identity(step, sender, identity_key, Direction.RECEIVING)
    if verdict is not Verdict.USE:
        raise GroupWaits(Reason.of(verdict.value), name)
    loaded = step.unit.sender_keys.load_peer(sender, device, message.distribution_id)
    if loaded is not None and loaded.group_id != group_id:
        raise MalformedFrame("the sender key is another group's")
    if loaded is None or message.chain_id not in loaded.key.chain_ids:
        if step.unit.erased_chains.contains(sender, device, message.distribution_id, message.chain_id):
            raise MessageKeyGone("the chain was erased: whatever is of it came before")
        if not group.is_member(sender, identity_key):
            raise _of_a_stranger(step, group_id, sender)
        raise _of_a_member(step, group, delivery, name, message.chain_id)
    return _decrypted(step, delivery, loaded, body, identity_key)


def _of_a_member(step: Step, group: Membership, delivery: Delivery, name: bytes, chain_id: int) -> GroupWaits:
    """The chain is not here: it is asked for; in a group that is over nobody has one in use, and the message is."""
    if group.deleted:
        step.memory.groups.pass_over(name)
    else:
        ask_for(step, name, group.group_id, delivery.sender_user_id, delivery.sender_device_id, chain_id)
    return GroupWaits(Reason.NO_SENDER_KEY, name)


def _of_a_stranger(step: Step, group_id: bytes, sender: str) -> GroupWaits:
    """The relay let the sender in: it lies, or our log is behind (a restored store, an entry that was held back).

    The chain may have come already, and was not taken: it is asked for when an entry makes the sender a member.
    """
    want_log(step, group_id)
    step.memory.groups.look_again(group_id)
    return GroupWaits(Reason.NO_SENDER_KEY, member_name(group_id, sender))


def _decrypted(
    step: Step, delivery: Delivery, loaded: LoadedPeerSenderKey, body: bytes, identity_key: bytes
) -> Content:
    """Decrypt and judge; only then does the chain move on."""
    try:
        plaintext = loaded.key.decrypt(body)
    except UnknownSenderKey as cause:
        raise MessageKeyGone("the chain is gone") from cause
    except MessageKeyGone:
        message = SenderKeyMessage.parse(body)
        if message.iteration < loaded.key.first_iteration(message.chain_id):
            raise SentBeforeKey from None
        raise
    try:
        content = decode_content(plaintext)
        _compare(step, delivery, content, loaded.group_id, identity_key)
    except MalformedFrame:
        # It is the sender's own: its key is used up, so that it is not judged again and again.
        step.unit.sender_keys.save_peer(loaded)
        raise
    step.unit.sender_keys.save_peer(loaded)
    return content


def _compare(step: Step, delivery: Delivery, content: Content, group_id: bytes, identity_key: bytes) -> None:
    """Raise MalformedFrame unless the content belongs to its envelope and to the log; GroupWaits if it is ahead."""
    if (content.sender_user_id, content.sender_device_id) != (delivery.sender_user_id, delivery.sender_device_id):
        raise MalformedFrame("the content names another sender than the envelope")
    if content.destination.group_id != group_id:
        raise MalformedFrame("the content is for another group")
    _compare_log(step, content, group_id, identity_key)


def _compare_log(step: Step, content: Content, group_id: bytes, identity_key: bytes) -> None:
    """Raise MalformedFrame unless the sender was a member when it wrote; GroupWaits if we cannot say yet."""
    destination = content.destination
    now = membership(step, group_id)
    is_member = now is not None and now.is_member(content.sender_user_id, identity_key)
    if now is not None and not is_member and destination.group_number <= now.number:
        # Whoever has left says nothing any more about the log: else they could stop the group by naming another.
        then = membership_at(step, group_id, destination.group_number)
        if then is None or then.hash != destination.group_hash:
            raise MalformedFrame("the sender is no member, and names another log")
    match expect(step, group_id, destination.group_number, destination.group_hash):
        case Standing.AHEAD:
            raise GroupWaits(Reason.LOG_BEHIND, log_name(group_id))
        case Standing.FORKED:
            raise GroupWaits(Reason.LOG_FORKED, log_name(group_id))
        case Standing.KNOWN:
            pass
    if epoch_at(step, group_id, destination.group_number) != destination.group_epoch:
        raise MalformedFrame("the content names another epoch than the log has")
    if not was_member(step, group_id, destination.group_number, content.sender_user_id, identity_key):
        raise MalformedFrame("the sender was no member under this identity key")


def compare_resent(step: Step, content: Content) -> None:
    """Judge a message to a group that its sender sent again, pairwise.

    It must stand for an envelope that has come to all of the group and did not open here: else a member could tell
    each of the others something else, and who has left could go on. Raises NotWaitedFor, MalformedFrame; GroupWaits
    if it is ahead of our log: what it takes the place of then waits for that.
    """
    group_id = content.destination.group_id
    identity_key = identity_of(step, content.sender_user_id)
    if group_id is None or identity_key is None:
        raise MalformedFrame("no message to a group from a user without an identity key")
    waiting = [row for row in group_mail_of(step, content) if row.envelope_id in content.answers]
    key = seen_message(content.sender_user_id, content.message_id)
    if not waiting and not step.is_seen(key):
        raise NotWaitedFor("a message to a group comes by itself only if it was asked for")
    if content.kind not in (ContentKind.TEXT, ContentKind.DATA) or membership(step, group_id) is None:
        raise MalformedFrame("no message of a group that is known here")
    try:
        _compare_log(step, content, group_id, identity_key)
    except GroupWaits as cause:
        for row in waiting:
            step.unit.pending.wait_for(row, cause.name, cause.reason.value)
        raise


def group_mail_of(step: Step, content: Content) -> list[PendingMessage]:
    """What waits to be opened of the group and of the device that *content* names."""
    rows = step.unit.pending.from_device(content.sender_user_id, content.sender_device_id)
    group_id = content.destination.group_id
    return [one for one in rows if one.kind == EnvelopeKind.SENDER_KEY and one.ciphertext[:GROUP_ID_SIZE] == group_id]


def take_group_message(step: Step, content: Content) -> None:
    """Take an authentic message that nobody has seen before."""
    sender, device = UserId(content.sender_user_id), content.sender_device_id
    group_id = content.destination.group_id
    group = None if group_id is None else membership(step, group_id)
    if group_id is None or group is None:
        return
    if content.kind not in (ContentKind.TEXT, ContentKind.DATA):
        step.tell(UnknownContent(sender, device, content.kind))
        return
    late = note_number(step, group_lane(group_id).encode(), content)
    step.keep(
        GroupMessage(
            group=group.id,
            name=group.name,
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
    due_in_group(step, group, sender, device, content.conversation_number)
