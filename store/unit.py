"""The unit of work: everything that a client stores, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .accounts import Accounts
from .ended_chains import EndedChains
from .groups import GroupOperations, Groups
from .inbox import Conversations, Inbox, Receipts, Seen
from .numbered import NumberedMessages
from .outbox import Envelopes, Outgoing, Recipients
from .peers import Blocked, Devices, Heals, Identities
from .prekeys import PreKeys
from .repeats import Repeats
from .send_log import RetryAttempts, SendLog
from .sender_keys import Distributions, ErasedChains, SenderKeys
from .sent import SentEnvelopes
from .sessions import Sessions
from .trouble import DeliveryAttempts, Pending, Quarantine

if TYPE_CHECKING:
    from .work import Counters, Work

__all__ = ["Unit"]


class Unit:
    """What `ClientStore.begin` gives: its attributes are the tables; all of them change together or not at all.

        with store.begin() as unit:
            loaded = unit.sessions.load(user_id, device_id)
            plaintext = loaded.session.decrypt(unit.prekeys, ciphertext)
            unit.sessions.save(loaded)
            unit.inbox.add("direct", plaintext)

    Rows may be written as late as the end of the block, which is then where StaleWriter comes from.
    Whatever a unit raised, it is left by the exception and rolled back as a whole.
    """

    def __init__(self, work: Work) -> None:
        self.work = work  # for the modules of this package
        self.account = Accounts(work)
        self.prekeys = PreKeys(work, self.account)
        self.identities = Identities(work)
        self.devices = Devices(work)
        self.blocked = Blocked(work)
        self.sessions = Sessions(work)
        self.heals = Heals(work)
        self.conversations = Conversations(work)
        self.outgoing = Outgoing(work)
        self.repeats = Repeats(work)
        self.numbered = NumberedMessages(work)
        self.envelopes = Envelopes(work)
        self.recipients = Recipients(work)
        self.send_log = SendLog(work)
        self.sent_envelopes = SentEnvelopes(work)
        self.retry_attempts = RetryAttempts(work)
        self.inbox = Inbox(work)
        self.seen = Seen(work)
        self.receipts = Receipts(work)
        self.pending = Pending(work)
        self.quarantine = Quarantine(work)
        self.delivery_attempts = DeliveryAttempts(work)
        self.groups = Groups(work)
        self.group_operations = GroupOperations(work)
        self.sender_keys = SenderKeys(work)
        self.distributions = Distributions(work)
        self.erased_chains = ErasedChains(work)
        self.ended_chains = EndedChains(work)

    def settle(self, *, committed: bool) -> None:
        """Take note of the end: what is remembered from unit to unit holds, or is to be loaded again."""
        if not committed:
            self.account.forget()
        self.prekeys.settle(committed=committed)
        self.seen.settle(committed=committed)
        self.sessions.settle(committed=committed)
        self.conversations.settle(committed=committed)

    @property
    def counters(self) -> Counters:
        """The submission, delivery and upload numbers, to be set as they move; written with the unit."""
        return self.work.counters

    @property
    def now(self) -> float:
        """Seconds since 1970, the same for the whole unit."""
        return self.work.now
