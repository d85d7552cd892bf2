"""What a relay can be told: every option with its default, unit and reason.

The wire's limits are in `e2ee.limits`, those of what is stored (mailboxes, ages, prekeys) in `store.relay.limits`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

from e2ee.errors import InvalidArgument
from e2ee.limits import (
    CHALLENGE_AGE_MAX_S,
    DEVICES_PER_USER_MAX,
    ENVELOPES_PER_FRAME_MAX,
    UNACKNOWLEDGED_DELIVERIES_MAX,
)

__all__ = ["IdentityChange", "RelayOptions"]

# Ours, and no options: nobody would set them better.
UNIT_ATTEMPTS_MAX: Final = 3  # of one batch that another worker's commit disturbed
MASKS_MAX: Final = 1_000  # different masks of channels: each publication is held against all of them
WATCHED_USERS_MAX: Final = 10_000  # told when a watch begins, the first by name; of the others only what changes
UNIT_ENVELOPES_MAX: Final = 20_000  # after which a batch goes on in a new unit: other workers wait for the lock
RETRY_AFTER_MS: Final = 1_000  # told with UNAVAILABLE: a database that is busy is free again by then
EXPLANATION: Final = 200  # characters of an explanation: an address of a page and a sentence
SEEN_EVERY_S: Final = 3_600.0  # seconds between notes that connected devices are in use; they are removed after 60 days
# New containers until Python's collector looks at them, in a process that does nothing but run a relay: a batch has
# some thousand, all in use, and with Python's 700 an envelope costs a quarter more (docs/decisions/0023).
COLLECT_AFTER: Final = 50_000
DELIVERY_OVERHEAD: Final = 256  # bytes a delivery adds to its body: 128 of the user id, 16 of the envelope id, numbers

_NAME: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


class IdentityChange(Enum):
    """What is done when a user id that is bound to one identity key is claimed with another."""

    REFUSE = "refuse"
    REPLACE = "replace"  # mailboxes, prekeys and devices of the old key are removed


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayOptions:
    """How a relay behaves. Raises InvalidArgument for what makes no sense."""

    # Who may come in.
    names: tuple[str, ...] = ()  # host:port as clients dial; none: only loopback names and the relay's own port
    open_registration: bool | None = None  # unknown users are let in; None: on loopback, or if `authorize` is given
    identity_change: IdentityChange = IdentityChange.REFUSE  # replacing lets `authorize` decide who owns a name
    # Connections.
    challenge_age_max_s: float = CHALLENGE_AGE_MAX_S  # to log in, from the first byte on: a stranger costs memory
    strangers_max: int = 1_000  # connections that have not logged in; one more ends the oldest: 20 MB at worst
    connections_max: int = 20_000  # in all; more are refused before the WebSocket handshake: file descriptors
    silence_max_s: float = 90.0  # three heartbeats of a client: a line that was cut says nothing
    write_age_max_s: float = 30.0  # for one frame to a slow reader; then it is cut off, its mail is kept
    acknowledge_age_max_s: float = 300.0  # a full window without an acknowledgement; then as above
    window: int = UNACKNOWLEDGED_DELIVERIES_MAX  # deliveries pushed and not acknowledged
    window_size: int = 2 * 1024 * 1024  # bytes of them: what a reader that does not read can make us hold
    frames_waiting_max: int = 32  # received of one connection and not yet handled; then its socket is not read
    # Rates; each is a steady rate and how much may come at once after a pause.
    envelopes_per_s: float = 1_000.0  # of one connection: 20 devices, 50 messages a second
    envelopes_burst: int = 20_000  # what a client has queued in a day offline
    group_deliveries_per_s: float = 5_000.0  # of one connection: five messages a second to 1,000 devices
    group_deliveries_burst: int = 20_000  # 20 messages to 1,000 devices: two seconds of a relay's work
    requests_per_s: float = 20.0  # of one connection, submissions apart: an upload of 100 keys costs 20 ms
    requests_burst: int = 200
    group_joins_per_minute: int = 30  # joins and acceptances of one group: every member keys every device that comes
    one_time_keys_per_asker: int = 60  # devices a minute and user; beyond it bundles come without one-time keys
    one_time_keys_to_strangers: int = 50  # an hour and device, to askers who share no group with its user
    low_prekeys: int = 20  # one-time keys left at which a connected device is told
    # Beside the encrypted traffic.
    channels: bool = True  # publish and subscribe, which the relay reads
    channel_masks: bool = False  # subscriptions to "news.*": whoever has one hears channels it need not know
    subscriptions_max: int = 100  # of one connection
    directory: bool = False  # clients may ask who the users are, and be told who comes and goes
    # Work.
    batch_frames_max: int = 256  # in one transaction: amortises the commit, bounds the wait for a reply
    poll_s: float = 5.0  # between looks for mail of which no other worker's wake-up told; PostgreSQL only
    sweep_s: float = 3_600.0  # between removals of what is too old
    drain_s: float = 5.0  # at closing, for what was received to be stored and answered
    public_metrics: bool = False  # /metrics for everybody; else for this machine only: load is nobody's business

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if type(value) in (int, float) and not value > 0:
                raise InvalidArgument(f"{one.name} is above 0")
        if any(not _NAME.fullmatch(name) for name in self.names):
            raise InvalidArgument("a name is host:port in lower case, as clients dial it")
        if self.window < ENVELOPES_PER_FRAME_MAX:
            raise InvalidArgument(f"window is at least {ENVELOPES_PER_FRAME_MAX}: one frame")
        if self.envelopes_burst < ENVELOPES_PER_FRAME_MAX * DEVICES_PER_USER_MAX:
            raise InvalidArgument("envelopes_burst is at least what one frame may have: more could never be sent")
