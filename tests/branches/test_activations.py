from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deeplimit.branches import GELU, Activation, Identity, LeakyReLU, ReLU, ShiftedSoftplus, SiLU, Tanh
from deeplimit.checks import InputError

SMOOTH: list[Activation] = [Identity(), Tanh(), GELU(), SiLU(), ShiftedSoftplus()]
KINKED: list[Activation] = [ReLU(), LeakyReLU(), LeakyReLU(0.3), LeakyReLU(-0.5)]
ALL = SMOOTH + KINKED

FORMULAS: list[tuple[Activation, Callable[[float], float]]] = [
    (Identity(), lambda z: z),
    (Tanh(), math.tanh),
    (GELU(), lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2))),
    (SiLU(), lambda z: z / (1 + math.exp(-z))),
    (ShiftedSoftplus(), lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(z))) - math.log(2)),
    (ReLU(), lambda z: max(z, 0.0)),
    (LeakyReLU(0.3), lambda z: z if z > 0 else 0.3 * z),
]


def points() -> Tensor:
    """Both signs, both tails, the neighbourhood of 0 and 0 itself."""
    line = torch.linspace(-9, 9, 181, dtype=torch.float64)
    return torch.cat([line, torch.tensor([0.0, -0.0, 1e-9, -1e-9, 25.0, -25.0, 45.0, -45.0], dtype=torch.float64)])


def derivative(activation: Activation, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(z).sum(), z, create_graph=True, materialize_grads=True)
    return slope


@pytest.mark.parametrize(("activation", "formula"), FORMULAS)
def test_the_values_are_the_formula_s(activation, formula):
    expected = torch.tensor([formula(z) for z in points().tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation(points()), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("activation", SMOOTH)
def test_slope_and_curvature_at_zero_are_autograd_s(activation):
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(activation(zero), zero, create_graph=True)
    assert slope.item() == pytest.approx(activation.slope, abs=1e-15)
    if isinstance(activation, Identity):
        assert activation.curvature == 0
        return
    (curvature,) = torch.autograd.grad(slope, zero)
    assert curvature.item() == pytest.approx(activation.curvature, abs=1e-15)


@pytest.mark.parametrize("activation", KINKED)
def test_a_kink_has_neither_slope_nor_curvature(activation):
    assert math.isnan(activation.slope)
    assert math.isnan(activation.curvature)


@pytest.mark.parametrize("activation", ALL)
def test_all_vanish_at_zero(activation):
    assert activation(torch.zeros(1, dtype=torch.float64)).item() == 0


@pytest.mark.parametrize("activation", ALL)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_in_place_leaves_value_and_slope(activation, dtype, tolerance):
    z, a = points().to(dtype), torch.full(points().shape, math.nan, dtype=dtype)
    activation.in_place(z, a)
    exact = points().to(dtype).double()
    torch.testing.assert_close(a.double(), activation(exact), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(z.double(), derivative(activation, exact), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", ALL)
def test_in_place_writes_to_views_of_stacked_buffers(activation):
    buffers = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    drawn = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slopes, values = buffers[0].unbind(0), buffers[1].unbind(0)
    slopes[1].copy_(drawn)
    activation.in_place(slopes[1], values[1])
    torch.testing.assert_close(buffers[1, 1], activation(drawn))
    assert not buffers[:, [0, 2]].any()


@pytest.mark.parametrize("activation", ALL)
def test_the_derivative_of_the_value_is_the_slope(activation):
    z = points()[points().abs() > 1e-3]
    step = 1e-5
    difference = (activation(z + step) - activation(z - step)) / (2 * step)
    torch.testing.assert_close(derivative(activation, z), difference, rtol=1e-8, atol=1e-8)


def test_softplus_keeps_float64_precision_beyond_the_usual_threshold():
    z = torch.tensor([21.0], dtype=torch.float64)
    assert (ShiftedSoftplus()(z) + math.log(2) - z).item() == pytest.approx(math.log1p(math.exp(-21)), rel=1e-5)


@pytest.mark.parametrize("slope", [math.nan, math.inf])
def test_a_slope_that_is_not_finite_is_refused(slope):
    with pytest.raises(InputError, match="negative_slope: expected a finite number, found"):
        LeakyReLU(slope)
