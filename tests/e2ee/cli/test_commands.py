"""The command line in processes of its own: a relay, two people, their devices, their stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # each command starts an interpreter

PATIENCE_S: Final = 60
COMMAND: Final = (sys.executable, "-m", "e2ee")


class Terminal:
    """One folder and one relay's address: where commands run."""

    def __init__(self, folder: Path, relay: str) -> None:
        self.folder = folder
        self.relay = relay

    def run(self, *arguments: str, user: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "E2EE_USER": user,
                "E2EE_RELAY": self.relay,
                "COLUMNS": "200",
                "NO_COLOR": "1",
                **environment,
            },
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def done(self, *arguments: str, user: str, given: str = "", **environment: str) -> str:
        """Run a command that succeeds; return what it printed."""
        result = self.run(*arguments, user=user, given=given, **environment)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def register(self, user: str, **environment: str) -> None:
        """Connect once: from then on others can write to the user."""
        self.done("listen", "--timeout", "0.1", user=user, **environment)

    def failed(self, *arguments: str, user: str, given: str = "", **environment: str) -> str:
        """Run a command that fails; return its one line."""
        result = self.run(*arguments, user=user, given=given, **environment)
        assert result.returncode == 1, result.stderr
        assert "Traceback" not in result.stderr
        (line,) = result.stderr.strip().splitlines()
        return line


@contextmanager
def relay(folder: Path) -> Iterator[str]:
    """Run ``e2ee relay`` until the block ends; it has to end by itself when it is told to."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [*COMMAND, "relay", "--store", f"sqlite:///{folder / 'relay.db'}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "COLUMNS": "200", "NO_COLOR": "1"},
    ) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        try:
            yield words[2].rstrip(",")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with relay(tmp_path) as url:
        yield Terminal(tmp_path, url)


def test_a_message_goes_out_and_comes_in_once(terminal: Terminal) -> None:
    terminal.done("send", "alice", "--wait", "queued", "hello from bob", user="bob")  # alice is not known yet
    terminal.register("alice")
    assert terminal.done("send", "alice", "second", user="bob").split()[1] == "sent"
    events = [json.loads(one) for one in terminal.done("listen", "--json", "--count", "2", user="alice").splitlines()]
    texts = [one["text"] for one in events if one["event"] == "DirectMessage"]
    assert texts == ["hello from bob", "second"]
    terminal.done("send", "alice", "--file", "relay.db.lock", user="bob")
    assert "bytes: " in terminal.done("listen", "--count", "1", user="alice")


def test_a_message_that_is_held_is_not_to_be_sent_again_and_a_key_that_did_not_change_is_not_called_new(
    terminal: Terminal,
) -> None:
    line = terminal.failed("send", "alice", "once", user="bob")
    assert "kept in the store" in line
    assert "do not send it again" in line
    terminal.register("alice")
    terminal.done("listen", "--timeout", "1", user="bob")
    heard = terminal.done("listen", "--json", "--count", "1", user="alice")
    events = [json.loads(one) for one in heard.splitlines()]
    assert [one["text"] for one in events if one["event"] == "DirectMessage"] == ["once"]
    assert "no other identity key" in terminal.done("trust", "bob", user="alice")


def test_two_people_verify_each_other_by_what_they_read_out(terminal: Terminal) -> None:
    terminal.register("alice")
    terminal.done("send", "alice", "hi", user="bob")
    terminal.done("listen", "--count", "1", user="alice")
    shown = terminal.done("safety-number", "alice", user="bob")
    digits = "".join(shown.split()[:12])
    assert len(digits) == 60
    assert "▄" in shown
    assert "verified" in terminal.done("safety-number", "bob", "--verify", digits, user="alice")
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    assert terminal.failed("safety-number", "bob", "--verify", wrong, user="alice").startswith("error: ")


def test_an_identity_moves_to_a_second_device_and_takes_up_a_lost_one(terminal: Terminal) -> None:
    passphrase = {"E2EE_IDENTITY_PASSPHRASE": "correct horse"}
    terminal.register("alice")
    terminal.done("export-identity", "alice.identity", user="alice", **passphrase)
    assert (terminal.folder / "alice.identity").stat().st_mode & 0o777 == 0o600
    assert "exists" in terminal.failed("export-identity", "alice.identity", user="alice", **passphrase).lower()
    second = ("--device", "2", "--store", "second.db")
    terminal.done("link", "alice.identity", *second, user="alice", **passphrase)
    assert "already" in terminal.failed("link", "alice.identity", *second, user="alice", **passphrase)
    wrong = {"E2EE_IDENTITY_PASSPHRASE": "wrong"}
    assert "passphrase" in terminal.failed("restore", "alice.identity", "--store", "new.db", user="alice", **wrong)
    (terminal.folder / "alice.db").unlink()
    terminal.done("restore", "alice.identity", user="alice", **passphrase)
    terminal.done("send", "alice", "to both devices", user="bob")
    for device in (("--device", "1"), second):
        assert "to both devices" in terminal.done("listen", "--count", "1", *device, user="alice")


def test_a_store_is_checked_and_its_faults_are_told(terminal: Terminal) -> None:
    terminal.register("alice", E2EE_PASSPHRASE="right")
    assert "sound; sealed" in terminal.done("store", "check", "alice.db", user="", E2EE_PASSPHRASE="right")
    assert "passphrase" in terminal.failed("store", "check", "alice.db", user="")
    assert "passphrase" in terminal.failed("store", "check", "alice.db", user="", E2EE_PASSPHRASE="wrong")
    terminal.done("store", "rekey", "alice.db", user="", E2EE_PASSPHRASE="right", E2EE_NEW_PASSPHRASE="other")
    assert "sound; sealed" in terminal.done("store", "check", "alice.db", user="", E2EE_PASSPHRASE="other")
    terminal.done("store", "rekey", "alice.db", "--unseal", user="", E2EE_PASSPHRASE="other")
    assert "not sealed" in terminal.done("store", "check", "alice.db", user="")
    assert terminal.failed("store", "check", "nothing.db", user="").startswith("error: ")
    assert not (terminal.folder / "nothing.db").exists()


def test_a_relay_that_cannot_be_reached_is_named_in_one_line(tmp_path: Path) -> None:
    nowhere = Terminal(tmp_path, "ws://127.0.0.1:1")
    assert "took too long" in nowhere.failed("send", "bob", "hi", "--timeout", "0.5", user="alice")


def test_a_chat_takes_lines_and_commands(terminal: Terminal) -> None:
    said = terminal.done("chat", "alice", given="hello alice\n/safety alice\n/unknown\n/quit\n", user="alice")
    assert "/join NAME" in said
    assert "writing to alice" in said


def test_the_demonstration_shows_what_each_sees_and_that_the_relay_sees_nothing(tmp_path: Path) -> None:
    shown = Terminal(tmp_path, "").done("demo", user="")
    assert "bob is back" in shown
    assert "carol was never given" in shown
    assert "none is there" in shown
