from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import Tensor

from deeplimit.branches import Convolution, FunctionBranch, OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.fits import power_law
from deeplimit.limits import (
    Clip,
    TrainingFlow,
    initial,
    integrate,
    on_grid,
    solve,
    splined,
    squared_norm,
    stack,
    together,
)
from deeplimit.limits.training_flow import Batch
from deeplimit.networks import Dense, LastCoordinates, Padding, Parameters, ResidualStack, ensemble, member
from deeplimit.processes import GaussianProcess, Process
from deeplimit.scaling import DepthScaling

SMOOTH: dict[str, Process] = {"V": GaussianProcess(1.0), "W": GaussianProcess(1.0)}
D, Q, M, N, OUT = 2, 3, 4, 5, 2
NETWORK = ResidualStack(
    Perceptron(Q, M, Tanh()), depth=1, init=SMOOTH, embedding=Padding(D, Q), readout=Dense(Q, OUT, std=0.5)
)
BARE = ResidualStack(Perceptron(Q, M, Tanh()), depth=1, init=SMOOTH)
FROZEN = replace(NETWORK, embedding=Padding(D, Q, trainable=False), readout=LastCoordinates(Q, OUT, trainable=False))
IMAGES = ResidualStack(Convolution(2, (2, 3), activation=Tanh()), depth=1, init=GaussianProcess(1.0))
SHARED = ResidualStack(OneMatrix(Q, Tanh(), delta="shared"), depth=1, init=GaussianProcess(1.0))
NETWORKS = {"ends": NETWORK, "bare": BARE, "conv": IMAGES, "shared": SHARED}


def quadratic(h: Tensor, theta: dict[str, Tensor]) -> Tensor:
    return torch.sin(h @ theta["M"].mT) * theta["g"]


NETWORKS["function"] = ResidualStack(
    FunctionBranch(quadratic, {"M": (Q, Q), "g": ()}, (Q,)),  # type: ignore[arg-type]
    depth=1,
    init=GaussianProcess(1.0),
)


def batch_of(network: ResidualStack, samples: int = N) -> Batch:
    generator = torch.Generator().manual_seed(11)
    bare = network.embedding is None
    shape = network.branch.state_shape
    x = torch.randn(samples, *(shape if bare else (D,)), generator=generator, dtype=torch.float64)
    return x, torch.randn(samples, *(shape if bare else (OUT,)), generator=generator, dtype=torch.float64)


def start(network: ResidualStack, intervals: int, seed: int = 1) -> Parameters:
    return on_grid(network, initial(network, seed), intervals=intervals)


def finite_flow(network: ResidualStack) -> Callable[..., Parameters]:
    """The gradient flow of a finite network: minus the gradient, times L for its layers."""

    def derivative(params: Parameters, batch: Batch) -> Parameters:
        leaves = {role: t.detach().requires_grad_(role in network.trainable) for role, t in params.items()}
        loss = ((network(leaves, batch[0]) - batch[1]) ** 2).sum() / len(batch[0])
        found = torch.autograd.grad(loss, [leaves[role] for role in network.trainable])
        factor = {role: network.depth if role in network.layer_roles else 1 for role in network.trainable}
        return {role: -factor[role] * g for role, g in zip(network.trainable, found, strict=True)}

    return derivative


def final(
    flow: Callable[..., Parameters], state: Parameters, *, batch: Batch, horizon: float, steps: int
) -> Parameters:
    *_, (_, state) = integrate(flow, state, batch=batch, horizon=horizon, steps=steps)
    return state


def at_layers(network: ResidualStack, state: Parameters) -> Parameters:
    """What the layers k/L of a network see of a state or gradient on a grid that has these points."""
    points = len(state[network.layer_roles[0]]) - 1
    stride = points // network.depth
    return {role: t[stride::stride] if role in network.layer_roles else t for role, t in state.items()}


def gap(one: Parameters, other: Parameters) -> float:
    assert set(one) == set(other)
    return max((one[role] - other[role]).abs().max().item() for role in one)


# ------------------------------------------------------------------------------------------------------------- gradient


def gradient_gaps(
    network: ResidualStack, adjoint: Literal["corrected", "printed"], depths: tuple[int, ...]
) -> list[float]:
    batch, state = batch_of(network), start(network, 64)
    limit = TrainingFlow(network, adjoint=adjoint)(state, batch)
    gaps = []
    for depth in depths:
        deep = network.at_depth(depth)
        gaps.append(gap(at_layers(deep, limit), finite_flow(deep)(stack(deep, initial(network, 1)), batch)))
    return gaps


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_deep_networks_tends_to_it_at_rate_one(name):
    depths = (16, 32, 64, 128)
    assert power_law(depths, gradient_gaps(NETWORKS[name], "corrected", depths)).value == pytest.approx(-1, abs=0.08)


