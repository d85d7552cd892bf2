"""What `ratchet` reads: messages, bundles, scanned numbers, stored states; and its sessions, as they take messages."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ratchet import (
    Account,
    Address,
    Ciphertext,
    CiphertextKind,
    CorruptSnapshot,
    InvalidArgument,
    MalformedMessage,
    OwnSenderKey,
    PeerSenderKey,
    PreKeyBundle,
    RatchetError,
    SafetyNumber,
    SafetyNumberMismatch,
    Session,
    UnsupportedVersion,
    safety_number,
)
from ratchet.messages import DistributionMessage, PreKeyMessage, SenderKeyMessage, SignalMessage
from ratchet.protobuf import read_fields
from ratchet.spqr.wire import BraidMessage
from tests.support.conversation import account, seeded

from .target import Target, decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TARGETS"]

RECORDED: Final = Path(__file__).parents[2] / "vectors/snapshots/form_2.json"
MESSAGE: Final = (MalformedMessage, UnsupportedVersion)
STORED: Final = (CorruptSnapshot, UnsupportedVersion)
SEED_SIZE_MAX: Final = 6_000  # bytes: what is larger teaches no more
SEEDS_MAX: Final = 6  # of one kind


@cache
def _tests() -> list[dict[str, object]]:
    """The recorded conversations and their stored states."""
    groups = json.loads(RECORDED.read_text("utf-8"))["groups"]
    return [test for group in groups for test in group["tests"]]


def _steps(test: dict[str, object], **wanted: str) -> list[dict[str, str]]:
    steps: list[dict[str, str]] = test["steps"]  # type: ignore[assignment]
    return [step for step in steps if all(str(step.get(name)) == value for name, value in wanted.items())]


def _bodies(kind: CiphertextKind) -> list[bytes]:
    found = [bytes.fromhex(step["body"]) for test in _tests() for step in _steps(test, kind=str(int(kind)))]
    return _few(found)


def _snapshots(what: str) -> list[bytes]:
    """All stored states of a kind of object, first to last."""
    return [
        bytes.fromhex(one["bytes"])
        for test in _tests()
        for one in test["snapshots"]  # type: ignore[attr-defined]
        if one["object"] == what
    ]


def _few(some: Sequence[bytes]) -> list[bytes]:
    """A few that differ as much as may be."""
    fitting = [one for one in dict.fromkeys(some) if len(one) <= SEED_SIZE_MAX]
    return fitting[:: max(1, len(fitting) // SEEDS_MAX)][:SEEDS_MAX]


def _group_messages(do: str) -> list[bytes]:
    return [bytes.fromhex(step["body"]) for test in _tests() if "chains" in test for step in _steps(test, do=do)]


def _bundles() -> list[bytes]:
    whole = account("fuzz bundle", one_time_prekeys=1)
    return [whole.bundle().to_bytes(), whole.bundle(one_time=False).to_bytes(), whole.bundle(kem=False).to_bytes()]


def _scanned(data: bytes) -> None:
    try:
        _number("alice", "bob").check_scanned(data)
    except SafetyNumberMismatch:
        return


@cache
def _number(one: str, other: str) -> SafetyNumber:
    keys = [account(name).identity_key for name in (one, other)]
    return safety_number(one.encode(), keys[0], other.encode(), keys[1], iterations=2)


# Sessions: whatever is refused leaves everything as it was.


def _unchanged(do: Callable[[], object], *states: Account | Session | PeerSenderKey) -> None:
    before = [state.to_bytes() for state in states]
    try:
        do()
    except RatchetError as error:
        if isinstance(error, InvalidArgument):  # bytes are never the caller's mistake
            raise
        if [state.to_bytes() for state in states] != before:
            raise AssertionError("a refused message has changed something") from error


@cache
def _state(what: str, number: int) -> bytes:
    return _snapshots(what)[number]


def _ciphertext(data: bytes) -> Ciphertext:
    """The first byte says of which kind the rest is."""
    kind = CiphertextKind.PREKEY if data[:1] < b"\x80" else CiphertextKind.SIGNAL
    return Ciphertext(kind, data[1:])


def _decrypt(data: bytes) -> None:
    """Bob has answered the recorded first messages: Alice's are repeated, late, or new."""
    bob, session = Account.from_bytes(_state("account", 1)), Session.from_bytes(_state("session", 2))
    _unchanged(lambda: session.decrypt(bob, _ciphertext(data), now=0, entropy=seeded(1)), bob, session)
    Session.from_bytes(session.to_bytes())


