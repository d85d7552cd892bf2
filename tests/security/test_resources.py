"""What strangers and peers can make us spend: steps, memory, stored bytes. Counted, not timed."""

from __future__ import annotations

import ast
import sys
import tracemalloc
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

import pytest

import ratchet
from ratchet import (
    Account,
    Ciphertext,
    CiphertextKind,
    MalformedMessage,
    MessageKeyGone,
    NotAuthentic,
    OwnSenderKey,
    PeerSenderKey,
    PreKeyBundle,
    RatchetError,
    Session,
    TooFarAhead,
    chains,
    primitives,
)
from ratchet.keys import KeyPair
from ratchet.limits import (
    ACCOUNT_SIZE_MAX,
    ARCHIVED_FORWARD_JUMP_MAX,
    BUNDLE_SIZE_MAX,
    FORWARD_JUMP_MAX,
    MESSAGE_SIZE_MAX,
    SENDER_KEY_SIZE_MAX,
    SESSION_SIZE_MAX,
)
from ratchet.messages import SignalMessage, encode_sender_key_message, encode_signal_message
from ratchet.prekeys import PreKeyUse
from ratchet.protobuf import varint
from ratchet.spqr import chain as spqr_chain
from ratchet.spqr.wire import encode_braid_message
from tests.support.adversary import raises_and_changes_nothing
from tests.support.conversation import Conversation, account, seeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType


class Count:
    """How often functions are called while it is entered."""

    def __init__(self, *functions: Callable[..., object]) -> None:
        self._codes: dict[CodeType, str] = {function.__code__: function.__name__ for function in functions}
        self.calls = dict.fromkeys(self._codes.values(), 0)

    def __enter__(self) -> Self:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_exception: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code in self._codes:
            self.calls[self._codes[frame.f_code]] += 1

    @property
    def total(self) -> int:
        return sum(self.calls.values())


def steps() -> Count:
    return Count(chains.chain_step, spqr_chain._step)


def forged(counter: int, index: int, *, ratchet_key: bytes | None = None) -> Ciphertext:
    """A message that anybody can make, who has seen no more than the wire."""
    key = KeyPair.generate(seeded("forger")).public if ratchet_key is None else ratchet_key
    part = encode_braid_message(1, index, 0, 0, b"")
    return Ciphertext(
        CiphertextKind.SIGNAL, encode_signal_message(4, key, counter, 0, bytes(16), part, None) + bytes(8)
    )


def with_archive(count: int) -> Conversation:
    talk = Conversation(131).established()
    for _ in range(count):
        talk.alice.renew(talk.alice_account, talk.bob_account.bundle(one_time=False), now=0, entropy=talk.entropy)
    assert talk.alice.archived_count == count
    return talk


@pytest.mark.slow
def test_a_forged_message_costs_the_steps_that_limits_promises_with_a_full_archive() -> None:
    talk = with_archive(40)
    for counter in (FORWARD_JUMP_MAX, ARCHIVED_FORWARD_JUMP_MAX):
        with steps() as counted, raises_and_changes_nothing(NotAuthentic, talk.alice, talk.alice_account):
            talk.alice.decrypt(talk.alice_account, forged(counter, counter))
        assert counted.total <= 2 * (FORWARD_JUMP_MAX + 1) + 40 * 2 * (ARCHIVED_FORWARD_JUMP_MAX + 1)


def test_a_forged_message_far_ahead_costs_an_archived_ratchet_no_step() -> None:
    talk = with_archive(3)
    talk.alice.archive()
    far = ARCHIVED_FORWARD_JUMP_MAX + 10  # one of the ratchets has received a message already
    for counter, index in ((far, far), (0, far), (2**32 - 1, 2**32 - 1)):
        with steps() as counted, raises_and_changes_nothing(RatchetError, talk.alice, talk.alice_account):
            talk.alice.decrypt(talk.alice_account, forged(counter, index))
        assert counted.total == 0


def test_a_forged_message_under_a_known_ratchet_key_is_tried_on_its_ratchet_only() -> None:
    talk = with_archive(5)
    talk.alice_sends().deliver_last()
    talk.bob_sends().deliver_last()
    known = SignalMessage.parse(talk.sent[-1].ciphertext.body)
    message = forged(known.counter + 1, 9, ratchet_key=known.ratchet_key)
    with Count(primitives.x25519, chains.chain_step) as counted, raises_and_changes_nothing(NotAuthentic, talk.alice):
        talk.alice.decrypt(talk.alice_account, message)
    assert counted.calls == {"x25519": 0, "chain_step": 1}


