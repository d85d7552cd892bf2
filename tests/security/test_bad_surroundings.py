"""What the caller brings may fail too: entropy, clock, prekey source. Nothing has changed then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from ratchet import (
    Account,
    Ciphertext,
    IdentityKeyPair,
    InvalidArgument,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    OwnSenderKey,
    Session,
)
from ratchet.limits import REPLACED_KEY_AGE_S, UNACKNOWLEDGED_AGE_MAX_S
from ratchet.spqr.braid import HeaderReceived, KeysUnsampled
from tests.support.adversary import raises_and_changes_nothing
from tests.support.conversation import ALICE, BOB, Conversation, account, active_ratchet, seeded
from tests.support.naming import case_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratchet.keys import Entropy
    from ratchet.prekeys import KemPreKey, OneTimePreKey, PreKeyUse, SignedPreKey
    from tests.support.conversation import Stored


class OutOfEntropy(Exception):
    """The operating system gives no random numbers."""


class OutOfDisk(Exception):
    """The store gives up."""


def broken(_size: int) -> bytes:
    raise OutOfEntropy


BAD_ENTROPY: list[Any] = [
    pytest.param(broken, OutOfEntropy, id="raises"),
    pytest.param(lambda _size: b"", InvalidArgument, id="nothing"),
    pytest.param(lambda size: bytes(size - 1), InvalidArgument, id="one byte less"),
    pytest.param(lambda size: bytes(size + 1), InvalidArgument, id="one byte more"),
    pytest.param(bytearray, InvalidArgument, id="a bytearray"),
    pytest.param(lambda _size: None, InvalidArgument, id="None"),
    pytest.param(None, InvalidArgument, id="no function"),
]


def failing_from(good: int, bad: Any) -> Entropy:  # noqa: ANN401
    """Good entropy *good* times, then *bad*."""
    left = [good]
    dice = seeded("good")

    def draw(size: int) -> bytes:
        if left[0] == 0:
            answer: bytes = bad(size)
            return answer
        left[0] -= 1
        return dice(size)

    return draw


@pytest.mark.parametrize(("entropy", "expected"), BAD_ENTROPY)
def test_bad_entropy_stops_a_new_account(entropy: Any, expected: type[Exception]) -> None:  # noqa: ANN401
    with pytest.raises(expected):
        Account.create(entropy=entropy, one_time_prekeys=1, now=0)


@pytest.mark.parametrize("good", range(4))
@pytest.mark.parametrize("method", ["replenish", "rotate_signed_prekey"])
def test_entropy_that_fails_midway_changes_no_account(method: str, good: int) -> None:
    device = account("bob")
    kwargs: dict[str, Any] = {"one_time_prekeys": 6} if method == "replenish" else {}
    limit = good if method == "replenish" else good % 2
    with raises_and_changes_nothing(OutOfEntropy, device):
        getattr(device, method)(entropy=failing_from(limit, broken), now=60, **kwargs)


@pytest.mark.parametrize("good", [0, 1])
def test_entropy_that_fails_in_a_rotation_expires_no_replaced_key(good: int) -> None:
    device = account("bob")
    device.rotate_signed_prekey(entropy=seeded(1), now=10)
    with raises_and_changes_nothing(OutOfEntropy, device):
        device.rotate_signed_prekey(entropy=failing_from(good, broken), now=11 + REPLACED_KEY_AGE_S)


def test_a_loaded_identity_that_cannot_draw_signs_nothing_and_rotates_nothing() -> None:
    identity = IdentityKeyPair.from_private_key(seeded(1)(32))
    device = account("bob", identity=identity)
    with raises_and_changes_nothing(OutOfEntropy, device):
        device.sign("label", b"data", entropy=broken)
    with raises_and_changes_nothing(OutOfEntropy, device):
        device.rotate_signed_prekey(entropy=failing_from(1, broken), now=0)


@pytest.mark.parametrize(("entropy", "expected"), BAD_ENTROPY)
def test_bad_entropy_starts_no_session_and_renews_none(entropy: Any, expected: type[Exception]) -> None:  # noqa: ANN401
    talk = Conversation(91).established()
    bundle = talk.bob_account.bundle()
    with raises_and_changes_nothing(expected, talk.alice_account):
        Session.initiate(talk.alice_account, bundle, entropy=entropy)
    with raises_and_changes_nothing(expected, talk.alice, talk.alice_account):
        talk.alice.renew(talk.alice_account, bundle, entropy=entropy)


def test_entropy_that_fails_at_the_second_draw_renews_nothing() -> None:
    talk = Conversation(92).established()
    bundle = talk.bob_account.bundle()
    with raises_and_changes_nothing(OutOfEntropy, talk.alice, talk.alice_account):
        talk.alice.renew(talk.alice_account, bundle, entropy=failing_from(1, broken))


@pytest.mark.parametrize(("entropy", "expected"), BAD_ENTROPY)
def test_bad_entropy_accepts_nothing_and_consumes_nothing(entropy: Any, expected: type[Exception]) -> None:  # noqa: ANN401
    talk = Conversation(93).alice_sends()
    with raises_and_changes_nothing(expected, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=BOB, remote=ALICE, entropy=entropy)
    assert talk.deliver(0) == talk.plaintexts[0]


@pytest.mark.parametrize(("entropy", "expected"), BAD_ENTROPY)
def test_bad_entropy_reads_no_new_ratchet_key_and_the_message_stays_readable(
    entropy: Any,  # noqa: ANN401
    expected: type[Exception],
) -> None:
    talk = Conversation(94).established().alice_sends()
    with raises_and_changes_nothing(expected, talk.bobs, talk.bob_account):
        talk.bobs.decrypt(talk.bob_account, talk.sent[-1].ciphertext, entropy=entropy)
    assert talk.deliver_last() == talk.plaintexts[-1]


@pytest.mark.parametrize(("entropy", "expected"), BAD_ENTROPY)
@pytest.mark.parametrize("state", [KeysUnsampled, HeaderReceived])
def test_bad_entropy_sends_nothing_where_the_braid_draws(
    entropy: Any,  # noqa: ANN401
    expected: type[Exception],
    state: type,
) -> None:
    talk = Conversation(95)
    while type(braid(talk.alice)) is not state:
        talk.alice_sends().deliver_last()
        talk.bob_sends().deliver_last()
    with raises_and_changes_nothing(expected, talk.alice):
        talk.alice.encrypt(b"hello", entropy=entropy, now=0)
    talk.alice_sends()
    assert talk.deliver_last() == talk.plaintexts[-1]


def braid(session: Session) -> object:
    post_quantum = active_ratchet(session).post_quantum
    assert post_quantum is not None
    return post_quantum.state


@pytest.mark.parametrize("good", range(3))
def test_entropy_that_fails_makes_no_sender_key(good: int) -> None:
    with pytest.raises(OutOfEntropy):
        OwnSenderKey.create(UUID(int=1), entropy=failing_from(good, broken))


def test_a_sender_key_whose_signing_key_was_loaded_sends_nothing_without_entropy() -> None:
    signing = IdentityKeyPair.from_private_key(seeded(2)(32)).pair
    sender = OwnSenderKey(UUID(int=1), 7, bytes(32), 0, signing)
    with raises_and_changes_nothing(OutOfEntropy, sender):
        sender.encrypt(b"hello", entropy=broken)
    assert sender.encrypt(b"hello", entropy=seeded(3))


def test_an_encapsulation_that_fails_starts_and_renews_nothing() -> None:
    def broken_kem(_public: bytes) -> tuple[bytes, bytes]:
        raise OutOfEntropy

    talk = Conversation(96).established()
    bundle = talk.bob_account.bundle()
    with raises_and_changes_nothing(OutOfEntropy, talk.alice, talk.alice_account):
        talk.alice.renew(talk.alice_account, bundle, encapsulate=broken_kem)


# --- the prekey source -------------------------------------------------------------------------------


class FailingSource:
    """An account in a store that fails at one of its operations."""

    def __init__(self, real: Account, failing: str) -> None:
        self._account = real
        self._failing = failing

    def to_bytes(self) -> bytes:
        return self._account.to_bytes()

    def _reach(self, operation: str) -> None:
        if operation == self._failing:
            raise OutOfDisk(operation)

    @property
    def identity(self) -> IdentityKeyPair:
        self._reach("identity")
        return self._account.identity

    @property
    def registration_id(self) -> int:
        return self._account.registration_id

    def signed_prekey(self, prekey_id: int) -> SignedPreKey:
        self._reach("signed_prekey")
        return self._account.signed_prekey(prekey_id)

    def one_time_prekey(self, prekey_id: int) -> OneTimePreKey:
        self._reach("one_time_prekey")
        return self._account.one_time_prekey(prekey_id)

    def kem_prekey(self, prekey_id: int) -> KemPreKey:
        self._reach("kem_prekey")
        return self._account.kem_prekey(prekey_id)

    def base_key_used(self, use: PreKeyUse) -> bool:
        self._reach("base_key_used")
        return self._account.base_key_used(use)

    def consume(self, use: PreKeyUse) -> None:
        self._reach("consume")
        self._account.consume(use)


OPERATIONS = ["identity", "signed_prekey", "one_time_prekey", "kem_prekey", "base_key_used", "consume"]


@pytest.mark.parametrize("failing", OPERATIONS)
def test_a_prekey_source_that_fails_loses_no_key_and_the_message_is_read_later(failing: str) -> None:
    talk = Conversation(97).alice_sends()
    source = FailingSource(talk.bob_account, failing)
    with raises_and_changes_nothing(OutOfDisk, source):
        Session.accept(source, talk.sent[0].ciphertext, local=BOB, remote=ALICE, now=0)
    assert talk.deliver(0) == talk.plaintexts[0]


@pytest.mark.parametrize("failing", OPERATIONS)
def test_a_prekey_source_that_fails_changes_no_session(failing: str) -> None:
    talk = Conversation(98).established()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends()
    source = FailingSource(talk.bob_account, failing)
    with raises_and_changes_nothing(OutOfDisk, talk.bobs, source):
        talk.bobs.decrypt(source, talk.sent[-1].ciphertext, now=0)
    assert talk.deliver_last() == talk.plaintexts[-1]


def test_nothing_is_asked_of_the_source_before_the_message_has_its_form() -> None:
    talk = Conversation(99).alice_sends()
    source = FailingSource(talk.bob_account, "identity")
    with pytest.raises(MalformedMessage):
        Session.accept(source, Ciphertext(talk.sent[0].ciphertext.kind, talk.sent[0].ciphertext.body[:-1]))


# --- the clock -----------------------------------------------------------------------------------------

BAD_TIMES: list[Any] = [math.nan, math.inf, -math.inf, -1, -1e-9, 2**63, 1e300, 10**400, True, "0", b"0", [], object()]


@pytest.mark.parametrize("now", BAD_TIMES, ids=case_name)
def test_a_time_that_is_none_is_refused_everywhere(now: Any) -> None:  # noqa: ANN401
    talk = Conversation(100).alice_sends()
    bundle = talk.bob_account.bundle()
    ciphertext = talk.sent[0].ciphertext
    calls: list[tuple[Callable[[], object], tuple[Stored, ...]]] = [
        (lambda: Account.create(one_time_prekeys=0, now=now), ()),
        (lambda: talk.bob_account.replenish(5, now=now), (talk.bob_account,)),
        (lambda: talk.bob_account.rotate_signed_prekey(now=now), (talk.bob_account,)),
        (lambda: Session.initiate(talk.alice_account, bundle, now=now), (talk.alice_account,)),
        (lambda: talk.alice.renew(talk.alice_account, bundle, now=now), (talk.alice, talk.alice_account)),
        (lambda: talk.alice.encrypt(b"hello", now=now), (talk.alice,)),
        (lambda: Session.accept(talk.bob_account, ciphertext, local=BOB, remote=ALICE, now=now), (talk.bob_account,)),
    ]
    for call, untouched in calls:
        with raises_and_changes_nothing(InvalidArgument, *untouched):
            call()


@pytest.mark.parametrize("now", [0, 0.0, -0.0, 0.5, 1.7e9, 2**53])
def test_any_sensible_time_can_be_stored_and_loaded(now: float) -> None:
    talk = Conversation(101)
    session = Session.initiate(talk.alice_account, talk.bob_account.bundle(), now=now)
    assert Session.from_bytes(session.to_bytes()).to_bytes() == session.to_bytes()
    device = Account.create(one_time_prekeys=0, now=now)
    assert Account.from_bytes(device.to_bytes()).to_bytes() == device.to_bytes()


def test_a_clock_that_goes_back_lets_nothing_expire_and_nothing_be_forgotten() -> None:
    talk = Conversation(102, one_time=False).established()
    talk.bob_account.rotate_signed_prekey(entropy=seeded(1), now=1_000_000_000)
    talk.bob_account.rotate_signed_prekey(entropy=seeded(2), now=5)
    with raises_and_changes_nothing(MessageKeyGone, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=BOB, remote=ALICE)


def test_an_unanswered_session_that_grew_too_old_encrypts_nothing_and_does_not_change() -> None:
    talk = Conversation(103).alice_sends()
    with raises_and_changes_nothing(NoActiveSession, talk.alice):
        talk.alice.encrypt(b"hello", now=UNACKNOWLEDGED_AGE_MAX_S + 1)
