"""``e2ee safety-number`` and ``e2ee trust``: whose key it is, and what to do when it is another."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Annotated, Final

import segno
import typer

from e2ee import Client

from .account import Account, takes_account
from .output import OUT, run

__all__ = ["safety_number", "trust"]

_GROUP: Final = 5  # digits
_ROW: Final = 4  # groups
_CONNECT_S: Final = 30.0


@takes_account
def safety_number(
    account: Account,
    peer: Annotated[str, typer.Argument(metavar="USER", help="With whom.")],
    digits: Annotated[
        str | None,
        typer.Option("--verify", metavar="DIGITS", help="What the other reads out: mark the key as verified."),
    ] = None,
    scanned: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The bytes scanned from the other's screen, in a file."),
    ] = None,
) -> None:
    """Show the 60 digits, and a code to scan, that two people compare to know that nobody is between them."""
    run(_safety_number(account, peer, digits, scanned))


async def _safety_number(account: Account, peer: str, digits: str | None, scanned: Path | None) -> None:
    async with account.client() as client:
        with OUT.status("computing"):
            number = await client.safety_number(peer)
        OUT.print(_rows(number.digits), markup=False)
        if digits is None and scanned is None:
            OUT.print(_code(number.scannable), markup=False)
            OUT.print(f"Compare the digits with {peer}'s, or let {peer} scan the code.", markup=False)
            return
        await _verify(client, peer, digits, scanned)
    OUT.print(f"equal: the identity key of {peer} is verified", style="green", markup=False)


async def _verify(client: Client, peer: str, digits: str | None, scanned: Path | None) -> None:
    if digits is not None:
        await client.verify(peer, digits="".join(digits.split()))
    elif scanned is not None:
        await client.verify(peer, scanned=await asyncio.to_thread(scanned.read_bytes))


def _rows(digits: str) -> str:
    groups = [digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP)]
    return "\n".join("  ".join(groups[at : at + _ROW]) for at in range(0, len(groups), _ROW))


def _code(scannable: bytes) -> str:
    drawn = io.StringIO()
    segno.make(scannable, mode="byte", micro=False).terminal(drawn, compact=True)
    return drawn.getvalue()


@takes_account
def trust(
    account: Account,
    peer: Annotated[str, typer.Argument(metavar="USER", help="Whose new identity key to accept.")],
) -> None:
    """Go on with the identity key that somebody shows now; what was held is released."""
    if run(_trust(account, peer)):
        OUT.print(f"the new identity key of {peer} is trusted; compare safety numbers", markup=False)
    else:
        OUT.print(f"{peer} shows no other identity key: the one on record stays, and is trusted", markup=False)


async def _trust(account: Account, peer: str) -> bool:
    """Trust the key that waits; tell whether it is another one than that on record."""
    async with account.client() as client:
        before = [one.identity_key for one in await client.identities(peer) if one.on_record]
        await client.trust(peer)
        return before != [one.identity_key for one in await client.identities(peer) if one.on_record]
