"""Whether a first message is authentic, found out before anything counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratchet import IdentityKeyPair
    from ratchet.prekeys import KemPreKey, OneTimePreKey, PreKeySource, PreKeyUse, SignedPreKey

__all__ = ["Trial"]


class Trial:
    """A prekey source that forgets nothing: to see whether a first message is authentic, before anything counts."""

    def __init__(self, source: PreKeySource) -> None:
        self._source = source
        self.signed_prekey: Callable[[int], SignedPreKey] = source.signed_prekey
        self.one_time_prekey: Callable[[int], OneTimePreKey] = source.one_time_prekey
        self.kem_prekey: Callable[[int], KemPreKey] = source.kem_prekey
        self.base_key_used: Callable[[PreKeyUse], bool] = source.base_key_used

    @property
    def identity(self) -> IdentityKeyPair:
        """The account's."""
        return self._source.identity

    @property
    def registration_id(self) -> int:
        """The account's."""
        return self._source.registration_id

    def consume(self, use: PreKeyUse) -> None:
        """Keep what was used."""
