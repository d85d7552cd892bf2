"""The command line ``e2ee``: it asks, calls and prints; everything else is the packages'."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without the extra ``cli`` say what to install."""
    try:
        from .app import app  # noqa: PLC0415 - typer and rich are an extra
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "segno", "typer"):
            raise
        sys.exit(f"error: the command line needs {error.name}: pip install 'e2ee-messaging[cli]'")
    app()
