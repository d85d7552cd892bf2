"""The process around libsignal: batches, timings, and how it starts, ends and fails."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import psutil
import pytest

from tests.interop.conftest import stop_without_oracle
from tests.support.oracle import DIRECTORY, RELEASES, Oracle, OracleDied, OracleError, Reply, why_unavailable
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_keys import BenchmarkName, OracleBenchmark

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", get_args(BenchmarkName))
def test_a_benchmark_times_each_repetition_apart(oracle: Oracle, name: BenchmarkName) -> None:
    with OracleBenchmark(oracle, name, serialized=name == "ping_pong") as benchmark:
        times = benchmark.run(2, repetitions=3)
    assert (len(times), min(times) > 0) == (3, True)


def test_a_batch_goes_on_after_an_error_and_keeps_the_order(oracle: Oracle) -> None:
    made, refused, unknown = oracle.batch(
        [
            {"op": "generate_key_pair"},
            {"op": "load_public_key", "public_key": b"\x00" * 33},
            {"op": "no_such_operation"},
        ]
    )
    assert isinstance(made, Reply)
    assert len(made.data("public_key")) == 33
    assert isinstance(refused, OracleError)
    assert (refused.code, refused.number, refused.operation) == ("Generic", 0, "PublicKey_Deserialize")
    assert isinstance(unknown, OracleError)
    assert unknown.code == "OracleUsage"


def test_the_installed_releases_are_those_that_the_tests_name(oracle: Oracle) -> None:
    assert oracle.call("info").fields["releases"] == {release: release for release in RELEASES}


def test_a_dropped_device_is_gone(oracle: Oracle) -> None:
    alice = OracleDevice.create(oracle, "alice")
    alice.drop()
    with pytest.raises(OracleError, match="no device"):
        alice.bundle()


def test_closing_ends_the_process(oracle: Oracle) -> None:
    with Oracle() as second:
        process_id = second.process_id
        assert process_id != oracle.process_id
        assert psutil.pid_exists(process_id)
    assert not psutil.pid_exists(process_id)


@pytest.mark.usefixtures("oracle")
def test_a_request_that_takes_too_long_ends_the_process(tmp_path: Path) -> None:
    program = tmp_path / "hangs.mjs"
    program.write_text("process.stdin.once('data', () => { for (;;); })\n")
    with Oracle(timeout_s=0.1, program=program) as hanging:
        with pytest.raises(OracleDied, match="did not answer 'info'"):
            hanging.call("info")
        assert not psutil.pid_exists(hanging.process_id)
        with pytest.raises(OracleDied, match="cannot write"):
            hanging.call("info")


@pytest.mark.usefixtures("oracle")
def test_an_end_of_the_process_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "dies.mjs"
    program.write_text("process.stdin.once('data', () => { throw new Error('last words') })\n")
    with Oracle(program=program) as dying, pytest.raises(OracleDied, match="last words"):
        dying.call("info")


@pytest.mark.usefixtures("oracle")
def test_an_oracle_left_open_ends_with_its_interpreter() -> None:
    program = "from tests.support.oracle import Oracle; oracle = Oracle(); print(oracle.process_id)"
    root = DIRECTORY.parents[2]
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=root
    )
    assert not psutil.pid_exists(int(shown.stdout))


def test_the_lock_file_pins_hashes_and_names_no_registry() -> None:
    packages = json.loads((DIRECTORY / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    installed = [package for path, package in packages.items() if path]
    assert {"resolved" in package for package in installed} == {False}
    assert {package["integrity"].split("-")[0] for package in installed} == {"sha512"}


def test_a_missing_oracle_skips_its_tests_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="run this"):
        stop_without_oracle("run this", required=False)


def test_a_missing_oracle_fails_its_tests_where_it_is_required() -> None:
    with pytest.raises(pytest.fail.Exception, match="run this"):
        stop_without_oracle("run this", required=True)


def test_a_missing_node_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "no `node` on the path" in (why_unavailable.__wrapped__() or "")
