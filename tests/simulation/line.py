"""One connection between a device and the relay: whole messages, in order, late; cut with all that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from .schedule import Schedule

__all__ = ["Line"]

DELAY_MIN_S: Final = 0.005
DELAY_MAX_S: Final = 0.3


class Line:
    """Both directions. *to_relay* and *to_client* take what arrives; *ended* is called once, whoever cuts it."""

    def __init__(
        self,
        schedule: Schedule,
        dice: Random,
        *,
        to_relay: Callable[[bytes], None],
        to_client: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        self._schedule = schedule
        self._dice = dice
        self._ended = ended
        self._receivers = (to_relay, to_client)
        self._last = [schedule.now, schedule.now]  # when the last message of each direction arrives
        self.is_up = True

    def send_to_relay(self, data: bytes) -> None:
        """Carry a frame from the device."""
        self._send(0, data)

    def send_to_client(self, data: bytes) -> None:
        """Carry a frame from the relay."""
        self._send(1, data)

    def cut(self) -> None:
        """End it: nothing that is under way arrives."""
        if self.is_up:
            self.is_up = False
            self._ended()

    def end_after_what_was_sent(self) -> None:
        """End it from the relay's side: the device still gets what was sent before."""
        self._schedule.at(self._last[1], self.cut)

    def _send(self, direction: int, data: bytes) -> None:
        if not self.is_up:
            return
        delay = self._dice.uniform(DELAY_MIN_S, DELAY_MAX_S)
        self._last[direction] = max(self._last[direction], self._schedule.now + delay)

        def arrive() -> None:
            if self.is_up:
                self._receivers[direction](data)

        self._schedule.at(self._last[direction], arrive)
