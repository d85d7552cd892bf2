"""What every holder of secrets has in common: it is not copied unasked."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["NotCopied"]


class NotCopied:
    """Refuses pickle, copy and deepcopy, which caches, debuggers and process pools use without being told to.

    A second copy of a session would encrypt two messages under one key. `to_bytes`, where there is one,
    is the way to store an object.
    """

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        message = f"{type(self).__name__} holds secrets and is not pickled or copied: use to_bytes, where it has one"
        raise TypeError(message)