def test_a_counter_beyond_the_limit_costs_no_step() -> None:
    talk = Conversation(132).established()
    with steps() as counted, raises_and_changes_nothing(TooFarAhead, talk.alice):
        talk.alice.decrypt(talk.alice_account, forged(2**32 - 1, 2**32 - 1))
    assert counted.total == 0


def test_a_counter_too_far_ahead_in_a_known_chain_costs_no_step_whatever_spqr_says() -> None:
    talk = Conversation(135).established().alice_sends()
    talk.deliver_last()
    known = SignalMessage.parse(talk.sent[-1].ciphertext.body)
    with steps() as counted, raises_and_changes_nothing(TooFarAhead, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, forged(2**32 - 1, 20_000, ratchet_key=known.ratchet_key))
    assert counted.total == 0


def test_a_forged_group_message_costs_no_step_however_far_ahead_it_claims_to_be() -> None:
    sender = OwnSenderKey.create(UUID(int=1), entropy=seeded(1))
    member = PeerSenderKey.from_distribution_message(sender.distribution_message())
    for iteration in (1, FORWARD_JUMP_MAX, 2**32 - 1):
        body = encode_sender_key_message(sender.distribution_id.bytes, sender.chain_id, iteration, bytes(16)) + bytes(
            64
        )
        with steps() as counted, raises_and_changes_nothing(NotAuthentic, member):
            member.decrypt(body)
        assert counted.total == 0


def test_a_replayed_message_costs_no_step() -> None:
    talk = Conversation(133).established().alice_sends()
    talk.deliver_last()
    with steps() as counted, pytest.raises(MessageKeyGone):
        talk.deliver_last()
    assert counted.total == 0


