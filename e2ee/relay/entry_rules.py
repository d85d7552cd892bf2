"""What the relay asks of an entry beside the rules of groups: that its actor could have brought it, and may.

An entry may be brought by anybody who has it: signature and hash fix what it says and where it stands, and a relay that
was restored from a backup gets logs back from whoever is there. So whose it is, is asked of the actor's account, never
of the connection. Nothing is taken that its actor could not have brought itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee.groups import Operation

if TYPE_CHECKING:
    from e2ee.groups import GroupEntry
    from store.relay import RelayUnit

    from .connection import Session
    from .hooks import MayCreateGroup, MaySend
    from .limits import RelayOptions

__all__ = ["EntryRules"]

_log: Final = logging.getLogger("e2ee.relay")


@dataclass(frozen=True, slots=True)
class EntryRules:
    """By what one relay judges entries."""

    options: RelayOptions
    may_send: MaySend | None
    may_create_group: MayCreateGroup | None

    def knows_actor(self, entry: GroupEntry, session: Session, unit: RelayUnit) -> bool:
        """Whether the entry is signed with the identity key of its actor, by the relay's accounts.

        A key that the account does not have any more counts only for the user itself: whoever has stolen it is shut
        out by `reset_identity`, also where somebody else would bring the entry. Without an account there is no seat:
        what is sent to the group would reach no mailbox of its user, who may only not have come back yet.
        """
        actor = unit.users.find(entry.actor)
        if actor is None:
            return False
        return actor.identity_key == entry.actor_key or entry.actor == session.device.user_id

    def allows(self, entry: GroupEntry) -> bool:
        """Whether the application lets the actor do that. Asked only of what would be appended.

        So nobody can use up what an application grants to another, by bringing the same entry again and again.
        """
        try:
            match entry.operation:
                case Operation.CREATE if self.may_create_group is not None:
                    return self.may_create_group(entry.actor) is True
                case Operation.INVITE if self.may_send is not None:
                    return self.may_send(entry.actor, entry.subject) is True
                case _:
                    return True
        except Exception:  # noqa: BLE001 - it is the application's: what cannot be decided is not allowed
            _log.exception("a hook failed: the entry of a group is refused")
            return False
