"""The part of a client that is about people and devices: identities, blocking, own devices, the account's end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from e2ee.engine import account, decisions, stock
from e2ee.errors import AccountGone, InvalidArgument
from e2ee.frames import DeviceList
from e2ee.identities import OwnDevice
from store import seal_identity

if TYPE_CHECKING:
    from e2ee.diagnostics import Report
    from e2ee.engine import Engine
    from e2ee.identities import Identity, SafetyNumber
    from e2ee.shell import Shell
    from store import PassphraseProfile

__all__ = ["ANSWER_S", "AccountCalls"]

ANSWER_S: Final = 10.0  # seconds that a call which needs the relay's answer waits for it by default


class AccountCalls:
    """Calls of `Client`. Those that ask the relay raise TimeoutError, Refused and ConnectionEnded.

    After a timeout or a lost connection it is not known whether the relay has done it; asking again does no harm.
    """

    _shell: Shell | None
    _engine: Engine | None

    # Other users.

    async def safety_number(self, user: str, identity_key: bytes | None = None) -> SafetyNumber:
        """Return the safety number with *user*, to be compared over another channel.

        People read out its ``digits``, or scan ``scannable`` as a QR code. It is that of the key on record, or of
        another *identity_key* that the user has shown. Raises UnknownIdentity if no key has been seen.
        """
        shell, engine = self._opened()
        return await shell.do(lambda _: engine.do(partial(decisions.number_of, user=user, identity_key=identity_key)))

    async def verify(self, user: str, *, digits: str | None = None, scanned: bytes | None = None) -> bytes:
        """Verify *user* by the 60 digits that the other side reads out, or the bytes that were scanned there.

        The key that they belong to, on record or waiting for a decision, is trusted as `trust` does, and returned.
        Raises VerificationFailed if they belong to none, UnknownIdentity, InvalidArgument for what is no number.
        """
        shell, engine = self._opened()
        work = partial(decisions.verify, user=user, digits=digits, scanned=scanned)
        return await shell.do(lambda _: engine.do(work))

    async def trust(self, user: str, identity_key: bytes | None = None) -> None:
        """Use an identity key that *user* has shown, without having verified it; what was held goes on, both ways.

        Without a key it is the one that waits for a decision. The key before it is retired. Raises UnknownIdentity,
        and SeveralIdentities if several wait.
        """
        shell, engine = self._opened()
        await shell.do(lambda _: engine.do(partial(decisions.trust, user=user, identity_key=identity_key)))

    async def distrust(self, user: str, identity_key: bytes | None = None) -> None:
        """Stay with the key on record: messages go on under it, and what came under the other key stays held.

        Raises UnknownIdentity, also for the key on record itself, and SeveralIdentities.
        """
        shell, engine = self._opened()
        await shell.do(lambda _: engine.do(partial(decisions.distrust, user=user, identity_key=identity_key)))

    async def identities(self, user: str) -> tuple[Identity, ...]:
        """Return every identity key that *user* has shown, oldest first; none for a stranger."""
        shell, engine = self._opened()
        return await shell.do(lambda _: engine.do(partial(decisions.history, user=user)))

    async def block(self, user: str) -> None:
        """Take no more messages from *user*. They are dropped here, and the sender is told nothing of it."""
        shell, engine = self._opened()
        await shell.do(lambda _: engine.do(partial(decisions.block, user=user)))

    async def unblock(self, user: str) -> None:
        """Take messages from *user* again. What was sent meanwhile is gone."""
        shell, engine = self._opened()
        await shell.do(lambda _: engine.do(partial(decisions.unblock, user=user)))

    async def blocked(self) -> frozenset[str]:
        """Return who is blocked."""
        shell, engine = self._opened()
        return await shell.do(lambda _: engine.do(decisions.blocked))

    # What is going on.

    async def report(self) -> Report:
        """Return counters and recent troubles of this client, without names, contents or keys: to be handed on."""
        shell, engine = self._opened()
        return await shell.ask(lambda _: engine.report())

    # Own devices.

    async def devices(self, *, timeout: float = ANSWER_S) -> tuple[OwnDevice, ...]:  # noqa: ASYNC109 - design 5
        """Return the devices of our own user, as the relay lists them; in order."""
        shell, engine = self._opened()
        reply = await shell.request(lambda _: engine.do(account.ask_for_devices), timeout)
        (own, _) = await shell.ask(lambda _: engine.do(lambda step: step.account.device_id))
        found = reply.devices if isinstance(reply, DeviceList) else ()
        return tuple(
            OwnDevice(device_id=one.device_id, registration_id=one.registration_id, this=one.device_id == own)
            for one in found
        )

    async def remove_device(self, device_id: int, *, timeout: float = ANSWER_S) -> None:  # noqa: ASYNC109
        """Remove another device of our own user: nothing more is sent to it, and it is told.

        It keeps what it has, the user's identity key included: only `reset_identity` shuts out who has that. Raises
        InvalidArgument for this very device.
        """
        shell, engine = self._opened()
        work = partial(account.ask_for_removal, device_id=device_id)
        await shell.request(lambda _: engine.do(work), timeout)

    async def export_identity(self, passphrase: str, *, profile: PassphraseProfile | None = None) -> bytes:
        """Seal the user's identity under a *passphrase* of its own: for another device, or to restore this one.

        It holds no session and no message. Whoever has it and the passphrase can be this user.
        """
        if not passphrase:
            raise InvalidArgument("an identity export has a passphrase")
        shell, engine = self._opened()
        own = await shell.do(lambda _: engine.do(lambda step: step.account))
        seal = partial(seal_identity, own.user_id, own.identity, passphrase)
        return await asyncio.to_thread(seal if profile is None else partial(seal, profile=profile))

    # The account.

    async def republish_prekeys(self, *, timeout: float = ANSWER_S) -> None:  # noqa: ASYNC109 - design 5
        """Let the relay forget every one-time prekey, and make new ones of all kinds: a repair.

        First messages under the old one-time keys no longer open, and are asked for again. Raises InvalidArgument
        while an upload is under way.
        """
        shell, engine = self._opened()
        await shell.request(lambda _: engine.do(stock.republish), timeout)

    async def reset_identity(self, *, timeout: float = ANSWER_S) -> None:  # noqa: ASYNC109 - design 5
        """Begin anew under another identity key: when somebody else may have the present one.

        The relay's policy must be to replace identities, else it is Refused (IDENTITY_TAKEN). Our other devices and
        our mail at the relay are removed, all sessions end, group memberships have to be renewed. Peers see a changed
        identity: under `TRUST_ON_FIRST_USE` their messages are held until they decide. Verify anew.
        """
        shell, engine = self._opened()
        await shell.request(lambda _: engine.ask_for_identity(), timeout)

    async def delete_account(self, *, timeout: float = ANSWER_S) -> None:  # noqa: ASYNC109 - design 5
        """Delete the account at the relay, then the store here, with everything in them. It cannot be undone.

        The user id is free again; our other devices end with NotAuthorized; messages that are on their way stay.
        Every later call raises AccountGone. If the relay's answer was lost, the client may end with NotAuthorized:
        then only the store is left to be deleted.
        """
        shell, engine = self._opened()
        await shell.request(lambda _: engine.do(account.ask_for_deletion), timeout)
        await shell.finish_with(engine.delete_store, AccountGone("the account was deleted"))

    def _opened(self) -> tuple[Shell, Engine]:
        if self._shell is None or self._engine is None:
            raise InvalidArgument("the client is not open: use it inside its `async with`")
        return self._shell, self._engine
