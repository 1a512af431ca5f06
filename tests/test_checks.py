from __future__ import annotations

import math

import pytest

from deeplimit import checks
from deeplimit.checks import InputError


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("value", [1, 2**14])
def test_positive_integers_pass(value):
    assert checks.positive_int("depth", value) == value


@pytest.mark.parametrize("value", [0, -3, 2.0, "2", True, None])
def test_other_numbers_are_no_positive_integers(value):
    with pytest.raises(InputError, match=r"^depth: expected an integer of at least 1, found ") as raised:
        checks.positive_int("depth", value)
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize("value", [1e-300, 0.5, 3])
def test_positive_numbers_pass(value):
    assert checks.positive("std", value) == value


@pytest.mark.parametrize("value", [0, -1e-300, math.inf, math.nan])
def test_numbers_that_are_not_positive_or_not_finite_are_refused(value):
    with pytest.raises(InputError, match=r"^std: expected a finite number above 0, found ") as raised:
        checks.positive("std", value)
    assert repr(value) in str(raised.value)


def test_a_known_name_passes():
    assert checks.one_of("engine", "torch", ["reference", "torch"]) == "torch"


@pytest.mark.parametrize(
    ("value", "listed"), [("trch", "torch"), ("referense", "reference"), ("zzz", "auto, reference, torch")]
)
def test_an_unknown_name_is_refused_with_the_nearest_or_else_with_all(value, listed):
    with pytest.raises(InputError, match=rf"^engine: expected one of {listed}; found '{value}'$"):
        checks.one_of("engine", value, {"torch": 1, "reference": 2, "auto": 3})


@pytest.mark.parametrize("expected", [(2, 3), (None, 3), (None, None)])
def test_a_shape_that_fits_passes(expected):
    checks.shape("x", (2, 3), expected)


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ((2, 3), (2, 4), r"\(2, 4\), found \(2, 3\)"),
        ((2, 3), (None, 4), r"\(any, 4\), found \(2, 3\)"),
        ((3, 3), (2, 3), r"\(2, 3\), found \(3, 3\)"),
        ((2,), (2, None), r"\(2, any\), found \(2,\)"),
        ((), (1,), r"\(1\), found \(\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(found, expected, said):
    with pytest.raises(InputError, match=rf"^x: expected shape {said}$"):
        checks.shape("x", found, expected)


def test_an_integer_of_numpy_is_one():
    import numpy as np

    assert type(checks.positive_int("depth", np.arange(3)[2])) is int


@pytest.mark.parametrize("value", [None, 3])
def test_a_name_that_is_no_text_is_refused(value):
    with pytest.raises(InputError, match=f"engine: expected one of .*; found {value}"):
        checks.one_of("engine", value, ("reference", "torch"))


def test_a_long_list_of_names_is_cut():
    names = [f"name-{i:02d}" for i in range(30)]
    with pytest.raises(InputError, match=r"one of name-00, .*name-19 and 10 more; found 'zzz'"):
        checks.one_of("claim", "zzz", names)
    with pytest.raises(InputError, match=r"one of name-00, .*name-19; found 'zzz'"):
        checks.one_of("claim", "zzz", names[:20])
