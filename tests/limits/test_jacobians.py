from __future__ import annotations

import pytest
import torch

from deeplimit.branches import GELU, Identity, OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.limits import (
    gradient_factors,
    initial,
    jacobians,
    layer_maps,
    linearised,
    ode_maps,
    sde_maps,
    solve,
    solve_sde,
    trajectory,
    trends,
)
from deeplimit.limits.weights import read
from deeplimit.networks import ResidualStack, ensemble
from deeplimit.processes import GaussianProcess, Tied, TrendAndNoise
from deeplimit.scaling import DepthScaling

SMOOTH = GaussianProcess(0.5, 0.6)
NETWORK = ResidualStack(OneMatrix(3, Tanh()), 12, init=SMOOTH)


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize(
    "network",
    [
        NETWORK,
        ResidualStack(Perceptron(3, 5, GELU()), 12, init=SMOOTH),
        ResidualStack(OneMatrix(3, delta="shared"), 12),
    ],
    ids=["one-matrix", "perceptron", "shared"],
)
def test_derivatives_of_a_network_are_those_of_automatic_differentiation(network):
    params, x = network.initialise(0, dtype=torch.float64), inputs(2, 3)
    states, J = jacobians(layer_maps(network, params), x)
    torch.testing.assert_close(states, network.states(params, x))
    oracle = torch.func.vmap(torch.func.jacrev(lambda h: network(params, h.unsqueeze(0))[0]))(x)
    torch.testing.assert_close(J[-1], oracle)
    assert torch.equal(J[0], torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


def test_gradients_with_respect_to_every_state_follow_from_the_derivatives():
    params, x = NETWORK.initialise(0, dtype=torch.float64), inputs(1, 3)
    states, J = jacobians(layer_maps(NETWORK, params), x)
    factors = gradient_factors(J)
    maps, p = list(layer_maps(NETWORK, params)), inputs(1, 3)
    for k in (0, 5, 12):
        h = states[k].clone().requires_grad_()
        (gradient,) = torch.autograd.grad((trajectory(maps[k:], h)[-1] * p).sum(), h)
        torch.testing.assert_close((p.unsqueeze(1) @ factors[k])[:, 0], gradient)


def test_members_are_differentiated_each_by_its_own_state():
    params = [NETWORK.initialise(seed, dtype=torch.float64) for seed in (0, 1)]
    x = inputs(2, 4, 3)
    _, together = jacobians(layer_maps(NETWORK, ensemble(params)), x)
    for e, own in enumerate(params):
        torch.testing.assert_close(together[:, e], jacobians(layer_maps(NETWORK, own), x[e])[1])


def test_a_linear_ode_gives_the_matrix_exponential_and_its_steps_the_solution():
    network = ResidualStack(OneMatrix(3, GELU(), bias=False), 1, init=Tied())
    weights, x = initial(network, 5), inputs(2, 3)
    A = read(network, weights, s=torch.zeros(1))["A"][0]
    maps, h = ode_maps(linearised(network), weights, x=x, steps=64)
    _, J = jacobians(maps, h, keep=32)
    for j, s in enumerate((0.0, 0.5, 1.0)):
        torch.testing.assert_close(J[j], torch.linalg.matrix_exp(s * 0.5 * A).expand(2, 3, 3), rtol=1e-6, atol=1e-6)
    maps, h = ode_maps(NETWORK, initial(NETWORK, 1), x=x, steps=16)
    torch.testing.assert_close(trajectory(maps, h), solve(NETWORK, initial(NETWORK, 1), x=x, steps=16).states)


def test_the_derivative_of_the_neural_ode_solves_its_own_equation():
    """dJ/ds = diag(σ′(A H + b)) A J, at s = ½ by a central difference."""
    weights, x, steps = initial(NETWORK, 1), inputs(2, 3), 512
    states, J = jacobians(*ode_maps(NETWORK, weights, x=x, steps=steps))
    A, b = (values[0] for values in read(NETWORK, weights, s=torch.tensor([0.5])).values())
    slope = 1 - (states[256] @ A.mT + b).tanh() ** 2
    expected = slope.unsqueeze(-1) * (A @ J[256])
    torch.testing.assert_close((J[257] - J[255]) * steps / 2, expected, rtol=1e-4, atol=1e-4)


def test_the_derivative_of_the_sde_has_the_drift_of_the_correction():
    """One step: J = I + σ′(0) (ΔW + Ā) + ½ σ″(0) ∂Q, with ∂Q_ij = 2 s² h_j."""
    init = TrendAndNoise(SMOOTH, 1.0, 0.4, finest=64)
    network = ResidualStack(OneMatrix(3, GELU()), 1, DepthScaling(0.0), init)
    weights, x = network.paths(0), inputs(2, 3)
    _, J = jacobians(sde_maps(network, weights, steps=1), x)
    correction = GELU.curvature * 0.16 * x.unsqueeze(1).expand(2, 3, 3)
    torch.testing.assert_close(J[1], torch.eye(3, dtype=torch.float64) + 0.5 * weights["A"](1)[0] + correction)
    states, _ = jacobians(sde_maps(network, weights, steps=64), x, keep=16)
    torch.testing.assert_close(states, solve_sde(network, weights, x=x, steps=64, keep=4).states)


def test_geometric_brownian_motion_is_its_own_derivative():
    network = ResidualStack(OneMatrix(1, Identity(), bias=False), 1, DepthScaling(0.0))
    weights = {"A": TrendAndNoise(SMOOTH, 1.0, 0.8, finest=64).sample((5, 1, 1), torch.Generator().manual_seed(0))}
    states, J = jacobians(sde_maps(network, weights, steps=64), torch.full((5, 1, 1), 3.0, dtype=torch.float64))
    torch.testing.assert_close(3 * J[..., 0], states)


def test_derivatives_of_networks_tend_to_those_of_the_neural_ode():
    init = TrendAndNoise(SMOOTH, 0.0, 0.0)
    network, x, depths = ResidualStack(OneMatrix(3, Tanh()), 1, init=init), inputs(2, 3), (16, 64, 256)
    _, exact = jacobians(*ode_maps(network, trends(network.paths(0)), x=x, steps=256))
    gaps = []
    for depth in depths:
        deep = network.at_depth(depth)
        _, J = jacobians(layer_maps(deep, deep.initialise(0, dtype=torch.float64)), x)
        gaps.append((J - exact[:: 256 // depth]).abs().max().item())
    assert power_law(depths, gaps).value == pytest.approx(-1, abs=0.05)


def test_another_scaling_is_refused():
    network = ResidualStack(OneMatrix(3), 4, DepthScaling(0.5), SMOOTH)
    with pytest.raises(InputError, match="scaling: expected β = 1"):
        ode_maps(network, initial(network), x=inputs(1, 3), steps=4)
