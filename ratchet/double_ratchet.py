"""The double ratchet (Double Ratchet, revision 1): DH steps, a sending chain, up to five receiving chains.

It yields message *seeds*; `triple_ratchet` mixes the post-quantum key in, encrypts and checks the tag.
Every change is planned first and committed after authentication: `plan_*` and `answer` may raise and
touch nothing, `commit_*` only assigns.

Signal's ratchet differs from the textbook in three ways (`signal-protocol` 3.4): the next sending chain
is made when a new ratchet key is received, not when the next message is sent; keys of a finished
chain are derived only when a late message asks for them; and so up to five chains stay open.
"""

from __future__ import annotations

from typing import Any

from .chains import chain_step, root_step
from .errors import CorruptSnapshot, NoActiveSession, TooFarAhead
from .keys import PUBLIC_KEY_SIZE, Entropy, KeyPair
from .limits import COUNTER_MAX, RECEIVING_CHAINS_MAX, SELF_FORWARD_JUMP_MAX
from .packing import take_bytes, take_int, take_list
from .receiving_chain import ChainStep, ReceivingChain

__all__ = ["DoubleRatchet", "ReceivingStep", "SendingHalf"]


class SendingHalf:
    """Our ratchet key pair (DHs) and the chain that belongs to it (CKs, Ns), with the root key after it."""

    __slots__ = ("chain_key", "number", "pair", "previous_number", "root_key")

    def __init__(self, root_key: bytes, pair: KeyPair, chain_key: bytes, number: int, previous_number: int) -> None:
        self.root_key = root_key  # RK, 32 bytes, secret
        self.pair = pair  # DHs
        self.chain_key = chain_key  # CKs, 32 bytes, secret
        self.number = number  # Ns: seeds already derived
        self.previous_number = previous_number  # what messages carry as previous_counter; receivers ignore it


class ReceivingStep:
    """What receiving one message will change, and the seed that opens it."""

    __slots__ = ("chain", "chain_step", "new_root_key", "ratchet_key")

    def __init__(self, ratchet_key: bytes, chain: ReceivingChain, step: ChainStep, new_root_key: bytes | None) -> None:
        self.ratchet_key = ratchet_key  # DHr, 33 bytes
        self.chain = chain
        self.chain_step = step
        self.new_root_key = new_root_key  # None unless the chain is new


