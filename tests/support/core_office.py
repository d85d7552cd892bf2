"""The real relay's core on a real store, as `engines.World` talks to its relay; with backups that come back."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from e2ee.errors import RefusalCode
from e2ee.frames import Challenge, ClientFrame, Deliver, Drained, LowPreKeys, RelayFrame, Submit, Welcome
from e2ee.relay.connection import Arrived, Close, Connection, Ended, Opened, Output, Send
from e2ee.relay.core import RelayCore
from e2ee.relay.limits import RelayOptions
from store.relay import RelayStore

from .post_office import DeviceName, PostOffice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee.frames import Login

    from .engines import Device

NAME = "127.0.0.1:1"


class CoreOffice(PostOffice):
    """A relay on *path*: a `PostOffice` whose rules are the real ones."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        super().__init__()
        self.path = path
        self.clock = clock
        self.options = RelayOptions()
        self.rules: dict[str, Any] = {}  # of an application: what the core is told beside its options
        self.dice = random.Random("nonces")
        self.closed: dict[DeviceName, RefusalCode] = {}  # the last connection of each that the relay has ended
        self.opened = 0
        self._open()

    def _open(self) -> None:
        self.store = RelayStore.open(f"sqlite:///{self.path}", clock=self.clock)
        self.core = RelayCore(self.store, names=[NAME], options=self.options, **self.rules)
        self.strangers: dict[bytes, Connection] = {}
        self.lines: dict[DeviceName, Connection] = {}
        self.pushes: dict[DeviceName, deque[Deliver | Drained | LowPreKeys]] = defaultdict(deque)

    # What happens to a relay.

    def back_up(self) -> Path:
        """Copy the store; return where to."""
        self.store.checkpoint()
        backup = self.path.with_suffix(f".{self.opened}")
        shutil.copy(self.path, backup)
        return backup

    def restore(self, backup: Path | None) -> None:
        """Put a backup (None: nothing at all) in the store's place; every connection has ended before."""
        self.close()
        if backup is None:
            self.path.unlink()
        else:
            shutil.copy(backup, self.path)
        self._open()

    def close(self) -> None:
        self.store.close()

    # What devices do.

    def challenge(self) -> Challenge:
        self.opened += 1
        connection = Connection(self.opened, self.dice.randbytes(32), self.clock(), self.options)
        self.strangers[connection.nonce] = connection
        self.core.handle([Opened(connection)], self.clock())
        return Challenge((1,), connection.nonce, ())

    def login(self, login: Login, challenge: Challenge) -> tuple[DeviceName, Welcome]:
        connection = self.strangers.pop(challenge.nonce)
        outputs = self.core.handle([Arrived(connection, login)], self.clock())
        session = connection.session
        assert session is not None, outputs
        name = (session.device.user_id, session.device.device_id)
        old = self.lines.get(name)
        if old is not None:
            self.core.handle([Ended(old)], self.clock())
        self.lines[name] = connection
        self.pushes[name].clear()
        (welcome,) = [one.frame for one in outputs if isinstance(one, Send) and isinstance(one.frame, Welcome)]
        self._sort(outputs)
        return name, welcome

    def handle(self, sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        if isinstance(frame, Submit):
            self.overheard += [
                (sender, (frame.user_id, envelope.device_id), envelope)
                for submission in frame.submissions
                for envelope in submission.envelopes
            ]
        connection = self.lines[sender]
        replies = self._sort(self.core.handle([Arrived(connection, frame)], self.clock()))
        return next((reply for to, reply in replies if to is connection), None)

    def has_news(self, name: DeviceName) -> bool:
        return bool(self.pushes[name])

    def push(self, name: DeviceName) -> Deliver | Drained | LowPreKeys | None:
        return self.pushes[name].popleft() if self.pushes[name] else None

    def _sort(self, outputs: list[Output]) -> list[tuple[Connection, RelayFrame]]:
        """Put what is pushed where devices look for it; return what answers them."""
        names = {connection: name for name, connection in self.lines.items()}
        answers: list[tuple[Connection, RelayFrame]] = []
        for output in outputs:
            match output:
                case Send(connection=connection, frame=Deliver() | Drained() | LowPreKeys() as frame):
                    self.pushes[names[connection]].append(frame)
                case Send(connection=connection, frame=frame):
                    answers.append((connection, frame))
                case Close(connection=connection, frame=frame) if connection in names:
                    self.closed[names[connection]] = RefusalCode(frame.code)
                case _:
                    pass
        return answers


def restore(office: CoreOffice, backup: Path | None, *devices: Device) -> None:
    """Put a backup of the relay in its place, while nobody is connected; then *devices* come back."""
    for device in devices:
        if device.connected:
            device.lose_connection()
    office.restore(backup)
    for device in devices:
        device.connect()
