"""``e2ee store``: look after a store while no client has it open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from store import ClientStore

from .account import Ask, password
from .output import OUT, fail, told

__all__ = ["store"]

Where: TypeAlias = Annotated[str, typer.Argument(metavar="STORE", help="A file, sqlite:///file or postgresql://…")]
Old: TypeAlias = Annotated[str | None, typer.Option(envvar="E2EE_PASSPHRASE", hidden=True)]

store = typer.Typer(no_args_is_help=True, help="Look after a store.")


def _opened(url: str, passphrase: str | None) -> ClientStore:
    url = url if "://" in url else f"sqlite:///{url}"
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise fail(f"there is no store at {path}")
    return ClientStore.open(url, passphrase=passphrase)


@store.command()
def check(
    url: Where,
    ask: Ask = False,
    environment: Old = None,
) -> None:
    """Read everything, unseal and parse it, and ask the database itself."""
    passphrase = password(ask, environment=environment)
    with told(), OUT.status("reading every row"), _opened(url, passphrase) as opened:
        findings = opened.check()
        sealed = opened.sealed
    if findings:
        for finding in findings:
            OUT.print(str(finding), markup=False, soft_wrap=True)
        raise fail(f"{len(findings)} faults: restore the identity from its export, or report them")
    OUT.print(f"sound; {'sealed' if sealed else 'not sealed: `e2ee store rekey` seals it'}", markup=False)


@store.command()
def rekey(
    url: Where,
    ask: Ask = False,
    unseal: Annotated[
        bool, typer.Option("--unseal", help="Seal no more; whoever reads the file then reads all.")
    ] = False,
    environment: Old = None,
    new: Annotated[str | None, typer.Option(envvar="E2EE_NEW_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Seal everything anew under another passphrase, in one transaction; also a store that was not sealed."""
    passphrase = password(ask, environment=environment)
    with told(), _opened(url, passphrase) as opened:
        fresh = None if unseal else password(ask=True, environment=new, what="New passphrase", confirm=True)
        with OUT.status("sealing every row"):
            opened.rekey(passphrase=fresh)
    OUT.print("unsealed" if unseal else "sealed under the new passphrase", markup=False)