def _accept(data: bytes) -> None:
    """Bob has a session with nobody."""
    bob = Account.from_bytes(_state("account", 0))
    parties = _tests()[0]["parties"]
    alices, bobs = (
        Address(parties[name]["address"]["name"], parties[name]["address"]["device_id"])  # type: ignore[index]
        for name in ("alice", "bob")
    )

    def accept() -> None:
        Session.accept(
            bob,
            Ciphertext(CiphertextKind.PREKEY, data),
            local=bobs,
            remote=alices,
            allow_x3dh=True,
            allow_without_spqr=True,
            now=0,
            entropy=seeded(1),
        )

    _unchanged(accept, bob)


def _initiate(data: bytes) -> None:
    """A relay's bundle, of whatever content."""
    try:
        bundle = PreKeyBundle.from_bytes(data)
    except MESSAGE:
        return
    alice = account("fuzz alice")
    _unchanged(lambda: Session.initiate(alice, bundle, allow_x3dh=True, now=0, entropy=seeded(1)), alice)


def _group_decrypt(data: bytes) -> None:
    """A member with one of two chains; the first byte says whether a message or a further chain comes."""
    member = PeerSenderKey.from_bytes(_state("peer_sender_key", 0))
    if data[:1] < b"\x80":
        _unchanged(lambda: member.decrypt(data[1:]), member)
    else:
        _unchanged(lambda: member.add_distribution_message(data[1:]), member)
    PeerSenderKey.from_bytes(member.to_bytes())


def _mixed(low: Callable[[], Sequence[bytes]], high: Callable[[], Sequence[bytes]]) -> list[bytes]:
    return [b"\x00" + one for one in low()] + [b"\x80" + one for one in high()]


def _first_bodies() -> list[bytes]:
    return _bodies(CiphertextKind.PREKEY)


def _bodies_of_first_talk(kind: CiphertextKind) -> list[bytes]:
    return [bytes.fromhex(step["body"]) for step in _steps(_tests()[0], kind=str(int(kind)))]


TARGETS: Final = (
    decoder("signal-message", SignalMessage.parse, MESSAGE, seeds=lambda: _bodies(CiphertextKind.SIGNAL)),
    decoder("prekey-message", PreKeyMessage.parse, MESSAGE, seeds=_first_bodies),
    decoder("sender-key-message", SenderKeyMessage.parse, MESSAGE, seeds=lambda: _few(_group_messages("encrypt"))),
    decoder(
        "distribution-message",
        DistributionMessage.parse,
        MESSAGE,
        encode=DistributionMessage.encode,
        seeds=lambda: _few(_group_messages("distribute")),
    ),
    decoder("braid-message", BraidMessage.parse, MESSAGE, seeds=lambda: _few(_braid_messages())),
    decoder(
        "protobuf-fields",
        lambda data: read_fields(data, 0, len(data)),
        (MalformedMessage,),
        seeds=lambda: [one[1:] for one in _few(_group_messages("distribute"))],
    ),
    decoder("scanned-number", _scanned, (MalformedMessage,), seeds=lambda: [_number("bob", "alice").scannable]),
    decoder("bundle", PreKeyBundle.from_bytes, MESSAGE, encode=lambda one: _or_none(one.to_bytes), seeds=_bundles),
    decoder("account", Account.from_bytes, STORED, encode=Account.to_bytes, seeds=lambda: _few(_snapshots("account"))),
    decoder("session", Session.from_bytes, STORED, encode=Session.to_bytes, seeds=lambda: _few(_snapshots("session"))),
    decoder(
        "own-sender-key",
        OwnSenderKey.from_bytes,
        STORED,
        encode=OwnSenderKey.to_bytes,
        seeds=lambda: _few(_snapshots("own_sender_key")),
    ),
    decoder(
        "peer-sender-key",
        PeerSenderKey.from_bytes,
        STORED,
        encode=PeerSenderKey.to_bytes,
        seeds=lambda: _few(_snapshots("peer_sender_key")),
    ),
    Target(
        "session-decrypt",
        _decrypt,
        lambda: _mixed(
            lambda: _bodies_of_first_talk(CiphertextKind.PREKEY), lambda: _bodies_of_first_talk(CiphertextKind.SIGNAL)
        ),
    ),
    Target("session-accept", _accept, lambda: _bodies_of_first_talk(CiphertextKind.PREKEY)),
    Target("session-initiate", _initiate, _bundles),
    Target(
        "group-decrypt",
        _group_decrypt,
        lambda: _mixed(lambda: _group_messages("encrypt"), lambda: _group_messages("distribute")),
    ),
)


def _braid_messages() -> list[bytes]:
    return [SignalMessage.parse(one).pq_ratchet for one in _bodies(CiphertextKind.SIGNAL)]


def _or_none(write: Callable[[], bytes]) -> bytes | None:
    """What *write* writes; None if the value was taken without having a valid form: it is checked when it is used."""
    try:
        return write()
    except MalformedMessage:
        return None
