"""The Signal Protocol: keys, handshake, double and post-quantum ratchet, sessions, groups.

    alice, bob = Account.create(), Account.create()
    session = Session.initiate(alice, bob.bundle())
    bobs_session, plaintext = Session.accept(bob, session.encrypt(b"hello bob"))

Values in, values out: no database, socket, log or event loop. Whatever is raised for bad
input is a ``RatchetError`` and leaves every object as it was.

The names below are loaded when they are first used, so that a program which only verifies
signatures (the relay) never loads the code that decrypts.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .account import Account
    from .address import Address
    from .errors import (
        CorruptSnapshot,
        IdentityChanged,
        InvalidArgument,
        MalformedMessage,
        MessageKeyGone,
        NoActiveSession,
        NotAuthentic,
        RatchetError,
        SafetyNumberMismatch,
        TooFarAhead,
        UnknownPreKey,
        UnknownSenderKey,
        UnsupportedPlatform,
        UnsupportedVersion,
    )
    from .keys import IdentityKeyPair, verify_signature
    from .messages import Ciphertext, CiphertextKind
    from .prekeys import PreKeyBundle, PublishedPreKeys
    from .safety_number import SafetyNumber, safety_number
    from .sender_keys import OwnSenderKey, PeerSenderKey
    from .session import Session

__all__ = [
    "Account",
    "Address",
    "Ciphertext",
    "CiphertextKind",
    "CorruptSnapshot",
    "IdentityChanged",
    "IdentityKeyPair",
    "InvalidArgument",
    "MalformedMessage",
    "MessageKeyGone",
    "NoActiveSession",
    "NotAuthentic",
    "OwnSenderKey",
    "PeerSenderKey",
    "PreKeyBundle",
    "PublishedPreKeys",
    "RatchetError",
    "SafetyNumber",
    "SafetyNumberMismatch",
    "Session",
    "TooFarAhead",
    "UnknownPreKey",
    "UnknownSenderKey",
    "UnsupportedPlatform",
    "UnsupportedVersion",
    "safety_number",
    "verify_signature",
]

_EXPORTS: Final = {
    "account": ("Account",),
    "address": ("Address",),
    "errors": (
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
    ),
    "keys": ("IdentityKeyPair", "verify_signature"),
    "messages": ("Ciphertext", "CiphertextKind"),
    "prekeys": ("PreKeyBundle", "PublishedPreKeys"),
    "safety_number": ("SafetyNumber", "safety_number"),
    "sender_keys": ("OwnSenderKey", "PeerSenderKey"),
    "session": ("Session",),
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


class _Package(ModuleType):
    """The class of this module: no submodule takes the place of an exported name.

    The first import of ``ratchet.safety_number`` binds that module to the package under the very
    name of the function; without this, ``from ratchet import safety_number`` would be one or the
    other, depending on what else the program had imported before.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