@pytest.mark.parametrize("name", ["ends", "function"])
def test_the_gradient_of_deep_networks_does_not_tend_to_that_of_the_printed_adjoint(name):
    printed = gradient_gaps(NETWORKS[name], "printed", (16, 32, 64, 128))
    assert min(printed) > 0.1
    assert all(later > 0.8 * earlier for earlier, later in pairwise(printed))


def test_the_printed_adjoint_is_right_where_it_does_not_enter():
    batch, state = batch_of(NETWORK), start(NETWORK, 8)
    right = TrainingFlow(NETWORK).gradient(state, batch)
    printed = TrainingFlow(NETWORK, adjoint="printed").gradient(state, batch)
    assert torch.equal(right["readout"], printed["readout"])
    torch.testing.assert_close(right["V"][-1], printed["V"][-1])
    assert not torch.allclose(right["embedding"], printed["embedding"], rtol=0.1)


@pytest.mark.parametrize("name", ["ends", "shared"])
def test_the_gradient_is_of_fourth_order_in_the_grid(name):
    network, sizes = NETWORKS[name], (8, 16, 32)
    batch = batch_of(network)
    exact = at_layers(network.at_depth(8), TrainingFlow(network).gradient(start(network, 256), batch))
    errors = [
        gap(at_layers(network.at_depth(8), TrainingFlow(network).gradient(start(network, m), batch)), exact)
        for m in sizes
    ]
    assert power_law(sizes, errors).value == pytest.approx(-4, abs=0.3)


def test_the_gradient_is_that_of_the_loss():
    """dℓ along any direction, by differences of the loss of the reference solution of the neural ODE."""
    batch, state = batch_of(NETWORK), start(NETWORK, 32)
    flow, step = TrainingFlow(NETWORK), 1e-5
    direction = start(NETWORK, 32, seed=9)

    def loss(factor: float) -> float:
        weights = splined(NETWORK, {role: state[role] + factor * direction[role] for role in state})
        return ((solve(NETWORK, weights, x=batch[0], steps=64).outputs - batch[1]) ** 2).sum().item() / N

    gradient = flow.gradient(state, batch)
    polarised = [
        squared_norm(NETWORK, {role: gradient[role] + sign * direction[role] for role in gradient}).item() / 4
        for sign in (1, -1)
    ]
    assert polarised[0] - polarised[1] == pytest.approx((loss(step) - loss(-step)) / (2 * step), rel=1e-5)
    assert flow.loss(state, batch).item() == pytest.approx(loss(0), rel=1e-6)


def test_the_mean_over_entries_is_the_released_code_s():
    batch, state = batch_of(NETWORK), start(NETWORK, 4)
    samples, entries = (TrainingFlow(NETWORK, mean=mean) for mean in ("samples", "entries"))
    torch.testing.assert_close(entries.loss(state, batch), samples.loss(state, batch) / OUT)
    fine, coarse = samples(state, batch), entries(state, batch)
    for role in NETWORK.trainable:
        torch.testing.assert_close(coarse[role], fine[role] / OUT)
    images = start(IMAGES, 4)
    ratio = TrainingFlow(IMAGES).loss(images, batch_of(IMAGES)) / TrainingFlow(IMAGES, mean="entries").loss(
        images, batch_of(IMAGES)
    )
    assert ratio.item() == pytest.approx(2 * 2 * 3)


def test_frozen_ends_are_not_trained():
    batch, state = batch_of(FROZEN), start(FROZEN, 4)
    assert set(TrainingFlow(FROZEN)(state, batch)) == {"V", "W"}
    end = final(TrainingFlow(FROZEN), state, batch=batch, horizon=0.5, steps=2)
    assert torch.equal(end["embedding"], state["embedding"])
    assert torch.equal(end["readout"], state["readout"])
    assert not torch.equal(end["W"], state["W"])


def test_the_states_are_those_of_the_neural_ode():
    x, _ = batch_of(NETWORK)
    found = TrainingFlow(NETWORK).states(start(NETWORK, 32), x)
    exact = solve(NETWORK, initial(NETWORK, 1), x=x, steps=256).every(64)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["ends", "shared", "conv"])
