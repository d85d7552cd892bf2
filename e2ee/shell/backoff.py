"""How long to wait before the next connection, and which ends are final."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.errors import ClientEnded, NotAuthorized, OpenElsewhere, RefusalCode, StoreRolledBack, UserIdTaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.link import LinkDown

__all__ = ["BackOff"]

# Ours: they may change in any release.
RECONNECT_MIN_S: Final = 1.0  # after the first failure, doubled after each further one
RECONNECT_MAX_S: Final = 300.0  # a relay that comes back has everybody within five minutes; also its longest wish
REPLACED_PAUSE_S: Final = 60.0  # rule R4.6: clones meet the relay's counters instead of fighting
REPLACED_AGE_S: Final = 600.0  # a connection that lasted so long was not part of a fight
# In a row; then the client ends. Of two clones one meets the relay's counters twice first, and the other stays.
REPLACED_MAX: Final = 2

_FINAL: Final[dict[RefusalCode, tuple[type[ClientEnded], str]]] = {
    RefusalCode.IDENTITY_TAKEN: (
        UserIdTaken,
        "another identity has this user id at the relay: choose another, or open the store that has it",
    ),
    RefusalCode.NOT_AUTHORIZED: (
        NotAuthorized,
        "the relay does not let this user in: check the token, and the relay's rules",
    ),
    RefusalCode.ROLLED_BACK: (
        StoreRolledBack,
        "the relay has seen other messages under numbers of this store: close every copy, then accept_rollback",
    ),
}


class BackOff:
    """The pauses between connections: 1 s doubling to 5 min, each shortened by up to half by *dice* (0 to 1).

    The jitter keeps the clients of a relay that restarted from coming back all at once.
    """

    def __init__(self, dice: Callable[[], float]) -> None:
        self._dice = dice
        self._failures = 0  # in a row
        self._replaced = 0  # in a row
        self._at_once = False  # the next connection follows without a pause

    def begin_anew(self) -> None:
        """Connect again at once: the device has given up what another life of its store may have used.

        Whoever fought it until now meets the counters at its next login. So of two clones that both give up something,
        the later one stays: the earlier has used its allowance of the day, and replaces it once at the most.
        """
        self._at_once = True
        self._replaced = 0

    def after(self, down: LinkDown, *, was_online: bool, lasted_s: float) -> float:
        """Return the seconds to wait after a connection ended with *down*. Raises ClientEnded if it was the last."""
        if self._at_once:
            self._at_once = False
            return 0.0
        if down.code in _FINAL:
            kind, text = _FINAL[down.code]
            raise kind(text)
        if was_online:
            self._failures = 0
        if lasted_s >= REPLACED_AGE_S:
            self._replaced = 0
        doubled = RECONNECT_MIN_S * 2.0 ** min(self._failures, 16)
        pause = min(doubled, RECONNECT_MAX_S) * (0.5 + self._dice() / 2)
        self._failures += 1
        if down.code is RefusalCode.REPLACED:
            self._replaced += 1
            if self._replaced > REPLACED_MAX:
                raise OpenElsewhere("the same device connects again and again: close the other client, or the clone")
            return REPLACED_PAUSE_S + pause
        return max(pause, min(down.retry_after_s or 0.0, RECONNECT_MAX_S))
