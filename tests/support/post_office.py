"""A relay in memory for tests of the engine: sections 4 and 7 of `docs/protocol.md`, no sockets, no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from e2ee.codec import decode_array
from e2ee.errors import RefusalCode
from e2ee.frames import (
    AppendEntry,
    Bundles,
    Challenge,
    ClientFrame,
    Deliver,
    Delivery,
    DeviceBundle,
    DeviceChange,
    DeviceRef,
    Drained,
    EnvelopeFor,
    EnvelopeKind,
    GetBundles,
    GetGroupDevices,
    GetGroupLog,
    KemPreKey,
    Login,
    LowPreKeys,
    OneTimePreKey,
    Outcome,
    RefusedRequest,
    RelayFrame,
    SignedPreKey,
    Submission,
    Submit,
    SubmitGroup,
    Submitted,
    Uploaded,
    UploadPreKeys,
    UserBundles,
    Welcome,
)
from ratchet import verify_signature

from .post_groups import PostGroups

BATCH: Final = 16  # deliveries in one frame

DeviceName = tuple[str, int]


@dataclass
class Counters:
    """The highest numbers seen of a device."""

    submission: int = 0
    delivery: int = 0
    upload: int = 0


@dataclass
class Mailbox:
    """What the relay keeps of one device."""

    registration_id: int
    counters: Counters = field(default_factory=Counters)
    signed_prekey: SignedPreKey | None = None
    last_resort: KemPreKey | None = None
    one_time: list[OneTimePreKey] = field(default_factory=list)
    one_time_kem: list[KemPreKey] = field(default_factory=list)
    mail: list[Delivery] = field(default_factory=list)  # not acknowledged
    number: int = 0  # of the last delivery
    pushed: int = 0  # the last one pushed on this connection
    drained: bool = False  # told on this connection
    numbers: dict[int, frozenset[bytes]] = field(default_factory=dict)  # envelope ids by submission (R4.11)

    @property
    def listed(self) -> bool:
        """Whether the device is in its user's list (R4.7)."""
        return self.signed_prekey is not None and self.last_resort is not None


