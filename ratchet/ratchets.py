"""The ratchets of one session: the one in use, and up to 40 earlier ones; which of them opens a message."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from .errors import CorruptSnapshot, NoActiveSession, RatchetError, UnsupportedVersion
from .keys import PUBLIC_KEY_SIZE, Entropy
from .limits import ARCHIVED_FORWARD_JUMP_MAX, ARCHIVED_RATCHETS_MAX, SESSION_SIZE_MAX
from .messages import VERSION_PQXDH, SignalMessage
from .packing import pack, take_bytes, take_int, take_list, unpack
from .primitives import equal
from .secret import NotCopied
from .triple_ratchet import OpenedMessage, Peers, Ratchet

__all__ = ["ArchivedRatchet", "Ratchets"]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class ArchivedRatchet(NotCopied):
    """A ratchet that is only read from, if a late message asks for it. Most never are, so it stays packed."""

    version: int
    base_key: bytes  # 33 bytes
    packed: bytes = field(repr=False)  # secret
    retired: bool = False  # never to be in use again, whatever it opens

    @classmethod
    def pack(cls, ratchet: Ratchet, *, retired: bool = False) -> ArchivedRatchet:
        """Pack *ratchet*; it initiates nothing any longer."""
        ratchet.pending = None
        return cls(ratchet.version, ratchet.base_key, pack([_VERSION, ratchet.to_packed()]), retired)

    def unpack(self, local_identity: bytes) -> Ratchet:
        """Undo `pack`. Raises CorruptSnapshot."""
        (packed,) = unpack(self.packed, version=_VERSION, length=1, size_max=SESSION_SIZE_MAX, what="archived ratchet")
        return Ratchet.from_packed(packed, local_identity)

    def to_packed(self) -> list[Any]:
        """Return it as plain values for `packing`."""
        values = [self.version, self.base_key, self.packed]
        return [*values, True] if self.retired else values  # what is not retired has the form that it always had

    @classmethod
    def from_packed(cls, value: object) -> ArchivedRatchet:
        """Read one from a session's stored form, not yet its contents. Raises CorruptSnapshot."""
        version, base_key, packed, *retired = take_list(value, "archived ratchet", length_min=3, length_max=4)
        if type(packed) is not bytes:
            raise CorruptSnapshot("archived ratchet: not bytes")
        if retired and retired[0] is not True:
            raise CorruptSnapshot("archived ratchet: retired in another form")
        return cls(
            take_int(version, VERSION_PQXDH, "archived version"),
            take_bytes(base_key, PUBLIC_KEY_SIZE, "archived base key"),
            packed,
            bool(retired),
        )


class Ratchets:
    """The ratchet in use and the archived ones, the newest first."""

    __slots__ = ("_local_identity", "_peers", "active", "archived")

    def __init__(
        self, local_identity: bytes, peers: Peers, active: Ratchet | None, archived: list[ArchivedRatchet]
    ) -> None:
        self._local_identity = local_identity
        self._peers = peers
        self.active = active
        self.archived = archived

    def require_active(self) -> Ratchet:
        """Return the ratchet in use. Raises NoActiveSession."""
        if self.active is None:
            raise NoActiveSession("no ratchet is in use: fetch the peer's bundle and renew")
        return self.active

    def open(self, message: SignalMessage, entropy: Entropy) -> bytes:
        """Open a message with whichever ratchet can, which becomes the one in use. Raises as `Session.decrypt`."""
        failure: RatchetError | None = None
        active = self.active
        if active is not None and active.version == message.version:
            try:
                opened = active.plan(message, self._peers, entropy)
            except RatchetError as error:
                if active.knows(message):
                    raise  # no other ratchet can open it
                failure = error
            else:
                active.commit(opened)
                return opened.plaintext
        return self._open_archived(message, entropy, failure)

    def _open_archived(self, message: SignalMessage, entropy: Entropy, failure: RatchetError | None) -> bytes:
        for archived in self.archived:
            if archived.version != message.version:
                continue
            try:
                ratchet = archived.unpack(self._local_identity)
            except (CorruptSnapshot, UnsupportedVersion):
                continue  # damaged: another one may still open the message
            try:
                opened = ratchet.plan(message, self._peers, entropy, new_chain_max=ARCHIVED_FORWARD_JUMP_MAX)
            except RatchetError as error:
                if ratchet.knows(message):
                    raise
                failure = failure or error
            else:
                return self.keep(ratchet, opened)
        raise failure or NoActiveSession(f"no ratchet of version {message.version} is here: let the peer start afresh")

    def keep(self, ratchet: Ratchet, opened: OpenedMessage) -> bytes:
        """Commit what *ratchet* opened, and put it in use, unless it is retired."""
        ratchet.commit(opened)
        if ratchet is self.active:
            return opened.plaintext
        for place, one in enumerate(self.archived):
            if one.retired and (one.version, one.base_key) == (ratchet.version, ratchet.base_key):
                self.archived[place] = ArchivedRatchet.pack(ratchet, retired=True)
                return opened.plaintext
        self.activate(ratchet)
        return opened.plaintext

    def activate(self, ratchet: Ratchet) -> None:
        """Put *ratchet* in use and the one before at the head of the archive."""
        self.archived = [
            one for one in self.archived if (one.version, one.base_key) != (ratchet.version, ratchet.base_key)
        ]
        self.archive()
        self.active = ratchet

    def archive(self) -> None:
        """Put the ratchet in use at the head of the archive; the oldest beyond 40 goes."""
        if self.active is not None:
            self.archived = [ArchivedRatchet.pack(self.active), *self.archived][:ARCHIVED_RATCHETS_MAX]
            self.active = None

    def retire(self) -> None:
        """Archive the ratchet in use, and let none of those that are here come into use again."""
        self.archive()
        self.archived = [replace(one, retired=True) for one in self.archived]

    def matching(self, version: int, base_key: bytes) -> Ratchet | None:
        """Return the ratchet that a repeated first message belongs to. Raises CorruptSnapshot."""
        active = self.active
        if active is not None and active.version == version and equal(active.base_key, base_key):
            return active
        for archived in self.archived:
            if archived.version == version and equal(archived.base_key, base_key):
                return archived.unpack(self._local_identity)
        return None
