"""``e2ee export-identity``, ``link`` and ``restore``: one user on several devices, and after a loss."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from e2ee import Client

from .account import Account, password, takes_account
from .output import OUT, fail, run

__all__ = ["export_identity", "link", "restore"]

_CONNECT_S: Final = 30.0

Export = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The sealed identity export.")
]


@takes_account
def export_identity(
    account: Account,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the sealed identity; must not exist.")],
    sealing: Annotated[str | None, typer.Option(envvar="E2EE_IDENTITY_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Seal your identity into a file: for another device of yours, or for a day when this one is lost.

    Whoever has the file and its passphrase is you. It holds no session and no message.
    """
    passphrase = password(ask=True, environment=sealing, what="Passphrase of the export", confirm=True)
    run(_export(account, file, passphrase or ""))


async def _export(account: Account, file: Path, passphrase: str) -> None:
    async with account.client() as client:
        with OUT.status("sealing"):
            sealed = await client.export_identity(passphrase)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(sealed)
    OUT.print(f"{file}: {len(sealed)} bytes, readable by you alone", markup=False)


@takes_account
def link(
    account: Account,
    file: Export,
    sealing: Annotated[str | None, typer.Option(envvar="E2EE_IDENTITY_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Make this machine another device of yours, with a number of its own. It gets what is sent from now on."""
    if account.device == 1:
        raise fail("device 1 is the first one: give --device a number that no device of yours has")
    run(_register(_new_device(account, file, sealing)))
    OUT.print(f"{account.user} has a device {account.device} now", markup=False)


@takes_account
def restore(
    account: Account,
    file: Export,
    sealing: Annotated[str | None, typer.Option(envvar="E2EE_IDENTITY_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Take up a device whose store is lost, under the same identity: your safety numbers stay.

    The old store must not be used again. Messages that it had are gone; sessions heal by themselves.
    """
    run(_register(_new_device(account, file, sealing)))
    OUT.print(f"device {account.device} of {account.user} is registered anew", markup=False)


def _new_device(account: Account, file: Path, sealing: str | None) -> Client:
    passphrase = password(ask=True, environment=sealing, what="Passphrase of the export")
    if not account.is_new and account.store_url.startswith("sqlite"):
        raise fail(f"{account.store_url} is there already: a new device begins with a new store")
    return account.client(identity=file.read_bytes(), identity_passphrase=passphrase)


async def _register(client: Client) -> None:
    async with client:
        with OUT.status("registering"):
            await client.connected(_CONNECT_S)
