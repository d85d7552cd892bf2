"""Every error that leaves `e2ee`; each type says what the application, or the peer, should do next.

    E2eeError
    ├── InvalidUserId           not a user id: correct it
    ├── InvalidArgument         a bug in the caller: wrong type, size or state
    ├── IdentityError           about identity keys of `user`: `identities` has those that matter
    │   ├── UnknownIdentity     the user has not shown this key, or none at all (also an InvalidArgument)
    │   ├── SeveralIdentities   several keys wait for a decision: name one (also an InvalidArgument)
    │   └── VerificationFailed  the safety number is not that of any key of the user: do not trust it
    ├── MalformedFrame          bytes from the other end of a connection are not a frame: the connection is closed
    ├── Refused                 the relay said no: `code` says why, `code.next_step` what to do
    ├── GroupError              a group call did not come to what it was made for
    │   ├── GroupTimeout        nobody has answered in time: the outcome follows as an event
    │   ├── UnknownGroup        no such group, here or at the relay: check its id or name
    │   ├── NotAMember          no seat in the group: join it, or ask for an invitation
    │   ├── LogForked           two logs of the group were seen: `accept_fork`, or leave
    │   ├── IdentityUndecided   the user's identity key waits for a decision: decide
    │   └── GroupRefused        the relay or the group's log refuses: `code` says why
    ├── ConnectionEnded         the carrier is gone: the client reconnects by itself
    └── ClientEnded             the client cannot go on: what follows says why
        ├── UserIdTaken         another identity has this user id
        ├── NotAuthorized       the relay does not let this user in
        ├── OpenElsewhere       the same device connected again
        ├── StoreRolledBack     the store is older than what the relay has seen of it
        ├── AccountGone         the account was deleted by this client
        └── StoreGone           the store was lost, is corrupt or does not answer

Texts name what is wrong, never contents, keys or tokens.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "AccountGone",
    "ClientEnded",
    "ConnectionEnded",
    "E2eeError",
    "GroupError",
    "GroupRefused",
    "GroupTimeout",
    "IdentityError",
    "IdentityUndecided",
    "InvalidArgument",
    "InvalidUserId",
    "LogForked",
    "MalformedFrame",
    "NotAMember",
    "NotAuthorized",
    "OpenElsewhere",
    "RefusalCode",
    "Refused",
    "SeveralIdentities",
    "StoreGone",
    "StoreRolledBack",
    "UnknownGroup",
    "UnknownIdentity",
    "UserIdTaken",
    "VerificationFailed",
]


class RefusalCode(IntEnum):
    """Why the relay refused; the numbers are the wire's and never change their meaning."""

    MALFORMED = 1  # the frame is not in its form; the connection is closed
    UNSUPPORTED_VERSION = 2
    NOT_AUTHENTIC = 3  # a signature, or the challenge it was made for, is wrong
    NOT_AUTHORIZED = 4  # the application's own rules
    IDENTITY_TAKEN = 5  # the user id is bound to another identity key
    WRONG_NAME = 6  # the client dialled a name that is not this relay's
    REPLACED = 7  # the same device connected again
    ROLLED_BACK = 8  # a number was used before with other contents
    UNKNOWN_USER = 9
    DEVICES_CHANGED = 10  # with the difference; nothing was stored
    BLOCKED = 11  # the recipient blocks the sender
    RATE_LIMITED = 12  # with the time to wait
    TOO_LARGE = 13
    NOT_TRIED = 14  # something before it in the same frame was refused
    UNAVAILABLE = 15  # the relay cannot store just now: send again later
    UNKNOWN_REQUEST = 16  # a kind of frame that this relay does not have
    SHUTTING_DOWN = 17  # connect again after a moment
    TOO_SLOW = 18  # deliveries were not taken in time; the mail is kept
    NOT_REGISTERED = 19  # prekeys have to be uploaded first
    UNKNOWN_GROUP = 20  # or one that whoever asks has no seat in
    GROUP_CHANGED = 21  # with the entries since; nothing was stored
    GROUP_NAME_TAKEN = 22
    GROUP_FULL = 23  # members, or entries of the log
    ENTRY_REFUSED = 24  # the entry does not follow from the log

    @property
    def next_step(self) -> str:
        """One sentence on what to do."""
        return _NEXT_STEPS[self]


