"""Relay and clients in processes of their own, which can be killed at any moment and started again.

They are forked from a server that has loaded everything and has no threads: a start takes some 50 ms.
"""

from __future__ import annotations

import multiprocessing
import socket
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from .group_role import MemberSettings, live_as_member
from .journal import read_journal
from .roles import ClientSettings, RelaySettings, live_as_client, live_as_relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection

__all__ = ["ClientProcess", "MemberProcess", "RelayProcess", "free_port", "wait_for_news"]

PATIENCE_S: Final = 60.0  # without any progress, on a machine that does other things too; then the test fails

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.support.roles", "tests.support.group_role", "e2ee.client", "e2ee.engine", "e2ee.relay.server"]
)

_Settings = TypeVar("_Settings")


class _Role(Generic[_Settings]):
    """One role, in one process after the other."""

    def __init__(self, settings: _Settings, live: Callable[[_Settings, Connection], None]) -> None:
        self.settings = settings
        self.lives = 0
        self._live = live
        self._process: Any = None
        self.pipe: Connection | None = None  # None: not running

    def start(self) -> None:
        """Begin a life."""
        self.lives += 1
        self.pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=self._live, args=(self.settings, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def tell(self, command: str) -> None:
        """Say ``go`` or ``stop``."""
        assert self.pipe is not None
        self.pipe.send(command)

    def news(self) -> tuple[Any, ...]:
        """The next thing that it has told. Fails if it has ended by itself."""
        assert self.pipe is not None
        try:
            told: tuple[Any, ...] = self.pipe.recv()
        except EOFError:
            self._process.join()
            raise AssertionError(f"{self.settings} ended by itself, with {self._process.exitcode}") from None
        return told

    def kill(self) -> None:
        """End its life by SIGKILL, wherever it is."""
        self._process.kill()
        self._over()

    def stop(self) -> None:
        """Let it close, and see that it does so without an error."""
        self.tell("stop")
        self._process.join(PATIENCE_S)
        assert self._process.exitcode == 0, f"{self.settings}: {self._process.exitcode}"
        self._over()

    def _over(self) -> None:
        self._process.join()
        self._process.close()
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.pipe is not None


class RelayProcess(_Role[RelaySettings]):
    """A relay on a fixed port."""

    def __init__(self, settings: RelaySettings) -> None:
        super().__init__(settings, live_as_relay)

    @property
    def pid(self) -> int:
        """Of the process that lives."""
        return int(self._process.pid)

    def record(self) -> list[list[Any]]:
        """Every ciphertext that came in and went out, over all its lives."""
        return read_journal(self.settings.record)


class ClientProcess(_Role[ClientSettings]):
    """A client and its application."""

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings, live_as_client)

    def journal(self) -> list[list[Any]]:
        """What its application has noted, over all its lives."""
        return read_journal(self.settings.journal)


class MemberProcess(_Role[MemberSettings]):
    """A member of a group and its application."""

    def __init__(self, settings: MemberSettings) -> None:
        super().__init__(settings, live_as_member)

    def journal(self) -> list[list[Any]]:
        """What its application has noted, over all its lives."""
        return read_journal(self.settings.journal)


def wait_for_news(roles: Iterable[_Role[Any]]) -> list[_Role[Any]]:
    """Return those of *roles* that have told something. Fails after a minute without any."""
    by_pipe = {role.pipe: role for role in roles if role.pipe is not None}
    found = wait(list(by_pipe), PATIENCE_S)
    assert found, "nothing happens any more"
    return [by_pipe[pipe] for pipe in found]  # type: ignore[index]


def free_port() -> int:
    """A port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
