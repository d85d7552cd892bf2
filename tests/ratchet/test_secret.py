"""What holds secrets refuses to be copied by those who do not ask."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ratchet import Account, IdentityKeyPair, OwnSenderKey, PeerSenderKey, Session
from ratchet.keys import KeyPair, SigningKeyPair
from ratchet.ratchets import ArchivedRatchet
from ratchet.secret import NotCopied

if TYPE_CHECKING:
    from collections.abc import Callable


class Holder(NotCopied):
    __slots__ = ("secret",)

    def __init__(self) -> None:
        self.secret = b"secret"


@dataclass(frozen=True, slots=True, eq=False)
class Value(NotCopied):
    secret: bytes = b"secret"


WAYS: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, pickle.dumps, lambda one: pickle.dumps(one, 0)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Holder, Value])
def test_a_holder_of_secrets_is_neither_copied_nor_pickled(kind: type, way: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} holds secrets"):
        way(kind())


@pytest.mark.parametrize(
    "kind",
    [
        Account,
        Session,
        OwnSenderKey,
        PeerSenderKey,
        IdentityKeyPair,
        KeyPair,
        SigningKeyPair,
        ArchivedRatchet,
    ],
)
def test_every_holder_of_secrets_that_leaves_its_module_is_one_of_them(kind: type) -> None:
    assert issubclass(kind, NotCopied)


def test_the_refusal_does_not_tell_the_secret() -> None:
    with pytest.raises(TypeError) as caught:
        copy.copy(Holder())
    assert "b'secret'" not in str(caught.value)
