"""Where the command line writes, and how it ends when something goes wrong: one line that says what to do."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Coroutine
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer
from rich.console import Console

from e2ee import E2eeError
from e2ee.errors import Refused
from store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OUT", "fail", "plain", "run", "told"]

OUT: Final = Console(highlight=False)
_ERRORS: Final = Console(stderr=True, highlight=False)
_T = TypeVar("_T")

_FAILED: Final = 1
_INTERRUPTED: Final = 130  # as shells have it for Ctrl-C


def plain(text: str) -> str:
    """Make what somebody else has written safe to show: a terminal obeys escape sequences, a reader direction marks."""
    return "".join(
        character if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs") else "\ufffd"
        for character in text
    )


def fail(text: str) -> typer.Exit:
    """Print one line of error; raise what is returned."""
    _ERRORS.print(f"error: {plain(text)}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(_FAILED)


@contextmanager
def told() -> Iterator[None]:
    """Turn what the packages raise into one line and an exit code."""
    try:
        yield
    except TimeoutError as error:
        raise fail(f"{str(error) or 'it took too long'}: is the relay running, and its address right?") from error
    except Refused as error:
        wait = "" if error.retry_after_s is None else f" (in {error.retry_after_s:.0f} s)"
        raise fail(f"the relay refused: {error}{wait}") from error
    except (E2eeError, StoreError) as error:
        raise fail(str(error)) from error
    except OSError as error:
        raise fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")) from error


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run *work* to its end; errors and Ctrl-C end the program as they should."""
    with told():
        try:
            return asyncio.run(work)
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
