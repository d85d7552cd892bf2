"""SPQR's symmetric chains: per epoch one chain for each direction (`signal-protocol` 4.4).

A is the initiator of the session, B the responder; A sends on the A-to-B chain. Chain epoch 0
comes from the handshake, each further one from an epoch secret of the braid.
"""

from __future__ import annotations

from typing import Any, Final

from ratchet.errors import CorruptSnapshot, MalformedMessage, MessageKeyGone, NoActiveSession, TooFarAhead
from ratchet.labels import SPQR_ADD_EPOCH, SPQR_CHAIN_NEXT, SPQR_CHAIN_START
from ratchet.limits import COUNTER_MAX, SELF_FORWARD_JUMP_MAX, SKIPPED_KEYS_MAX
from ratchet.packing import pack_positions, take_bool, take_bytes, take_int, take_list, take_positions
from ratchet.primitives import hkdf_sha256, hkdf_sha256_pair

__all__ = ["EpochChains", "ReceivingStep"]

EPOCH_MAX: Final = 2**63  # an epoch is 8 bytes in the braid's labels
_LINKS_MAX: Final = 16  # of a stored state; reached never, since a new epoch needs the peer's messages of the last


def _step(key: bytes, index: int) -> tuple[bytes, bytes]:
    """Return the chain key after *index* and the message key at *index*."""
    return hkdf_sha256_pair(key, index.to_bytes(4, "big") + SPQR_CHAIN_NEXT)


class Link:
    """The two chains of one epoch. An *index* counts from 1: it is the number of the key last derived."""

    __slots__ = ("receiving_index", "receiving_key", "sending_index", "sending_key", "skipped")

    def __init__(
        self,
        sending_key: bytes | None,
        receiving_key: bytes,
        sending_index: int = 0,
        receiving_index: int = 0,
        skipped: dict[int, bytes] | None = None,
    ) -> None:
        self.sending_key = sending_key  # 32 bytes, secret; None: a later epoch is used for sending
        self.sending_index = sending_index
        self.receiving_key = receiving_key  # 32 bytes, secret
        self.receiving_index = receiving_index
        self.skipped = {} if skipped is None else skipped  # index to key, oldest first; secret


class ReceivingStep:
    """What taking one receiving key will change, and the key."""

    __slots__ = ("chain_key", "index", "key", "late", "link", "skipped")

    def __init__(
        self,
        link: Link,
        key: bytes,
        chain_key: bytes,
        index: int,
        skipped: list[bytes],
        *,
        late: bool,
    ) -> None:
        self.link = link
        self.key = key
        self.chain_key = chain_key
        self.index = index
        self.skipped = skipped  # keys of the indices just before `index`, those that fit the limit
        self.late = late