_NEXT_STEPS = {
    RefusalCode.MALFORMED: "report it: one end has a bug",
    RefusalCode.UNSUPPORTED_VERSION: "update the older end",
    RefusalCode.NOT_AUTHENTIC: "connect again; if it stays, the store belongs to another account",
    RefusalCode.NOT_AUTHORIZED: "check the token and the relay's rules",
    RefusalCode.IDENTITY_TAKEN: "choose another user id, or restore this user's identity from its export",
    RefusalCode.WRONG_NAME: "dial the relay by a name that its options list",
    RefusalCode.REPLACED: "close the other client of this device",
    RefusalCode.ROLLED_BACK: "accept the rollback, or restore the newest store",
    RefusalCode.UNKNOWN_USER: "check the user id; the user may not have connected yet",
    RefusalCode.DEVICES_CHANGED: "encrypt for the devices that changed and send again",
    RefusalCode.BLOCKED: "nothing: the recipient does not want messages from this user",
    RefusalCode.RATE_LIMITED: "send again after the time given",
    RefusalCode.TOO_LARGE: "send less at once",
    RefusalCode.NOT_TRIED: "send again after what was refused is repaired",
    RefusalCode.UNAVAILABLE: "send the same bytes again later",
    RefusalCode.UNKNOWN_REQUEST: "update the relay",
    RefusalCode.SHUTTING_DOWN: "connect again",
    RefusalCode.TOO_SLOW: "connect again and take deliveries faster",
    RefusalCode.NOT_REGISTERED: "upload prekeys first",
    RefusalCode.UNKNOWN_GROUP: "check the group; its members can tell whether you are in it",
    RefusalCode.GROUP_CHANGED: "take the entries since, and try again on top of them",
    RefusalCode.GROUP_NAME_TAKEN: "choose another name, or join the group that has it",
    RefusalCode.GROUP_FULL: "make another group, or let members leave",
    RefusalCode.ENTRY_REFUSED: "ask an admin of the group, or look at its members again",
}


class E2eeError(Exception):
    """Base of every error of this package."""


class InvalidUserId(E2eeError, ValueError):
    """The text is not a user id: correct it; the message says what is wrong."""


class InvalidArgument(E2eeError, ValueError):
    """The caller passed a wrong type, size or state: correct the call."""


class IdentityError(E2eeError):
    """Something about the identity keys of a user."""

    def __init__(self, text: str, user: str, identities: tuple[bytes, ...] = ()) -> None:
        super().__init__(text)
        self.user = user
        self.identities = identities  # 33 bytes each; which, the type says


class UnknownIdentity(IdentityError, InvalidArgument):
    """The user has not shown this key (``identities`` has those it has shown), or has shown none at all."""


class SeveralIdentities(IdentityError, InvalidArgument):
    """The user has shown the keys in ``identities``, and nobody has decided about them: say which one is meant."""


class VerificationFailed(IdentityError):
    """The safety number belongs to none of ``identities``, the keys that the user has shown.

    Somebody may stand between. Nothing was changed; do not trust a key before the numbers agree.
    """


class MalformedFrame(E2eeError):
    """Bytes from the other end are not a frame: say so once, and close the connection."""


class Refused(E2eeError):
    """The relay refused a request; ``code`` says why and what to do. Nothing of it was stored."""

    def __init__(self, code: RefusalCode, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code.name.lower().replace('_', ' ')}: {code.next_step}")
        self.code = code
        self.retry_after_s = retry_after_s  # None: there is no use in waiting


class GroupError(E2eeError):
    """A group call did not come to what it was made for; the class says why, the text what to do."""


class GroupTimeout(GroupError):
    """Nobody has answered in time, so the outcome is unknown. The operation goes on, also after a restart.

    Its outcome follows as an event: the group's own (`GroupCreated`, `GroupJoined`, `GroupLeft` …), or
    `GroupOperationFailed`.
    """


class UnknownGroup(GroupError):
    """No group is known under this id or name, here or at the relay: check it, or ask for an invitation."""


class NotAMember(GroupError):
    """We have no seat in the group under our present identity key: join it, or ask an admin for an invitation."""


class LogForked(GroupError):
    """Two logs of the group were seen (`GroupForked`): compare fingerprints, then `accept_fork`, or leave."""


class IdentityUndecided(GroupError):
    """The user has shown an identity key that nobody has decided about: compare safety numbers, then decide."""


class GroupRefused(GroupError):
    """The operation cannot be: the relay refuses it, or the group's log does. Nothing has changed."""

    def __init__(self, code: RefusalCode, reason: str = "") -> None:
        super().__init__(reason or f"{code.name.lower().replace('_', ' ')}: {code.next_step}")
        self.code = code


class ConnectionEnded(E2eeError):
    """The carrier is gone. A client connects again by itself."""


class ClientEnded(E2eeError):
    """The client cannot go on; every later call raises the same."""


class UserIdTaken(ClientEnded):
    """The user id is bound to another identity key at this relay: choose another, or restore the identity."""


class NotAuthorized(ClientEnded):
    """The relay does not let this user in: check the token and the relay's rules."""


class OpenElsewhere(ClientEnded):
    """The same device connected again, from this store's copy or another process: close one of the two."""


class StoreRolledBack(ClientEnded):
    """The relay has seen later numbers of this device, twice within a day: the store was restored or cloned.

    Close every other copy of the store; then `Client.accept_rollback()`, or open it with ``accept_rollback=True``.
    """


class AccountGone(ClientEnded):
    """The account was deleted, at the relay and here: open another client to begin anew."""


class StoreGone(ClientEnded):
    """The store was lost, is corrupt or does not answer: the cause says which."""
