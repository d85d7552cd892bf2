"""The limits: the protocol's are libsignal's, ours hold what they promise to hold, and each gives its reason."""

from __future__ import annotations

import inspect
import re
from uuid import UUID

from ratchet import Account, OwnSenderKey, PeerSenderKey, PreKeyBundle, limits
from ratchet.limits import (
    BUNDLE_SIZE_MAX,
    RECEIVING_CHAINS_MAX,
    SENDER_KEY_SIZE_MAX,
    SENDER_KEY_STATES_MAX,
    SESSION_SIZE_MAX,
    SKIPPED_KEYS_MAX,
    USED_BASE_KEYS_TOTAL_MAX,
)
from ratchet.receiving_chain import ReceivingChain
from ratchet.sender_keys import _PeerChain
from tests.support.conversation import account, seeded

GROUP = UUID(int=1)


def test_the_protocols_limits_are_libsignals() -> None:
    assert limits.FORWARD_JUMP_MAX == 25_000
    assert limits.SKIPPED_KEYS_MAX == 2_000
    assert limits.RECEIVING_CHAINS_MAX == 5
    assert limits.ARCHIVED_RATCHETS_MAX == 40
    assert limits.SENDER_KEY_STATES_MAX == 5
    assert limits.UNACKNOWLEDGED_AGE_MAX_S == 30 * 86_400
    assert (limits.SAFETY_NUMBER_ITERATIONS_MIN, limits.SAFETY_NUMBER_ITERATIONS_MAX) == (2, 1_000_000)
    assert (limits.DEVICE_ID_MAX, limits.PREKEY_ID_MAX, limits.REGISTRATION_ID_MAX) == (127, 2**24 - 1, 2**14 - 1)
    assert (limits.CHUNK_INDEX_MAX, limits.COUNTER_MAX) == (2**16 - 1, 2**32 - 1)


def test_every_limit_gives_its_unit_or_reason_on_its_line() -> None:
    for line in inspect.getsource(limits).splitlines():
        if re.match(r"[A-Z_]+(?<!_MIN): Final", line):  # a lowest value is explained with the highest
            assert "  # " in line, line


def test_the_largest_bundle_fits() -> None:
    bundle = account("largest").bundle(127)
    assert len(bundle.to_bytes()) + 6 * 5 <= BUNDLE_SIZE_MAX  # six numbers that could be longer
    assert PreKeyBundle.from_bytes(bundle.to_bytes()) == bundle


def test_the_largest_sender_key_fits() -> None:
    own = OwnSenderKey.create(GROUP, entropy=seeded(1))
    key = PeerSenderKey.from_distribution_message(own.distribution_message())
    # Every second message skipped: each is a run of its own.
    skipped = dict.fromkeys(range(2**31, 2**31 + 2 * SKIPPED_KEYS_MAX, 2), bytes(32))
    chains = [
        _PeerChain(2**31 + number, 2**31, b"\x05" + bytes(32), ReceivingChain(bytes(32), 2**32, skipped))
        for number in range(SENDER_KEY_STATES_MAX)
    ]
    largest = PeerSenderKey(key.distribution_id, chains).to_bytes()
    assert len(largest) <= SENDER_KEY_SIZE_MAX
    assert PeerSenderKey.from_bytes(largest).to_bytes() == largest


def test_forty_one_ratchets_with_all_the_keys_that_they_may_keep_fit() -> None:
    skipped_key = 32 + 5 + 1  # a seed, and a run of its own
    per_ratchet = (RECEIVING_CHAINS_MAX + 3) * SKIPPED_KEYS_MAX * skipped_key + 10_000
    assert 41 * per_ratchet <= SESSION_SIZE_MAX


def test_an_account_with_all_that_it_may_remember_fits() -> None:
    device = account("busy", one_time_prekeys=0)
    kem_id = device._current_last_resort().id
    device._used = {
        (None, kem_id): {
            (device._current_signed().id, b"\x05" + number.to_bytes(32, "big")) for number in range(10_000)
        }
    }
    one_bucket = len(device.to_bytes())
    one_time = 10_000 * (80 + 145)
    assert one_bucket * (USED_BASE_KEYS_TOTAL_MAX // 10_000) + one_time + 1_000 * 400 <= limits.ACCOUNT_SIZE_MAX
    assert Account.from_bytes(device.to_bytes()).to_bytes() == device.to_bytes()
