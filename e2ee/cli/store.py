"""``e2ee store``: look after a store while no client has it open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store import ClientStore

from .account import Ask, password
from .output import OUT, fail, told

__all__ = ["store"]

store = typer.Typer(no_args_is_help=True, help="Look after a store.")


@store.command()
def check(
    url: Annotated[str, typer.Argument(metavar="STORE", help="A file, sqlite:///file or postgresql://…")],
    ask: Ask = False,
    environment: Annotated[str | None, typer.Option(envvar="E2EE_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Read everything, unseal and parse it, and ask the database itself."""
    url = url if "://" in url else f"sqlite:///{url}"
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise fail(f"there is no store at {path}")
    passphrase = password(ask, environment=environment)
    with told(), OUT.status("reading every row"):
        opened = ClientStore.open(url, passphrase=passphrase)
        with opened:
            findings = opened.check()
            sealed = opened.sealed
    if findings:
        for finding in findings:
            OUT.print(str(finding), markup=False, soft_wrap=True)
        raise fail(f"{len(findings)} faults: restore the identity from its export, or report them")
    OUT.print(f"sound; {'sealed' if sealed else 'not sealed: give a passphrase to a new store'}", markup=False)
