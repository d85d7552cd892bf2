"""``e2ee export-identity``, ``link`` and ``restore``: one user on several devices, and after a loss."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from e2ee import Client

from .account import Account, Ask, CaFile, Device, Relay, Store, User, password
from .output import OUT, fail, run

__all__ = ["export_identity", "link", "restore"]

_CONNECT_S: Final = 30.0

Export = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The sealed identity export.")
]


def export_identity(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the sealed identity; must not exist.")],
    *,
    user: User,
    relay: Relay,
    store: Store = None,
    device: Device = 1,
    ask: Ask = False,
    environment: Annotated[str | None, typer.Option(envvar="E2EE_PASSPHRASE", hidden=True)] = None,
    sealing: Annotated[str | None, typer.Option(envvar="E2EE_IDENTITY_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Seal your identity into a file: for another device of yours, or for a day when this one is lost.

    Whoever has the file and its passphrase is you. It holds no session and no message.
    """
    account = Account(user, relay, store, device, password(ask, environment=environment))
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


def link(
    file: Export,
    *,
    user: User,
    relay: Relay,
    device: Annotated[int, typer.Option("--device", min=1, max=127, help="A number that no device of yours has.")],
    store: Store = None,
    ca_file: CaFile = None,
    ask: Ask = False,
    environment: Annotated[str | None, typer.Option(envvar="E2EE_PASSPHRASE", hidden=True)] = None,
    sealing: Annotated[str | None, typer.Option(envvar="E2EE_IDENTITY_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Make this machine another device of yours. It gets what is sent from now on."""
    account = Account(user, relay, store, device, password(ask, environment=environment, confirm=True), ca_file)
    run(_register(_new_device(account, file, sealing)))
    OUT.print(f"{user} has a device {device} now", markup=False)


def restore(
    file: Export,
    *,
    user: User,
    relay: Relay,
    device: Device = 1,
    store: Store = None,
    ca_file: CaFile = None,
    ask: Ask = False,
    environment: Annotated[str | None, typer.Option(envvar="E2EE_PASSPHRASE", hidden=True)] = None,
    sealing: Annotated[str | None, typer.Option(envvar="E2EE_IDENTITY_PASSPHRASE", hidden=True)] = None,
) -> None:
    """Take up a device whose store is lost, under the same identity: your safety numbers stay.

    The old store must not be used again. Messages that it had are gone; sessions heal by themselves.
    """
    account = Account(user, relay, store, device, password(ask, environment=environment, confirm=True), ca_file)
    run(_register(_new_device(account, file, sealing)))
    OUT.print(f"device {device} of {user} is registered anew", markup=False)


def _new_device(account: Account, file: Path, sealing: str | None) -> Client:
    passphrase = password(ask=True, environment=sealing, what="Passphrase of the export")
    path = account.store_url.removeprefix("sqlite:///")
    if account.store_url.startswith("sqlite") and Path(path).exists():
        raise fail(f"{path} is there already: a new device begins with a new store")
    return account.client(identity=file.read_bytes(), identity_passphrase=passphrase)


async def _register(client: Client) -> None:
    async with client:
        with OUT.status("registering"):
            await client.connected(_CONNECT_S)
