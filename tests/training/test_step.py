from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplimit.branches import Perceptron, Tanh
from deeplimit.engines import ENGINES
from deeplimit.networks import Dense, ResidualStack, ensemble, member
from deeplimit.processes import IID
from deeplimit.training import SGD, Adam, CoordinateClip, GradientFlow, Info, Optimizer, SquaredError, State, Step
from tests.cases import normal, relative

D, Q, M, OUT, N, L = 2, 3, 4, 2, 5, 3
NETWORK = ResidualStack(Perceptron(Q, M, Tanh()), L, init=IID(), embedding=Dense(D, Q, 1.0), readout=Dense(Q, OUT, 1.0))


def drawn(members: int = 3):
    return ensemble([NETWORK.initialise(seed, dtype=torch.float64) for seed in range(members)])


def batch(members: int = 3):
    generator = torch.Generator().manual_seed(1)
    return normal((members, N, D), generator), normal((members, N, OUT), generator)


# --- one step, from the formulas of the paper alone ---


def by_hand(params, x, y, *, rate):
    """One step of the flow in NumPy, from the backward recursion with its transpose put right:

    p_L = 2 Bᵀ(F − y), p_k = p_{k+1} + (1/L) [∂₁f(h_k, Z_{k+1})]ᵀ p_{k+1}, per sample and before the mean over samples;
    ∂ℓ/∂V_k = (1/n) Σ p_k σ(W_k h_{k−1}/√q)ᵀ / (L √m), and likewise for W; then θ − η ∂ℓ/∂θ, with η L for V and W.
    """
    A, B, V, W = (params[role].numpy() for role in ("embedding", "readout", "V", "W"))
    moved = {role: params[role].numpy().copy() for role in params}
    loss = 0.0
    for x_i, y_i in zip(x.numpy(), y.numpy(), strict=True):
        h = [A @ x_i]
        for k in range(L):
            h.append(h[k] + V[k] @ np.tanh(W[k] @ h[k] / math.sqrt(Q)) / (L * math.sqrt(M)))
        residual = B @ h[L] - y_i
        loss += float(residual @ residual) / N
        moved["readout"] -= rate * 2 / N * np.outer(residual, h[L])
        p = 2 * B.T @ residual
        for k in reversed(range(L)):
            a = np.tanh(W[k] @ h[k] / math.sqrt(Q))
            g = V[k].T @ p * (1 - a**2)
            moved["V"][k] -= rate * L / N * np.outer(p, a) / (L * math.sqrt(M))
            moved["W"][k] -= rate * L / N * np.outer(g, h[k]) / (L * math.sqrt(M) * math.sqrt(Q))
            p = p + W[k].T @ g / (L * math.sqrt(M) * math.sqrt(Q))
        moved["embedding"] -= rate / N * np.outer(p, x_i)
    return loss, moved


@pytest.mark.parametrize("engine", [name for name, engine in ENGINES.items() if engine.supports(NETWORK.branch)])
def test_one_step_is_the_one_computed_by_hand(engine):
    params, (x, y) = drawn(), batch()
    step = Step(NETWORK, GradientFlow(0.05), engine=engine)
    state, info = step(step.start(params), (x, y))
    for e in range(3):
        loss, moved = by_hand(member(params, e), x[e], y[e], rate=0.05)
        assert float(info.loss[e]) == pytest.approx(loss, rel=1e-13)
        for role, value in moved.items():
            assert relative(state.params[role][e], torch.from_numpy(value)) <= 1e-14
            assert relative(params[role][e], torch.from_numpy(value)) > 1e-3
    assert state.iteration == 1
    assert bool(state.alive.all())


def test_numbers_small_enough_for_paper_and_pencil():
    """One layer, one sample, one neuron, everything 1: h₁ = 1 + tanh 1, the target is 0."""
    network = ResidualStack(Perceptron(1, 1, Tanh()), 1)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    step = Step(network, GradientFlow(0.1))
    state, info = step(step.start({"V": one, "W": one}), (one[0], 0 * one[0]))
    h = 1 + math.tanh(1)
    assert info.loss.tolist() == [pytest.approx(h**2, rel=1e-15)]
    assert float(state.params["V"]) == pytest.approx(1 - 0.1 * 2 * h * math.tanh(1), rel=1e-15)
    assert float(state.params["W"]) == pytest.approx(1 - 0.1 * 2 * h * (1 - math.tanh(1) ** 2), rel=1e-15)


