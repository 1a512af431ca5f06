"""What belongs to the hand-written backward pass alone; that its numbers are right is in tests/test_engines.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import pytest
import torch

from deeplimit.branches import OneMatrix, OuterMatrix, Perceptron
from deeplimit.engines import ReferenceEngine, TorchEngine
from tests.cases import ACTIVATIONS, CASES, MEMBERS, error, gradients, problem

ENGINE = TorchEngine()
KNOWN = [case for case in CASES if ENGINE.supports(case.build(1, 1))]
NAMES = ["perceptron-bias-gelu", "perceptron-released-tanh", "one-matrix-shared-silu", "one-matrix-layer-tanh"]
SOME = [case for case in CASES if case.name in NAMES]
some = pytest.mark.parametrize("case", SOME, ids=str)
members = pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")


def test_it_knows_the_perceptron_and_the_branches_with_one_matrix_alone():
    assert len(KNOWN) == 12 * len(ACTIVATIONS)
    assert {type(case.build(1, 1)) for case in KNOWN} == {Perceptron, OneMatrix, OuterMatrix}
    assert {type(case.build(1, 1)) for case in CASES if case not in KNOWN}.isdisjoint(
        {Perceptron, OneMatrix, OuterMatrix}
    )


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
def test_an_ensemble_of_one_is_the_single_network_to_the_last_bit(case):
    p = problem(case.build(3, 4), 5, 6, members=1)
    alone = replace(p, h=p.h[0], p=p.p[0], theta={role: t[0] for role, t in p.theta.items()})
    one, single = gradients(ENGINE.final, p), gradients(ENGINE.final, alone)
    assert all(torch.equal(one[role][0], single[role]) for role in single)


def test_threads_share_the_engine():
    problems = [problem(case.build(3, 4), 5, 20, seed=seed) for seed, case in product(range(8), SOME[:2])]
    expected = [gradients(ReferenceEngine().final, p) for p in problems]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: gradients(ENGINE.final, p), problems))
    assert all(error(f, e) <= 1e-12 for f, e in zip(found, expected, strict=True))


def test_released_buffers_are_made_anew():
    engine, branch = TorchEngine(), Perceptron(2, 3)
    theta = {role: torch.ones(4, *shape, requires_grad=True) for role, shape in branch.shapes.items()}
    h = torch.ones(5, 2)
    first = torch.autograd.grad(engine.final(branch, h, theta, 0.25).sum(), theta["V"])[0]
    assert engine.workspace._free
    engine.release()
    assert not engine.workspace._free
    assert torch.equal(first, torch.autograd.grad(engine.final(branch, h, theta, 0.25).sum(), theta["V"])[0])
