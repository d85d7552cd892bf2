"""``e2ee relay``: run a relay until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl as tls
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.logging import RichHandler

from e2ee import Relay, RelayHooks, RelayOptions
from e2ee.relay import IdentityChange
from e2ee.relay.limits import COLLECT_AFTER

from .output import OUT, fail, run

if TYPE_CHECKING:
    from e2ee.relay.hooks import Authorize

__all__ = ["relay"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def relay(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: the system picks one.")] = 0,
    store: Annotated[str, typer.Option(metavar="URL", help="sqlite:///file or postgresql://…")] = "sqlite:///relay.db",
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="By which names clients dial; may be repeated.")
    ] = None,
    authorize: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Your own rule: (user id, token) → bool, may be a coroutine."),
    ] = None,
    open_registration: Annotated[
        bool | None,
        typer.Option("--open-registration/--closed-registration", help="Whether unknown users may come in."),
    ] = None,
    replace_identities: Annotated[
        bool, typer.Option(help="Let a user id be taken over by another identity key; only with --authorize.")
    ] = False,
    directory: Annotated[bool, typer.Option(help="Let clients ask who the users are.")] = False,
    tls_certificate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="PEM, with its chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="PEM.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every login and closing.")] = False,
) -> None:
    """Run a relay: it stores and forwards what it cannot read, until Ctrl-C or SIGTERM."""
    if replace_identities and authorize is None:
        raise fail("--replace-identities gives names away: it needs --authorize to say who owns a name")
    if (tls_certificate is None) != (tls_key is None):
        raise fail("--tls-certificate and --tls-key go together")
    context = None
    if tls_certificate is not None and tls_key is not None:
        context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls_certificate, tls_key)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[RichHandler()]
    )
    options = RelayOptions(
        names=tuple(name or ()),
        open_registration=open_registration,
        identity_change=IdentityChange.REPLACE if replace_identities else IdentityChange.REFUSE,
        directory=directory,
    )
    hooks = RelayHooks(authorize=None if authorize is None else _imported(authorize))
    gc.set_threshold(COLLECT_AFTER)
    run(_serve(host, port, store, options, hooks, context))


def _imported(name: str) -> Authorize:
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise fail(
            f"--authorize names MODULE:FUNCTION that can be imported; {name} cannot: is it installed, or in PYTHONPATH?"
        ) from error
    if not callable(found):
        raise fail(f"{name} is no function")
    authorize: Authorize = found
    return authorize


async def _serve(
    host: str, port: int, store: str, options: RelayOptions, hooks: RelayHooks, context: tls.SSLContext | None
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stopped.set)
    async with Relay(host, port, store=store, options=options, hooks=hooks, ssl=context) as relay:
        OUT.print(f"relay at {relay.url}, store {_without_password(store)}", markup=False, soft_wrap=True)
        await stopped.wait()
        OUT.print("closing: what came is stored, clients are told", markup=False)


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else url
