"""Every error that leaves `store`; each type says what to do next.

    StoreError
    ├── InvalidUse              a bug in the caller: nested units, a value out of range, a missing account
    ├── UnsupportedDatabase     not SQLite, not PostgreSQL through psycopg: give another URL
    ├── StoreInUse              somebody else holds it: close that one first
    ├── StoreForked             used in a forked child: open it anew there
    ├── StoreLost               the ownership is gone: close, open anew
    ├── StaleWriter             a newer state is stored: load it and do the work again
    ├── StoreUnavailable        the database does not answer (busy, full, disconnected): try again later
    ├── StoreNewer              a newer release wrote the schema: update
    ├── StoreCorrupt            damaged, or no store at all: restore it, never start afresh over it
    ├── PassphraseNeeded        the store is sealed, and no key was given
    ├── PassphraseNotNeeded     a key was given, and the store is not sealed: rekey it
    ├── WrongPassphrase         the key given is not the store's
    ├── KeyUnavailable          the key provider did not give a key now: try again later
    ├── ExportRefused           an identity export does not open: wrong passphrase, or damaged
    ├── Full                    a queue is at its limit: take something out first
    └── TooLarge                one value is larger than its limit

Messages name tables, limits and sizes, never contents. Corrupt is never taken for absent.
"""

from __future__ import annotations

__all__ = [
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
]


class StoreError(Exception):
    """Base of every error of this package. The unit of work that it leaves has been rolled back."""


class InvalidUse(StoreError, ValueError):
    """The caller did what is never right, such as a unit inside a unit: correct the call."""


class UnsupportedDatabase(StoreError, ValueError):
    """The URL is not one of SQLite's or of PostgreSQL's through psycopg: give another."""


class StoreInUse(StoreError):
    """Another process or another object holds the store: close that one, or end its process.

    What is not known about the holder is None; a holder that died does not count as one.
    """

    def __init__(
        self, what: str, *, pid: int | None = None, host: str | None = None, since: float | None = None
    ) -> None:
        holder = " ".join(
            part
            for part in (
                f"by process {pid}" if pid is not None else "elsewhere",
                f"on {host}" if host is not None else "",
            )
            if part
        )
        super().__init__(f"{what} is open {holder}: close it there, or use a store of its own here")
        self.pid = pid
        self.host = host
        self.since = since  # seconds since 1970


class StoreForked(StoreError):
    """The process has forked since the store was opened: open it anew in the child, after the parent closed it."""


class StoreLost(StoreError):
    """Somebody else has taken the store over: nothing more is written; close it and open it anew."""


class StaleWriter(StoreError):
    """The row has another version than was loaded: nothing was overwritten; load again and do the work again."""


class StoreUnavailable(StoreError):
    """The database does not take the call now: busy, read-only, disk full, connection gone. Nothing is damaged.

    After it was raised by the end of a unit, the unit may have been committed or not: load before writing.
    """


class StoreNewer(StoreError):
    """A newer release wrote the schema or a value: update this one; nothing was changed."""


class StoreCorrupt(StoreError):
    """What is stored is damaged or was never a store: restore it; it is not overwritten and not taken for new."""


class PassphraseNeeded(StoreError):
    """The store is sealed: give its passphrase or key provider."""


class PassphraseNotNeeded(StoreError):
    """A passphrase or key provider was given for a store that is not sealed: open it without."""


class WrongPassphrase(StoreError):
    """The passphrase or provided key is not the one this store was sealed with; nothing was changed."""


class KeyUnavailable(StoreError):
    """The key provider failed or gave no 32 bytes: its own error is ``__cause__``. Nothing was changed."""


class ExportRefused(StoreError):
    """An identity export does not open: the passphrase is wrong, or the bytes are damaged or from a newer release."""


class Full(StoreError):
    """A table is at its limit and does not evict: take something out of it first."""


class TooLarge(StoreError, ValueError):
    """A value is larger than its limit: make it smaller."""
