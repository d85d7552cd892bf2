"""What a link tells whoever owns the carrier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .errors import RefusalCode
    from .frames import Challenge, Push, Reply, Request, Welcome

__all__ = ["Challenged", "LinkDown", "LinkEvent", "LinkUp", "Pushed", "RawReceived", "Replied"]


@dataclass(frozen=True, slots=True)
class Challenged:
    """The relay has spoken first: `Link.login` has to follow within CHALLENGE_AGE_MAX_S."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The login is accepted; requests may be made from now on."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class Replied:
    """*request*, as it was given to `Link.request`, and what the relay said to it."""

    request: Request
    reply: Reply


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the relay says unasked."""

    frame: Push


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The last event of a link. Every open request is forgotten: what became of it is unknown."""

    code: RefusalCode | None  # the relay's reason, if it gave one that this release knows
    retry_after_s: float | None  # the relay's wish
    reason: str  # one line for the log: not for a program, and never contents


@dataclass(frozen=True, slots=True)
class RawReceived:
    """Raw text or bytes of the relay's application (R1.7); not encrypted."""

    data: str | bytes = field(repr=False)


LinkEvent: TypeAlias = Challenged | LinkUp | Replied | Pushed | RawReceived | LinkDown
