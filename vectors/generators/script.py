"""Conversations as they are made: `ratchet` takes each step, the script writes it down."""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING, Final, Self

import ratchet
from vectors.generators.dice import Dice, RecordingEntropy
from vectors.ours import conversation as ours
from vectors.reference import kem
from vectors.reference.expectations import RecordedEntropy
from vectors.reference.replay_conversation import Conversation as ReferenceConversation
from vectors.reference.replay_conversation import trace_json

if TYPE_CHECKING:
    from vectors.files import Json
    from vectors.reference.double_ratchet import Draft
    from vectors.reference.messages import PreKeyMessage

ONE_TIME_PREKEYS: Final = 1  # of each kind, for each party


class Script:
    """Two parties, alice and bob, their sessions, and the steps so far."""

    def __init__(
        self,
        parties: Json,
        bundles: dict[str, dict[str, Json]],
        dice: Dice,
        accounts: dict[str, ratchet.Account] | None = None,
    ) -> None:
        self.parties = parties
        self.bundles = bundles  # by party and variant
        self.steps: list[Json] = []
        self._dice = dice
        self._ours = ours.Conversation.of(parties)
        for party, account in (accounts or {}).items():
            self._ours.parties[party].prekeys = account

    @classmethod
    def start(
        cls,
        name: str,
        *,
        names: tuple[str, str] | None = None,
        options: Json | None = None,
        one_identity: bool = False,
    ) -> Self:
        """Make both parties from dice of this name; *options* go into both. *one_identity*: devices of one user."""
        dice = Dice(f"conversation {name}")
        parties, bundles, accounts = {}, {}, {}
        identity = None
        for position, party in enumerate(("alice", "bob")):
            address: Json = {"name": names[position] if names else service_id(dice), "device_id": position + 1}
            account = accounts[party] = make_account(dice, identity)
            if one_identity:
                identity = account.identity
            parties[party] = party_json(account, address) | (options or {})
            bundles[party] = bundles_json(account, address["device_id"])
        return cls(parties, bundles, dice, accounts)

    def test(self) -> Json:
        """Return the content of a conversation's test."""
        return {"parties": self.parties, "steps": self.steps}

    @property
    def dice(self) -> Dice:
        """The dice of this script."""
        return self._dice

    def last_resort_id(self, party: str) -> int:
        """Return the id of a party's last-resort KEM prekey."""
        ids: list[int] = [prekey["id"] for prekey in self.parties[party]["kem_prekeys"] if prekey["last_resort"]]
        return ids[0]

    def can_speak(self, party: str) -> bool:
        """Tell whether a party has a session."""
        return self._ours.parties[party].session is not None

    @property
    def last_message(self) -> int:
        """The number of the message encrypted last."""
        return len(self._ours.messages) - 1

    def initiate(self, by: str, variant: str = "full", **extra: object) -> Self:
        """Start a session from the peer's bundle of this variant."""
        bundle = self.bundles[other_party(by)][variant]
        step: Json = {"by": by, "do": "initiate", "bundle": bundle, **extra}
        if "kem_prekey" in bundle:
            randomness = self._dice.bytes(kem.RANDOMNESS_SIZE)
            ciphertext, secret = kem.kyber1024_encapsulate(bytes.fromhex(bundle["kem_prekey"])[1:], randomness)
            step["encapsulation"] = {
                "randomness": randomness.hex(),
                "ciphertext": "08" + ciphertext.hex(),
                "secret": secret.hex(),
            }
        return self._take(step)

    def encrypt(self, by: str, plaintext: bytes | None = None, now: int = 0) -> int:
        """Encrypt a text (or a random one) *now* seconds after the start; return the message's number."""
        if plaintext is None:
            plaintext = self._dice.bytes(self._dice.below(12))
        session = self._ours.parties[by].session
        if session is None:
            raise ratchet.NoActiveSession("nobody has started a session")
        entropy = RecordingEntropy(self._dice)
        made = session.encrypt(plaintext, now=now, entropy=entropy)
        step: Json = {"by": by, "do": "encrypt", "plaintext": plaintext.hex()}
        if now:
            step["now"] = now
        if entropy.drawn:
            step["entropy"] = entropy.drawn
        return self.add_message(step, made, plaintext)

    def add_message(self, step: Json, made: ratchet.Ciphertext, plaintext: bytes) -> int:
        """Add an encrypt step; return the message's number."""
        self.steps.append(step | {"kind": int(made.kind), "body": made.body.hex()})
        self._ours.messages.append((made, plaintext))
        return self.last_message

    def decrypt(self, by: str, message: int) -> Self:
        """Deliver a message."""
        return self._take({"by": by, "do": "decrypt", "message": message})

    def skip(self, by: str, count: int) -> Self:
        """Encrypt messages that are lost."""
        return self._take({"by": by, "do": "skip", "count": count})

    def archive(self, by: str) -> Self:
        """Stop sending with the current ratchet."""
        return self._take({"by": by, "do": "archive"})

    def forget(self, by: str) -> Self:
        """Lose the session."""
        return self._take({"by": by, "do": "forget"})

    def say(self, by: str, plaintext: bytes | None = None) -> Self:
        """Encrypt and deliver at once."""
        message = self.encrypt(by, plaintext)
        return self.decrypt(other_party(by), message)

    def delivery(self, by: str, message: int) -> Json:
        """Return the step that reads a message, with what it draws, without taking it."""
        step: Json = {"by": by, "do": "decrypt", "message": message}
        entropy = self.entropy_to_read(by, message)
        return {**step, "entropy": entropy} if entropy else step

    def entropy_to_read(self, by: str, message: int) -> list[str]:
        """Return what reading a message draws, without reading it: dice of its own keep the script's as they are."""
        entropy = RecordingEntropy(Dice(f"reading {message} of {self.parties[by]['identity_key']}"))
        self._ours.fork().act({"by": by, "do": "decrypt", "message": message}, entropy)
        return entropy.drawn

    def message(self, number: int) -> tuple[ratchet.Ciphertext, bytes]:
        """Return a message and its plaintext."""
        return self._ours.messages[number]

    def encrypted_body(self, message: int) -> bytes:
        """Return a message's wire form."""
        return self.message(message)[0].body

    def snapshot(self, party: str, what: str) -> Json:
        """Return the stored form of a live object, for a snapshot after the steps so far."""
        live = self._ours.parties[party]
        packed = live.session if what == "session" else live.prekeys
        if not isinstance(packed, ratchet.Session | ratchet.Account):
            raise TypeError(f"{party} has no {what} to store")
        return {"after": len(self.steps), "party": party, "object": what, "bytes": packed.to_bytes().hex()}

    def draft(self, message: int) -> tuple[PreKeyMessage | None, Draft]:
        """Return what a message was made from, by the reference implementation: for what no honest program sends."""
        position = [number for number, step in enumerate(self.steps) if step["do"] == "encrypt"][message]
        step = self.steps[position]
        conversation = ReferenceConversation(copy.deepcopy(self.parties))
        conversation.run(self.steps[:position])
        return conversation.sessions[step["by"]].draft(RecordedEntropy(step), step.get("now", 0))

    def with_traces(self) -> Self:
        """Add the secrets behind every message, which the reference implementation knows."""
        conversation = ReferenceConversation(copy.deepcopy(self.parties))
        for step in self.steps:
            conversation.run([step])
            trace = conversation.sessions[step["by"]].ratchet.trace if step["do"] in ("encrypt", "decrypt") else None
            if trace is not None:
                step["trace"] = trace_json(trace)
        return self

    def _take(self, step: Json) -> Self:
        entropy = RecordingEntropy(self._dice)
        self._ours.act(step, entropy)
        if entropy.drawn:
            step["entropy"] = entropy.drawn
        self.steps.append(step)
        return self


