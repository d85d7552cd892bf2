"""Messages to be sent once more: the newest first, within limits, at their old places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import ClientStore

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 24 * 3600.0


def test_the_newest_messages_in_a_state_are_found_within_age_count_and_repetitions(database_url: str) -> None:
    now = [0.0]
    with ClientStore.open(database_url, clock=lambda: now[0]) as store:
        for number in range(4):
            now[0] = number * DAY_S
            with store.begin() as unit:
                unit.outgoing.add(bytes([number] * 16), "bob", b"text", state="queued" if number == 1 else "sent")
        with store.begin() as unit:
            assert unit.repeats.count("sent") == 3
            found = unit.repeats.newest("sent", again_max=1, age_s=3 * DAY_S, limit=9)
            assert [one[0] for one in found] == [3, 2, 0]
            assert unit.repeats.newest("sent", again_max=1, age_s=3 * DAY_S, limit=1) == found[:1]
            assert unit.repeats.newest("sent", again_max=1, age_s=2 * DAY_S, limit=9) == found[:2]
            unit.repeats.send_again(found[0], "queued")
            assert [(one.message_id[0], one.again) for one in unit.outgoing.next_in("bob", "queued", limit=9)] == [
                (1, 0),
                (3, 1),
            ]
            unit.outgoing.set_state(found[0], "sent")
            assert unit.repeats.newest("sent", again_max=1, age_s=3 * DAY_S, limit=9) == found[1:]


def test_what_was_confirmed_is_known_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with ClientStore.open(url) as store, store.begin() as unit:
        unit.counters.confirmed_submission_number = 5
        unit.counters.confirmed_upload_number = 2
    with ClientStore.open(url) as store, store.begin() as unit:
        assert (unit.counters.confirmed_submission_number, unit.counters.confirmed_upload_number) == (5, 2)