def test_the_loss_that_is_given_is_the_one_that_is_followed():
    params, pairs = drawn(), batch()
    full = Step(NETWORK, GradientFlow(0.05)).evaluate(params, pairs)
    entry = Step(NETWORK, GradientFlow(0.05), SquaredError(per_entry=True)).evaluate(params, pairs)
    torch.testing.assert_close(entry.loss, full.loss / OUT, rtol=1e-14, atol=0)
    assert all(relative(entry.grads[role], full.grads[role] / OUT) <= 1e-14 for role in full.grads)


# --- what a step is ---


def test_a_step_is_evaluation_and_update():
    params, pairs = drawn(), batch()
    step = Step(NETWORK, SGD(0.1, momentum=0.9))
    state = step.start(params)
    after, info = step(state, pairs)
    again = step.update(state, step.evaluate(state.params, pairs))
    assert all(torch.equal(after.params[role], again.params[role]) for role in params)
    assert info.grads.keys() == set(NETWORK.trainable)
    assert not any(t.requires_grad for t in (info.loss, *info.grads.values(), *after.params.values()))


def test_a_step_leaves_its_state_as_it_was():
    params = drawn()
    before = {role: t.clone() for role, t in params.items()}
    step = Step(NETWORK, Adam(0.1))
    state = step.start(params)
    slots = {name: t.clone() for name, t in state.slots.items()}
    step(state, batch())
    assert all(torch.equal(params[role], before[role]) for role in params)
    assert all(torch.equal(state.slots[name], slots[name]) for name in slots)


def test_frozen_maps_do_not_move():
    network = ResidualStack(
        Perceptron(Q, M), L, init=IID(), embedding=Dense(D, Q, 1.0, trainable=False), readout=Dense(Q, OUT, 1.0)
    )
    params = ensemble([network.initialise(0, dtype=torch.float64)])
    step = Step(network, Adam(0.1, weight_decay=0.1))
    state, info = step(step.start(params), batch(1))
    assert "embedding" not in info.grads
    assert torch.equal(state.params["embedding"], params["embedding"])
    assert not torch.equal(state.params["readout"], params["readout"])


# --- an ensemble is its members ---

RATES = (0.01, 0.05, 0.002)
OPTIMIZERS = {
    "flow": GradientFlow,
    "clipped": lambda rate: GradientFlow(rate, CoordinateClip(0.3)),
    "sgd": lambda rate: SGD(rate, weight_decay=0.01, layer_factor=True),
    "momentum": lambda rate: SGD(rate, momentum=0.9),
    "adam": Adam,
    "adamw": lambda rate: Adam(rate, weight_decay=0.1, decoupled=True, layer_factor=True),
}


def trained(optimizer: Optimizer, params, pairs, *, steps: int = 12) -> tuple[State, Info]:
    step = Step(NETWORK, optimizer)
    state = step.start(params)
    for _ in range(steps):
        state, info = step(state, pairs)
    return state, info


@pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_ensemble_with_a_rate_per_member_equals_separate_runs(build):
    params, (x, y) = drawn(), batch()
    together, info = trained(build(RATES), params, (x, y))
    for e, rate in enumerate(RATES):
        one = slice(e, e + 1)
        alone, known = trained(build(rate), {role: t[one] for role, t in params.items()}, (x[one], y[one]))
        assert float(info.loss[e]) == pytest.approx(float(known.loss), rel=1e-12)
        assert all(relative(together.params[role][one], alone.params[role]) <= 1e-12 for role in params)


@pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_equal_rates_are_one_rate_to_the_last_bit(build):
    params, pairs = drawn(), batch()
    one, many = trained(build(0.02), params, pairs)[0], trained(build((0.02,) * 3), params, pairs)[0]
    assert all(torch.equal(one.params[role], many.params[role]) for role in params)


# --- divergence ---


@pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_member_that_diverges_is_frozen_and_moves_no_other(build):
    params, (x, y) = drawn(), batch()
    params["readout"][1] = 1e200  # its loss overflows at once
    step = Step(NETWORK, build(RATES))
    state = step.start(params)
    for _ in range(5):
        state, info = step(state, (x, y))
    assert state.alive.tolist() == [True, False, True]
    assert info.loss.isfinite().tolist() == [True, False, True]
    assert all(torch.equal(state.params[role][1], params[role][1]) for role in params)
    fine, _ = trained(build(RATES), drawn(), (x, y), steps=5)
    assert all(torch.equal(state.params[role][[0, 2]], fine.params[role][[0, 2]]) for role in params)
