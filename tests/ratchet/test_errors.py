"""The errors: one family, each with its docstring, and text that tells a caller what to do."""

from __future__ import annotations

import pickle

import pytest

from ratchet import errors
from ratchet.errors import IdentityChanged, InvalidArgument, RatchetError, UnsupportedPlatform

ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_a_ratchet_error_and_says_what_it_means(error: type[RatchetError]) -> None:
    assert issubclass(error, RatchetError)
    assert error.__doc__


def test_every_error_class_of_the_module_is_exported_and_in_its_picture() -> None:
    defined = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, RatchetError)}
    assert defined == set(errors.__all__)
    assert all(name in (errors.__doc__ or "") for name in defined)


def test_two_errors_can_be_caught_as_what_python_programs_expect() -> None:
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(UnsupportedPlatform, ImportError)


def test_a_changed_identity_has_both_keys_and_a_text_without_them() -> None:
    error = IdentityChanged(b"known", b"received")
    assert (error.known, error.received) == (b"known", b"received")
    assert str(error) == "the peer's identity key is not the one of this session"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.known, again.received) == (b"known", b"received")