def peak_of(call: Callable[[], object]) -> int:
    """Bytes allocated at the highest point of *call*."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(call: Callable[[bytes], object], data: bytes) -> Callable[[], None]:
    def checked() -> None:
        with pytest.raises(RatchetError):
            call(data)

    return checked


KB: Final = 1_000
MB: Final = 1_000_000


@pytest.mark.parametrize(
    "piece", [b"\x78\x00", b"\x7a\x00", b"\x08\x00", b"\xf8\x01\x00", b"\x80"], ids=lambda piece: piece.hex()
)
def test_a_message_full_of_small_fields_costs_no_memory(piece: bytes) -> None:
    body = b"\x44" + piece * ((MESSAGE_SIZE_MAX - 9) // len(piece)) + bytes(8)
    assert peak_of(refused(SignalMessage.parse, body)) < 100 * KB


def test_a_message_of_ever_new_fields_costs_no_memory() -> None:
    body = b"\x44" + b"".join(varint(number << 3) + b"\0" for number in range(16, 100_000)) + bytes(8)
    assert peak_of(refused(SignalMessage.parse, body)) < 100 * KB


def array32(count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("load", "size_max"),
    [
        (PreKeyBundle.from_bytes, BUNDLE_SIZE_MAX),
        (Session.from_bytes, SESSION_SIZE_MAX),
        (Account.from_bytes, ACCOUNT_SIZE_MAX),
        (OwnSenderKey.from_bytes, SENDER_KEY_SIZE_MAX),
        (PeerSenderKey.from_bytes, SENDER_KEY_SIZE_MAX),
    ],
    ids=["bundle", "session", "account", "own sender key", "peer's sender key"],
)
def test_a_packed_form_over_its_limit_is_not_even_looked_at(load: Callable[[bytes], object], size_max: int) -> None:
    assert peak_of(refused(load, bytes(size_max + 1))) < 100 * KB


def test_a_bundle_of_the_largest_size_costs_little_whatever_it_holds() -> None:
    for filling in (b"\xc0", b"\x90", b"\x80", b"\xa0", b"\xc4\x00"):
        count = (BUNDLE_SIZE_MAX - 5) // len(filling)
        data = array32(count) + filling * count
        assert peak_of(refused(PreKeyBundle.from_bytes, data)) < 1 * MB


@pytest.mark.parametrize("claimed", [2**16, 2**31, 2**32 - 1])
def test_an_array_that_claims_to_be_huge_is_refused_without_making_it(claimed: int) -> None:
    for load in (PreKeyBundle.from_bytes, Session.from_bytes, Account.from_bytes, PeerSenderKey.from_bytes):
        data = array32(claimed) * 100 + bytes(500)
        assert peak_of(refused(load, data)) < 500 * KB


def test_a_string_that_claims_to_be_huge_is_refused_without_making_it() -> None:
    data = b"\x97\x01\xc6\xff\xff\xff\xff" + bytes(500)
    for load in (PreKeyBundle.from_bytes, Session.from_bytes, Account.from_bytes, PeerSenderKey.from_bytes):
        assert peak_of(refused(load, data)) < 100 * KB


@pytest.mark.slow
def test_an_account_whose_keys_are_used_through_a_relay_stays_small_and_loadable() -> None:
    device = account("relayed", one_time_prekeys=0)
    device.replenish(1_000, entropy=seeded(1), now=0)
    size = len(device.to_bytes())
    for refill in range(12):
        for key in device.published_prekeys().one_time_prekeys:
            device.consume(PreKeyUse(device._current_signed().id, key.id, one_time_kem_id(device), b"\x05" + bytes(32)))
        device.replenish(1_000, entropy=seeded(refill), now=0)
    assert abs(len(device.to_bytes()) - size) < size // 20
    assert Account.from_bytes(device.to_bytes()).to_bytes() == device.to_bytes()


def one_time_kem_id(device: Account) -> int:
    return next(iter(device._one_time_kem))


def test_two_thousand_first_messages_to_a_last_resort_key_cost_their_base_keys_and_no_more() -> None:
    device = account("popular", one_time_prekeys=0)
    before = len(device.to_bytes())
    bundle = device.bundle()
    assert bundle.kem_prekey_id is not None
    for number in range(2_000):
        key = b"\x05" + number.to_bytes(32, "big")
        device.consume(PreKeyUse(bundle.signed_prekey_id, None, bundle.kem_prekey_id, key))
    assert len(device.to_bytes()) - before < 2_000 * 40


def test_threads_with_a_session_each_do_not_disturb_each_other() -> None:
    """Nothing is shared but the cache of repair chunks, which all sessions of a process fill."""
    failures: list[BaseException] = []

    def talk(seed: int) -> None:
        try:
            conversation = Conversation(seed).established()
            for _ in range(60):
                conversation.alice_sends(3)
                for late in (-1, -3, -2):
                    number = len(conversation.sent) + late
                    assert conversation.deliver(number) == conversation.plaintexts[number]
                conversation.bob_sends().deliver_last()
        except BaseException as failure:  # noqa: BLE001 - told by the main thread
            failures.append(failure)

    threads = [Thread(target=talk, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- comparisons of secrets ------------------------------------------------------------------------------

SECRET_WORDS: Final = (
    "tag",
    "mac",
    "secret",
    "seed",
    "private",
    "signature",
    "chain_key",
    "root_key",
    "hash",
    "digest",
)
# What is compared there is no secret of ours against a value of a stranger's.
ALLOWED: Final = {
    ("keys.py", "primitives.clamp(secret) != secret"),  # a stored key with itself, when it is loaded
}


def names_in(node: ast.AST) -> str:
    return " ".join(
        one.id if isinstance(one, ast.Name) else one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Name | ast.Attribute)
    )


def test_no_secret_tag_or_hash_is_compared_with_an_operator() -> None:
    package = Path(ratchet.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                sides: list[Any] = [node.left, *node.comparators]
                if any(isinstance(side, ast.Constant | ast.Tuple) for side in sides):
                    continue
                if any(isinstance(side, ast.Call) and names_in(side.func) == "len" for side in sides):
                    continue
                text = ast.unparse(node)
                if any(word in names_in(node).lower() for word in SECRET_WORDS) and (path.name, text) not in ALLOWED:
                    found.append(f"{path.name}: {text}")
    assert found == []


def test_what_is_left_of_a_bad_message_is_its_error_only() -> None:
    talk = Conversation(134).established()
    bodies = [bytes((0x44,)) + bytes(size) for size in range(8, 60)]
    for body in bodies:
        with raises_and_changes_nothing(MalformedMessage, talk.alice, talk.alice_account):
            talk.alice.decrypt(talk.alice_account, Ciphertext(CiphertextKind.SIGNAL, body))
