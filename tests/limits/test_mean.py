from __future__ import annotations

import math

import pytest
import torch

from deeplimit.branches import GELU, Identity, OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.limits import initial, solve, solve_mean
from deeplimit.networks import LastCoordinates, Padding, ResidualStack
from deeplimit.papers.cohen2021.limits.mean import Aligned
from deeplimit.processes import IID, Tied
from deeplimit.scaling import DepthScaling

Q = 3


def network(units: int = 16, activation=None) -> ResidualStack:
    return ResidualStack(Perceptron(Q, units, activation or GELU()), 1, init=Aligned(math.sqrt(Q)))


def inputs(n: int = 2) -> torch.Tensor:
    return torch.randn(n, Q, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def sample(stack: ResidualStack, layers: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return stack.at_depth(layers).initialise(seed, dtype=torch.float64)


def test_gelu_has_a_closed_form_within_the_standard_error_which_falls_like_the_root_of_the_sample():
    """E[σ′(u Z)] = ½ for every u: dH/ds = H/2."""
    stack, x, sizes = network(), inputs(), (64, 512, 4096)
    exact, errors = math.exp(0.5) * x, []
    for size in sizes:
        found = solve_mean(stack, sample(stack, size), x=x, steps=8, groups=32)
        ratio = (found.outputs - exact).square().mean() / found.standard_error[-1].square().mean()
        assert 0.05 < ratio < 6
        errors.append(found.standard_error[-1].mean().item())
    assert power_law(sizes, errors).value == pytest.approx(-0.5, abs=0.1)
    assert (found.standard_error[0] == 0).all()


def test_tanh_has_a_radial_field():
    """dH/ds = E[σ′(‖H‖ Z/√q)] H, the expectation by quadrature."""
    import numpy as np

    z, weight = np.polynomial.hermite_e.hermegauss(80)
    r, steps = inputs(1).norm().item(), 400
    for _ in range(steps):
        r += r / steps * float((weight / np.cosh(r * z / math.sqrt(Q)) ** 2).sum() / weight.sum())
    found = solve_mean(network(activation=Tanh()), sample(network(activation=Tanh()), 8192), x=inputs(1), steps=8)
    assert found.outputs.norm().item() == pytest.approx(r, rel=0.01)
    assert abs(r / inputs(1).norm().item() - math.exp(0.5)) > 0.1


def test_networks_of_independent_layers_tend_to_it_like_the_root_of_their_units():
    stack, x, depths = network(4), inputs(), (64, 512, 4096)
    mean = solve_mean(stack, sample(stack, 2**15, seed=100), x=x, steps=8)
    gaps = [
        sum((stack.at_depth(L)(sample(stack, L, seed), x) - mean.outputs).norm().item() for seed in range(12))
        for L in depths
    ]
    assert power_law(depths, gaps).value == pytest.approx(-0.5, abs=0.15)


def test_equal_layers_leave_the_neural_ode_and_no_error():
    stack = ResidualStack(
        Perceptron(Q, 4, Tanh()), 16, init=Tied(), embedding=Padding(2, Q), readout=LastCoordinates(Q, 1)
    )
    params, x = stack.initialise(0, dtype=torch.float64), inputs()[:, :2]
    found = solve_mean(stack, params, x=x, steps=16, groups=4)
    exact = solve(stack, initial(stack, 0), x=x, steps=16)
    torch.testing.assert_close(found.states, exact.states, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.outputs, exact.outputs, rtol=1e-6, atol=1e-6)
    assert found.standard_error.abs().max() < 1e-12


def test_blocks_follow_a_law_that_varies_with_depth():
    """Layers ±c/2 … around −1 in the first half of depth and 3 in the second: H(½) = e^(−½), H(1) = e."""
    stack = ResidualStack(OneMatrix(1, Identity(), bias=False), 1)
    A = torch.cat([torch.full((4,), -1.0), torch.full((4,), 3.0)]).double().reshape(8, 1, 1)
    A = A + torch.tensor([0.5, 0.5, -0.5, -0.5] * 2).double().reshape(8, 1, 1)
    x = torch.ones(1, 1, dtype=torch.float64)
    two = solve_mean(stack, {"A": A}, x=x, steps=64, blocks=2, groups=2).states.flatten()
    assert two[[32, 64]].tolist() == pytest.approx([math.exp(-0.5), math.e], rel=1e-7)
    one = solve_mean(stack, {"A": A}, x=x, steps=64, blocks=1, groups=2).states.flatten()
    assert one[[32, 64]].tolist() == pytest.approx([math.exp(0.5), math.e], rel=1e-7)


def test_a_shared_delta_is_shared():
    stack = ResidualStack(OneMatrix(Q, delta="shared"), 8, init=IID())
    params = stack.initialise(0, dtype=torch.float64)
    still = solve_mean(stack, params | {"delta": torch.zeros(())}, x=inputs(), steps=4, groups=2)
    assert torch.equal(still.outputs, inputs())
    assert not torch.equal(solve_mean(stack, params, x=inputs(), steps=4, groups=2).outputs, inputs())


def test_sizes_that_do_not_divide_are_refused():
    stack, x = network(), inputs()
    with pytest.raises(InputError, match="layers: expected a multiple of 8, found 12"):
        solve_mean(stack, sample(stack, 12), x=x)
    with pytest.raises(InputError, match="steps: expected a multiple of 2, found 5"):
        solve_mean(stack, sample(stack, 16), x=x, steps=5, blocks=2)
    with pytest.raises(InputError, match="groups: expected at least 2 for a standard error, found 1"):
        solve_mean(stack, sample(stack, 16), x=x, groups=1)
    rough = ResidualStack(Perceptron(Q, 4), 16, DepthScaling(0.5), IID())
    with pytest.raises(InputError, match="scaling: expected β = 1"):
        solve_mean(rough, rough.initialise(0), x=x)
