"""What belongs to the hand-written backward pass alone; that its numbers are right is in tests/test_engines.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import pytest
import torch

from deeplimit.branches import Branch, OneMatrix, Perceptron
from deeplimit.engines import ReferenceEngine, TorchEngine
from tests.cases import ACTIVATIONS, CASES, MEMBERS, error, gradients, plain, problem

ENGINE = TorchEngine()
KNOWN = [case for case in CASES if ENGINE.supports(case.build(1, 1))]
NAMES = ["perceptron-bias-gelu", "perceptron-released-tanh", "one-matrix-shared-silu", "one-matrix-layer-tanh"]
SOME = [case for case in CASES if case.name in NAMES]
some = pytest.mark.parametrize("case", SOME, ids=str)
members = pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")


def leaves(p):
    h, theta = p.h.clone().requires_grad_(), {role: t.clone().requires_grad_() for role, t in p.theta.items()}
    return [h, *theta.values()], ENGINE.final(p.branch, h, theta, p.scale)


def named(p, found):
    return dict(zip(("h", *p.theta), found, strict=True))


def oracle(p):
    return {role: g for role, g in gradients(plain, p).items() if role != "last"}


def test_it_knows_the_perceptron_and_the_one_matrix_branch_alone():
    assert len(KNOWN) == 10 * len(ACTIVATIONS)
    assert {type(case.build(1, 1)) for case in KNOWN} == {Perceptron, OneMatrix}
    assert {type(case.build(1, 1)) for case in CASES if case not in KNOWN}.isdisjoint({Perceptron, OneMatrix})


@some
@members
def test_two_passes_may_be_open_at_once(case, members):
    one, two = (problem(case.build(3, 4), 5, 6, members=members, seed=seed) for seed in (1, 2))
    (inputs_one, last_one), (inputs_two, last_two) = leaves(one), leaves(two)
    last = last_one.detach().clone()
    found_one = torch.autograd.grad(last_one, inputs_one, one.p)
    found_two = torch.autograd.grad(last_two, inputs_two, two.p)
    assert error(named(one, found_one), oracle(one)) <= 1e-12
    assert error(named(two, found_two), oracle(two)) <= 1e-12
    assert torch.equal(last_one, last)


def test_results_outlive_the_buffers_they_came_from():
    p, other = (problem(SOME[0].build(3, 4), 5, 6, seed=seed) for seed in (1, 2))
    kept = gradients(ENGINE.final, p)
    copies = {role: t.clone() for role, t in kept.items()}
    states = ENGINE.states(p.branch, p.h, p.theta, p.scale)
    states_copy = states.clone()
    gradients(ENGINE.final, other)
    ENGINE.states(p.branch, other.h, other.theta, p.scale)
    assert all(torch.equal(kept[role], copies[role]) for role in kept)
    assert torch.equal(states, states_copy)


@some
@members
def test_a_retained_graph_gives_the_same_gradient_again(case, members):
    p = problem(case.build(3, 4), 5, 6, members=members)
    inputs, last = leaves(p)
    first = torch.autograd.grad(last, inputs, p.p, retain_graph=True)
    gradients(ENGINE.final, problem(case.build(3, 4), 5, 6, members=members, seed=9))  # takes the buffers meanwhile
    second = torch.autograd.grad(last, inputs, p.p, retain_graph=True)
    third = torch.autograd.grad(last, inputs, 2 * p.p)
    assert error(named(p, first), oracle(p)) <= 1e-12
    assert error(named(p, second), oracle(p)) <= 1e-12
    assert error(named(p, third), {role: 2 * g for role, g in oracle(p).items()}) <= 1e-12


def test_a_graph_that_is_not_retained_is_gone():
    inputs, last = leaves(problem(SOME[0].build(3, 4), 5, 6))
    torch.autograd.grad(last.sum(), inputs)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(last.sum(), inputs)


@some
@members
def test_the_gradient_can_be_differentiated(case, members):
    p = problem(case.build(2, 3), 3, 4, members=members)

    def second(final):
        """The gradient of the squared norm of the gradient."""
        h, theta = p.h.clone().requires_grad_(), {role: t.clone().requires_grad_() for role, t in p.theta.items()}
        inputs = [h, *theta.values()]
        first = torch.autograd.grad(final(p.branch, h, theta, p.scale), inputs, p.p, create_graph=True)
        return named(p, torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), inputs))

    assert error(second(ENGINE.final), second(plain)) <= 1e-12


def test_the_gradient_can_be_differentiated_in_the_direction_too():
    """⟨v, Jᵀp⟩ differentiated in p is the directional derivative J v."""
    p = problem(SOME[0].build(2, 3), 3, 4)
    inputs, last = leaves(p)
    direction = p.p.clone().requires_grad_()
    (first,) = torch.autograd.grad(last, inputs[:1], direction, create_graph=True)
    (found,) = torch.autograd.grad(first.sum(), direction)
    jacobian = torch.autograd.functional.jacobian(lambda h: plain(p.branch, h, p.theta, p.scale), p.h)
    torch.testing.assert_close(found, jacobian.sum((2, 3)), rtol=1e-12, atol=1e-12)


@some
def test_an_ensemble_of_one_is_the_single_network_to_the_last_bit(case):
    p = problem(case.build(3, 4), 5, 6, members=1)
    alone = replace(p, h=p.h[0], p=p.p[0], theta={role: t[0] for role, t in p.theta.items()})
    one, single = gradients(ENGINE.final, p), gradients(ENGINE.final, alone)
    assert all(torch.equal(one[role][0], single[role]) for role in single)


@some
def test_only_what_asks_for_a_gradient_gets_one(case):
    p = problem(case.build(3, 4), 5, 6)
    expected = oracle(p)
    for role in p.theta:
        theta = {r: t.clone().requires_grad_(r == role) for r, t in p.theta.items()}
        (ENGINE.final(p.branch, p.h, theta, p.scale) * p.p).sum().backward()
        assert [r for r, t in theta.items() if t.grad is not None] == [role]
        found = theta[role].grad
        assert found is not None
        assert error({role: found}, {role: expected[role]}) <= 1e-12
    assert not ENGINE.final(p.branch, p.h, p.theta, p.scale).requires_grad


@some
@members
def test_a_gradient_may_be_differentiated_for_some_inputs_alone(case, members):
    p = problem(case.build(2, 3), 3, 4, members=members)
    role = next(iter(p.theta))

    def second(final):
        theta = p.theta | {role: p.theta[role].clone().requires_grad_()}
        last = final(p.branch, p.h, theta, p.scale)
        (first,) = torch.autograd.grad(last.square().sum(), theta[role], create_graph=True)
        return torch.autograd.grad(first.square().sum(), theta[role])[0]

    torch.testing.assert_close(second(ENGINE.final), second(plain), rtol=1e-12, atol=1e-12)


@members
def test_the_layout_in_memory_does_not_matter(members):
    p = problem(Perceptron(3, 3, bias=True), 5, 6, members=members)
    expected = gradients(plain, p)
    turned = {"V": p.theta["V"].mT.contiguous().mT, "W": p.theta["W"].transpose(0, -1).contiguous().transpose(0, -1)}
    p = replace(p, theta=p.theta | turned, h=p.h.mT.contiguous().mT, p=p.p.mT.contiguous().mT)
    assert not any(t.is_contiguous() for t in (p.h, p.p, *turned.values()))
    assert error(gradients(ENGINE.final, p), expected) <= 1e-12


@some
def test_nothing_that_is_handed_over_is_changed(case):
    p = problem(case.build(3, 4), 5, 6)
    before = [t.clone() for t in (p.h, p.p, *p.theta.values())]
    inputs, last = leaves(p)
    torch.autograd.grad(last, inputs, p.p)
    ENGINE.states(p.branch, p.h, p.theta, p.scale)
    after = (p.h, p.p, *p.theta.values())
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(inputs, [before[0], *before[2:]], strict=True))


def test_weights_changed_between_the_passes_are_noticed():
    p = problem(Perceptron(3, 4), 5, 6)
    inputs, last = leaves(p)
    with torch.no_grad():
        inputs[1].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        last.sum().backward()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("build", [lambda σ: Perceptron(3, 4, σ, bias=True), lambda σ: OneMatrix(3, σ, "layer")])
def test_at_a_kink_the_slope_is_that_of_pytorch(activation, build):
    branch: Branch = build(ACTIVATIONS[activation])
    p = problem(branch, 5, 1)
    p = replace(p, h=torch.zeros_like(p.h))
    p.theta["b"].zero_()
    assert error(gradients(ENGINE.final, p), gradients(plain, p)) <= 1e-12


def test_the_direction_of_a_sum_needs_no_memory_of_its_own():
    p = replace(problem(Perceptron(3, 4), 5, 6), p=torch.ones((), dtype=torch.float64).expand(5, 3))
    assert error(gradients(ENGINE.final, p), gradients(plain, p)) <= 1e-12


def test_threads_share_the_engine():
    problems = [problem(case.build(3, 4), 5, 20, seed=seed) for seed, case in product(range(8), SOME[:2])]
    expected = [gradients(ReferenceEngine().final, p) for p in problems]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: gradients(ENGINE.final, p), problems))
    assert all(error(f, e) <= 1e-12 for f, e in zip(found, expected, strict=True))


class Doubled(Perceptron):
    def __call__(self, h, theta):
        return 2 * super().__call__(h, theta)


def test_a_subclass_that_computes_something_else_is_not_taken_for_its_parent():
    assert TorchEngine().supports(Perceptron(3, 5))
    assert not TorchEngine().supports(Doubled(3, 5))


def test_released_buffers_are_made_anew():
    engine, branch = TorchEngine(), Perceptron(2, 3)
    theta = {role: torch.ones(4, *shape, requires_grad=True) for role, shape in branch.shapes.items()}
    h = torch.ones(5, 2)
    first = torch.autograd.grad(engine.final(branch, h, theta, 0.25).sum(), theta["V"])[0]
    assert engine._workspace._free
    engine.release()
    assert not engine._workspace._free
    assert torch.equal(first, torch.autograd.grad(engine.final(branch, h, theta, 0.25).sum(), theta["V"])[0])
