from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.scaling import DepthScaling, MeanFieldScaling


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.75, 1.0, 2.0, -1.0])
def test_the_law_is_a_power_of_depth(beta: float) -> None:
    scaling = DepthScaling(beta)
    assert scaling(1) == 1.0
    assert scaling(6) * scaling(7) == pytest.approx(scaling(42), rel=1e-14)
    assert math.log(scaling(1000)) == pytest.approx(-beta * math.log(1000), abs=1e-12)


def test_one_is_exactly_one_over_depth() -> None:
    # The published runs divide by L: a factor that differs in the last bit would change their digits.
    assert all(DepthScaling()(depth) == 1 / depth for depth in (2, 3, 16, 64, 256, 1014, 2**14))


def test_sum_of_squares_is_depth_free_at_one_half_and_sum_at_one() -> None:
    for depth in (3, 50, 1000):
        assert depth * DepthScaling(0.5)(depth) ** 2 == pytest.approx(1.0)
        assert depth * DepthScaling(1.0)(depth) == pytest.approx(1.0)


def test_equal_exponents_are_equal_scalings_whatever_their_type() -> None:
    assert DepthScaling(1) == DepthScaling(1.0) == DepthScaling(np.float32(1))  # type: ignore[arg-type]
    assert [type(DepthScaling(beta).beta) for beta in (1, np.float64(0.5))] == [float, float]
    assert DepthScaling(0.5) != DepthScaling(1.0)


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DepthScaling().beta = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("beta", [math.nan, math.inf, "1", None, True])
def test_exponents_that_are_no_finite_number_are_refused(beta: object) -> None:
    with pytest.raises(InputError, match="beta: expected a finite number, found"):
        DepthScaling(beta)  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [0, -4, 2.0, True])
def test_depths_that_are_no_positive_integer_are_refused(depth: object) -> None:
    with pytest.raises(InputError, match="depth: expected an integer of at least 1, found"):
        DepthScaling()(depth)  # type: ignore[arg-type]


def test_the_mean_field_divides_by_depth_and_width() -> None:
    assert MeanFieldScaling(width=32)(64) == 1 / 2048
    assert MeanFieldScaling(0.5, width=4)(16) == 1 / 16
    assert MeanFieldScaling()(8) == DepthScaling()(8)
    assert MeanFieldScaling() != DepthScaling()
    with pytest.raises(InputError, match="width"):
        MeanFieldScaling(width=0)
