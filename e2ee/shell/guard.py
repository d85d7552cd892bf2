"""What a step raises when the store will not answer again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from e2ee.errors import StoreGone
from store import StoreCorrupt, StoreForked, StoreLost, StoreNewer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded"]

# The store will not answer again, however often it is asked.
_STORE_GONE: Final = (StoreCorrupt, StoreForked, StoreLost, StoreNewer)
_T = TypeVar("_T")


def guarded(step: Callable[[], _T]) -> _T:
    """Run *step*; say of a store that is gone that the client has ended with it. Raises StoreGone."""
    try:
        return step()
    except _STORE_GONE as cause:
        raise StoreGone(f"the store is gone ({type(cause).__name__}): close the client and see to the store") from cause