def other_party(party: str) -> str:
    """Return the one whom *party* talks to."""
    return {"alice": "bob", "bob": "alice"}[party]


def service_id(dice: Dice) -> str:
    """Return a random UUID."""
    return str(uuid.UUID(bytes=dice.bytes(16), version=4))


def make_account(dice: Dice, identity: ratchet.IdentityKeyPair | None = None) -> ratchet.Account:
    """Make an account with one one-time prekey of each kind."""
    return ratchet.Account.create(identity=identity, one_time_prekeys=ONE_TIME_PREKEYS, entropy=dice.bytes, now=0)


def party_json(account: ratchet.Account, address: Json) -> Json:
    """Return an account's secrets as a vector states them."""
    public = account.published_prekeys()
    if public.signed_prekey is None or public.last_resort_kem_prekey is None:
        raise RuntimeError("a new account publishes everything")
    signed = account.signed_prekey(public.signed_prekey.id)
    kem_ids = [prekey.id for prekey in (*public.one_time_kem_prekeys, public.last_resort_kem_prekey)]
    return {
        "address": address,
        "registration_id": account.registration_id,
        "identity_key": account.identity_key.hex(),
        "identity_private": account.identity.private_key.hex(),
        "signed_prekeys": [{"id": signed.id, "private": signed.pair.private.hex()}],
        "one_time_prekeys": [
            {"id": prekey.id, "private": account.one_time_prekey(prekey.id).pair.private.hex()}
            for prekey in public.one_time_prekeys
        ],
        "kem_prekeys": [
            {
                "id": prekey_id,
                "seed": account.kem_prekey(prekey_id).seed.hex(),
                "last_resort": account.kem_prekey(prekey_id).last_resort,
            }
            for prekey_id in kem_ids
        ],
    }


def bundles_json(account: ratchet.Account, device_id: int) -> dict[str, Json]:
    """Return the bundles of an account, by what is in them."""
    full = bundle_json(account.bundle(device_id))
    last_resort = bundle_json(account.bundle(device_id, one_time=False))
    x3dh = bundle_json(account.bundle(device_id, one_time=False, kem=False))
    one_time = {name: full[name] for name in ("one_time_prekey_id", "one_time_prekey")}
    return {
        "full": full,
        "last_resort": last_resort,
        "last_resort_one_time": last_resort | one_time,
        "x3dh": x3dh,
        "x3dh_one_time": x3dh | one_time,
    }


def bundle_json(bundle: ratchet.PreKeyBundle) -> Json:
    """Return the form in which vectors state a bundle."""
    fields = {
        "registration_id": bundle.registration_id,
        "device_id": bundle.device_id,
        "identity_key": bundle.identity_key,
        "signed_prekey_id": bundle.signed_prekey_id,
        "signed_prekey": bundle.signed_prekey,
        "signed_prekey_signature": bundle.signed_prekey_signature,
        "kem_prekey_id": bundle.kem_prekey_id,
        "kem_prekey": bundle.kem_prekey,
        "kem_prekey_signature": bundle.kem_prekey_signature,
        "one_time_prekey_id": bundle.one_time_prekey_id,
        "one_time_prekey": bundle.one_time_prekey,
    }
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items() if value is not None
    }
