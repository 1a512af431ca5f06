from __future__ import annotations

import pytest
import torch

from deeplimit.branches import Branch, FunctionBranch
from deeplimit.engines import ReferenceEngine
from tests.cases import CASES, error, gradients, plain, problem

ENGINE = ReferenceEngine()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_runs_every_branch(case):
    assert ENGINE.supports(case.build(2, 3))


def test_a_branch_need_not_know_of_ensembles():
    """A branch that looks at the shape of its state would go wrong on `[E, n, d]`."""

    def centred(h, theta):
        assert h.dim() == 2
        return (h - h.mean(0)) @ theta["M"]

    branch = FunctionBranch(centred, {"M": (3, 3)}, (3,))
    p = problem(branch, 4, 5, members=2)
    assert error(gradients(ENGINE.final, p), gradients(plain, p)) <= 1e-14


def test_it_is_differentiable_to_any_order():
    p = problem(next(c for c in CASES if c.name == "perceptron-tanh").build(2, 3), 2, 3)

    def output(W):
        return ENGINE.final(p.branch, p.h, p.theta | {"W": W}, p.scale).sum()

    assert torch.autograd.gradcheck(output, p.theta["W"].requires_grad_())
    assert torch.autograd.gradgradcheck(output, p.theta["W"])


def test_a_stack_without_branch_call_is_no_branch():
    with pytest.raises(TypeError, match="abstract"):
        Branch()  # type: ignore[abstract]
