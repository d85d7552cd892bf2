"""What a device must not forget, in SQLAlchemy: keys, sessions, groups, inbox and outbox; and the relay's tables.

Private to `e2ee`, which re-exports what an application may have to catch. Never asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .siblings import require_siblings

__all__: list[str] = []

require_siblings(__name__, __path__[0], "ratchet")

_EXPORTS: Final[dict[str, tuple[str, ...]]] = {}
_MODULE_OF: Final = {name: module for module, names in _EXPORTS.items() for name in names}

if not TYPE_CHECKING:  # a type checker takes the imports above; __getattr__ would hide misspelt names from it

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value  # the next use finds it without this function
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
