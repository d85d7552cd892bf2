"""Every error that leaves `ratchet`; each type says what the caller should do next.

    RatchetError
    ├── InvalidArgument        a bug in the caller: wrong type or size of an argument
    ├── MalformedMessage       not in the protocol's form: drop the message
    ├── UnsupportedVersion     a form or protocol version that is not spoken here
    ├── NotAuthentic           a tag, a signature or a key failed its check: drop the message
    ├── MessageKeyGone         replay, or later than keys are kept: drop the message
    ├── TooFarAhead            more messages are missing than may be skipped: renew the session
    ├── UnknownPreKey          a first message for a prekey that is not (or no longer) here
    ├── UnknownSenderKey       a group message before its key: ask for the key
    ├── NoActiveSession        nothing to send with: fetch a bundle and renew
    ├── IdentityChanged        the peer shows another identity key: decide whether to trust it
    ├── SafetyNumberMismatch   the scanned safety number is another conversation's
    ├── CorruptSnapshot        stored bytes are damaged: restore the store, never start afresh
    └── UnsupportedPlatform    `cryptography` was built without ML-KEM

Messages name the fault and sizes, never contents. All cryptographic causes are one class, so
that a peer who sees the reaction learns nothing; the cause itself is in ``__cause__``.
"""

from __future__ import annotations

__all__ = [
    "CorruptSnapshot",
    "IdentityChanged",
    "InvalidArgument",
    "MalformedMessage",
    "MessageKeyGone",
    "NoActiveSession",
    "NotAuthentic",
    "RatchetError",
    "SafetyNumberMismatch",
    "TooFarAhead",
    "UnknownPreKey",
    "UnknownSenderKey",
    "UnsupportedPlatform",
    "UnsupportedVersion",
]


class RatchetError(Exception):
    """Base of every error of this package. The object it was raised from is unchanged."""


class InvalidArgument(RatchetError, ValueError):
    """The caller passed a value of the wrong type or size: correct the call."""


class MalformedMessage(RatchetError):
    """The bytes are not in the protocol's form: drop the message, keep the session."""


class UnsupportedVersion(RatchetError):
    """A version that is not spoken here, or not without being asked for: update the older side."""


class NotAuthentic(RatchetError):
    """A tag, signature or key failed its check, whichever: drop the message, keep the session."""


class MessageKeyGone(RatchetError):
    """Replay, or later than keys are kept: drop the message, do not reset the session."""


class TooFarAhead(RatchetError):
    """More messages are missing than one chain may skip: renew the session with the peer, seldom.

    It comes before anything could be authenticated: whoever can deliver a message can raise it.
    """


class UnknownPreKey(RatchetError):
    """A first message names a prekey that this account does not hold: let the peer fetch a bundle."""


class UnknownSenderKey(RatchetError):
    """A group message of a chain that was never distributed to us: ask its sender for the key."""


class NoActiveSession(RatchetError):
    """There is no ratchet to send with: fetch the peer's bundle and call ``renew``."""


class IdentityChanged(RatchetError):
    """The peer shows an identity key other than the session's: hold the message and decide on trust.

    Of a first message it comes before anything could be authenticated: whoever can deliver a message can
    raise it, so it is no proof of a change. `Session.accept` with the message tells whether it is genuine.
    ``known`` and ``received`` are the two public identity keys, 33 bytes each.
    """

    def __init__(self, known: bytes, received: bytes) -> None:
        super().__init__(known, received)
        self.known = known
        self.received = received

    def __str__(self) -> str:
        return "the peer's identity key is not the one of this session"


class SafetyNumberMismatch(RatchetError):
    """The scanned safety number belongs to other identities: do not mark the peer as verified."""


class CorruptSnapshot(RatchetError):
    """Stored bytes are damaged or not ours: restore them; corrupt is never the same as absent."""


class UnsupportedPlatform(RatchetError, ImportError):
    """The installed `cryptography` lacks ML-KEM: install a build against OpenSSL 3.5 or newer."""