class EpochChains:
    """All chains still in use, by epoch."""

    __slots__ = ("current_epoch", "forward_max", "initiator", "links", "next_root", "sending_epoch")

    def __init__(
        self,
        links: dict[int, Link],
        current_epoch: int,
        sending_epoch: int,
        next_root: bytes,
        *,
        initiator: bool,
        forward_max: int,
    ) -> None:
        self.links = links  # chain epoch to its chains, oldest first
        self.current_epoch = current_epoch
        self.sending_epoch = sending_epoch
        self.next_root = next_root  # 32 bytes, secret: what the next epoch is derived from
        self.initiator = initiator
        self.forward_max = forward_max  # messages that may be missing before one

    @classmethod
    def start(cls, authentication_key: bytes, *, initiator: bool, forward_max: int) -> EpochChains:
        """Start at epoch 0 with the 32-byte key of the handshake."""
        next_root, link = _epoch(None, authentication_key, SPQR_CHAIN_START, initiator=initiator)
        return cls({0: link}, 0, 0, next_root, initiator=initiator, forward_max=forward_max)

    def plan_epoch(self, epoch: int, secret: bytes) -> tuple[bytes, Link]:
        """Derive the chains of *epoch*, which must be the one after the current. Raises MalformedMessage."""
        if epoch != self.current_epoch + 1:
            raise MalformedMessage(f"epoch {epoch} after {self.current_epoch}")
        return _epoch(self.next_root, secret, SPQR_ADD_EPOCH, initiator=self.initiator)

    def commit_epoch(self, planned: tuple[bytes, Link]) -> None:
        """Add what `plan_epoch` derived."""
        self.next_root, link = planned
        self.current_epoch += 1
        self.links[self.current_epoch] = link

    def plan_send(self, epoch: int) -> tuple[int, bytes, bytes]:
        """Return index, message key and following chain key of the next message in chain *epoch*."""
        link = self.links[epoch]
        if link.sending_key is None or link.sending_index >= COUNTER_MAX:
            raise NoActiveSession("the post-quantum sending chain is used up: renew the session")
        index = link.sending_index + 1
        chain_key, key = _step(link.sending_key, index)
        return index, key, chain_key

    def commit_send(self, epoch: int, index: int, chain_key: bytes) -> None:
        """Make what `plan_send` returned the state; older epochs than the one before *epoch* go."""
        link = self.links[epoch]
        link.sending_key = chain_key
        link.sending_index = index
        if epoch > self.sending_epoch:
            self.sending_epoch = epoch
            # Keys of older chains are useless to us and would be of use to a thief of this state.
            for known in [known for known in self.links if known + 1 < epoch]:
                del self.links[known]
            for known, older in self.links.items():
                if known < epoch:
                    older.sending_key = None

    def require_near(self, epoch: int, index: int, forward_max: int) -> None:
        """Raise TooFarAhead or MessageKeyGone if *index* of chain *epoch* is more than *forward_max* ahead, or gone."""
        link = self._link(epoch)
        if index - link.receiving_index > forward_max:
            raise TooFarAhead(f"key {index} after {link.receiving_index}; at most {forward_max} may be missing here")

    def _link(self, epoch: int) -> Link:
        link = self.links.get(epoch)
        if link is not None:
            return link
        if epoch > self.current_epoch:
            raise MalformedMessage(f"chain epoch {epoch} does not exist yet")
        raise MessageKeyGone(f"the keys of chain epoch {epoch} are no longer kept")

    def plan_receive(self, epoch: int, index: int) -> ReceivingStep:
        """Find or derive the key at *index* (from 1) of chain *epoch*.

        Raises MessageKeyGone, TooFarAhead or MalformedMessage (an epoch that does not exist yet, index 0).
        """
        link = self._link(epoch)
        last = link.receiving_index
        if index == last + 1:
            chain_key, key = _step(link.receiving_key, index)
            return ReceivingStep(link, key, chain_key, index, [], late=False)
        if index <= last:
            if index == 0:
                raise MalformedMessage("index 0 would mean a message without post-quantum key")
            late = link.skipped.get(index)
            if late is None:
                raise MessageKeyGone(f"key {index} was used before, or is no longer kept")
            return ReceivingStep(link, late, link.receiving_key, index, [], late=True)
        if index - last > self.forward_max:
            raise TooFarAhead(f"key {index} after {last}; at most {self.forward_max} may be missing")
        skipped: list[bytes] = []
        chain_key = link.receiving_key
        first_kept = index - SKIPPED_KEYS_MAX
        for position in range(last + 1, index):
            chain_key, key = _step(chain_key, position)
            if position >= first_kept:
                skipped.append(key)
        chain_key, key = _step(chain_key, index)
        return ReceivingStep(link, key, chain_key, index, skipped, late=False)

    @staticmethod
    def commit_receive(step: ReceivingStep) -> None:
        """Make *step* the state; skipped keys further back than the limit go."""
        link = step.link
        index = step.index
        skipped = link.skipped
        if step.late:
            del skipped[index]
            return
        if skipped:
            oldest_kept = index - SKIPPED_KEYS_MAX
            if index == link.receiving_index + 1:
                skipped.pop(oldest_kept - 1, None)
            else:
                for position in list(skipped):
                    if position >= oldest_kept:
                        break
                    del skipped[position]
        if step.skipped:
            first = index - len(step.skipped)
            skipped.update(zip(range(first, index), step.skipped, strict=True))
        link.receiving_key = step.chain_key
        link.receiving_index = index

    def to_packed(self) -> list[Any]:
        """Return the state as plain values for `packing`."""
        return [
            self.current_epoch,
            self.sending_epoch,
            self.next_root,
            self.initiator,
            self.forward_max,
            [
                [
                    epoch,
                    link.sending_key,
                    link.sending_index,
                    link.receiving_key,
                    link.receiving_index,
                    pack_positions(link.skipped),
                    b"".join(link.skipped.values()),
                ]
                for epoch, link in self.links.items()
            ],
        ]

    @classmethod
    def from_packed(cls, value: object) -> EpochChains:
        """Undo `to_packed`. Raises CorruptSnapshot."""
        current, sending, next_root, initiator, forward_max, packed = take_list(value, "SPQR chains", length=6)
        current_epoch = take_int(current, EPOCH_MAX, "current epoch")
        links: dict[int, Link] = {}
        for one in take_list(packed, "SPQR links", length_max=_LINKS_MAX):
            epoch, link = _link(one)
            if links and epoch != max(links) + 1:
                raise CorruptSnapshot("SPQR links: epochs are not in sequence")
            links[epoch] = link
        sending_epoch = take_int(sending, current_epoch, "sending epoch")
        if current_epoch not in links or max(links) != current_epoch or sending_epoch not in links:
            raise CorruptSnapshot("SPQR links: the current epoch is missing")
        return cls(
            links,
            current_epoch,
            sending_epoch,
            take_bytes(next_root, 32, "SPQR next root"),
            initiator=take_bool(initiator, "SPQR direction"),
            forward_max=take_int(forward_max, SELF_FORWARD_JUMP_MAX, "SPQR forward limit"),
        )


def _epoch(root: bytes | None, secret: bytes, label: bytes, *, initiator: bool) -> tuple[bytes, Link]:
    derived = hkdf_sha256(root, secret, label, 96)
    a_to_b, b_to_a = derived[32:64], derived[64:]
    return derived[:32], Link(a_to_b, b_to_a) if initiator else Link(b_to_a, a_to_b)


def _link(value: object) -> tuple[int, Link]:
    epoch, sending_key, sending_index, receiving_key, receiving_index, positions, keys = take_list(
        value, "SPQR link", length=7
    )
    last = take_int(receiving_index, COUNTER_MAX, "SPQR receiving index")
    return take_int(epoch, EPOCH_MAX, "SPQR epoch"), Link(
        None if sending_key is None else take_bytes(sending_key, 32, "SPQR sending key"),
        take_bytes(receiving_key, 32, "SPQR receiving key"),
        take_int(sending_index, COUNTER_MAX, "SPQR sending index"),
        last,
        take_positions(positions, keys, last, SKIPPED_KEYS_MAX),
    )
