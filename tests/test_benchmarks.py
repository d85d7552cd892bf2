"""The benchmarks measure what they say, say what they could not, and run to their end."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import SUITES, conclude, main
from benchmarks.harness import (
    Contest,
    Entrant,
    Failure,
    Outcome,
    Prepared,
    Run,
    Series,
    Settings,
    WrongResultError,
    expect,
    measure,
    repeated,
    rotated,
    timed,
)
from benchmarks.pairwise import all_are
from benchmarks.plot import picture
from benchmarks.report import Report, table
from benchmarks.targets import TARGETS, AtLeast, AtMost, AtMostTimes, Condition, Figure, Target, TimesAsFast, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
BUILT = ("ratchet", "handshake", "groups")
SVG = "{http://www.w3.org/2000/svg}"


def steady(seconds: float) -> Run:
    """A run that reports the same time for each operation, without doing anything."""
    return lambda operations: seconds * operations


def ready(run: Run) -> Run:
    """Set nothing up."""
    return run


def contest(*entrants: tuple[str, Run]) -> Contest:
    return Contest("test.contest", "a contest", [Entrant(name, partial(ready, run)) for name, run in entrants], 1)


def outcome(*series: tuple[str, Sequence[float]], unit: str = "µs", paired: bool = True) -> Outcome:
    return Outcome(
        "test.outcome", "an outcome", unit, tuple(Series(name, tuple(values)) for name, values in series), paired=paired
    )


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own picture


# Measuring


def test_a_figure_is_in_microseconds_per_operation() -> None:
    measured = measure(Contest("k", "t", [Entrant("a", lambda: steady(5e-6))], operations=10), Settings())
    assert measured.series[0].median == pytest.approx(5.0)


def test_a_slice_holds_as_many_operations_as_fill_some_milliseconds() -> None:
    asked: list[int] = []

    def run(operations: int) -> float:
        asked.append(operations)
        return 10e-6 * operations

    measure(Contest("k", "t", [Entrant("a", lambda: run)]), Settings(repetitions=1))
    assert asked[-1] == 400


def test_a_slow_first_operation_does_not_shrink_the_slices() -> None:
    first = iter([1.0])
    asked: list[int] = []

    def run(operations: int) -> float:
        asked.append(operations)
        return next(first, 10e-6 * operations)

    measure(Contest("k", "t", [Entrant("a", lambda: run)]), Settings(repetitions=1))
    assert asked[-1] == 400


def test_drift_of_the_machine_falls_out_of_a_ratio() -> None:
    drifting = outcome(("ours", [1.0, 2.0, 10.0, 3.0]), ("floor", [0.5, 1.0, 5.0, 1.5]))
    assert drifting.ratio("ours", "floor") == 2.0
    assert drifting.ratios("ours", "floor") == Series("ours/floor", (2.0, 2.0, 2.0, 2.0))


def test_samples_that_were_not_taken_side_by_side_are_compared_by_their_medians() -> None:
    sizes = outcome(("ours", [100, 300, 200]), ("libsignal", [50, 50, 50, 50]), unit="bytes", paired=False)
    assert sizes.ratio("ours", "libsignal") == 4.0


def test_a_ratio_to_somebody_absent_is_none() -> None:
    assert outcome(("ours", [1.0])).ratio("ours", "libsignal") is None


def test_the_spread_is_the_middle_half_of_the_samples() -> None:
    assert Series("a", (1.0, 2.0, 3.0, 4.0, 5.0)).quartiles == (2.0, 4.0)


def turns(seed: int) -> list[str]:
    """The order in which three entrants had their turns in three rounds."""
    order: list[str] = []

    def recording(name: str) -> Run:
        def run(operations: int) -> float:
            order.append(name)
            return 1e-6 * operations

        return run

    measure(contest(*((name, recording(name)) for name in "abc")), Settings(repetitions=3, seed=seed))
    return order[3:]  # the first three are the calibration


def test_entrants_take_turns_and_each_of_them_leads_a_round() -> None:
    order = turns(seed=1)
    rounds = [order[start : start + 3] for start in range(0, 9, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert sorted(names[0] for names in rounds) == ["a", "b", "c"]


def test_the_seed_decides_the_order() -> None:
    assert turns(seed=1) == turns(seed=1)
    assert len({tuple(turns(seed)) for seed in range(10)}) > 1


def test_rotation_of_nobody_is_nobody() -> None:
    assert rotated([], 3) == []


def collector_states(*, collecting: bool) -> set[bool]:
    """Whether the garbage collector was on in the slices of a contest."""
    enabled: set[bool] = set()
    watched = [Entrant("a", lambda: repeated(lambda: enabled.add(gc.isenabled())))]
    measure(Contest("k", "t", watched, collecting=collecting), Settings(smoke=True))
    return enabled


def test_the_garbage_collector_is_off_in_slices_and_on_again_afterwards() -> None:
    assert collector_states(collecting=False) == {False}
    assert gc.isenabled()


def test_the_garbage_collector_stays_on_in_a_sustained_contest() -> None:
    assert collector_states(collecting=True) == {True}


# What goes wrong


def test_an_entrant_that_cannot_be_set_up_is_reported_and_the_others_are_measured() -> None:
    def refuse() -> Run:
        raise OSError("no such library")

    measured = measure(Contest("k", "t", [Entrant("a", refuse), Entrant("b", lambda: steady(1e-6))], 1), Settings())
    assert [series.name for series in measured.series] == ["b"]
    assert [failure.name for failure in measured.failures] == ["a"]
    assert "no such library" in measured.failures[0].reason


def test_an_entrant_that_fails_in_the_middle_gives_no_figure() -> None:
    results: Iterator[float] = iter([1e-6, 1e-6, 1e-6])

    measured = measure(contest(("a", lambda _: next(results)), ("b", steady(1e-6))), Settings())
    assert [series.name for series in measured.series] == ["b"]
    assert len(measured.series[0].samples) == Settings().repetitions


def test_an_entrant_with_a_wrong_result_gives_no_figure() -> None:
    def prepare(count: int) -> Prepared[list[bytes]]:
        return lambda: [b"wrong"] * count, lambda plaintexts: all_are(b"right", plaintexts)

    measured = measure(contest(("a", timed(prepare))), Settings())
    assert not measured.series
    assert "WrongResultError" in measured.failures[0].reason


def test_a_result_other_than_expected_is_an_error() -> None:
    with pytest.raises(WrongResultError, match="the sum"):
        expect(1 + 1, 3, "the sum")


def test_the_exit_code_is_1_if_something_did_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    failed = Outcome("k", "t", "µs", (), failures=(Failure("k", "ours", "Traceback: it broke"),))
    assert conclude(Report(Settings(), ("ratchet",), outcomes=[failed])) == 1
    assert "it broke" in capsys.readouterr().err


def test_a_target_that_was_missed_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    slow = Outcome("ratchet.ping-pong", "t", "µs", (Series("ours", (99.0,)), Series("vodozemac", (1.0,))))
    assert conclude(Report(Settings(), ("ratchet",), outcomes=[slow])) == 0
    assert "NOT reached" in capsys.readouterr().out


def test_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["rachet"])
    assert "no suite rachet" in capsys.readouterr().err


# Targets


@pytest.mark.parametrize(
    ("condition", "reached", "figure"),
    [
        (AtMostTimes(2, "floor"), True, "2.00 ×"),
        (AtMostTimes(1.9, "floor"), False, "2.00 ×"),
        (TimesAsFast(5, "libsignal"), True, "5.00 × as fast"),
        (TimesAsFast(5.1, "libsignal"), False, "5.00 × as fast"),
        (AtMost(20, "µs"), True, "20.0 µs"),
        (AtMost(19, "µs"), False, "20.0 µs"),
        (AtMost(19, "µs", Figure.MEAN), False, "20.0 µs"),
        (AtLeast(20, "µs"), True, "20 µs"),
        (AtLeast(21, "µs", Figure.P99), False, "20 µs"),
        (AtMostTimes(2, "nobody"), None, "not measured"),
        (TimesAsFast(2, "nobody"), None, "not measured"),
        (AtMost(20, "µs", entrant="nobody"), None, "not measured"),
        (AtLeast(20, "µs", entrant="nobody"), None, "not measured"),
    ],
)
def test_a_target_is_judged_by_the_figures_of_one_run(
    condition: Condition,
    reached: bool | None,  # noqa: FBT001 - a row of the table above
    figure: str,
) -> None:
    measured = outcome(("ours", [20.0, 20.0]), ("floor", [10.0, 10.0]), ("libsignal", [100.0, 100.0]))
    (verdict,) = judge({measured.key: measured}, [Target(measured.key, "what", condition)])
    assert (verdict.reached, verdict.figure) == (reached, figure)


def test_the_99th_percentile_is_reached_by_one_sample_in_a_hundred() -> None:
    assert Figure.P99.of(Series("a", tuple(range(200)))) == 198


def test_a_target_of_a_suite_that_did_not_run_is_not_measured() -> None:
    assert {verdict.reached for verdict in judge({})} == {None}


# What is shown


def test_a_table_has_a_row_for_each_entrant_and_a_ratio_to_each_reference() -> None:
    lines = table(outcome(("ours", [20.0]), ("floor", [10.0]))).splitlines()
    assert lines[0] == "an outcome [µs]"
    assert lines[1].split() == ["median", "quartiles", "×", "floor"]
    assert lines[2].split() == ["ours", "20.00", "20.00–20.00", "2.00"]
    assert lines[3].split() == ["floor", "10.00", "10.00–10.00", "1.00"]


def test_a_table_compares_with_the_references_of_its_contest_if_there_are_any() -> None:
    entrants = [Entrant(name, partial(ready, steady(1e-6))) for name in ("chosen", "other way")]
    measured = measure(Contest("k", "t", entrants, 1, references=("chosen",)), Settings(smoke=True))
    assert table(measured).splitlines()[1].split() == ["median", "quartiles", "×", "chosen"]


def test_only_targets_of_the_suites_asked_for_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    conclude(Report(Settings(), ("groups",)))
    shown = capsys.readouterr().out
    assert "sender key encrypt" in shown
    assert "ping-pong" not in shown


def test_a_table_without_figures_says_so() -> None:
    assert "nobody could be measured" in table(outcome())


def test_a_picture_is_well_formed_whatever_the_names() -> None:
    drawn = parsed(picture([outcome(("<ours & more>", [1.0, 2.0]))], 'a "heading" & more'))
    assert "<ours & more>" in [text.text for text in drawn.iter(f"{SVG}text")]


def test_a_picture_has_colours_for_light_and_for_dark() -> None:
    style = parsed(picture([outcome(("ours", [1.0]))], "heading")).find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")


def test_a_picture_leaves_out_what_nobody_could_do() -> None:
    assert picture([outcome()], "heading") == picture([], "heading")


def test_a_bar_is_as_long_as_its_figure() -> None:
    drawn = parsed(picture([outcome(("ours", [10.0]), ("floor", [5.0]))], "heading"))
    long, short = (float(bar.attrib["width"]) for bar in drawn.iter(f"{SVG}rect") if bar.get("class") != "paper")
    assert long == pytest.approx(2 * short, rel=0.01)


# The whole


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that a smoke run of the suites for the protocol core wrote."""
    folder = tmp_path_factory.mktemp("smoke")
    document, drawn = folder / "run.json", folder / "run.svg"
    code = main(["primitives", *BUILT, "--smoke", "--json", str(document), "--plot", str(drawn)])
    run: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))
    return run | {"code": code, "drawn": drawn.read_text(encoding="utf-8")}


