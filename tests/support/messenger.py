"""A minimal messenger: the units of work that a client does, with the store and the ratchet and nothing else.

It decides nothing that `e2ee` will decide. The crash, power-cut and measuring programs drive the store
through it: one transaction per batch received, one per batch sent, the network only afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ratchet import Ciphertext, CiphertextKind, PreKeyBundle, Session
from store.inbox import Received, seen_envelope, seen_message
from store.outbox import Envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratchet import PublishedPreKeys
    from store import ClientStore, LoadedSession, Unit

Entropy = Callable[[int], bytes]

ID_SIZE: Final = 16  # bytes
DIRECT: Final = "direct"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An envelope as the relay delivers it."""

    number: int  # the relay's, in order
    envelope_id: bytes
    user_id: str
    device_id: int
    kind: int
    ciphertext: bytes = field(repr=False)


def packed(message_id: bytes, number: int, body: bytes) -> bytes:
    """Content as these messengers understand it."""
    return message_id + number.to_bytes(8, "big") + body


class Messenger:
    """One device with a store. *boundary* is called wherever a process may die between two storage calls."""

    def __init__(
        self,
        store: ClientStore,
        *,
        entropy: Entropy = os.urandom,
        boundary: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.entropy = entropy
        self.boundary = boundary

    def create(self, user_id: str, *, one_time_prekeys: int = 3) -> None:
        """Make the account and its prekeys."""
        with self.store.begin() as unit:
            unit.account.create(user_id)
            unit.prekeys.rotate()
            unit.prekeys.add_one_time(one_time_prekeys, one_time_prekeys)

    def initiate(self, user_id: str, bundle: PreKeyBundle) -> None:
        """Start a session from a bundle."""
        with self.store.begin() as unit:
            session = Session.initiate(unit.prekeys, bundle, entropy=self.entropy)
            unit.identities.see(user_id, bundle.identity_key)
            unit.devices.put(user_id, bundle.device_id, bundle.registration_id)
            unit.sessions.add(user_id, bundle.device_id, session)

    # Receiving.

    def receive(self, deliveries: Sequence[Delivery]) -> int:
        """Open a batch in one transaction; return the delivery number that may be acknowledged now."""
        with self.store.begin() as unit:
            self._receive(unit, deliveries)
        self.boundary()
        return deliveries[-1].number

    def _receive(self, unit: Unit, deliveries: Sequence[Delivery]) -> None:
        keys = [seen_envelope(one.user_id, one.device_id, one.envelope_id) for one in deliveries]
        known = unit.seen.known(keys)
        sessions = unit.sessions.load_many({(one.user_id, one.device_id) for one in deliveries})
        touched: dict[tuple[str, int], LoadedSession] = {}
        messages: list[tuple[Delivery, bytes, bytes]] = []
        for key, one in zip(keys, deliveries, strict=True):
            if key in known:
                continue
            known.add(key)
            unit.seen.add(key)
            address = (one.user_id, one.device_id)
            ciphertext = Ciphertext(CiphertextKind(one.kind), one.ciphertext)
            loaded = sessions.get(address)
            if loaded is None:
                session, content = Session.accept(unit.prekeys, ciphertext, entropy=self.entropy)
                sessions[address] = unit.sessions.add(*address, session)
                unit.identities.see(one.user_id, session.remote_identity_key)
            else:
                content = loaded.session.decrypt(unit.prekeys, ciphertext, entropy=self.entropy)
                touched[address] = loaded
            messages.append((one, seen_message(one.user_id, content[:ID_SIZE]), content))
        known = unit.seen.known([key for _, key, _ in messages]) if messages else set()
        self._deliver(unit, [message for message in messages if message[1] not in known])
        for loaded in touched.values():
            unit.sessions.save(loaded)
        unit.counters.delivery_number = max(unit.counters.delivery_number, deliveries[-1].number)

    def _deliver(self, unit: Unit, messages: list[tuple[Delivery, bytes, bytes]]) -> None:
        conversations = dict.fromkeys((m.user_id.encode(), m.user_id, m.device_id) for m, _, _ in messages)
        received = {one: unit.conversations.received(*one) for one in conversations}
        for one, key, content in {key: message for message in messages for key in [message[1]]}.values():
            conversation = one.user_id.encode()
            number = int.from_bytes(content[ID_SIZE : ID_SIZE + 8], "big")
            unit.seen.add(key)
            unit.inbox.add(DIRECT, content)
            unit.receipts.add(one.user_id, one.device_id, conversation, number, "delivered")
            before = received[conversation, one.user_id, one.device_id]
            after = Received(max(before.highest, number), before.gaps, before.gaps_since)
            received[conversation, one.user_id, one.device_id] = after
        for place, state in received.items():
            unit.conversations.save_received(*place, state)

    # Sending.

    def queue(self, user_id: str, body: bytes) -> bytes:
        """Queue a message durably; return its id."""
        with self.store.begin() as unit:
            message_id = self.entropy(ID_SIZE)
            number = unit.conversations.next_number(user_id.encode())
            unit.outgoing.add(message_id, user_id, packed(message_id, number, body), state="queued")
        self.boundary()
        return message_id

    def encrypt(self, user_id: str, device_id: int = 1, *, limit: int = 64) -> list[Envelope]:
        """Encrypt the queued messages of a lane in one transaction; return all of the lane that may go out now."""
        with self.store.begin() as unit:
            messages = unit.outgoing.next_in(user_id, "queued", limit=limit)
            loaded = unit.sessions.load(user_id, device_id) if messages else None
            for message in messages:
                assert loaded is not None
                ciphertext = loaded.session.encrypt(message.content, entropy=self.entropy)
                unit.counters.submission_number += 1
                unit.envelopes.add(
                    Envelope(
                        envelope_id=self.entropy(ID_SIZE),
                        message_id=message.message_id,
                        lane=user_id,
                        user_id=user_id,
                        device_id=device_id,
                        registration_id=loaded.session.remote_registration_id,
                        identity_key=loaded.session.remote_identity_key,
                        kind=int(ciphertext.kind),
                        ciphertext=ciphertext.body,
                        submission_number=unit.counters.submission_number,
                    )
                )
                identity_key = loaded.session.remote_identity_key
                unit.recipients.put(message.message_id, user_id, device_id, identity_key, "sent")
                unit.outgoing.set_state(message.message_id, "encrypted")
            if loaded is not None:
                unit.sessions.save(loaded)
            waiting = unit.envelopes.in_lane(user_id, limit=limit)
        self.boundary()
        return waiting

    def confirm(self, envelopes: Sequence[Envelope]) -> None:
        """Take note that the relay has stored them: they go, their contents move to the send log."""
        with self.store.begin() as unit:
            for envelope in envelopes:
                unit.envelopes.delete(envelope.envelope_id)
                taken = unit.outgoing.take_out(envelope.message_id)
                if taken is not None:
                    unit.send_log.add(envelope.message_id, *taken)
        self.boundary()

    # What the application sees.

    def inbox(self) -> list[bytes]:
        """The bodies of all messages received and not acknowledged, in order."""
        with self.store.begin() as unit:
            return [event.body[ID_SIZE + 8 :] for event in unit.inbox.after(0, limit=10_000)]


def bundle(published: PublishedPreKeys, number: int = 0) -> PreKeyBundle:
    """What a relay makes of an upload: the one-time keys with that *number* in it, once for each number."""
    signed, kem, one_time = (
        published.signed_prekey,
        published.one_time_kem_prekeys[number],
        published.one_time_prekeys[number],
    )
    assert signed is not None
    return PreKeyBundle(
        registration_id=published.registration_id,
        device_id=1,
        identity_key=published.identity_key,
        signed_prekey_id=signed.id,
        signed_prekey=signed.public_key,
        signed_prekey_signature=signed.signature,
        kem_prekey_id=kem.id,
        kem_prekey=kem.public_key,
        kem_prekey_signature=kem.signature,
        one_time_prekey_id=one_time.id,
        one_time_prekey=one_time.public_key,
    )
