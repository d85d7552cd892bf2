"""What a device must not forget, in SQLAlchemy: keys, sessions, groups, inbox and outbox; and the relay's tables.

Private to `e2ee`, which re-exports what an application may have to catch. Never asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .siblings import require_siblings

if TYPE_CHECKING:
    from .accounts import StoredAccount
    from .client import ClientStore
    from .ended_chains import EndedChain
    from .errors import (
        ExportRefused,
        Full,
        InvalidUse,
        KeyUnavailable,
        PassphraseNeeded,
        PassphraseNotNeeded,
        StaleWriter,
        StoreCorrupt,
        StoreError,
        StoreForked,
        StoreInUse,
        StoreLost,
        StoreNewer,
        StoreUnavailable,
        TooLarge,
        UnsupportedDatabase,
        WrongPassphrase,
    )
    from .groups import GroupOperation, LogEntry, StoredGroup
    from .identity_export import ExportedIdentity, open_identity, seal_identity
    from .inbox import DueReceipt, DurableEvent, Received, seen_envelope, seen_message
    from .maintenance import Finding
    from .outbox import Envelope, OutgoingMessage, Recipient
    from .peers import Heal, IdentityRecord, PeerDevice
    from .prekeys import PreKeyKind
    from .send_log import LoggedMessage
    from .sender_keys import Distribution, LoadedOwnSenderKey, LoadedPeerSenderKey
    from .sessions import LoadedSession
    from .trouble import ASKED_FOR, PendingMessage, Quarantined
    from .unit import Unit
    from .vault import INTERACTIVE, TESTING, KeyProvider, PassphraseProfile
    from .work import Counters

__all__ = [
    "ASKED_FOR",
    "INTERACTIVE",
    "TESTING",
    "ClientStore",
    "Counters",
    "Distribution",
    "DueReceipt",
    "DurableEvent",
    "EndedChain",
    "Envelope",
    "ExportRefused",
    "ExportedIdentity",
    "Finding",
    "Full",
    "GroupOperation",
    "Heal",
    "IdentityRecord",
    "InvalidUse",
    "KeyProvider",
    "KeyUnavailable",
    "LoadedOwnSenderKey",
    "LoadedPeerSenderKey",
    "LoadedSession",
    "LogEntry",
    "LoggedMessage",
    "OutgoingMessage",
    "PassphraseNeeded",
    "PassphraseNotNeeded",
    "PassphraseProfile",
    "PeerDevice",
    "PendingMessage",
    "PreKeyKind",
    "Quarantined",
    "Received",
    "Recipient",
    "StaleWriter",
    "StoreCorrupt",
    "StoreError",
    "StoreForked",
    "StoreInUse",
    "StoreLost",
    "StoreNewer",
    "StoreUnavailable",
    "StoredAccount",
    "StoredGroup",
    "TooLarge",
    "Unit",
    "UnsupportedDatabase",
    "WrongPassphrase",
    "open_identity",
    "seal_identity",
    "seen_envelope",
    "seen_message",
]

require_siblings(__name__, __path__[0], "ratchet")

_EXPORTS: Final[dict[str, tuple[str, ...]]] = {
    "accounts": ("StoredAccount",),
    "client": ("ClientStore",),
    "errors": (
        "ExportRefused",
        "Full",
        "InvalidUse",
        "KeyUnavailable",
        "PassphraseNeeded",
        "PassphraseNotNeeded",
        "StaleWriter",
        "StoreCorrupt",
        "StoreError",
        "StoreForked",
        "StoreInUse",
        "StoreLost",
        "StoreNewer",
        "StoreUnavailable",
        "TooLarge",
        "UnsupportedDatabase",
        "WrongPassphrase",
    ),
    "groups": ("GroupOperation", "LogEntry", "StoredGroup"),
    "identity_export": ("ExportedIdentity", "open_identity", "seal_identity"),
    "inbox": ("DueReceipt", "DurableEvent", "Received", "seen_envelope", "seen_message"),
    "maintenance": ("Finding",),
    "outbox": ("Envelope", "OutgoingMessage", "Recipient"),
    "peers": ("Heal", "IdentityRecord", "PeerDevice"),
    "prekeys": ("PreKeyKind",),
    "ended_chains": ("EndedChain",),
    "send_log": ("LoggedMessage",),
    "sender_keys": ("Distribution", "LoadedOwnSenderKey", "LoadedPeerSenderKey"),
    "sessions": ("LoadedSession",),
    "trouble": ("ASKED_FOR", "PendingMessage", "Quarantined"),
    "unit": ("Unit",),
    "vault": ("INTERACTIVE", "KeyProvider", "PassphraseProfile", "TESTING"),
    "work": ("Counters",),
}
_MODULE_OF: Final = {name: module for module, names in _EXPORTS.items() for name in names}

if not TYPE_CHECKING:  # a type checker takes the imports above; __getattr__ would hide misspelt names from it

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value  # the next use finds it without this function
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
