"""One frame of every kind and of its main forms, and one event of every kind: what decoders are begun with."""

from __future__ import annotations

from typing import Final

from e2ee import events, frames
from e2ee.errors import RefusalCode
from e2ee.ids import GroupId, MessageId, UserId
from e2ee.wire import encode_frame

__all__ = ["FROM_CLIENT", "FROM_RELAY", "client_frames", "every_event", "relay_frames"]

KEY: Final = b"\x05" + bytes(32)
KEM: Final = b"\x08" + bytes(1568)
SIGNATURE: Final = bytes(64)
ID: Final = bytes(range(16))
GROUP: Final = bytes(range(32))
SIGNED: Final = frames.SignedPreKey(1, KEY, SIGNATURE)
KEM_PREKEY: Final = frames.KemPreKey(2, KEM, SIGNATURE)
ONE_TIME: Final = frames.OneTimePreKey(3, KEY)
DEVICE: Final = frames.DeviceRef(1, 16383)
ENVELOPE: Final = frames.EnvelopeFor(1, ID, frames.EnvelopeKind.PREKEY, b"ciphertext")
MEMBER: Final = frames.MemberDevices("bob", (DEVICE, frames.DeviceRef(2, 1)))

FROM_CLIENT: Final[tuple[frames.ClientFrame, ...]] = (
    frames.Login(b"claim", KEY, SIGNATURE, b"token", ("one", "two")),
    frames.Acknowledge(2**63 - 1),
    frames.Ping(0, 2**32 - 1),
    frames.UploadPreKeys(0, 1, 7, True, SIGNED, KEM_PREKEY, (ONE_TIME, ONE_TIME), ()),  # noqa: FBT003 - its fields
    frames.UploadPreKeys(0, 1, 7, False, None, None, (), ()),  # noqa: FBT003
    frames.GetBundles(5, 1, ID, (frames.WantedDevices("bob", None), frames.WantedDevices("carol", (1, 127)))),
    frames.Submit(5, 1, "bob", (DEVICE,), (frames.Submission(9, (ENVELOPE,)), frames.Submission(10, (ENVELOPE,)))),
    frames.RemoveDevice(5, 1, 3),
    frames.DeleteAccount(5, 1),
    frames.ReplaceIdentity(5, 1, b"claim", KEY, SIGNATURE),
    frames.ListDevices(5, 1),
    frames.AppendEntry(5, 1, b"entry"),
    frames.GetGroupLog(5, 1, GROUP, None, 3),
    frames.GetGroupLog(5, 1, None, "team", 0),
    frames.GetGroupDevices(5, 1, GROUP),
    frames.SubmitGroup(5, 1, GROUP, 3, 7, bytes(32), (frames.GroupSubmission(9, ID, b"body"),)),
    frames.Subscribe(5, 1, "news.*"),
    frames.Unsubscribe(5, 1, "news"),
    frames.Publish(5, 1, "news", b"data"),
    frames.WatchUsers(5, 1, True),  # noqa: FBT003
)
FROM_RELAY: Final[tuple[frames.RelayFrame, ...]] = (
    frames.Challenge((1,), bytes(32), ("groups",)),
    frames.Welcome(1, 0, 0, 0, 5, 6, 7),
    frames.Pong(1),
    frames.Uploaded(1, 100, 99),
    frames.Bundles(1, (frames.UserBundles("bob", KEY, (frames.DeviceBundle(1, 2, SIGNED, KEM_PREKEY, ONE_TIME),)),)),
    frames.Bundles(1, (frames.UserBundles("nobody", None, ()),)),
    frames.Submitted(1, ((frames.Outcome.STORED, frames.Outcome.FULL), ()), None, None, None),
    frames.Submitted(1, (), RefusalCode.DEVICES_CHANGED, frames.DeviceChange((DEVICE,), (2, 3)), None),
    frames.Submitted(1, (), RefusalCode.RATE_LIMITED, None, 1500),
    frames.Removed(1),
    frames.AccountDeleted(1),
    frames.IdentityReplaced(1),
    frames.DeviceList(1, (DEVICE, DEVICE)),
    frames.Deliver((frames.Delivery(8, "alice", 1, ID, frames.EnvelopeKind.SIGNAL, b"x", 1_700_000_000_000),)),
    frames.Drained(8),
    frames.LowPreKeys(19, 3),
    frames.RefusedRequest(1, RefusalCode.UNAVAILABLE, None),
    frames.Closing(RefusalCode.SHUTTING_DOWN, "the relay restarts", 2_000),
    frames.GroupLog(1, GROUP, 3, RefusalCode.GROUP_CHANGED, (b"entry", b"entry"), None),
    frames.GroupDevices(1, None, 3, 7, (MEMBER,)),
    frames.GroupSubmitted(
        1, 2, (frames.GroupMiss(0, "bob", 1, frames.Outcome.FULL),), RefusalCode.DEVICES_CHANGED, (), (MEMBER,), 9
    ),
    frames.Done(1),
    frames.Published("news", "bob", 1, b"data"),
    frames.UserNotices((frames.UserNotice("bob", True), frames.UserNotice("carol", False))),  # noqa: FBT003
)


