"""What must hold, whatever happened: nothing lost, nothing twice, no key for two texts, everybody can talk again."""

from __future__ import annotations

import sys
from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from e2ee.diagnostics import Reason
from e2ee.events import (
    DeliveryState,
    DirectMessage,
    GroupForked,
    GroupMessage,
    HistoryGap,
    IdentityChanged,
    MessageLost,
    MessageState,
    OwnMessage,
)
from tests.support.key_use import Key, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2ee.events import DurableEvent
    from e2ee.frames import EnvelopeKind

    from .groups import GroupRecord
    from .schedule import Schedule

__all__ = ["Account", "Judge", "Sent"]

DeviceName: TypeAlias = tuple[str, int]
Message: TypeAlias = DirectMessage | GroupMessage | OwnMessage


@dataclass(frozen=True, slots=True)
class Sent:
    """A message whose `send` returned."""

    sender: DeviceName
    to: str  # a user, or a group's id
    message_id: str
    text: str
    to_group: bool = False
    unknown: frozenset[DeviceName] = frozenset()  # devices of its own user that it need not know of


@dataclass(slots=True)
class Account:
    """What a device's application has been told, in short. A backup of the machine has it too."""

    messages: dict[str, int] = field(default_factory=dict)  # message id: its place in the inbox
    copies: dict[str, int] = field(default_factory=dict)  # of what the user's other devices have sent
    last: dict[tuple[str, int, str], int] = field(default_factory=lambda: defaultdict(int))  # conversation numbers
    failed: set[str] = field(default_factory=set)  # messages of its own
    forks: dict[str, None] = field(default_factory=dict)  # groups of which two logs were seen, not decided about
    behind: set[str] = field(default_factory=set)  # messages of its own that wait until the relay has a log again
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by sender
    undecided: dict[tuple[str, bytes], None] = field(
        default_factory=dict
    )  # users and the keys that they show, in order
    gaps: int = 0

    def copy(self) -> Account:
        """What a backup keeps."""
        return deepcopy(self)