@pytest.mark.slow
def test_every_path_runs_and_every_result_is_right(smoke: dict[str, Any]) -> None:
    assert smoke["failures"] == []
    assert smoke["code"] == 0


@pytest.mark.slow
def test_ours_takes_part_in_every_contest(smoke: dict[str, Any]) -> None:
    contests = [entry for entry in smoke["outcomes"] if entry["key"].startswith(BUILT)]
    assert [entry["key"] for entry in contests if "ours" not in {one["name"] for one in entry["series"]}] == []


@pytest.mark.slow
def test_every_target_of_the_suites_names_a_contest_with_its_reference(smoke: dict[str, Any]) -> None:
    present = {peer["name"] for peer in smoke["peers"]}
    verdicts = {(entry["key"], entry["to_reach"]): entry["reached"] for entry in smoke["targets"]}
    for target in TARGETS:
        reference = getattr(target.condition, "reference", None)
        peer = None if reference is None else reference.partition(",")[0]
        if target.key.startswith(BUILT) and peer in {*present, None}:
            assert verdicts[target.key, str(target.condition)] is not None, target


@pytest.mark.slow
def test_the_report_names_machine_versions_method_and_who_was_absent(smoke: dict[str, Any]) -> None:
    assert smoke["machine"]["cores"] == os.cpu_count()
    assert {"cryptography", "pynacl"} < set(smoke["versions"])
    assert "in turn" in smoke["method"]["text"]
    names = {peer["name"] for peer in smoke["peers"]} | {reason.partition(":")[0] for reason in smoke["absent"]}
    assert {"ours", "floor", "raw floor", "vodozemac", "doubleratchet", "libsignal"} <= names


@pytest.mark.slow
def test_the_picture_has_a_panel_for_each_contest(smoke: dict[str, Any]) -> None:
    texts = parsed(smoke["drawn"]).iter(f"{SVG}text")
    titles = [text for text in texts if "title" in text.attrib["class"]]
    assert len(titles) == len(smoke["outcomes"])


@pytest.mark.slow
def test_without_node_the_column_is_left_out_with_its_reason() -> None:
    environment = os.environ | {"PATH": ""}
    command = [sys.executable, "-m", "benchmarks", "groups", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "absent: libsignal: " in done.stdout


def test_each_suite_is_a_module_of_its_own() -> None:
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in SUITES)
