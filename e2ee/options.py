"""What an application may choose for a client; everything has a default, and nothing with one right answer is here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from .errors import InvalidArgument
from .limits import PREKEYS_PER_UPLOAD_MAX
from .trust import IdentityPolicy, Policies, Policy

__all__ = ["ClientOptions", "InboxMode"]

PREKEYS_LOW: Final = 20  # one-time keys of a kind left at the relay: below it new ones are made
RECEIPTS_MEMBERS_MAX: Final = 32  # of a group in which deliveries are confirmed unasked: each message costs as many
PREKEY_STEP: Final = 10  # one-time keys of each kind made in one transaction: 2 ms, so that mail does not wait


class InboxMode(Enum):
    """What happens to durable events."""

    KEEP = "keep"  # until the application acknowledges them
    DISCARD = "discard"  # for programs that only send: nothing is kept, nobody reads


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The choices of one client. Raises InvalidArgument for values out of range."""

    identities: Policy | Policies = IdentityPolicy.TRUST_ON_FIRST_USE  # `Client(policy=…)` says the same
    receipts: bool = True  # whether this device tells senders that their messages arrived, or were read
    group_receipts: bool | None = (
        None  # the same in groups; None: as `receipts`, deliveries in groups of up to 32 members
    )
    inbox: InboxMode = InboxMode.KEEP
    one_time_prekeys: int = PREKEYS_PER_UPLOAD_MAX  # of each kind, to be kept at the relay
    rotate_on_join: bool = False  # a new sender key when somebody joins, too; without it newcomers read no past either

    def __post_init__(self) -> None:
        Policies.of(self.identities)
        if type(self.one_time_prekeys) is not int or not 1 <= self.one_time_prekeys <= PREKEYS_PER_UPLOAD_MAX:
            raise InvalidArgument(f"one to {PREKEYS_PER_UPLOAD_MAX} one-time prekeys are kept at the relay")

    @property
    def gives_group_receipts(self) -> bool:
        """Whether this device tells in groups what was read there."""
        return self.receipts if self.group_receipts is None else self.group_receipts

    def confirms_in_group(self, members: int) -> bool:
        """Whether this device tells that a message to a group of so many members has arrived."""
        if self.group_receipts is None:
            return self.receipts and members <= RECEIPTS_MEMBERS_MAX
        return self.group_receipts

    @property
    def prekeys_low(self) -> int:
        """Below how many one-time keys left at the relay new ones are made."""
        return min(PREKEYS_LOW, self.one_time_prekeys)
