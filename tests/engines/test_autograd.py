"""The gradient of the engines with a backward pass of their own, in every mode of autograd.

That its numbers are right is in tests/test_engines.py; what belongs to one engine alone is in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deeplimit.branches import Branch, OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.engines import ENGINES, Engine, NativeEngine, select
from tests.cases import ACTIVATIONS, CASES, MEMBERS, Final, Problem, error, gradients, joint_error, plain, problem

OWN_BACKWARD: dict[str, Engine] = {
    "torch": ENGINES["torch"],
    "native": NativeEngine(),
    "native:recompute": NativeEngine("recompute"),
}
AGAIN = {"torch": 1e-12, "native": 0.0}
"""How far two gradients of the same numbers may be apart: the native engine gives the same bits."""

NAMES = [
    "perceptron-bias-gelu",
    "perceptron-released-tanh",
    "one-matrix-shared-silu",
    "one-matrix-layer-tanh",
    "one-matrix-layer-relu",
]
SOME = [case for case in CASES if case.name in NAMES]

some = pytest.mark.parametrize("case", SOME, ids=str)
members = pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")
pytestmark = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(engine, id=name, marks=pytest.mark.skipif(bool(engine.missing), reason=engine.missing))
        for name, engine in OWN_BACKWARD.items()
    ],
)


def leaves(final: Final, p: Problem) -> tuple[list[Tensor], Tensor]:
    """What asks for a gradient, h and θ, and the last state."""
    h, theta = p.h.clone().requires_grad_(), {role: t.clone().requires_grad_() for role, t in p.theta.items()}
    return [h, *theta.values()], final(p.branch, h, theta, p.scale)


def by_role(p: Problem, found: Iterable[Tensor]) -> dict[str, Tensor]:
    return dict(zip(("h", *p.theta), found, strict=True))


def oracle(p: Problem) -> dict[str, Tensor]:
    return {role: g for role, g in gradients(plain, p).items() if role != "last"}


# --- graphs that are open, retained, gone ---


@some
@members
def test_two_passes_may_be_open_at_once(engine, case, members):
    one, two = (problem(case.build(3, 4), 5, 6, members=members, seed=seed) for seed in (1, 2))
    (inputs_one, last_one), (inputs_two, last_two) = leaves(engine.final, one), leaves(engine.final, two)
    last = last_one.detach().clone()
    found_one = torch.autograd.grad(last_one, inputs_one, one.p)
    found_two = torch.autograd.grad(last_two, inputs_two, two.p)
    assert error(by_role(one, found_one), oracle(one)) <= 1e-12
    assert error(by_role(two, found_two), oracle(two)) <= 1e-12
    assert torch.equal(last_one, last)


@some
@members
def test_a_retained_graph_gives_the_same_gradient_again(engine, case, members):
    p = problem(case.build(3, 4), 5, 6, members=members)
    inputs, last = leaves(engine.final, p)
    first = by_role(p, torch.autograd.grad(last, inputs, p.p, retain_graph=True))
    gradients(engine.final, problem(case.build(3, 4), 5, 6, members=members, seed=9))  # takes the memory meanwhile
    second = by_role(p, torch.autograd.grad(last, inputs, p.p, retain_graph=True))
    third = by_role(p, torch.autograd.grad(last, inputs, 2 * p.p))
    assert error(first, oracle(p)) <= 1e-12
    assert error(second, oracle(p)) <= 1e-12
    assert error(second, first) <= AGAIN[engine.name]
    assert error(third, {role: 2 * g for role, g in oracle(p).items()}) <= 1e-12


@some
def test_a_graph_that_is_not_retained_is_gone(engine, case):
    p = problem(case.build(3, 4), 5, 6)
    inputs, last = leaves(engine.final, p)
    torch.autograd.grad(last, inputs, p.p, retain_graph=True)
    torch.autograd.grad(last, inputs, p.p)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(last, inputs, p.p)


# --- gradients of gradients ---


@some
@members
def test_the_gradient_can_be_differentiated(engine, case, members):
    p = problem(case.build(2, 3), 3, 4, members=members)

    def second(final: Final) -> dict[str, Tensor]:
        """The gradient of the squared norm of the gradient."""
        inputs, last = leaves(final, p)
        first = torch.autograd.grad(last, inputs, p.p, create_graph=True)
        return by_role(p, torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), inputs))

    found = second(engine.final)
    assert error(found, second(plain)) <= 1e-12
    assert error(found, second(ENGINES["reference"].final)) <= 1e-12


@some
@members
def test_a_gradient_may_be_differentiated_for_some_inputs_alone(engine, case, members):
    p = problem(case.build(2, 3), 3, 4, members=members)
    for role in ("h", *p.theta):

        def second(final: Final, role: str = role) -> Tensor:
            tensors = {"h": p.h, **p.theta}
            wanted = tensors[role] = tensors[role].clone().requires_grad_()
            last = final(p.branch, tensors.pop("h"), tensors, p.scale)
            (first,) = torch.autograd.grad(last.square().sum(), wanted, create_graph=True)
            return torch.autograd.grad(first.square().sum(), wanted)[0]

        torch.testing.assert_close(second(engine.final), second(plain), rtol=1e-12, atol=1e-12)


@some
def test_the_gradient_can_be_differentiated_in_the_direction_too(engine, case):
    """⟨v, Jᵀp⟩ differentiated in p is the directional derivative J v."""
    p = problem(case.build(2, 3), 3, 4)
    inputs, last = leaves(engine.final, p)
    direction = p.p.clone().requires_grad_()
    (first,) = torch.autograd.grad(last, inputs[:1], direction, create_graph=True)
    (found,) = torch.autograd.grad(first.sum(), direction)
    jacobian = torch.autograd.functional.jacobian(lambda h: plain(p.branch, h, p.theta, p.scale), p.h)
    torch.testing.assert_close(found, jacobian.sum((2, 3)), rtol=1e-12, atol=1e-12)


def two_roles(final: Final, h: Tensor, weights: Tensor) -> Tensor:
    return final(Perceptron(3, 3), h, {"W": weights, "V": weights}, 0.5)


def computed(final: Final, h: Tensor, weights: Tensor) -> Tensor:
    return final(Perceptron(3, 3), h, {"W": weights, "V": weights.mT.tanh()}, 0.5)


def chained(final: Final, h: Tensor, weights: Tensor) -> Tensor:
    branch, theta = OneMatrix(3, bias=False), {"A": weights}
    return final(branch, final(branch, h, theta, 0.5), theta, 0.5)


@pytest.mark.parametrize("stacks", [two_roles, computed, chained], ids=lambda function: function.__name__)
@members
def test_an_input_that_depends_on_another_has_one_gradient_with_and_without_a_graph(engine, stacks, members):
    lead = () if members is None else (members,)
    generator = torch.Generator().manual_seed(0)
    h, weights = (torch.randn(*lead, 5, *rest, generator=generator).double() for rest in ((3,), (3, 3)))
    weights.requires_grad_()

    def derivatives(final: Final) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient without and with a graph, and the gradient of its squared norm."""
        last = stacks(final, h, weights).sum()
        (first,) = torch.autograd.grad(last, weights, retain_graph=True)
        (graph,) = torch.autograd.grad(last, weights, create_graph=True)
        return first, graph, torch.autograd.grad(graph.square().sum(), weights)[0]

    first, graph, second = derivatives(engine.final)
    torch.testing.assert_close(graph, first, rtol=1e-12, atol=1e-12)
    for found, expected in zip((first, graph, second), derivatives(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


# --- what is asked for, and of what ---


@some
@members
def test_only_what_asks_for_a_gradient_gets_one(engine, case, members):
    p = problem(case.build(3, 4), 5, 6, members=members)
    expected = oracle(p)
    for role in p.theta:
        theta = {r: t.clone().requires_grad_(r == role) for r, t in p.theta.items()}
        (engine.final(p.branch, p.h, theta, p.scale) * p.p).sum().backward()
        assert [r for r, t in theta.items() if t.grad is not None] == [role]
        found = theta[role].grad
        assert found is not None
        assert error({role: found}, {role: expected[role]}) <= 1e-12
    assert not engine.final(p.branch, p.h, p.theta, p.scale).requires_grad


@pytest.mark.parametrize("role", ["h", "W", "V", "b", "c"])
def test_inputs_changed_between_the_passes_are_noticed(engine, role):
    p = problem(Perceptron(3, 4, bias=True), 5, 6)
    inputs, last = leaves(engine.final, p)
    with torch.no_grad():
        by_role(p, inputs)[role].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        last.sum().backward()


@some
def test_nothing_that_is_handed_over_is_changed(engine, case):
    p = problem(case.build(3, 4), 5, 6)
    before = [t.clone() for t in (p.h, p.p, *p.theta.values())]
    inputs, last = leaves(engine.final, p)
    torch.autograd.grad(last, inputs, p.p)
    engine.states(p.branch, p.h, p.theta, p.scale)
    assert all(torch.equal(a, b) for a, b in zip((p.h, p.p, *p.theta.values()), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(inputs, [before[0], *before[2:]], strict=True))


def turned(t: Tensor) -> Tensor:
    """The same numbers, the last axis outermost in memory."""
    return t.transpose(0, -1).contiguous().transpose(0, -1)


def transposed(t: Tensor) -> Tensor:
    """The same numbers, matrices column by column in memory."""
    return t.mT.contiguous().mT


@members
@pytest.mark.parametrize(
    "layout",
    [{"W": turned, "V": transposed}, {"W": turned, "V": turned, "b": turned, "c": turned}],
    ids=["matrices", "everything"],
)
def test_the_layout_in_memory_does_not_matter(engine, members, layout: dict[str, Callable[[Tensor], Tensor]]):
    p = problem(Perceptron(3, 3, bias=True), 5, 6, members=members)
    theta = {role: change(p.theta[role]) for role, change in layout.items()}
    other = replace(p, theta=p.theta | theta, h=transposed(p.h), p=transposed(p.p))
    assert not any(t.is_contiguous() for t in (other.h, other.p, *theta.values()))
    found = gradients(engine.final, other)
    assert error(found, gradients(plain, p)) <= 1e-12
    assert error(found, gradients(engine.final, p)) <= AGAIN[engine.name]


def test_the_direction_of_a_sum_needs_no_memory_of_its_own(engine):
    p = replace(problem(Perceptron(3, 4), 5, 6), p=torch.ones((), dtype=torch.float64).expand(5, 3))
    assert error(gradients(engine.final, p), gradients(plain, p)) <= 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("build", [lambda σ: Perceptron(3, 4, σ, bias=True), lambda σ: OneMatrix(3, σ, "layer")])
def test_at_a_kink_the_slope_is_that_of_pytorch(engine, activation, build):
    branch: Branch = build(ACTIVATIONS[activation])
    p = problem(branch, 5, 1)
    p = replace(p, h=torch.zeros_like(p.h))
    p.theta["b"].zero_()
    found, expected = gradients(engine.final, p), gradients(plain, p)
    assert joint_error(found, expected) <= 1e-13
    if engine.name == "torch":  # in C++, σ(0) of a softplus may miss 0 by rounding, and nothing is small relative to 0
        assert error(found, expected) <= 1e-12


class Doubled(Perceptron):
    def __call__(self, h, theta):
        return 2 * super().__call__(h, theta)


def test_a_subclass_that_computes_something_else_is_not_taken_for_its_parent(engine):
    assert engine.supports(Perceptron(3, 5))
    assert not engine.supports(Doubled(3, 5))
    assert select("auto", Doubled(3, 5)).name == "reference"
    with pytest.raises(InputError, match=f"engine: expected one that runs Doubled .*found '{engine.name}'"):
        select(engine.name, Doubled(3, 5))
