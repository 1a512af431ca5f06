from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.limits import (
    HomogeneousFlow,
    derivative,
    euler_defect,
    kernel_drift,
    layer_rates,
    motion,
    tangent_kernel,
)

WIDTH, DECAY = 12, 0.3


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def like(params, seed: int):
    return {role: normal(*value.shape, seed=seed + i) for i, (role, value) in enumerate(params.items())}


def two_layers(params, x):
    return torch.relu(x @ params["w"].T) @ params["a"] / WIDTH**0.5


def three_layers(params, x):
    h = torch.relu(torch.relu(x @ params["w"].T) @ params["v"].T / WIDTH**0.5)
    return h @ params["a"].T / WIDTH**0.5


def squares(params, x):
    return (x @ params["w"].T).square() @ params["a"]


W = normal(WIDTH, 4, seed=1)
CASES = {
    "k = 2": (two_layers, {"w": W, "a": normal(WIDTH, seed=2)}, 2),
    "k = 3, two outputs": (
        three_layers,
        {"w": W, "v": normal(WIDTH, WIDTH, seed=3), "a": normal(2, WIDTH, seed=4)},
        3,
    ),
    "k = 3, smooth": (squares, {"w": W, "a": normal(WIDTH, seed=2)}, 3),
}
cases = pytest.mark.parametrize(("function", "params", "degree"), CASES.values(), ids=CASES.keys())
X = normal(7, 4, seed=9)


@cases
def test_the_kernel_is_the_product_of_the_jacobian_with_itself(function, params, degree):
    def jacobian(x):
        parts = torch.func.jacrev(function)(params, x).values()
        n = function(params, x).numel()
        return torch.cat([part.reshape(n, -1) for part in parts], dim=1)

    J, K = jacobian(X), jacobian(X[:3])
    torch.testing.assert_close(tangent_kernel(function, params, x=X), J @ J.T)
    torch.testing.assert_close(tangent_kernel(function, params, x=X, other=X[:3], chunk=2), J @ K.T)


@cases
@pytest.mark.parametrize("order", [0, 1, 2])
def test_euler_identities_hold_for_the_degree_and_for_no_other(function, params, degree, order):
    along = [like(params, 20), like(params, 30)][:order]
    assert euler_defect(function, params, x=X, degree=degree, along=along) < 1e-12
    assert euler_defect(function, params, x=X, degree=degree + 1, along=along) == pytest.approx(1, rel=1e-9)


def test_a_bias_breaks_homogeneity():
    params = CASES["k = 2"][1]
    assert euler_defect(lambda p, x: two_layers(p, x) + p["a"][0], params, x=X, degree=2) > 1e-3
    with pytest.raises(InputError, match="expected directions in which the derivative is not 0"):
        euler_defect(two_layers, params, x=X, degree=2, along=[{r: torch.zeros_like(v) for r, v in params.items()}])


def test_derivatives_are_those_of_a_polynomial():
    """(w·x)² a at one point: ∂_w ∂_a along u, v = 2 (w·x) (u_w·x) v_a and its mirror image."""
    x, params = torch.tensor([[3.0]]), {"w": torch.tensor([[2.0]]), "a": torch.tensor([5.0])}
    u = {"w": torch.tensor([[1.0]]), "a": torch.tensor([0.0])}
    v = {"w": torch.tensor([[0.0]]), "a": torch.tensor([7.0])}
    assert derivative(squares, params, x=x, along=()).item() == 36 * 5
    assert derivative(squares, params, x=x, along=(u,)).item() == 2 * 6 * 3 * 5
    assert derivative(squares, params, x=x, along=(u, v)).item() == 2 * 6 * 3 * 7


@cases
def test_motion_is_that_of_a_step_of_the_flow(function, params, degree):
    """Central differences of function and kernel along the gradient of the regularised loss, on 5 of the 7 points."""
    y = normal(*function(params, X).shape, seed=40)
    trained = torch.ones_like(y)
    trained[5:] = 0

    def loss(p):
        penalty = sum(value.square().sum() for value in p.values())
        return 0.5 * (trained * (function(p, X) - y).square()).sum() + DECAY / 2 * penalty

    gradient = torch.func.grad(loss)(params)

    def moved(time):
        p = {role: value - time * gradient[role] for role, value in params.items()}
        return function(p, X).flatten(), tangent_kernel(function, p, x=X)

    step = 1e-6
    found = [(after - before) / (2 * step) for after, before in zip(moved(step), moved(-step), strict=True)]
    slope = trained * (function(params, X) - y)
    exact = motion(function, params, x=X, slope=slope, degree=degree, weight_decay=DECAY)
    for difference, rate in zip(found, exact, strict=True):
        torch.testing.assert_close(difference, rate, rtol=1e-5, atol=1e-5 * rate.abs().max().item())


def test_the_drift_is_of_order_one_over_width_in_the_mean():
    """What theory drops: T of two-layer networks with their standard scaling, mean over draws of trace T."""

    def drift(width: int) -> float:
        def f(p, x):
            return torch.relu(x @ p["w"].T) @ p["a"] / width**0.5

        found = []
        for seed in range(40):
            p = {"w": normal(width, 4, seed=100 + seed), "a": normal(width, seed=200 + seed)}
            found.append(kernel_drift(f, p, x=X[:3], slope=f(p, X[:3])).trace().item())
        return sum(found) / len(found)

    assert drift(16) / drift(128) == pytest.approx(8, rel=0.5)


def test_layers_fall_at_the_rates_of_their_coefficients():
    """Weights that only decay: f by the sum of the coefficients, each layer's part of the kernel by twice that of the others."""
    params, decays, t = CASES["k = 3, two outputs"][1], (0.1, 0.4, 0.2), 1.7
    later = {role: value * torch.tensor(-d * t).exp() for (role, value), d in zip(params.items(), decays, strict=True)}
    total, blocks = layer_rates(decays)
    assert total == pytest.approx(0.7)
    f = three_layers(params, X)
    torch.testing.assert_close(three_layers(later, X), f * torch.tensor(-total * t).exp().double(), rtol=1e-6, atol=0)
    for role, rate in zip(params, blocks, strict=True):

        def of_layer(p, x, role=role, rest=params):
            return three_layers(rest | p, x)

        def later_layer(p, x, role=role):
            return three_layers(later | p, x)

        before = tangent_kernel(of_layer, {role: params[role]}, x=X)
        after = tangent_kernel(later_layer, {role: later[role]}, x=X)
        torch.testing.assert_close(after, before * torch.tensor(-rate * t).exp().double(), rtol=1e-6, atol=0)
    equal = HomogeneousFlow(3, 0.2)
    shrunk = {role: value * torch.tensor(-0.2 * t).exp() for role, value in params.items()}
    factor = float(equal.kernel(t))
    torch.testing.assert_close(
        tangent_kernel(three_layers, shrunk, x=X), factor * tangent_kernel(three_layers, params, x=X), rtol=1e-6, atol=0
    )
