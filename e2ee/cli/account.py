"""Whose client a command opens: the options that commands share."""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from e2ee import Client, ClientOptions

from .output import fail

__all__ = ["Account", "Ask", "password", "takes_account"]

User: TypeAlias = Annotated[str, typer.Option("--as", metavar="USER", envvar="E2EE_USER", help="Who you are.")]
Relay: TypeAlias = Annotated[
    str,
    typer.Option(
        "--relay", metavar="URL", envvar="E2EE_RELAY", help="The relay's address, wss://host or ws://127.0.0.1:port."
    ),
]
Store: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="E2EE_STORE",
        help="Where keys and messages are kept: a file, sqlite:///file or postgresql://…; USER.db if not given.",
    ),
]
Device: TypeAlias = Annotated[int, typer.Option("--device", min=1, max=127, help="Which of your devices this is.")]
Ask: TypeAlias = Annotated[
    bool,
    typer.Option("--passphrase", help="Ask for the passphrase that seals the store (or set E2EE_PASSPHRASE)."),
]
Token: TypeAlias = Annotated[
    str | None,
    # Of the environment alone: what stands in a command line is seen by everybody on the machine.
    typer.Option(envvar="E2EE_TOKEN", hidden=True),
]
CaFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--ca-file", exists=True, dir_okay=False, help="Certificates to trust instead of the system's."),
]


@dataclass(frozen=True, slots=True)
class Account:
    """The options of one client."""

    user: str
    relay: str
    store: str | None
    device: int
    passphrase: str | None = field(repr=False)
    ca_file: Path | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def store_url(self) -> str:
        """The store as a URL: a plain path is a file of SQLite's."""
        store = f"{self.user}.db" if self.store is None else self.store
        return store if "://" in store else f"sqlite:///{store}"

    @property
    def is_new(self) -> bool:
        """Whether a store will be made: its passphrase is then asked for twice."""
        path = self.store_url.removeprefix("sqlite:///")
        return path != self.store_url and not Path(path).exists()

    def client(
        self,
        *,
        options: ClientOptions | None = None,
        identity: bytes | None = None,
        identity_passphrase: str | None = None,
    ) -> Client:
        """Make the client; nothing is opened yet."""
        return Client(
            self.user,
            relay=self.relay,
            store=self.store_url,
            device_id=self.device,
            passphrase=self.passphrase,
            token=None if self.token is None else self.token.encode(),
            ssl=None if self.ca_file is None else tls.create_default_context(cafile=str(self.ca_file)),
            options=options,
            identity=identity,
            identity_passphrase=identity_passphrase,
        )


def takes_account(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose first argument is an `Account` the options that make one, in its place."""

    def run(**values: Any) -> None:  # noqa: ANN401 - what the options say
        who = {name: values.pop(name) for name in signature(_account).parameters}
        command(_account(**who), **values)

    _, *own = signature(command, eval_str=True).parameters.values()
    shared = signature(_account, eval_str=True).parameters.values()
    options = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {one.name: one.annotation for one in options}
    run.__dict__["__signature__"] = Signature(options)
    return run


def _account(
    user: User,
    relay: Relay,
    store: Store = None,
    device: Device = 1,
    ca_file: CaFile = None,
    ask: Ask = False,
    environment: Annotated[str | None, typer.Option(envvar="E2EE_PASSPHRASE", hidden=True)] = None,
    token: Token = None,
) -> Account:
    account = Account(user, relay, store, device, None, ca_file, token)
    return replace(account, passphrase=password(ask, environment=environment, confirm=account.is_new))


def password(ask: bool, *, environment: str | None, what: str = "Passphrase", confirm: bool = False) -> str | None:
    """The passphrase out of the environment, or asked for, or none."""
    if environment:
        return environment
    if not ask:
        return None
    given: str = typer.prompt(what, hide_input=True, confirmation_prompt=confirm)
    if not given:
        raise fail("an empty passphrase seals nothing: give one, or leave the option out")
    return given
