"""Errors of the private package `store` that an application may meet, under names of `e2ee`."""

from __future__ import annotations

from store.errors import (
    ExportRefused,
    Full,
    KeyUnavailable,
    PassphraseNeeded,
    PassphraseNotNeeded,
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

__all__ = [
    "ExportRefused",
    "Full",
    "KeyUnavailable",
    "PassphraseNeeded",
    "PassphraseNotNeeded",
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
]
