"""Where a secret must not turn up: text, tracebacks, copies, comparisons."""

from __future__ import annotations

import copy
import dataclasses
import gc
import io
import pickle
import traceback
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgpack
import pytest

import ratchet
from ratchet import (
    Account,
    Address,
    Ciphertext,
    CiphertextKind,
    IdentityChanged,
    IdentityKeyPair,
    OwnSenderKey,
    PeerSenderKey,
    RatchetError,
    Session,
)
from ratchet.handshake import accept, initiate
from ratchet.keys import KeyPair, SigningKeyPair
from ratchet.messages import DistributionMessage, PreKeyMessage
from ratchet.spqr.erasure import Decoder
from tests.support.adversary import bit_flips, leaves
from tests.support.conversation import ALICE, BOB, Conversation, active_ratchet, lose, seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.conversation import Stored

FORMS = (bytes.hex, repr, lambda secret: repr(secret)[2:-1], lambda secret: str(list(secret)))


class World:
    """Objects of every kind that hold secrets, and the secrets."""

    def __init__(self) -> None:
        self.talk = Conversation(121).established().ping_pong(12)
        lose(self.talk.alice, 3)
        self.talk.alice_sends().deliver_last()
        self.talk.bobs.renew(self.talk.bob_account, self.talk.alice_account.bundle(), now=0, entropy=seeded(1))
        self.loaded = Account.create(
            identity=IdentityKeyPair.from_private_key(seeded(2)(32)), one_time_prekeys=2, entropy=seeded(3), now=0
        )
        self.own = OwnSenderKey.create(UUID(int=1), entropy=seeded(4))
        self.peer = PeerSenderKey.from_distribution_message(self.own.distribution_message())
        skipped = [self.own.encrypt(b"x") for _ in range(3)]
        self.peer.decrypt(skipped[2])
        self.objects: list[Stored] = [
            self.talk.alice,
            self.talk.bobs,
            self.talk.alice_account,
            self.talk.bob_account,
            self.loaded,
            self.own,
            self.peer,
        ]
        self.stored = [one.to_bytes() for one in self.objects]
        self.public = self._public()
        self.secrets = {
            secret
            for stored in self.stored
            for secret in pieces(msgpack.unpackb(stored))
            if secret not in self.public and len(set(secret)) > 4
        }
        self.canaries = [(secret, form(secret)) for secret in self.secrets for form in FORMS]

    def _public(self) -> set[bytes]:
        """Pieces of 32 bytes that may be seen: of public keys, signatures, ciphertexts."""
        seen: list[bytes] = [sent.ciphertext.body for sent in self.talk.sent]
        for device in (self.talk.alice_account, self.talk.bob_account, self.loaded):
            published = device.published_prekeys()
            seen.append(published.identity_key)
            for key in (
                published.signed_prekey,
                published.last_resort_kem_prekey,
                *published.one_time_prekeys,
                *published.one_time_kem_prekeys,
            ):
                assert key is not None
                seen += [key.public_key, getattr(key, "signature", b"")]
        post_quantum = [active_ratchet(session).post_quantum for session in (self.talk.alice, self.talk.bobs)]
        seen += [one.state.blob for one in post_quantum if one is not None]
        return {joined[start : start + 32] for joined in seen for start in range(len(joined) - 31)}

    def leaked(self, text: str) -> list[bytes]:
        return [secret for secret, canary in self.canaries if canary in text]


def pieces(tree: Any) -> Iterator[bytes]:  # noqa: ANN401 - a tree of msgpack values
    for _path, leaf in leaves(tree):
        if type(leaf) is bytes:
            if len(leaf) in (32, 64) or len(leaf) % 32 == 0:
                yield from (leaf[start : start + 32] for start in range(0, len(leaf), 32))
            elif len(leaf) > 200:
                with suppress(Exception):
                    yield from pieces(msgpack.unpackb(leaf))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def reachable(roots: list[Any]) -> list[Any]:
    """Every object of this package, and every container, that *roots* hold, however deep."""
    found: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, type | str | int | bytes):
            continue
        found[id(one)] = one
        waiting += [held for held in gc.get_referents(one) if not isinstance(held, type)]
    return [one for one in found.values() if type(one).__module__.startswith("ratchet")]


