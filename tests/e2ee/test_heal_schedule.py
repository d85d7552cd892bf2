"""When a session may be healed and a message sent again: every limit from both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.recovery import (
    HEAL_DELAY_MAX_S,
    HEAL_DELAY_MIN_S,
    HEALS_PER_HOUR_MAX,
    RESENDS_MAX,
    STRANGER_HEALS_PER_HOUR_MAX,
    HealSchedule,
    ResendVerdict,
    heal_allowed_at,
    judge_resend,
)

KEY, OTHER = b"\x05" + bytes(32), b"\x05" + b"\x01" * 32
NOW = 1_700_000_000.0


def allowed(schedule: HealSchedule, now: float, *, heals: int = 0, strangers: int = 0, stranger: bool = False) -> bool:
    return heal_allowed_at(schedule, now, heals=heals, stranger_heals=strangers, stranger=stranger) <= now


def test_the_first_heal_is_allowed_at_once_and_the_next_after_a_minute() -> None:
    assert allowed(HealSchedule(), NOW)
    once = HealSchedule().after_heal(NOW)
    assert not allowed(once, NOW + HEAL_DELAY_MIN_S - 0.1)
    assert allowed(once, NOW + HEAL_DELAY_MIN_S)


def test_the_pauses_double_up_to_six_hours() -> None:
    schedule, now, pauses = HealSchedule(), NOW, []
    for _ in range(12):
        schedule = schedule.after_heal(now)
        pauses.append(schedule.next_allowed_at - now)
        now = schedule.next_allowed_at
    assert pauses == [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600, 21600]


def test_a_message_on_the_new_ratchet_makes_the_pause_a_minute_again() -> None:
    schedule = HealSchedule(NOW + HEAL_DELAY_MAX_S, HEAL_DELAY_MAX_S).after_opening(NOW)
    assert schedule.allowed_at(NOW) == NOW + HEAL_DELAY_MIN_S
    assert schedule.after_heal(NOW + 100).delay_s == HEAL_DELAY_MIN_S
    assert not schedule.repeated


def test_an_opening_never_puts_off_what_was_allowed() -> None:
    assert HealSchedule(NOW - 5, 60).after_opening(NOW).next_allowed_at == NOW - 5


@given(heals=st.integers(1, 20), back=st.floats(0, 1e9))
def test_a_clock_that_is_set_back_locks_no_device_out_for_longer_than_the_pause(heals: int, back: float) -> None:
    schedule = HealSchedule()
    for _ in range(heals):
        schedule = schedule.after_heal(NOW)
    assert schedule.allowed_at(NOW - back) <= NOW - back + HEAL_DELAY_MAX_S


def test_sixty_heals_an_hour_are_the_limit_of_an_account() -> None:
    assert allowed(HealSchedule(), NOW, heals=HEALS_PER_HOUR_MAX - 1)
    assert not allowed(HealSchedule(), NOW, heals=HEALS_PER_HOUR_MAX)


def test_five_heals_an_hour_are_the_limit_of_all_strangers_and_no_limit_of_others() -> None:
    full = STRANGER_HEALS_PER_HOUR_MAX
    assert allowed(HealSchedule(), NOW, strangers=full - 1, stranger=True)
    assert not allowed(HealSchedule(), NOW, strangers=full, stranger=True)
    assert allowed(HealSchedule(), NOW, strangers=full, stranger=False)


@pytest.mark.parametrize(
    ("keys", "asking", "trusted", "attempts", "verdict"),
    [
        ({KEY}, KEY, False, 1, ResendVerdict.RESEND),
        ({KEY}, KEY, False, RESENDS_MAX, ResendVerdict.RESEND),
        ({KEY}, KEY, False, RESENDS_MAX + 1, ResendVerdict.TOO_OFTEN),
        (set(), KEY, True, 1, ResendVerdict.NOT_A_RECIPIENT),
        ({KEY}, OTHER, False, 1, ResendVerdict.IDENTITY_CHANGED),
        ({KEY}, OTHER, True, 1, ResendVerdict.RESEND),
        ({KEY}, OTHER, True, RESENDS_MAX + 1, ResendVerdict.TOO_OFTEN),
    ],
)
def test_a_message_goes_again_only_to_whom_it_was_sent_and_three_times(
    *, keys: set[bytes], asking: bytes, trusted: bool, attempts: int, verdict: ResendVerdict
) -> None:
    found = judge_resend(recipient_keys=frozenset(keys), asking_key=asking, trusted=trusted, attempts=attempts)
    assert found is verdict
