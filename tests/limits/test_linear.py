from __future__ import annotations

import pytest
import torch

from deeplimit.branches import GELU, OneMatrix, Perceptron, ReLU, Tanh
from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.limits import linearised, solve, solve_linear, trends
from deeplimit.limits.weights import read
from deeplimit.networks import ResidualStack
from deeplimit.processes import Constant, GaussianProcess, Tied, TrendAndNoise
from deeplimit.scaling import DepthScaling

TREND = GaussianProcess(0.5, 0.4)


def network(activation, alpha=0.5, beta=0.5, noise=0.0, trend=TREND):
    init = TrendAndNoise(trend, beta, noise, finest=1024)
    return ResidualStack(OneMatrix(4, activation), 1, DepthScaling(alpha), init)


def inputs(n=3):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("activation", [Tanh(), GELU()], ids=["tanh", "gelu"])
def test_constant_weights_give_the_matrix_exponential(activation):
    stack = network(activation, trend=Tied())
    weights = stack.paths(3)
    A, b = (values[0] for values in read(stack, trends(weights), s=torch.zeros(1)).values())
    block = torch.zeros(5, 5, dtype=torch.float64)
    block[:4, :4], block[:4, 4] = A, b
    x = inputs()
    for s in (0.5, 1.0):
        exact = torch.cat([x, torch.ones(3, 1).double()], 1) @ torch.linalg.matrix_exp(s * activation.slope * block).mT
        found = solve_linear(stack, weights, x=x).states[int(512 * s)]
        torch.testing.assert_close(found, exact[:, :4], rtol=1e-8, atol=1e-8)


def test_the_solution_is_linear_in_the_state():
    stack = network(GELU())
    weights, x = stack.paths(0), inputs()
    zero = solve_linear(stack, weights, x=0 * x).outputs
    once, twice = (solve_linear(stack, weights, x=c * x).outputs - zero for c in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once)
    neural = [solve(network(GELU(), 1.0), trends(weights), x=c * x).outputs for c in (0.0, 1.0, 2.0)]
    assert (neural[2] - 2 * neural[1] + neural[0]).abs().max() > 0.01


@pytest.mark.parametrize(("activation", "rate"), [(Tanh(), 1.0), (GELU(), 0.5)], ids=["tanh", "gelu"])
def test_networks_tend_to_it_at_the_rate_of_the_first_power_of_sigma_left_out(activation, rate):
    stack, x, depths = network(activation), inputs(), (64, 256, 1024)
    exact = solve_linear(stack, stack.paths(0), x=x).outputs
    gaps = [
        (stack.at_depth(L)(stack.at_depth(L).initialise(0, dtype=torch.float64), x) - exact).norm().item()
        for L in depths
    ]
    assert power_law(depths, gaps).value == pytest.approx(-rate, abs=0.08)


def test_the_noise_plays_no_part():
    quiet, loud = network(Tanh()), network(Tanh(), noise=0.4)
    found = [solve_linear(stack, stack.paths(0), x=inputs()).states for stack in (quiet, loud)]
    assert torch.equal(*found)


def test_other_cases_are_refused():
    x = inputs()
    for alpha, beta in ((0.5, 0.4), (1.0, 0.0)):
        stack = network(Tanh(), alpha, beta)
        with pytest.raises(InputError, match=f"α \\+ β = 1 and α < 1, found α = {alpha} and β = {beta} of A"):
            solve_linear(stack, stack.paths(0), x=x)
    kinked = network(ReLU())
    with pytest.raises(InputError, match="activation: expected one that is smooth at 0, found ReLU"):
        solve_linear(kinked, kinked.paths(0), x=x)
    with pytest.raises(InputError, match="branch: expected OneMatrix with a fixed δ, found Perceptron"):
        linearised(ResidualStack(Perceptron(4, 3), 1))
    with pytest.raises(InputError, match="branch: expected OneMatrix with a fixed δ"):
        linearised(ResidualStack(OneMatrix(4, delta="shared"), 1))
    plain = ResidualStack(OneMatrix(4), 1, DepthScaling(0.5), Constant(1.0))
    with pytest.raises(InputError, match="weights A: expected a path of TrendAndNoise, found _ConstantPath"):
        solve_linear(plain, plain.paths(0), x=x)