class PostOffice:
    """The relay. It keeps every ciphertext that it was ever shown, as an eavesdropper would."""

    def __init__(self) -> None:
        self.identities: dict[str, bytes] = {}
        self.boxes: dict[DeviceName, Mailbox] = {}
        self.stored: set[tuple[DeviceName, DeviceName, bytes]] = set()  # envelope ids (R4.9)
        self.overheard: list[tuple[DeviceName, DeviceName, EnvelopeFor]] = []
        self.full: set[DeviceName] = set()
        self.refusing: dict[str, RefusalCode] = {}  # submissions to a user, or to the group of a hexadecimal id
        self.groups = PostGroups(self)
        self.nonces = 0

    def challenge(self) -> Challenge:
        self.nonces += 1
        return Challenge((1,), self.nonces.to_bytes(32, "big"), ())

    def login(self, login: Login, challenge: Challenge) -> tuple[DeviceName, Welcome]:
        """Let a device in, or raise what is wrong with its login."""
        _version, _name, nonce, user_id, device_id, registration_id, *numbers = decode_array(login.claim)
        assert nonce == challenge.nonce
        verify_signature(login.identity_key, "login v1", login.claim, login.signature)
        assert self.identities.setdefault(user_id, login.identity_key) == login.identity_key
        name = (user_id, device_id)
        box = self.boxes.get(name)
        if box is None or box.registration_id != registration_id:
            # Another registration has no prekeys yet; mail and counters stay.
            before = box or Mailbox(registration_id)
            box = Mailbox(
                registration_id, before.counters, mail=before.mail, number=before.number, numbers=before.numbers
            )
            self.boxes[name] = box
        highest = Counters(box.counters.submission, box.counters.delivery, box.counters.upload)
        box.counters = Counters(*(max(pair) for pair in zip(_all(highest), numbers, strict=True)))
        box.pushed, box.drained = 0, False
        left = (len(box.one_time), len(box.one_time_kem))
        return name, Welcome(1, highest.submission, highest.delivery, highest.upload, *left, 0)

    def forget_user(self, user_id: str) -> None:
        """A new identity may take the name: what the old one had goes."""
        self.identities.pop(user_id)
        for name in [name for name in self.boxes if name[0] == user_id]:
            self.boxes.pop(name)

    def devices(self, user_id: str) -> dict[int, Mailbox]:
        return {name[1]: box for name, box in self.boxes.items() if name[0] == user_id and box.listed}

    def handle(self, sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        acknowledged = getattr(frame, "acknowledged", 0)
        if acknowledged:
            self._acknowledge(self.boxes[sender], acknowledged)
        match frame:
            case UploadPreKeys():
                return self._upload(sender, frame)
            case GetBundles():
                return Bundles(0, tuple(self._bundles(sender, one.user_id, one.device_ids) for one in frame.wanted))
            case Submit():
                return self._submit(sender, frame)
            case AppendEntry() | GetGroupLog() | GetGroupDevices() | SubmitGroup():
                return self.groups.handle(sender, frame)
            case _:
                return None

    def has_news(self, name: DeviceName) -> bool:
        """Whether `push` has something to say."""
        box = self.boxes[name]
        return not box.drained or any(one.number > box.pushed for one in box.mail)

    def push(self, name: DeviceName) -> Deliver | Drained | LowPreKeys | None:
        """What the relay says unasked, if anything."""
        box = self.boxes[name]
        new = [one for one in box.mail if one.number > box.pushed][:BATCH]
        if new:
            box.pushed = new[-1].number
            return Deliver(tuple(new))
        if not box.drained:
            box.drained = True
            return Drained(box.number)
        return None

    # Below.

    def _acknowledge(self, box: Mailbox, number: int) -> None:
        box.mail = [one for one in box.mail if one.number > number]
        box.counters.delivery = max(box.counters.delivery, number)

    def _upload(self, sender: DeviceName, frame: UploadPreKeys) -> Uploaded:
        box = self.boxes[sender]
        if frame.purge and frame.number > box.counters.upload:
            box.one_time.clear()
            box.one_time_kem.clear()
        box.counters.upload = max(box.counters.upload, frame.number)
        box.signed_prekey = frame.signed_prekey or box.signed_prekey
        box.last_resort = frame.last_resort_kem_prekey or box.last_resort
        known = {key.id for key in box.one_time} | {key.id for key in box.one_time_kem}
        box.one_time += [key for key in frame.one_time_prekeys if key.id not in known]
        box.one_time_kem += [key for key in frame.one_time_kem_prekeys if key.id not in known]
        return Uploaded(0, len(box.one_time), len(box.one_time_kem))

    def _bundles(self, sender: DeviceName, user_id: str, device_ids: tuple[int, ...] | None) -> UserBundles:
        if user_id not in self.identities:
            return UserBundles(user_id, None, ())
        found = []
        for device_id, box in sorted(self.devices(user_id).items()):
            if (user_id, device_id) == sender or (device_ids is not None and device_id not in device_ids):
                continue
            assert box.signed_prekey is not None
            assert box.last_resort is not None
            kem = box.one_time_kem.pop(0) if box.one_time_kem else box.last_resort
            one_time = box.one_time.pop(0) if box.one_time else None
            found.append(DeviceBundle(device_id, box.registration_id, box.signed_prekey, kem, one_time))
        return UserBundles(user_id, self.identities[user_id], tuple(found))

    def _submit(self, sender: DeviceName, frame: Submit) -> Submitted | RefusedRequest:
        self.overheard += [
            (sender, (frame.user_id, envelope.device_id), envelope)
            for submission in frame.submissions
            for envelope in submission.envelopes
        ]
        if frame.user_id in self.refusing:
            return Submitted(0, (), self.refusing[frame.user_id], None, None)
        if frame.user_id not in self.identities:
            return RefusedRequest(0, RefusalCode.UNKNOWN_USER, None)
        listed = {
            device_id: box.registration_id
            for device_id, box in self.devices(frame.user_id).items()
            if (frame.user_id, device_id) != sender
        }
        known = {device.device_id: device.registration_id for device in frame.devices}
        if known != listed:
            missing = tuple(DeviceRef(*one) for one in listed.items() if known.get(one[0]) != one[1])
            change = DeviceChange(missing, tuple(known.keys() - listed.keys()))
            return Submitted(0, (), RefusalCode.DEVICES_CHANGED, change, None)
        outcomes: list[tuple[Outcome, ...]] = []
        for submission in frame.submissions:
            named = [envelope.device_id for envelope in submission.envelopes]
            assert len(set(named)) == len(named)
            assert set(named) <= set(listed)
            ids = frozenset(envelope.envelope_id for envelope in submission.envelopes)
            if not self.is_first_use(sender, submission.number, ids):
                return Submitted(0, tuple(outcomes), RefusalCode.ROLLED_BACK, None, None)
            outcomes.append(self._store(sender, frame.user_id, submission))
        return Submitted(0, tuple(outcomes), None, None, None)

    def _store(self, sender: DeviceName, user_id: str, submission: Submission) -> tuple[Outcome, ...]:
        return tuple(
            self.put(sender, (user_id, one.device_id), one.envelope_id, one.kind, one.body)
            for one in submission.envelopes
        )

    # What groups need too.

    def is_first_use(self, sender: DeviceName, number: int, envelope_ids: frozenset[bytes]) -> bool:
        """Note a submission number, or tell that it stood for something else (R4.11)."""
        box = self.boxes[sender]
        if box.numbers.setdefault(number, envelope_ids) != envelope_ids:
            return False
        box.counters.submission = max(box.counters.submission, number)
        return True

    def put(
        self, sender: DeviceName, recipient: DeviceName, envelope_id: bytes, kind: EnvelopeKind, body: bytes
    ) -> Outcome:
        """Put one envelope into a mailbox."""
        key = (sender, recipient, envelope_id)
        if key in self.stored:
            return Outcome.DUPLICATE
        if recipient in self.full:
            return Outcome.FULL
        self.stored.add(key)
        box = self.boxes[recipient]
        box.number += 1
        box.drained = False
        box.mail.append(Delivery(box.number, *sender, envelope_id, kind, body, 0))
        return Outcome.STORED


def _all(counters: Counters) -> tuple[int, int, int]:
    return counters.submission, counters.delivery, counters.upload