class DoubleRatchet:
    """State of one ratchet."""

    __slots__ = ("forward_max", "receiving", "sending")

    def __init__(self, sending: SendingHalf, receiving: dict[bytes, ReceivingChain], *, forward_max: int) -> None:
        self.sending = sending
        self.receiving = receiving  # by the peer's ratchet key, oldest first
        self.forward_max = forward_max  # messages that may be missing before one

    @classmethod
    def initiate(
        cls, root_key: bytes, chain_key: bytes, signed_prekey: bytes, pair: KeyPair, *, forward_max: int
    ) -> DoubleRatchet:
        """Start as initiator: the handshake's chain is the peer's, ours follows from a DH with its signed prekey."""
        new_root_key, sending_key = root_step(root_key, pair.agree(signed_prekey))
        return cls(
            SendingHalf(new_root_key, pair, sending_key, 0, 0),
            {signed_prekey: ReceivingChain(chain_key, 0, {})},
            forward_max=forward_max,
        )

    @classmethod
    def accept(cls, root_key: bytes, chain_key: bytes, signed_prekey: KeyPair, *, forward_max: int) -> DoubleRatchet:
        """Start as responder: the handshake's chain is ours, under the signed prekey."""
        return cls(SendingHalf(root_key, signed_prekey, chain_key, 0, 0), {}, forward_max=forward_max)

    def plan_send(self) -> tuple[bytes, bytes]:
        """Return the next message's seed and the chain key after it. Raises NoActiveSession at 2^32 messages."""
        if self.sending.number > COUNTER_MAX:
            raise NoActiveSession("the sending chain is used up: renew the session")
        return chain_step(self.sending.chain_key)

    def commit_send(self, chain_key: bytes) -> None:
        """Make what `plan_send` returned the state."""
        self.sending.chain_key = chain_key
        self.sending.number += 1

    def require_near(self, ratchet_key: bytes, counter: int) -> None:
        """Raise TooFarAhead for a message that `plan_receive` would refuse as such, before anything is derived."""
        chain = self.receiving.get(ratchet_key)
        if counter - (0 if chain is None else chain.number) > self.forward_max:
            raise TooFarAhead(f"message {counter} is more than {self.forward_max} ahead")

    def plan_receive(self, ratchet_key: bytes, counter: int, new_chain_max: int | None = None) -> ReceivingStep:
        """Find or derive the seed at *counter* of the chain of *ratchet_key* (section 3.5).

        In a chain that is new, at most *new_chain_max* messages may be missing, if it is given.
        Raises MessageKeyGone, TooFarAhead, or NotAuthentic for a low-order key.
        """
        chain = self.receiving.get(ratchet_key)
        if chain is not None:
            return ReceivingStep(ratchet_key, chain, chain.plan(counter, self.forward_max), None)
        # Only the first half of the DH step; our next key pair is not made before the tag has verified.
        root_key, chain_key = root_step(self.sending.root_key, self.sending.pair.agree(ratchet_key))
        chain = ReceivingChain(chain_key, 0, {})
        forward_max = self.forward_max if new_chain_max is None else new_chain_max
        return ReceivingStep(ratchet_key, chain, chain.plan(counter, forward_max), root_key)

    def answer(self, step: ReceivingStep, entropy: Entropy) -> SendingHalf | None:
        """Make the second half of the DH step if *step* opened a new chain: our next pair and sending chain."""
        if step.new_root_key is None:
            return None
        pair = KeyPair.generate(entropy)
        root_key, chain_key = root_step(step.new_root_key, pair.agree(step.ratchet_key))
        return SendingHalf(root_key, pair, chain_key, 0, max(self.sending.number - 1, 0))

    def commit_receive(self, step: ReceivingStep, answer: SendingHalf | None) -> None:
        """Make *step* (and the answer to it) the state; a sixth chain pushes the oldest out."""
        step.chain.commit(step.chain_step)
        if answer is not None:
            self.sending = answer
            self.receiving[step.ratchet_key] = step.chain
            if len(self.receiving) > RECEIVING_CHAINS_MAX:
                del self.receiving[next(iter(self.receiving))]

    def to_packed(self) -> list[Any]:
        """Return the state as plain values for `packing`."""
        sending = self.sending
        return [
            sending.root_key,
            sending.pair.public,
            sending.pair.private,
            sending.chain_key,
            sending.number,
            sending.previous_number,
            self.forward_max,
            [[ratchet_key, *chain.to_packed()] for ratchet_key, chain in self.receiving.items()],
        ]

    @classmethod
    def from_packed(cls, value: object) -> DoubleRatchet:
        """Undo `to_packed`. Raises CorruptSnapshot."""
        root_key, public, private, chain_key, number, previous, forward_max, chains = take_list(
            value, "double ratchet", length=8
        )
        sending = SendingHalf(
            take_bytes(root_key, 32, "root key"),
            KeyPair(take_bytes(public, PUBLIC_KEY_SIZE, "ratchet key"), take_bytes(private, 32, "ratchet key")),
            take_bytes(chain_key, 32, "sending chain key"),
            take_int(number, COUNTER_MAX + 1, "sending number"),
            take_int(previous, COUNTER_MAX, "previous number"),
        )
        receiving = {}
        for packed in take_list(chains, "receiving chains", length_max=RECEIVING_CHAINS_MAX):
            ratchet_key, *chain = take_list(packed, "receiving chain", length=5)
            receiving[take_bytes(ratchet_key, PUBLIC_KEY_SIZE, "their ratchet key")] = ReceivingChain.from_packed(chain)
        if len(receiving) != len(chains):
            raise CorruptSnapshot("receiving chains: one ratchet key twice")
        return cls(sending, receiving, forward_max=take_int(forward_max, SELF_FORWARD_JUMP_MAX, "forward limit"))
