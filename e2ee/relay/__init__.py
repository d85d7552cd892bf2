"""The relay: keeps mail for devices until they take it, and can read none of it.

`core` is the conversation without sockets, `server` puts it behind WebSockets. Nothing here loads what decrypts.
"""

from __future__ import annotations

from .hooks import Peer, RelayHooks, Verdict
from .limits import IdentityChange, RelayOptions
from .server import Relay

__all__ = ["IdentityChange", "Peer", "Relay", "RelayHooks", "RelayOptions", "Verdict"]
