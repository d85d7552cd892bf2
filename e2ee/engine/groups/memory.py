"""What the engine remembers of groups on one connection, and may forget at any time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from e2ee.engine.waits import Waiting

__all__ = ["GroupsMemory", "LogFetch"]

REPLAY_WINDOW_S: Final = 60.0  # seconds
# Entries read again in it, 3 s of work: a member may name any entry in a message, and each would cost a replay.
REPLAYED_IN_WINDOW_MAX: Final = 100_000


PASSED_OVER_MAX: Final = 1_000  # names of chains; beyond that all are forgotten, and asked for again
LEFT_LATELY_MAX: Final = 1_000  # members of groups; what a further one sent before it left is asked for


@dataclass(slots=True)
class LogFetch(Waiting):
    """A group's log, or the rest of it, that is wanted from the relay."""

    in_flight: bool = False  # a question without an answer
    again: bool = False  # to be put once more: a message has come meanwhile whose sender has no seat by our log
    compared: int = 0  # entries from the first on that are the same here, if a fork was accepted


@dataclass(slots=True)
class GroupsMemory:
    """What is under way about groups on this connection."""

    operating: bool = False  # some operation of ours is stored
    appending: set[bytes] = field(default_factory=set)  # ids of operations whose entry is on its way
    waits: dict[bytes, float] = field(default_factory=dict)  # by operation id: not before, seconds since 1970
    asked: set[bytes] = field(default_factory=set)  # ids of operations that have asked for their subject's identity
    logs: dict[bytes, LogFetch] = field(default_factory=dict)  # by group id
    left: deque[bytes] = field(default_factory=deque)  # ids of groups whose logs earlier connections did not get
    names: dict[str, LogFetch] = field(default_factory=dict)  # by name: groups whose id is not known
    passed_over: set[bytes] = field(default_factory=set)  # names of chains that their devices have erased
    # By group id and user: the key of a seat that is gone by an entry since `Drained`, and when (seconds since 1970).
    # Its chain may come after that.
    left_lately: dict[tuple[bytes, str], tuple[bytes, float]] = field(default_factory=dict)

    replaying_since: float = 0.0  # seconds since 1970: when the present minute of replays began
    replayed: int = 0  # entries in it

    def may_replay(self, entries: int, now: float) -> bool:
        """Count *entries* that are to be read again, unless too many were lately."""
        if not 0 <= now - self.replaying_since < REPLAY_WINDOW_S:
            self.replaying_since, self.replayed = now, 0
        if self.replayed + entries > REPLAYED_IN_WINDOW_MAX:
            return False
        self.replayed += entries
        return True

    def pass_over(self, name: bytes) -> None:
        """Note that a chain does not come any more."""
        if len(self.passed_over) >= PASSED_OVER_MAX:
            self.passed_over.clear()
        self.passed_over.add(name)

    def leaves(self, group_id: bytes, user_id: str, identity_key: bytes, now: float) -> None:
        """Note that a member is none any more."""
        if len(self.left_lately) < LEFT_LATELY_MAX:
            self.left_lately[group_id, user_id] = identity_key, now

    def look_again(self, group_id: bytes) -> None:
        """Have a log asked for once more if the question is under way: its answer may be older than what has come."""
        fetch = self.logs.get(group_id)
        if fetch is not None and fetch.in_flight:
            fetch.again = True

    def want(self, group_id: bytes) -> None:
        """Note that a log is wanted."""
        self.logs.setdefault(group_id, LogFetch())

    def want_name(self, name: str) -> None:
        """Note that the group of a name is wanted."""
        self.names.setdefault(name, LogFetch())