def client_frames() -> list[bytes]:
    """Every frame of a client, encoded."""
    return [encode_frame(frame) for frame in FROM_CLIENT]


def relay_frames() -> list[bytes]:
    """Every frame of a relay, encoded."""
    return [encode_frame(frame) for frame in FROM_RELAY]


def every_event() -> list[events.DurableEvent]:
    """One event of every kind that waits in an inbox."""
    bob, carol, message = UserId("bob"), UserId("carol"), MessageId("00" * 16)
    group, name = GroupId("00" * 32), "team"
    sent = {"message_id": message, "sent_at_ms": 2, "text": "hi", "data": b"hi"}
    heard = {**sent, "sender": bob, "sender_device": 1, "conversation_number": 1, "late": True}
    about = {"group": group, "name": name}
    made: list[events.DurableEvent] = [
        events.DirectMessage(**heard),  # type: ignore[arg-type]
        events.GroupMessage(**about, **heard),  # type: ignore[arg-type]
        events.OwnMessage(recipient=bob, own_device=2, **sent),  # type: ignore[arg-type]
        events.OwnRead(sender=bob, own_device=2, message_ids=(message,)),
        events.MessageState(
            message_id=message, recipient=bob, state=events.DeliveryState.HELD, reason="r", group=group
        ),
        events.IdentityChanged(
            user=bob, on_record=KEY, shown=KEY, adopted=False, on_record_number="1", shown_number="2"
        ),
        events.MessageLost(sender=bob, sender_device=1, reason="r", count=2, correlations=("c",)),
        events.MessageHealed(sender=bob, sender_device=1, message_id=message, correlations=("c",)),
        events.MessagesMissing(sender=bob, sender_device=1, numbers=((1, 2),), group=group),
        events.DeliveryQuarantined(sender=bob, sender_device=1, cause="c"),
        events.GroupCreated(group=group, name=name),
        *(
            kind(group=group, name=name, by=bob)
            for kind in (events.GroupDeleted, events.GroupClosed, events.GroupInvitation, events.GroupLeft)
        ),
        events.GroupJoined(group=group, name=name, members=(bob, carol)),
        events.GroupMemberJoined(group=group, name=name, user=bob),
        events.GroupMemberLeft(group=group, name=name, user=bob, by=carol),
        events.GroupMemberRekeyed(group=group, name=name, user=bob, by=carol),
        events.GroupRoleChanged(group=group, name=name, user=bob, by=carol, admin=True),
        events.GroupOperationFailed(group=group, name=name, operation="join", reason="r"),
        events.GroupForked(group=group, name=name, log_number=3, ours=b"o", theirs=b"t"),
    ]
    return made
