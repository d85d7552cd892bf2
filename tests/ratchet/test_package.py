"""The package itself: names, loaded when they are used."""

from __future__ import annotations

import importlib
import types

import pytest

import ratchet


def test_every_exported_name_is_there_and_documented() -> None:
    for name in ratchet.__all__:
        assert getattr(ratchet, name).__doc__, name


def test_a_name_that_is_not_exported_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'ratchet' has no attribute 'Sesion'"):
        _ = ratchet.Sesion  # type: ignore[attr-defined] # misspelt on purpose


def test_the_names_are_listed() -> None:
    assert set(ratchet.__all__) <= set(dir(ratchet))


def test_the_module_safety_number_does_not_take_the_place_of_the_function() -> None:
    importlib.import_module("ratchet.safety_number")
    assert isinstance(ratchet.safety_number, types.FunctionType)
    ratchet.safety_number = importlib.import_module("ratchet.safety_number")  # type: ignore[assignment]
    assert isinstance(ratchet.safety_number, types.FunctionType)


def test_other_attributes_can_be_set_as_on_any_module() -> None:
    ratchet.something = 5  # type: ignore[attr-defined] # what a test of somebody else may do
    assert ratchet.something == 5  # type: ignore[attr-defined]
    del ratchet.something  # type: ignore[attr-defined]