def test_the_world_has_secrets_enough_to_be_worth_a_search(world: World) -> None:
    assert len(world.secrets) > 50
    assert world.talk.alice_account.identity.pair.seed in world.secrets


def test_no_object_prints_a_secret_however_deep_it_lies(world: World) -> None:
    objects = reachable(world.objects)
    assert {type(one).__name__ for one in objects} >= {
        *("Session", "Account", "KeyPair", "SigningKeyPair", "Ratchet", "DoubleRatchet", "SendingHalf"),
        *("ReceivingChain", "EpochChains", "Link", "KemPreKey", "SignedPreKey", "Authenticator", "PostQuantumRatchet"),
    }
    for one in objects:
        for text in (repr(one), str(one), f"{one}"):
            assert world.leaked(text) == [], type(one)


def test_no_step_between_plan_and_commit_prints_a_secret(world: World) -> None:
    talk = world.talk
    bob_account, alice_account = talk.bob_account, talk.alice_account
    bundle = bob_account.bundle()
    started = initiate(alice_account.identity, 1, bundle, allow_x3dh=False, entropy=seeded(5))
    session = Session.initiate(alice_account, bundle, now=0, entropy=seeded(6))
    first = session.encrypt(b"x", now=0, entropy=seeded(7))
    accepted = accept(bob_account, PreKeyMessage.parse(first.body), allow_x3dh=False)
    ratchet = active_ratchet(session)
    assert ratchet.post_quantum is not None
    sending = ratchet.post_quantum.plan_send(seeded(8))
    distribution = DistributionMessage.parse(world.own.distribution_message())
    secrets = [
        *(started.secrets.root_key, started.secrets.chain_key, started.secrets.post_quantum_key),
        *(accepted.secrets.root_key, accepted.signed_prekey.private, sending.key, sending.chain_key),
        *(ratchet.double.plan_send()[0], distribution.chain_key, ratchet.double.sending.pair.private),
    ]
    texts = [repr(one) for one in reachable([started, accepted, sending, distribution, ratchet])]
    for secret in secrets:
        assert secret is not None
        assert not [text for text in texts for form in FORMS if form(secret) in text]


def told(error: BaseException) -> str:
    """All that a program may print of an error: text, arguments, attributes, causes, contexts, the traceback."""
    parts = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts += [
            str(one),
            repr(one),
            repr(one.args),
            repr(getattr(one, "__dict__", {})),
            repr(one.__notes__ if hasattr(one, "__notes__") else ""),
        ]
        parts += [repr(getattr(one, name, "")) for name in ("object", "unpacked", "extra", "name", "obj")]
        waiting += [one.__cause__, one.__context__]
    out = io.StringIO()
    traceback.print_exception(error, file=out)
    return "\n".join([*parts, out.getvalue()])


def test_no_error_of_a_damaged_snapshot_tells_a_secret(world: World) -> None:
    loads = [Session.from_bytes] * 2, [Account.from_bytes] * 3, [OwnSenderKey.from_bytes], [PeerSenderKey.from_bytes]
    told_of = []
    for load, stored in zip(chain(*loads), world.stored, strict=True):
        damages = [stored[:length] for length in range(1, len(stored), 97)]
        damages += [stored + extra for extra in (b"\0", b"\xc0", stored)]
        damages += [damaged for bit, damaged in bit_flips(stored) if bit % 61 == 0]
        damages += [stored.replace(b"\xc4\x20", marker, 1) for marker in (b"\xd9\x20", b"\xc7\x20", b"\xc5\x00\x20")]
        for damaged in damages:
            try:
                load(damaged)
            except RatchetError as error:
                told_of.append(told(error))
    assert len(told_of) > 150
    assert not [text for text in told_of if world.leaked(text)]


