"""What is decided of a frame before the store is asked: is it its turn, is it well formed, is it allowed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import (
    Acknowledge,
    AppendEntry,
    ClientFrame,
    DeleteAccount,
    Done,
    GetBundles,
    GetGroupDevices,
    GetGroupLog,
    ListDevices,
    Login,
    Ping,
    Pong,
    Publish,
    RefusedRequest,
    RemoveDevice,
    ReplaceIdentity,
    Submit,
    SubmitGroup,
    Submitted,
    Subscribe,
    UnknownFrame,
    Unsubscribe,
    UploadPreKeys,
    WatchUsers,
)
from e2ee.ids import UserId

from . import account, devices, login, prekeys, submit
from .audience import watch
from .connection import Ask, Close, Connection, Output, Phase, Send, Session
from .entry_rules import EntryRules
from .group_arrivals import GroupArrivals
from .plan import Plan, Step, refuse_submit
from .refusal import closing

if TYPE_CHECKING:
    from e2ee.frames import Request
    from store.relay import RelayUnit

    from .audience import Audience
    from .group_arrivals import GroupRefusal
    from .hooks import MayCreateGroup, MaySend
    from .limits import RelayOptions
    from .statistics import Statistics

__all__ = ["Arrivals"]


class Arrivals:
    """Turns frames into replies, where nothing has to be stored, and into steps of a transaction."""

    def __init__(  # noqa: PLR0913 - what the relay was told, all but the first three by name
        self,
        names: frozenset[str],
        options: RelayOptions,
        statistics: Statistics,
        *,
        open_registration: bool,
        asks: bool,
        may_send: MaySend | None,
        may_create_group: MayCreateGroup | None,
        audience: Audience,
        shared: bool,
    ) -> None:
        self._names = names
        self._options = options
        self._statistics = statistics
        self._open_registration = open_registration
        self._asks = asks
        self._may_send = may_send
        self._groups = GroupArrivals(EntryRules(options, may_send, may_create_group))
        self._audience = audience
        self._shared = shared  # among workers, each with its own connections
        self._destinations: set[str] = set()

    def take_destinations(self) -> frozenset[str]:
        """Users to whom messages came since the last call: their device lists are read together."""
        taken, self._destinations = frozenset(self._destinations), set()
        return taken

    def frame(
        self, connection: Connection, frame: ClientFrame | UnknownFrame, outputs: list[Output], now: float
    ) -> list[Step]:
        """Take one frame. Raises MalformedFrame: its connection is to be closed, in turn."""
        if connection.phase is Phase.CHALLENGED:
            if not isinstance(frame, Login):
                raise MalformedFrame("nothing but a login comes before the login")
            return self._login(connection, frame, outputs)
        session = connection.session
        if session is None or connection.phase is not Phase.UP:
            raise MalformedFrame("nothing comes before the login is accepted")
        if isinstance(frame, UnknownFrame):
            if frame.request is not None:
                self._refuse(connection, RefusedRequest(frame.request, RefusalCode.UNKNOWN_REQUEST, None), outputs)
            return []
        if isinstance(frame, Login):
            raise MalformedFrame("there is one login")
        steps: list[Step] = []
        # Beyond what was pushed here it acknowledges nothing (R4.17): a number of another life of this
        # relay's data must not swallow mail that nobody has seen.
        if connection.acknowledged < frame.acknowledged <= connection.pushed:
            steps.append(Step(connection, partial(_acknowledge, session, frame.acknowledged)))
        step = self._request(connection, session, frame, outputs, now)
        return steps if step is None else [*steps, step]

    def authorized(
        self,
        connection: Connection,
        allowed: bool | None,  # noqa: FBT001 - the value of an input
        _outputs: list[Output],
        _now: float,
    ) -> list[Step]:
        """Go on with a login after the application has decided."""
        if allowed:
            return [self._entering(connection)]
        code = RefusalCode.UNAVAILABLE if allowed is None else RefusalCode.NOT_AUTHORIZED
        return [Step(connection, partial(_close, connection, code, ""))]

    def _login(self, connection: Connection, frame: Login, outputs: list[Output]) -> list[Step]:
        try:
            claim = login.check_login(frame, connection.nonce, self._names)
        except login.LoginRefused as refused:
            return [Step(connection, partial(_close, connection, refused.code, refused.explanation))]
        connection.claim = claim
        connection.identity_key = frame.identity_key
        connection.phase = Phase.LOGGING_IN
        if self._asks:
            outputs.append(Ask(connection, claim.user_id, frame.token))
            return []
        return [self._entering(connection)]

    def _entering(self, connection: Connection) -> Step:
        return Step(
            connection,
            login.entering(
                connection,
                open_registration=self._open_registration,
                identity_change=self._options.identity_change,
            ),
        )

    def _request(
        self,
        connection: Connection,
        session: Session,
        frame: Request | Acknowledge,
        outputs: list[Output],
        now: float,
    ) -> Step | None:
        match frame:
            case Acknowledge():
                return None
            case AppendEntry() | GetGroupLog() | GetGroupDevices() | SubmitGroup():
                taken = self._groups.take(connection, session, frame, now)
                if isinstance(taken, Step):
                    return taken
                self._refuse(connection, taken, outputs)
                return None
            case Submit():
                return self._submit(connection, session, frame, outputs, now)
            case Publish():
                return self._publish(connection, frame, outputs, now)
            case _:
                return self._limited(connection, session, frame, outputs, now)

    def _limited(
        self,
        connection: Connection,
        session: Session,
        frame: Ping
        | UploadPreKeys
        | GetBundles
        | RemoveDevice
        | DeleteAccount
        | ReplaceIdentity
        | ListDevices
        | Subscribe
        | Unsubscribe
        | WatchUsers,
        outputs: list[Output],
        now: float,
    ) -> Step | None:
        wait_ms = connection.requests.take(1, now)
        if wait_ms:
            self._refuse(connection, RefusedRequest(frame.request, RefusalCode.RATE_LIMITED, wait_ms), outputs)
            return None
        match frame:
            case Ping():
                outputs.append(Send(connection, Pong(frame.request)))
                return None
            case UploadPreKeys():
                return self._upload(connection, session, frame, outputs)
            case GetBundles():
                return Step(connection, partial(prekeys.hand_out, connection, session, self._options, frame))
            case RemoveDevice() | ListDevices() | DeleteAccount() | ReplaceIdentity():
                return self._account(connection, session, frame, outputs)
            case _:
                return self._beside(connection, frame, outputs)

    def _beside(
        self, connection: Connection, frame: Subscribe | Unsubscribe | WatchUsers, outputs: list[Output]
    ) -> Step | None:
        """Take what has to do with channels and the directory."""
        match frame:
            case Subscribe():
                refusal = self._audience.subscribe(connection, frame, outputs)
                if refusal is not None:
                    self._refuse(connection, RefusedRequest(frame.request, refusal, None), outputs)
                return None
            case Unsubscribe():
                self._audience.unsubscribe(connection, frame, outputs)
                return None
            case WatchUsers():
                return self._watch(connection, frame, outputs)

    def _watch(self, connection: Connection, frame: WatchUsers, outputs: list[Output]) -> Step | None:
        if not self._audience.may_watch():
            self._refuse(connection, RefusedRequest(frame.request, RefusalCode.NOT_AUTHORIZED, None), outputs)
            return None
        if frame.on:
            return Step(connection, partial(watch, connection, frame.request))
        self._audience.watch(connection, on=False)
        outputs.append(Send(connection, Done(frame.request)))
        return None

    def _publish(self, connection: Connection, frame: Publish, outputs: list[Output], now: float) -> Step | None:
        wait_ms = connection.envelopes.take(1, now)
        if wait_ms:
            self._refuse(connection, RefusedRequest(frame.request, RefusalCode.RATE_LIMITED, wait_ms), outputs)
            return None
        published = self._audience.published(connection, frame)
        if published is None:
            self._refuse(connection, RefusedRequest(frame.request, RefusalCode.NOT_AUTHORIZED, None), outputs)
            return None
        self._audience.tell(published, but=connection, outputs=outputs)
        outputs.append(Send(connection, Done(frame.request)))
        if not self._shared:
            return None
        return Step(None, partial(self._audience.announce_publication, published))

    def _account(
        self,
        connection: Connection,
        session: Session,
        frame: RemoveDevice | ListDevices | DeleteAccount | ReplaceIdentity,
        outputs: list[Output],
    ) -> Step | None:
        match frame:
            case RemoveDevice():
                return Step(connection, partial(devices.remove, connection, session, frame))
            case ListDevices():
                return Step(connection, partial(devices.tell, connection, session, frame))
            case DeleteAccount():
                return Step(connection, partial(account.delete, connection, session, frame))
            case ReplaceIdentity():
                pass
        try:
            account.check_replacement(
                frame, session, connection.nonce, self._names, identity_change=self._options.identity_change
            )
        except login.LoginRefused as refused:
            self._refuse(connection, RefusedRequest(frame.request, refused.code, None), outputs)
            return None
        return Step(connection, partial(account.replace, connection, session, frame))

    def _upload(
        self, connection: Connection, session: Session, frame: UploadPreKeys, outputs: list[Output]
    ) -> Step | None:
        try:
            prekeys.check_upload(frame, session)
        except prekeys.WrongSignature:
            self._refuse(connection, RefusedRequest(frame.request, RefusalCode.NOT_AUTHENTIC, None), outputs)
            return None
        return Step(connection, partial(prekeys.upload, connection, session, frame))

    def _submit(
        self, connection: Connection, session: Session, frame: Submit, outputs: list[Output], now: float
    ) -> Step | None:
        submit.check_submit(frame)
        sender = UserId(session.device.user_id)
        if self._may_send is not None and frame.user_id != sender and not self._may_send(sender, UserId(frame.user_id)):
            self._refuse(connection, refuse_submit(frame.request, RefusalCode.NOT_AUTHORIZED), outputs)
            return None
        wait_ms = connection.envelopes.take(sum(len(one.envelopes) for one in frame.submissions), now)
        if wait_ms:
            refusal = refuse_submit(frame.request, RefusalCode.RATE_LIMITED, wait_ms=wait_ms)
            self._refuse(connection, refusal, outputs)
            return None
        self._destinations.add(frame.user_id)
        return Step(connection, partial(submit.submit, connection, session, frame))

    def _refuse(self, connection: Connection, frame: Submitted | GroupRefusal, outputs: list[Output]) -> None:
        code = frame.code if isinstance(frame, RefusedRequest) else frame.refusal
        if code is not None:
            self._statistics.refusals[RefusalCode(code).name.lower()] += 1
        outputs.append(Send(connection, frame))


def _acknowledge(session: Session, number: int, plan: Plan, _unit: RelayUnit) -> None:
    plan.acknowledge(session.device.key, number)


def _close(connection: Connection, code: RefusalCode, explanation: str, plan: Plan, _unit: RelayUnit) -> None:
    plan.outputs.append(Close(connection, closing(code, explanation)))
