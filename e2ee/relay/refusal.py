"""How a refusal is told."""

from __future__ import annotations

from e2ee.errors import RefusalCode
from e2ee.frames import Closing

from .limits import EXPLANATION, RETRY_AFTER_MS

__all__ = ["closing", "replacement"]


def closing(code: RefusalCode, explanation: str = "") -> Closing:
    """The last frame of a connection. The explanation never repeats what the other end has sent."""
    wait_ms = RETRY_AFTER_MS if code in (RefusalCode.UNAVAILABLE, RefusalCode.SHUTTING_DOWN) else None
    return Closing(code, (explanation or code.next_step)[:EXPLANATION], wait_ms)


def replacement(code: RefusalCode) -> Closing:
    """The last frame of a connection that somebody else's request has ended."""
    match code:
        case RefusalCode.REPLACED:
            return closing(code, "the same device connected again")
        case RefusalCode.IDENTITY_TAKEN:
            return closing(code, "the user id was bound to another identity key")
        case _:
            return closing(code, "the device was removed")
