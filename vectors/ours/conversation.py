"""The objects of `ratchet`, made from what vectors say, and driven step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import ratchet
from ratchet.keys import KeyPair
from ratchet.prekeys import KemPreKey, OneTimePreKey, SignedPreKey
from vectors.ours.outcome import Packed, expect_refusal, no_matter, no_refusal
from vectors.reference.expectations import Json, Mismatch, RecordedEntropy, expect, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ratchet.prekeys import PreKeyUse

Value = TypeVar("Value")


class VectorPreKeys:
    """A party's own keys as a `ratchet` session looks them up."""

    def __init__(self, party: Json) -> None:
        self.identity = ratchet.IdentityKeyPair.from_private_key(bytes.fromhex(party["identity_private"]))
        self.registration_id: int = party["registration_id"]
        self._signed = {prekey["id"]: _pair(prekey) for prekey in party["signed_prekeys"]}
        self._one_time = {prekey["id"]: _pair(prekey) for prekey in party["one_time_prekeys"]}
        self._kem = {prekey["id"]: prekey for prekey in party["kem_prekeys"]}
        self._used: list[PreKeyUse] = []
        self._stated = party

    def fork(self) -> VectorPreKeys:
        """Return an independent copy."""
        copied = VectorPreKeys(self._stated)
        copied._one_time, copied._kem = dict(self._one_time), dict(self._kem)
        copied._used = list(self._used)
        return copied

    def signed_prekey(self, prekey_id: int) -> SignedPreKey:
        """Find a signed prekey; its signature and age do not matter to a session."""
        return SignedPreKey(prekey_id, _found(self._signed, prekey_id), b"", 0)

    def one_time_prekey(self, prekey_id: int) -> OneTimePreKey:
        """Find an unused one-time prekey."""
        return OneTimePreKey(prekey_id, _found(self._one_time, prekey_id))

    def kem_prekey(self, prekey_id: int) -> KemPreKey:
        """Find an unused one-time KEM prekey, or one of last resort."""
        stated = _found(self._kem, prekey_id)
        return KemPreKey(prekey_id, bytes.fromhex(stated["seed"]), b"", 0, stated["last_resort"])

    def base_key_used(self, use: PreKeyUse) -> bool:
        """Tell whether a message with these ids and this base key was accepted."""
        return use in self._used

    def consume(self, use: PreKeyUse) -> None:
        """Delete what is used once, remember the rest."""
        if use.one_time_prekey_id is not None:
            del self._one_time[use.one_time_prekey_id]
        if use.kem_prekey_id is not None and not self._kem[use.kem_prekey_id]["last_resort"]:
            del self._kem[use.kem_prekey_id]
        else:
            self._used.append(use)


def _pair(prekey: Json) -> KeyPair:
    return KeyPair.from_private(bytes.fromhex(prekey["private"]))


def _found(prekeys: dict[int, Value], prekey_id: int) -> Value:
    if prekey_id not in prekeys:
        raise ratchet.UnknownPreKey("the vector's party has no such prekey")
    return prekeys[prekey_id]


def read_address(party: Json) -> ratchet.Address | None:
    """Return the party's address, if it has one."""
    return ratchet.Address(party["address"]["name"], party["address"]["device_id"]) if "address" in party else None


def read_bundle(stated: Json) -> ratchet.PreKeyBundle:
    """Return the bundle; a field with hexadecimal text is bytes."""
    fields: dict[str, Any] = {
        name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in stated.items()
    }
    return ratchet.PreKeyBundle(**fields)


@dataclass(slots=True)
class Party:
    """One device that the vector has the keys of."""

    prekeys: ratchet.Account | VectorPreKeys
    local: ratchet.Address | None
    remote: ratchet.Address | None
    allow_x3dh: bool
    allow_without_spqr: bool
    session: ratchet.Session | None = None

    def objects(self) -> list[Packed]:
        """Return what a refused step must leave as it was."""
        return [] if self.session is None else [self.session]