class Judge:
    """Sees everything; *found* is what does not hold."""

    def __init__(self, schedule: Schedule, groups: GroupRecord) -> None:
        self._schedule = schedule
        self.groups = groups
        self.found: list[str] = []
        self.sent: list[Sent] = []
        self.unsure: set[str] = set()  # messages that whoever has sent them does not know of any more
        self.restored: set[DeviceName] = set()
        self.forgotten: dict[DeviceName, int] = {}  # of messages sent before so many, a device may have forgotten some
        self.unlisted: dict[DeviceName, int] = {}  # as much: direct messages sent before it was listed anew
        self.removed: set[DeviceName] = set()  # by another device of its user
        # Devices that were listed in this run, and what each has written since, to which other of its user.
        self.announced: dict[DeviceName, dict[DeviceName, list[bytes]]] = {}
        self._linking: set[DeviceName] = set()  # devices that a user has taken up, and that are not yet listed
        self._registrations: dict[DeviceName, int] = {}
        self._beginning: set[DeviceName] = set()  # under another registration, without prekeys
        self._sealed: dict[Key[DeviceName], bytes] = {}

    def blame(self, what: str) -> None:
        """Something does not hold."""
        self._schedule.note(f"VIOLATION {what}")
        self.found.append(what)

    def blame_all(self, what: Iterable[str]) -> None:
        """Several things do not hold."""
        for one in what:
            self.blame(one)

    def rolled_back(self, device: DeviceName, sent: int) -> None:
        """A device goes on from when *sent* messages had been sent by all."""
        self.unsure.update(one.message_id for one in self.sent[sent:] if one.sender == device)
        self.restored.add(device)
        self.forget(device)

    def forget(self, device: DeviceName) -> None:
        """A device need not have anything that was sent to it so far."""
        self.forgotten[device] = len(self.sent)

    def linked(self, device: DeviceName) -> None:
        """A user has another device. It need not have anything that was sent before others can know of it."""
        self._linking.add(device)
        self.forgotten[device] = sys.maxsize

    def was_removed(self, device: DeviceName) -> None:
        """The relay has removed a device: it gets nothing more, and nobody can ask it for what it has sent."""
        if device in self._registrations:  # else it was not there
            self.removed.add(device)

    def entered(self, device: DeviceName, registration_id: int) -> None:
        """The relay has let a device in."""
        if self._registrations.setdefault(device, registration_id) != registration_id:
            self._registrations[device] = registration_id
            self._beginning.add(device)

    def is_being_listed(self, device: DeviceName) -> None:
        """A device uploads all its prekeys: whoever of its user opens what it writes after that knows of it.

        Until then one that knows of no other need not copy to it what it sends; from then on it must.
        """
        self.announced[device] = defaultdict(list)

    def wrote(self, device: DeviceName, to: DeviceName, envelope_id: bytes) -> None:
        """An envelope from one device to another has reached the relay."""
        if device in self.announced and device[0] == to[0]:
            self.announced[device][to].append(envelope_id)

    def listed(self, device: DeviceName) -> None:
        """The relay has taken the prekeys of a device.

        One that was rolled back begins anew, and nobody can write to it until it has uploaded. It says that there is
        a gap; messages to groups wait for it all the same.
        """
        if device in self._linking:
            self._linking.remove(device)
            self.forget(device)
        if device in self._beginning and device in self.restored:
            self._beginning.remove(device)
            self.unlisted[device] = len(self.sent)

    def relay_rolled_back(self, devices: Iterable[DeviceName]) -> None:
        """The relay has lost what was under way."""
        self.forgotten.update(dict.fromkeys(devices, len(self.sent)))

    def overhear(self, sender: DeviceName, recipient: DeviceName, kind: EnvelopeKind, body: bytes) -> None:
        """A ciphertext has reached the relay: its key must not have sealed another one."""
        used = key_of(sender, recipient, kind, body)
        if used is not None and self._sealed.setdefault(*used) != used[1]:
            self.blame(f"a key of {sender} has sealed two texts for {recipient}")

    def told(self, device: DeviceName, account: Account, event: DurableEvent) -> None:
        """An application has been given an event."""
        if isinstance(event, GroupMessage) and not self.groups.may_read(device[0], event.message_id):
            self.blame(f"{device} was told {event.text!r}, and was no member when it was stored")
        match event:
            case DirectMessage() | GroupMessage():
                if self._once(device, account.messages, event):
                    self._in_order(device, account, event)
            case OwnMessage():
                self._once(device, account.copies, event)
            case MessageState(state=DeliveryState.FAILED | DeliveryState.EXPIRED):
                account.failed.add(event.message_id)
            case MessageState(state=DeliveryState.HELD, why=Reason.RELAY_LOG_BEHIND):
                account.behind.add(event.message_id)
            case MessageLost():
                account.lost[event.sender] += event.count
            case GroupForked() | IdentityChanged(adopted=False):
                self._to_be_decided(account, event)
            case HistoryGap():
                account.gaps += 1
            case _:
                pass

    def _to_be_decided(self, account: Account, event: GroupForked | IdentityChanged) -> None:
        """What the application decides about when it reads next."""
        if isinstance(event, GroupForked):
            account.forks[event.group] = None
            return
        account.undecided.pop((event.user, event.shown), None)  # what was shown last is decided last
        account.undecided[event.user, event.shown] = None

    def _once(
        self, device: DeviceName, known: dict[str, int], event: DirectMessage | GroupMessage | OwnMessage
    ) -> bool:
        """Whether the application has not been told this before, at this place or another."""
        number = known.get(event.message_id)
        if number is None:
            known[event.message_id] = event.number
        elif number != event.number:
            self.blame(f"{device} was told {event.text!r} twice")
        return number is None

    def _in_order(self, device: DeviceName, account: Account, event: DirectMessage | GroupMessage) -> None:
        """A message that comes after a later one of its device says that it is late."""
        group = event.group if isinstance(event, GroupMessage) else ""
        conversation = (event.sender, event.sender_device, group)
        if event.late:
            return
        last = account.last[conversation]
        # A sender that was rolled back counts again from where it was: its next message may have the last one's number.
        again = event.conversation_number == last and (event.sender, event.sender_device) in self.restored
        if event.conversation_number <= last and not again:
            self.blame(f"{device} was told {event.text!r} out of order, and not that it is late")
        account.last[conversation] = event.conversation_number