def test_no_error_of_a_bad_message_tells_a_secret_or_the_plaintext() -> None:
    talk = Conversation(122).alice_sends()
    first = talk.sent[0].ciphertext
    errors = []
    for bit, body in bit_flips(first.body):
        if bit % 41 == 0:
            with suppress(RatchetError):
                Session.accept(Account.from_bytes(talk.bob_account.to_bytes()), Ciphertext(first.kind, body))
    talk.established()
    talk.alice_sends()
    secrets = [active_ratchet(talk.bobs).double.sending.root_key, active_ratchet(talk.bobs).double.sending.pair.private]
    for bit, body in bit_flips(talk.sent[-1].ciphertext.body):
        if bit % 3 == 0:
            try:
                talk.bobs.decrypt(talk.bob_account, Ciphertext(CiphertextKind.SIGNAL, body))
            except RatchetError as error:
                errors.append(told(error))
    assert len(errors) > 200
    for text in errors:
        assert not [1 for secret in secrets for form in FORMS if form(secret) in text]
        assert "from alice" not in text


def test_an_identity_change_tells_both_public_keys_and_not_in_its_text() -> None:
    error = IdentityChanged(b"\x05" + b"k" * 32, b"\x05" + b"r" * 32)
    assert (error.known[1:2], error.received[1:2]) == (b"k", b"r")
    assert "kkk" not in str(error)


# --- copies --------------------------------------------------------------------------------------------

COPIES = [
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
    *(
        pytest.param(lambda one, p=p: pickle.dumps(one, p), id=f"pickle {p}")
        for p in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("copied", COPIES)
def test_no_object_with_secrets_is_copied_or_pickled_unasked(world: World, copied: Any) -> None:  # noqa: ANN401
    for one in [
        *world.objects,
        world.talk.alice_account.identity,
        world.talk.alice_account.identity.pair,
        KeyPair.generate(seeded(1)),
        SigningKeyPair.from_private(bytes(range(32))),
    ]:
        with pytest.raises(TypeError):
            copied(one)


def test_nor_is_any_container_that_holds_one(world: World) -> None:
    for one in world.objects:
        with pytest.raises(TypeError):
            pickle.dumps({"cached": [one]})
        with pytest.raises(TypeError):
            copy.deepcopy([one])


def test_errors_can_be_pickled_so_that_they_cross_processes() -> None:
    errors: list[RatchetError] = [IdentityChanged(b"known", b"received")]
    errors += [getattr(ratchet, name)("text") for name in ratchet.__all__ if is_plain_error(getattr(ratchet, name))]
    assert len(errors) >= 13
    for error in errors:
        back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert type(back) is type(error)
        assert str(back) == str(error)


def is_plain_error(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, RatchetError) and one is not IdentityChanged


# --- comparisons -----------------------------------------------------------------------------------------


def test_no_two_holders_of_the_same_secrets_compare_equal(world: World) -> None:
    again: list[Stored] = [
        Session.from_bytes(world.stored[0]),
        Account.from_bytes(world.stored[2]),
        OwnSenderKey.from_bytes(world.stored[5]),
        PeerSenderKey.from_bytes(world.stored[6]),
    ]
    for one, other in zip([world.objects[i] for i in (0, 2, 5, 6)], again, strict=True):
        assert one != other
        ours, theirs = reachable([one]), reachable([other])
        for held in ours:
            if not isinstance(held, Address | Decoder):  # whose values are public
                assert not [twin for twin in theirs if type(twin) is type(held) and twin == held], type(held)


def test_no_dataclass_with_a_secret_field_defines_equality() -> None:
    checked = 0
    for one in gc.get_objects():
        # By type(), since isinstance() would ask a dead weak proxy for its class.
        if issubclass(type(one), type) and dataclasses.is_dataclass(one) and str(one.__module__).startswith("ratchet"):
            hidden = [field.name for field in dataclasses.fields(one) if not field.repr]
            if hidden:
                checked += 1
                assert one.__eq__ is object.__eq__, one
    assert checked >= 6


@pytest.mark.parametrize("addresses", [(ALICE, BOB), (None, None)])
def test_a_session_prints_who_it_is_with_and_no_more(addresses: tuple[Any, Any]) -> None:
    talk = Conversation(123)
    local, remote = addresses
    session = Session.initiate(talk.alice_account, talk.bob_account.bundle(), local=local, remote=remote, now=0)
    assert repr(session) == (
        f"Session(remote_identity_key={talk.bob_account.identity_key.hex()}, version 4, 0 archived)"
    )
    session.archive()
    assert "none in use, 1 archived" in repr(session)
