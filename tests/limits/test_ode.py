from __future__ import annotations

import math

import pytest
import torch
from torchdiffeq import odeint

from deeplimit.branches import GELU, Convolution, Identity, OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.limits import Weights, initial, solve, solve_within, together, trained
from deeplimit.limits.ode import first_state, rk4_step
from deeplimit.limits.weights import constants, read
from deeplimit.networks import LastCoordinates, Padding, ResidualStack
from deeplimit.processes import IID, Constant, GaussianProcess, Process, Tied
from deeplimit.scaling import DepthScaling

SMOOTH: dict[str, Process] = {"V": GaussianProcess(0.4), "W": GaussianProcess(0.3)}
NETWORK = ResidualStack(
    Perceptron(5, 4, Tanh()), depth=8, init=SMOOTH, embedding=Padding(3, 5), readout=LastCoordinates(5, 2)
)
IMAGES = ResidualStack(Convolution(2, (3, 4), activation=GELU()), depth=8, init=GaussianProcess(0.5))
SHARED = ResidualStack(OneMatrix(3, Tanh(), delta="shared"), depth=8, init=GaussianProcess(0.5))


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def by_torchdiffeq(network: ResidualStack, weights: Weights, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """An adaptive solver of another make."""
    shared = constants(network, weights)

    def field(at: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        nodes = read(network, weights, s=at.reshape(1))
        return network.branch(h, {role: tensor[0] for role, tensor in nodes.items()} | shared)

    found: torch.Tensor = odeint(field, first_state(network, weights, x=x), s, rtol=1e-10, atol=1e-12)
    return found


@pytest.mark.parametrize(
    ("network", "shape"), [(NETWORK, (6, 3)), (IMAGES, (2, 2, 3, 4)), (SHARED, (4, 3))], ids=["mlp", "conv", "shared"]
)
def test_the_reference_solution_is_that_of_an_adaptive_solver(network, shape):
    weights, x = initial(network, 1), inputs(*shape)
    solution = solve(network, weights, x=x, steps=128)
    oracle = by_torchdiffeq(network, weights, x, solution.s[::32])
    torch.testing.assert_close(solution.states[::32], oracle, rtol=1e-7, atol=1e-8)
    assert (oracle[-1] - oracle[0]).abs().max() > 0.05


@pytest.mark.parametrize(
    ("method", "order", "sizes"), [("rk4", 4, (16, 32, 64, 128)), ("euler", 1, (64, 128, 256, 512))]
)
def test_the_order_is_the_method_s(method, order, sizes):
    weights, x = initial(NETWORK, 2), inputs(4, 3)
    exact = solve_within(NETWORK, weights, x=x, tolerance=1e-13)
    errors = [
        (solve(NETWORK, weights, x=x, steps=steps, method=method).outputs - exact.outputs).abs().max().item()
        for steps in sizes
    ]
    assert power_law(sizes, errors).value == pytest.approx(-order, abs=0.15 * order)


def test_weights_through_layers_keep_the_order_where_steps_end_at_the_layers():
    params = ResidualStack(Perceptron(5, 4, Tanh()), depth=6, init=IID()).initialise(0, dtype=torch.float64)
    network = ResidualStack(Perceptron(5, 4, Tanh()), depth=6)
    weights, x = trained(network, params), inputs(4, 5)
    exact = solve(network, weights, x=x, steps=6 * 256).outputs
    errors = [
        (solve(network, weights, x=x, steps=steps).outputs - exact).abs().max().item() for steps in (24, 48, 96, 192)
    ]
    assert power_law((24, 48, 96, 192), errors).value == pytest.approx(-4, abs=0.4)


@pytest.mark.parametrize("network", [NETWORK, SHARED], ids=["mlp", "shared"])
@pytest.mark.parametrize("depth", [1, 7, 300])
def test_euler_s_method_on_a_trained_stack_is_the_network(network, depth):
    network = network.at_depth(depth)
    params, x = network.initialise(3, dtype=torch.float64), inputs(4, 3)
    solution = solve(network, trained(network, params), x=x, steps=depth, method="euler")
    assert torch.equal(solution.states, network.states(params, x, engine="reference"))
    assert torch.equal(solution.outputs, network(params, x, engine="reference"))


def test_the_network_tends_to_its_neural_ode_at_rate_one():
    weights, x, depths = initial(NETWORK, 4), inputs(6, 3), (16, 64, 256)
    exact = solve(NETWORK, weights, x=x, steps=256)
    gaps = []
    for depth in depths:
        network = NETWORK.at_depth(depth)
        states = network.states(network.initialise(4, dtype=torch.float64), x)
        gaps.append((states - exact.every(depth)).abs().max().item())
    assert power_law(depths, gaps).value == pytest.approx(-1, abs=0.1)


def test_a_linear_field_gives_the_matrix_exponential():
    network = ResidualStack(OneMatrix(4, Identity(), bias=False), depth=1, init=Tied())
    weights, x = initial(network, 5), inputs(3, 4)
    A = read(network, weights, s=torch.zeros(1))["A"][0]
    exact = x @ torch.linalg.matrix_exp(A).mT
    torch.testing.assert_close(solve(network, weights, x=x).outputs, exact, rtol=1e-9, atol=1e-9)


def test_no_branch_is_no_movement():
    network = ResidualStack(Perceptron(3, 4), depth=1)
    x = inputs(2, 3)
    assert torch.equal(solve(network, initial(network), x=x, steps=3).states, x.expand(4, 2, 3))


@pytest.mark.parametrize("own_inputs", [False, True])
def test_an_ensemble_is_its_members(own_inputs):
    members = [initial(NETWORK, seed) for seed in (0, 1, 2)]
    x = inputs(3, 4, 3) if own_inputs else inputs(4, 3)
    solution = solve(NETWORK, together(members), x=x, steps=16)
    assert solution.states.shape == (17, 3, 4, 5)
    assert solution.outputs.shape == (3, 4, 2)
    for e, weights in enumerate(members):
        alone = solve(NETWORK, weights, x=x[e] if own_inputs else x, steps=16)
        torch.testing.assert_close(solution.states[:, e], alone.states, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(solution.outputs[e], alone.outputs, rtol=1e-12, atol=1e-12)


def test_everything_is_float64_and_without_a_graph():
    params = {role: tensor.requires_grad_() for role, tensor in NETWORK.initialise(0).items()}
    solution = solve(NETWORK, trained(NETWORK, params), x=inputs(2, 3).float(), steps=4)
    assert solution.states.dtype == solution.outputs.dtype == torch.float64
    assert not solution.states.requires_grad


def test_the_estimated_error_is_the_error():
    weights, x = initial(NETWORK, 2), inputs(4, 3)
    found = solve_within(NETWORK, weights, x=x, tolerance=1e-6, steps=8)
    exact = solve(NETWORK, weights, x=x, steps=2048)
    error = (found.states - exact.every(len(found.s) - 1)).abs().max().item()
    assert found.error is not None
    assert found.error <= 1e-6
    assert 0.5 * found.error < error < 2 * found.error
    assert solve(NETWORK, weights, x=x, steps=8).error is None


def test_a_tolerance_out_of_reach_is_an_error():
    with pytest.raises(InputError, match="tolerance: expected one that 32 steps meet, found 1e-30 with an error of"):
        solve_within(NETWORK, initial(NETWORK), x=inputs(1, 3), tolerance=1e-30, steps=8, most=32)


def test_states_are_read_at_the_layers_of_a_depth_that_divides_the_grid():
    solution = solve(NETWORK, initial(NETWORK), x=inputs(1, 3), steps=12)
    assert torch.equal(solution.every(4), solution.states[::3])
    with pytest.raises(InputError, match="depth: expected a divisor of the 12 steps of the solution, found 5"):
        solution.every(5)


@pytest.mark.parametrize("beta", [0.5, 0.0, 1.5])
def test_other_scalings_have_no_neural_ode(beta):
    network = ResidualStack(Perceptron(3, 4), depth=4, scaling=DepthScaling(beta))
    with pytest.raises(InputError, match=f"scaling: expected β = 1, .*found {beta}"):
        solve(network, initial(network), x=inputs(1, 3))


def test_independent_layers_have_no_neural_ode():
    network = ResidualStack(Perceptron(3, 4), depth=4, init=IID())
    with pytest.raises(InputError, match="expected a process that is a function of s, found independent layers"):
        solve(network, initial(network), x=inputs(1, 3))


def test_bad_arguments_are_refused():
    weights = initial(NETWORK)
    with pytest.raises(InputError, match="steps: expected an integer of at least 1, found 0"):
        solve(NETWORK, weights, x=inputs(1, 3), steps=0)
    with pytest.raises(InputError, match="method: expected one of euler, rk4; found 'midpoint'"):
        solve(NETWORK, weights, x=inputs(1, 3), method="midpoint")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="state A x: expected shape"):
        solve(
            ResidualStack(Perceptron(5, 4), depth=2), initial(ResidualStack(Perceptron(5, 4), depth=2)), x=inputs(1, 3)
        )


def test_one_step_integrates_cubics_exactly_in_both_directions():
    def slope(y: torch.Tensor, s: float) -> torch.Tensor:
        return torch.tensor(4 * s**3, dtype=torch.float64)

    up = rk4_step(slope, torch.zeros((), dtype=torch.float64), nodes=(0.0, 0.5, 1.0), step=1.0)
    down = rk4_step(slope, up, nodes=(1.0, 0.5, 0.0), step=-1.0)
    assert math.isclose(up.item(), 1.0)
    assert math.isclose(down.item(), 0.0, abs_tol=1e-15)


def test_a_constant_process_gives_the_exponential_growth_of_a_scalar():
    network = ResidualStack(OneMatrix(1, Identity(), bias=False), depth=1, init=Constant(2.0))
    solution = solve(network, initial(network), x=torch.ones(1, 1))
    torch.testing.assert_close(solution.states[:, 0, 0], (2 * solution.s).exp(), rtol=1e-9, atol=0)