@dataclass(slots=True)
class Conversation:
    """A conversation between `ratchet` sessions, or between one and a recorded peer."""

    parties: dict[str, Party]
    messages: list[tuple[ratchet.Ciphertext, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, stated: Json) -> Conversation:
        """Set up the parties with private keys."""
        first, second = stated
        return cls({name: _party(stated[name], stated[peer]) for name, peer in _replayed(stated, first, second)})

    def fork(self) -> Conversation:
        """Return an independent copy. Sessions are copied through their stored form, as a program would."""
        parties = {
            name: Party(
                _forked(party.prekeys),
                party.local,
                party.remote,
                party.allow_x3dh,
                party.allow_without_spqr,
                None if party.session is None else ratchet.Session.from_bytes(party.session.to_bytes()),
            )
            for name, party in self.parties.items()
        }
        return Conversation(parties, list(self.messages))

    def run(self, steps: Sequence[Json]) -> None:
        """Take steps and compare everything that they state. Raises Mismatch."""
        for number, step in enumerate(steps):
            with place(f"step {number} ({step['by']} {step['do']})"):
                self._take(step)

    def _take(self, step: Json) -> None:
        party = self.parties.get(step["by"])
        if party is None:
            if step["do"] == "encrypt":
                self.messages.append((_ciphertext(step), bytes.fromhex(step["plaintext"])))
        elif "error" in step:
            expect_refusal(step, party.objects(), partial(self.act, step, no_matter))
        else:
            entropy = RecordedEntropy(step)
            with no_refusal():
                self.act(step, entropy)
            entropy.finish()

    def act(self, step: Json, entropy: Callable[[int], bytes]) -> None:
        """Take one step of a party that has its keys, with entropy from anywhere."""
        party = self.parties[step["by"]]
        match step["do"]:
            case "initiate":
                _initiate(party, step, entropy)
            case "encrypt":
                self._encrypt(party, step, entropy)
            case "decrypt":
                self._decrypt(party, step, entropy)
            case "skip":
                for _ in range(step["count"]):
                    _open(party).encrypt(b"", now=step.get("now", 0), entropy=entropy)
            case "archive":
                _open(party).archive()
            case "forget":
                party.session = None

    def _encrypt(self, party: Party, step: Json, entropy: Callable[[int], bytes]) -> None:
        plaintext = bytes.fromhex(step["plaintext"])
        made = _open(party).encrypt(plaintext, now=step.get("now", 0), entropy=entropy)
        expect("kind", int(made.kind), step["kind"])
        expect("body", made.body, step["body"])
        self.messages.append((made, plaintext))

    def _decrypt(self, party: Party, step: Json, entropy: Callable[[int], bytes]) -> None:
        if "message" in step:
            ciphertext, stated = self.messages[step["message"]]
        else:
            ciphertext, stated = _ciphertext(step), bytes.fromhex(step.get("plaintext", ""))
        if party.session is not None:
            plaintext = party.session.decrypt(
                party.prekeys,
                ciphertext,
                allow_x3dh=party.allow_x3dh,
                allow_without_spqr=party.allow_without_spqr,
                now=step.get("now", 0),
                entropy=entropy,
            )
        else:
            party.session, plaintext = ratchet.Session.accept(
                party.prekeys,
                ciphertext,
                local=party.local,
                remote=party.remote,
                allow_x3dh=party.allow_x3dh,
                allow_without_spqr=party.allow_without_spqr,
                now=step.get("now", 0),
                entropy=entropy,
            )
        expect("plaintext", plaintext, stated.hex())


def _forked(prekeys: ratchet.Account | VectorPreKeys) -> ratchet.Account | VectorPreKeys:
    if isinstance(prekeys, ratchet.Account):
        return ratchet.Account.from_bytes(prekeys.to_bytes())
    return prekeys.fork()


def _replayed(stated: Json, first: str, second: str) -> Iterator[tuple[str, str]]:
    for name, peer in ((first, second), (second, first)):
        if "identity_private" in stated[name]:
            yield name, peer


def _party(stated: Json, peer: Json) -> Party:
    return Party(
        VectorPreKeys(stated),
        read_address(stated),
        read_address(peer),
        stated.get("allow_x3dh", False),
        stated.get("allow_without_spqr", False),
    )


def _open(party: Party) -> ratchet.Session:
    if party.session is None:
        raise ratchet.NoActiveSession("the party has no session")
    return party.session


def _ciphertext(step: Json) -> ratchet.Ciphertext:
    return ratchet.Ciphertext(ratchet.CiphertextKind(step["kind"]), bytes.fromhex(step["body"]))


def encapsulation_of(bundle: ratchet.PreKeyBundle, stated: Json | None) -> Callable[[bytes], tuple[bytes, bytes]]:
    """Return the encapsulation to give to `ratchet`: what the vector states, for the bundle's KEM prekey only."""

    def encapsulate(public: bytes) -> tuple[bytes, bytes]:
        if stated is None or bundle.kem_prekey is None or public != bundle.kem_prekey[1:]:
            raise Mismatch("an encapsulation that the vector does not have")
        return bytes.fromhex(stated["secret"]), bytes.fromhex(stated["ciphertext"])[1:]

    return encapsulate


def _initiate(party: Party, step: Json, entropy: Callable[[int], bytes]) -> None:
    bundle = read_bundle(step["bundle"])
    encapsulate = encapsulation_of(bundle, step.get("encapsulation"))
    without_spqr = step.get("without_spqr", False)
    if party.session is not None:
        party.session.renew(
            party.prekeys,
            bundle,
            allow_x3dh=party.allow_x3dh,
            without_spqr=without_spqr,
            now=step.get("now", 0),
            entropy=entropy,
            encapsulate=encapsulate,
        )
        return
    party.session = ratchet.Session.initiate(
        party.prekeys,
        bundle,
        local=party.local,
        remote=party.remote,
        allow_x3dh=party.allow_x3dh,
        without_spqr=without_spqr,
        now=step.get("now", 0),
        entropy=entropy,
        encapsulate=encapsulate,
    )
