"""The commands of ``e2ee``, put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from . import chat, demo, devices, people, relay, talk
from .output import OUT
from .store import store

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables shows keys and messages
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(relay.relay)
app.command()(chat.chat)
app.command()(talk.send)
app.command()(talk.listen)
app.command()(people.safety_number)
app.command()(people.trust)
app.command()(devices.export_identity)
app.command()(devices.link)
app.command()(devices.restore)
app.add_typer(store, name="store")


def _version(wanted: bool) -> None:
    if wanted:
        OUT.print(version("e2ee-messaging"), markup=False)
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """End-to-end encrypted messages: the Signal Protocol, a store, a relay that cannot read."""
