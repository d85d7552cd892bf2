"""What one transaction comes to: collected while it is open, applied to memory only once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from e2ee.frames import DeviceChange, RelayFrame, Submission, Submitted, UserNotice
from store.relay import Delivery, Device, DeviceKey, Envelope, Outcome, RelayUnit

from .connection import Connection, Output, Send, Session

if TYPE_CHECKING:
    from e2ee.errors import RefusalCode

__all__ = ["Accepted", "Entered", "Plan", "Push", "RollBack", "Step", "refuse_submit"]


class RollBack(Exception):
    """Undo everything of this step, and answer with *reply*: it is refused after it has written something."""

    def __init__(self, reply: Send) -> None:
        super().__init__("the step is refused")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Entered:
    """A login that is accepted."""

    connection: Connection
    session: Session
    start: int  # delivery number up to which everything is acknowledged
    submitted: int  # highest submission number that was seen of the device
    registered: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A Submit whose submissions are being stored; its envelopes stand together in `Plan.mail`."""

    connection: Connection
    request: int
    submissions: tuple[Submission, ...]  # those accepted
    first: int  # position in `Plan.mail` as it is until the next `mail.store`
    refusal: RefusalCode | None  # of the one behind them


@dataclass(frozen=True, slots=True)
class Push:
    """Mail for a connection."""

    connection: Connection
    deliveries: tuple[Delivery, ...]
    drained: int | None  # nothing is behind this number; None: there is


@dataclass(slots=True)
class Plan:
    """Of one transaction. Steps write here and in the unit, and nowhere else."""

    now: float
    connected: Mapping[DeviceKey, Connection]
    destinations: frozenset[str]  # users whose device lists the steps will ask for
    outputs: list[Output] = field(default_factory=list)
    acknowledged: dict[DeviceKey, int] = field(default_factory=dict)
    touched: set[DeviceKey] = field(default_factory=set)  # who may have mail
    entered: dict[DeviceKey, Entered] = field(default_factory=dict)
    replaced: list[Connection] = field(default_factory=list)
    gone: dict[DeviceKey, RefusalCode] = field(default_factory=dict)
    uploaded: set[Connection] = field(default_factory=set)
    told_low: set[Connection] = field(default_factory=set)
    mail: list[Envelope] = field(default_factory=list)  # not stored yet, as are those accepted not answered
    accepted: list[Accepted] = field(default_factory=list)
    submitted: dict[Connection, int] = field(default_factory=dict)  # highest number accepted
    fanned_out: dict[Connection, int] = field(default_factory=dict)  # deliveries of groups
    numbers: dict[tuple[DeviceKey, int], bytes] = field(default_factory=dict)  # used for the first time
    notices: list[UserNotice] = field(default_factory=list)  # users that came or went, for who watches them
    watching: list[Connection] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    envelopes: dict[str, int] = field(default_factory=dict)  # stored, duplicate …: for the statistics
    removed_mail: int = 0
    bundles: int = 0
    withheld: int = 0
    sweep_on: bool = False  # there is more that is too old
    _listed: dict[str, list[Device]] = field(default_factory=dict)

    def reply(self, connection: Connection, frame: RelayFrame) -> None:
        """Send *frame* once this is committed."""
        self.outputs.append(Send(connection, frame))

    def fan_out(self, connection: Connection, count: int) -> int:
        """Let a connection make *count* deliveries to a group, and return 0, or the milliseconds after which it may."""
        promised = self.fanned_out.get(connection, 0)
        wait_ms = connection.fan_out.wait(count, self.now, promised=promised)
        if not wait_ms:
            self.fanned_out[connection] = promised + count
        return wait_ms

    def count_all(self, outcomes: Sequence[Outcome], recipients: Sequence[DeviceKey]) -> None:
        """Note what became of the envelopes for *recipients*."""
        for outcome in Outcome:
            number = outcomes.count(outcome)
            if number:
                self.envelopes[outcome.value] = self.envelopes.get(outcome.value, 0) + number
        self.touched.update(
            [key for key, outcome in zip(recipients, outcomes, strict=True) if outcome is Outcome.STORED]
        )

    def submit(self, connection: Connection, number: int) -> None:
        """Note that the submission of this number is accepted."""
        self.submitted[connection] = max(number, self.submitted.get(connection, 0))

    def note_sent(self) -> None:
        """Let connections remember, once this is committed, what was taken from them."""
        for connection, count in self.fanned_out.items():
            connection.fan_out.spend(count, self.now)
        for connection, number in self.submitted.items():
            connection.submitted = max(connection.submitted, number)

    def acknowledge(self, device: DeviceKey, number: int) -> None:
        """Remove the device's mail up to *number* at the end of the transaction."""
        self.acknowledged[device] = max(number, self.acknowledged.get(device, 0))

    def listed(self, unit: RelayUnit, user_id: str) -> list[Device]:
        """The user's devices that others may write to; read for all destinations of the batch at once."""
        if user_id not in self._listed:
            wanted = (self.destinations | {user_id}) - self._listed.keys()
            found: dict[str, list[Device]] = {one: [] for one in wanted}
            for device in unit.devices.of_users(wanted):
                found[device.user_id].append(device)
            self._listed |= found
        return self._listed[user_id]

    def lists_changed(self) -> None:
        """Read device lists anew from here on."""
        self._listed.clear()


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work in a transaction. If it fails, its connection is closed."""

    connection: Connection | None
    run: Run


Run: TypeAlias = Callable[[Plan, RelayUnit], None]


def refuse_submit(
    request: int, code: RefusalCode, *, change: DeviceChange | None = None, wait_ms: int | None = None
) -> Submitted:
    """The reply to a Submit of which nothing was stored."""
    return Submitted(request, (), code, change, wait_ms)
