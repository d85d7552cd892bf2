"""How long a client waits between connections, and which ends are the last."""

from __future__ import annotations

import pytest

from e2ee.errors import ClientEnded, NotAuthorized, OpenElsewhere, RefusalCode, StoreRolledBack, UserIdTaken
from e2ee.link import LinkDown
from e2ee.shell.backoff import RECONNECT_MAX_S, REPLACED_AGE_S, REPLACED_MAX, REPLACED_PAUSE_S, BackOff

BROKEN = LinkDown(None, None, "the connection broke")
REPLACED = LinkDown(RefusalCode.REPLACED, None, "replaced")


def no_jitter() -> BackOff:
    return BackOff(lambda: 1.0)


def test_the_pause_doubles_from_a_second_to_five_minutes() -> None:
    back_off = no_jitter()
    pauses = [back_off.after(BROKEN, was_online=False, lasted_s=0) for _ in range(11)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_however_often_it_fails_the_pause_stays_finite() -> None:
    back_off = no_jitter()
    pauses = [back_off.after(BROKEN, was_online=False, lasted_s=0) for _ in range(5_000)]
    assert pauses[-1] == RECONNECT_MAX_S


def test_after_a_connection_that_worked_the_pause_is_short_again() -> None:
    back_off = no_jitter()
    for _ in range(5):
        back_off.after(BROKEN, was_online=False, lasted_s=0)
    assert back_off.after(BROKEN, was_online=True, lasted_s=5) == 1.0


@pytest.mark.parametrize(("thrown", "pause"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_the_dice_shorten_a_pause_by_up_to_half(thrown: float, pause: float) -> None:
    assert BackOff(lambda: thrown).after(BROKEN, was_online=False, lasted_s=0) == pause


@pytest.mark.parametrize(("wish", "pause"), [(None, 1.0), (0.1, 1.0), (30.0, 30.0), (1e9, RECONNECT_MAX_S)])
def test_a_relays_wish_is_granted_within_bounds(wish: float | None, pause: float) -> None:
    down = LinkDown(RefusalCode.SHUTTING_DOWN, wish, "")
    assert no_jitter().after(down, was_online=True, lasted_s=0) == pause


def test_who_was_replaced_stays_away_for_a_minute() -> None:
    assert no_jitter().after(REPLACED, was_online=True, lasted_s=0) >= REPLACED_PAUSE_S


def test_who_is_replaced_again_and_again_after_the_pause_gives_up() -> None:
    back_off = no_jitter()
    for _ in range(REPLACED_MAX):
        assert back_off.after(REPLACED, was_online=True, lasted_s=60) >= REPLACED_PAUSE_S
    with pytest.raises(OpenElsewhere):
        back_off.after(REPLACED, was_online=True, lasted_s=60)


def test_who_has_begun_anew_connects_at_once_and_is_counted_from_there() -> None:
    back_off = no_jitter()
    for _ in range(REPLACED_MAX):
        back_off.after(REPLACED, was_online=True, lasted_s=60)
    back_off.begin_anew()
    assert back_off.after(BROKEN, was_online=True, lasted_s=1) == 0.0
    for _ in range(REPLACED_MAX):
        assert back_off.after(REPLACED, was_online=True, lasted_s=60) >= REPLACED_PAUSE_S
    with pytest.raises(OpenElsewhere):
        back_off.after(REPLACED, was_online=True, lasted_s=60)


def test_a_broken_connection_in_between_is_no_peace() -> None:
    back_off = no_jitter()
    for _ in range(REPLACED_MAX):
        back_off.after(REPLACED, was_online=True, lasted_s=0)
        back_off.after(BROKEN, was_online=True, lasted_s=5)
    with pytest.raises(OpenElsewhere):
        back_off.after(REPLACED, was_online=True, lasted_s=60)


def test_who_was_replaced_after_a_long_time_in_peace_tries_again() -> None:
    back_off = no_jitter()
    for _ in range(REPLACED_MAX):
        back_off.after(REPLACED, was_online=True, lasted_s=0)
    assert back_off.after(REPLACED, was_online=True, lasted_s=REPLACED_AGE_S) >= REPLACED_PAUSE_S


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (RefusalCode.IDENTITY_TAKEN, UserIdTaken),
        (RefusalCode.NOT_AUTHORIZED, NotAuthorized),
        (RefusalCode.ROLLED_BACK, StoreRolledBack),
    ],
)
def test_some_refusals_end_the_client(code: RefusalCode, error: type[ClientEnded]) -> None:
    with pytest.raises(error):
        no_jitter().after(LinkDown(code, None, ""), was_online=False, lasted_s=0)


@pytest.mark.parametrize(
    "code",
    sorted(
        set(RefusalCode)
        - {RefusalCode.IDENTITY_TAKEN, RefusalCode.NOT_AUTHORIZED, RefusalCode.ROLLED_BACK, RefusalCode.REPLACED}
    ),
)
def test_after_every_other_refusal_the_client_tries_again(code: RefusalCode) -> None:
    assert no_jitter().after(LinkDown(code, None, ""), was_online=False, lasted_s=0) == 1.0
