"""The lane to one user, as far as the engine remembers it during one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .waits import Waiting

if TYPE_CHECKING:
    from e2ee.diagnostics import Reason

__all__ = ["REPAIRS_MAX", "Lane"]

REPAIRS_MAX: Final = 3  # in a row; then the lane waits: a relay that keeps changing its mind costs no more


@dataclass(slots=True)
class Lane(Waiting):
    """The submissions to one user: one frame of them is in flight, or something else is waited for."""

    in_flight: bool = False  # a Submit without a reply
    asking: bool = False  # for bundles
    repairing: bool = False  # the device list was refused; what is stored is to be fitted to the new one
    repairs: int = 0  # refusals of the device list in a row
    overtaken: bool = False  # the identity on record is another one than when bundles were asked for
    mismatches: int = 0  # answers in a row with an identity key that is not used
    held: Reason | None = None  # why the messages in it wait; None: they do not

    def moved(self) -> None:
        """Something was stored: start counting anew."""
        self.go_on()
        self.repairs, self.mismatches, self.held = 0, 0, None

    def ask(self) -> None:
        """Bundles are being asked for."""
        self.asking, self.overtaken = True, False

    def decided(self) -> None:
        """Somebody has decided about the user's identity: go on at once, unless that has not helped several times."""
        self.held = None
        if self.mismatches < REPAIRS_MAX:
            self.go_on()
            self.repairs = 0