@pytest.mark.parametrize("adjoint", ["corrected", "printed"])
@pytest.mark.parametrize("own_batch", [False, True])
def test_an_ensemble_is_its_members(name, adjoint, own_batch):
    network = NETWORKS[name]
    members = [start(network, 4, seed) for seed in (0, 1)]
    x, y = batch_of(network, 2 * N)
    split = [(x[:N], y[:N]), (x[N:], y[N:])]
    batch = tuple(map(torch.stack, zip(*split, strict=True))) if own_batch else split[0]
    flow, state = TrainingFlow(network, adjoint=adjoint), ensemble(members)
    derivative, loss = flow(state, batch), flow.loss(state, batch)  # type: ignore[arg-type]
    norm = squared_norm(network, derivative)
    for e in range(2):
        own = split[e if own_batch else 0]
        alone = flow(members[e], own)
        for role, value in member(derivative, e).items():
            torch.testing.assert_close(value, alone[role], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(loss[e], flow.loss(members[e], own))
        torch.testing.assert_close(norm[e], squared_norm(network, alone))


def test_members_together_start_as_an_ensemble():
    joined = on_grid(NETWORK, together([initial(NETWORK, seed) for seed in (0, 1)]), intervals=4)
    for role, tensor in ensemble([start(NETWORK, 4, seed) for seed in (0, 1)]).items():
        assert torch.equal(joined[role], tensor)


# ------------------------------------------------------------------------------------------------------------ evolution


def test_trajectories_of_deep_networks_tend_to_it_at_rate_one():
    """The gradient flow of finite networks is gradient descent with a vanishing learning rate."""
    batch, depths, horizon = batch_of(NETWORK), (8, 16, 32, 64), 1.0
    limit = final(TrainingFlow(NETWORK), start(NETWORK, 32), batch=batch, horizon=horizon, steps=20)
    gaps = []
    for depth in depths:
        deep = NETWORK.at_depth(depth)
        params = final(finite_flow(deep), stack(deep, initial(NETWORK, 1)), batch=batch, horizon=horizon, steps=20)
        gaps.append(gap(at_layers(deep, limit), params))
    assert power_law(depths, gaps).value == pytest.approx(-1, abs=0.08)
    moved = gap(limit, start(NETWORK, 32))
    assert moved > 20 * gaps[-1]


def test_gradient_descent_of_a_deep_network_tends_to_it_at_rate_one_in_the_learning_rate():
    """η per iteration, η·L on the layers: t advances by η."""
    batch, horizon, rates = batch_of(NETWORK), 1.0, (0.2, 0.1, 0.05)
    deep = NETWORK.at_depth(1024)
    weights = splined(NETWORK, final(TrainingFlow(NETWORK), start(NETWORK, 16), batch=batch, horizon=horizon, steps=20))
    limit, derivative, gaps = stack(deep, weights), finite_flow(deep), []
    for rate in rates:
        params = stack(deep, initial(NETWORK, 1))
        for _ in range(round(horizon / rate)):
            params |= {role: params[role] + rate * value for role, value in derivative(params, batch).items()}
        gaps.append(gap(params, limit))
    assert power_law(rates, gaps).value == pytest.approx(1, abs=0.1)


def test_the_order_in_time_is_four():
    batch, state, counts = batch_of(NETWORK), start(NETWORK, 4), (4, 8, 16)
    exact = final(TrainingFlow(NETWORK), state, batch=batch, horizon=1.0, steps=64)
    errors = [gap(final(TrainingFlow(NETWORK), state, batch=batch, horizon=1.0, steps=c), exact) for c in counts]
    assert power_law(counts, errors).value == pytest.approx(-4, abs=0.3)


def test_the_order_in_depth_is_four_along_a_trajectory():
    batch, sizes = batch_of(NETWORK), (8, 16, 32)

    def end(intervals: int) -> Parameters:
        state = final(TrainingFlow(NETWORK), start(NETWORK, intervals), batch=batch, horizon=0.5, steps=4)
        return at_layers(NETWORK.at_depth(8), state)

    exact = end(64)
    assert power_law(sizes, [gap(end(m), exact) for m in sizes]).value == pytest.approx(-4, abs=0.4)


@pytest.mark.parametrize("name", ["ends", "shared"])
def test_the_loss_falls_at_the_rate_of_the_squared_gradient(name):
    """The drop of the loss is the integral over time of ‖gradient‖², here by Simpson's rule."""
    network, steps, horizon = NETWORKS[name], 8, 0.05
    batch, flow = batch_of(network), TrainingFlow(network)
    states = [state for _, state in integrate(flow, start(network, 32), batch=batch, horizon=horizon, steps=steps)]
    losses = [flow.loss(state, batch).item() for state in states]
    assert all(later < earlier for earlier, later in pairwise(losses))
    norms = [squared_norm(network, flow.gradient(state, batch)).item() for state in states]
    integral = (norms[0] + 4 * sum(norms[1::2]) + 2 * sum(norms[2:-1:2]) + norms[-1]) * horizon / steps / 3
    assert losses[0] - losses[-1] == pytest.approx(integral, rel=1e-4)
    assert losses[0] - losses[-1] != pytest.approx(norms[0] * horizon, rel=1e-2)


def test_the_printed_adjoint_is_no_gradient_flow():
    batch, state = batch_of(NETWORK), start(NETWORK, 32)
    right, printed = TrainingFlow(NETWORK), TrainingFlow(NETWORK, adjoint="printed")
    true = squared_norm(NETWORK, right.gradient(state, batch)).item()
    _, (_, after) = integrate(printed, state, batch=batch, horizon=1e-4, steps=1)
    slope = (right.loss(after, batch) - right.loss(state, batch)).item() / 1e-4
    claimed = squared_norm(NETWORK, printed.gradient(state, batch)).item()
    assert abs(slope + claimed) > 0.05 * claimed
    assert abs(slope + true) > 0.05 * true


def test_the_squared_norm_is_the_limit_of_definition_1():
    batch, flow = batch_of(NETWORK), TrainingFlow(NETWORK)
    limit = squared_norm(NETWORK, flow.gradient(start(NETWORK, 64), batch)).item()
    gaps = []
    for depth in (16, 32, 64):
        deep = NETWORK.at_depth(depth)
        derivative = finite_flow(deep)(stack(deep, initial(NETWORK, 1)), batch)
        # The derivative of a layer is L ∂ℓ/∂Z_k: L Σ ‖∂ℓ/∂Z_k‖² is the mean of its squares.
        squares = {r: (g**2).sum().item() / (depth if r in deep.layer_roles else 1) for r, g in derivative.items()}
        gaps.append(abs(sum(squares.values()) - limit))
    assert power_law((16, 32, 64), gaps).value == pytest.approx(-1, abs=0.15)


def test_clipping_bounds_every_entry_of_the_derivative():
    batch, state = batch_of(NETWORK), start(NETWORK, 4)
    free, bound = TrainingFlow(NETWORK)(state, batch), 0.1
    clipped = TrainingFlow(NETWORK, clip=Clip(bound))(state, batch)
    assert max(t.abs().max().item() for t in free.values()) > bound
    for role, tensor in clipped.items():
        assert torch.equal(tensor, free[role].clamp(-bound, bound))
    end = final(TrainingFlow(NETWORK, clip=Clip(bound)), state, batch=batch, horizon=2.0, steps=4)
    assert gap(end, state) <= 2.0 * bound + 1e-12
    with pytest.raises(InputError, match="bound: expected a finite number above 0, found 0"):
        Clip(0.0)


def test_times_and_states_are_yielded_from_the_start():
    batch, state = batch_of(BARE), start(BARE, 2)
    pairs = list(integrate(TrainingFlow(BARE), state, batch=batch, horizon=0.6, steps=3))
    assert [t for t, _ in pairs] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert gap(pairs[0][1], state) == 0
    assert state["W"] is not pairs[1][1]["W"]


def test_the_precision_is_the_state_s():
    state = {role: tensor.float() for role, tensor in start(NETWORK, 4).items()}
    derivative = TrainingFlow(NETWORK)(state, batch_of(NETWORK))
    assert {tensor.dtype for tensor in derivative.values()} == {torch.float32}


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="scaling: expected β = 1"):
        TrainingFlow(replace(NETWORK, scaling=DepthScaling(0.5)))
    with pytest.raises(InputError, match="adjoint: expected one of corrected, printed; found 'transposed'"):
        TrainingFlow(NETWORK, adjoint="transposed")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mean: expected one of"):
        TrainingFlow(NETWORK, mean="batch")  # type: ignore[arg-type]
    even = {role: t[:4] if role in NETWORK.layer_roles else t for role, t in start(NETWORK, 4).items()}
    with pytest.raises(InputError, match=r"state V: expected an odd number of nodes of at least 3 .*found 4"):
        TrainingFlow(NETWORK)(even, batch_of(NETWORK))
    with pytest.raises(InputError, match="horizon: expected a finite number above 0"):
        final(TrainingFlow(NETWORK), even, batch=batch_of(NETWORK), horizon=0.0, steps=1)
    with pytest.raises(InputError, match="steps: expected an integer of at least 1"):
        final(TrainingFlow(NETWORK), even, batch=batch_of(NETWORK), horizon=1.0, steps=0)
