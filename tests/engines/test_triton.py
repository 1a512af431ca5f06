"""The Triton engine against the oracle: on a GPU where there is one, else in Triton's interpreter, at sizes that it has patience for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deeplimit.branches import Convolution, Identity, LeakyReLU, OneMatrix, OuterMatrix, Perceptron, ReLU, Tanh
from deeplimit.checks import InputError
from deeplimit.engines import ENGINES, ReferenceEngine, TritonEngine, named, select
from tests.cases import (
    ACTIVATIONS,
    BRANCHES,
    CASES,
    Final,
    Problem,
    error,
    gradients,
    joint_error,
    plain,
    problem,
    relative,
)

ENGINE = TritonEngine()
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
KNOWN = ("perceptron", "one-matrix", "outer-matrix")
NAMES = [
    *(f"{row}-gelu" for row in BRANCHES if row.startswith(KNOWN)),
    *(f"perceptron-bias-{activation}" for activation in ACTIVATIONS if activation != "gelu"),
    *(f"one-matrix-layer-{activation}" for activation in ACTIVATIONS if activation != "gelu"),
]
ROWS = {case.name: case for case in CASES if case.name in NAMES}


@pytest.fixture(autouse=True, scope="module")
def runs() -> Iterator[None]:
    """Ask for the interpreter where there is no GPU, for the tests of this file alone: the kernels are imported under it."""
    pytest.importorskip("triton", reason="Triton is published for Linux alone")
    with pytest.MonkeyPatch.context() as patch:
        if not GPU:
            patch.setenv("TRITON_INTERPRET", "1")
        assert not ENGINE.missing
        yield


def there(p: Problem) -> Problem:
    """The problem on the device in question."""
    theta = {role: t.to(DEVICE) for role, t in p.theta.items()}
    return dataclasses.replace(p, h=p.h.to(DEVICE), theta=theta, p=p.p.to(DEVICE))


def found(p: Problem) -> dict[str, Tensor]:
    """The last state and all gradients by the engine."""
    assert ENGINE.supports(p.branch, there(p).h)
    return {role: t.cpu() for role, t in gradients(ENGINE.final, there(p)).items()}


def agree(exact: Problem) -> None:
    """In float64 as the oracle says, and in float32 about as near as plain PyTorch comes."""
    single, oracle = exact.to(torch.float32), gradients(plain, exact)
    assert error(found(exact), oracle) <= 1e-12
    assert joint_error(found(single), oracle) <= max(2e-6, 2 * joint_error(gradients(plain, single), oracle))


# --- numbers ---


@pytest.mark.parametrize("members", [None, 2], ids=lambda e: f"E={e}")
@pytest.mark.parametrize("name", NAMES)
def test_it_agrees_with_the_oracle(name, members):
    agree(problem(ROWS[name].build(3, 5), 4, 3, members=members, seed=1))


@pytest.mark.parametrize("name", ["perceptron-bias-gelu", "one-matrix-layer-tanh", "outer-matrix-bias-gelu"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 1, 1), (16, 16, 16, 2, 1), (17, 3, 18, 1, 2), (35, 17, 16, 2, 3), (2, 5, 7, 24, 1), (3, 19, 33, 1, 1)],
    ids=str,
)
def test_it_agrees_with_the_oracle_at_any_size(name, sizes):
    """Blocks of samples that are full or not, sizes that fill a tile or not, one layer and many."""
    samples, q, m, depth, members = sizes
    agree(problem(ROWS[name].build(q, m), samples, depth, members=members, seed=2))


VALUES = [0.0, 1e-30, 1e-6, -1e-3, 0.1, -0.4999, 0.5, -0.5001, 1.0, -3.0, 9.0, -12.0, 30.0, -80.0, 1e4, -1e4]


@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_slopes_are_right_for_small_and_large_numbers(name, precision):
    """With A = 0 and h = 0 one layer is σ(b). Near zero tanh keeps its relative accuracy, which 1 − e^(−2|z|) alone would lose."""
    σ, z = ACTIVATIONS[name], torch.tensor(VALUES, dtype=precision)
    size, rounding = len(VALUES), torch.finfo(precision).eps
    b = z.to(DEVICE)[None].requires_grad_()
    theta = {"A": torch.zeros(1, size, size, dtype=precision, device=DEVICE), "b": b}
    last = ENGINE.final(OneMatrix(size, σ), torch.zeros(1, size, dtype=precision, device=DEVICE), theta, 1.0)
    (slope,) = torch.autograd.grad(last.sum(), b)
    exact = z.double().requires_grad_()
    value = σ(exact)
    (known,) = torch.autograd.grad(value.sum(), exact)
    near_zero = 0.0 if name in ("tanh", "identity", "relu", "leaky") else 8 * rounding
    torch.testing.assert_close(last[0].cpu().double(), value.detach(), rtol=8 * rounding, atol=near_zero)
    torch.testing.assert_close(slope[0].cpu().double(), known, rtol=8 * rounding, atol=8 * rounding)


def test_a_linear_stack_is_a_product_of_matrices():
    p = there(problem(OneMatrix(4, Identity(), bias=False), 3, 5))
    product = torch.eye(4, dtype=torch.float64, device=DEVICE)
    for A in p.theta["A"]:
        product = (torch.eye(4, device=DEVICE) + A / 5) @ product
    last = ENGINE.final(p.branch, p.h, p.theta, 1 / 5)
    torch.testing.assert_close(last, p.h @ product.mT, rtol=1e-13, atol=1e-13)
    assert relative(last, p.h) > 1e-2  # far from doing nothing


def test_zero_outer_weights_are_the_identity_to_the_last_bit():
    p = there(problem(Perceptron(3, 4), 5, 6))
    p.theta["V"].zero_()
    assert torch.equal(ENGINE.final(p.branch, p.h, p.theta, p.scale), p.h)
    p.theta["V"].fill_(1e-3)
    assert not torch.equal(ENGINE.final(p.branch, p.h, p.theta, p.scale), p.h)


@pytest.mark.parametrize("members", [None, 2], ids=lambda e: f"E={e}")
def test_the_states_are_those_of_the_oracle(members):
    p = there(problem(OneMatrix(3, Tanh(), "shared"), 5, 4, members=members))
    states = ENGINE.states(p.branch, p.h.requires_grad_(), p.theta, p.scale)
    assert states.shape == (5, *p.h.shape)
    assert not states.requires_grad
    assert torch.equal(states[0], p.h)
    assert relative(states, ReferenceEngine().states(p.branch, p.h, p.theta, p.scale)) <= 1e-14


@pytest.mark.parametrize("branch", [OneMatrix(2, ReLU()), Perceptron(2, 3, LeakyReLU())], ids=repr)
def test_a_number_that_is_none_stays_with_its_sample(branch):
    """A loss that is no number any more is how training knows that a run has diverged."""
    p = there(problem(branch, 3, 2))
    p.h[1, 0] = torch.nan
    last = ENGINE.final(p.branch, p.h, p.theta, p.scale)
    assert last.isnan().any(1).tolist() == [False, True, False]
    assert last[1].isnan().all()


def test_tf32_is_what_its_name_says():
    """Factors of 10 bits on a GPU; the interpreter does not round them, and is as good as ieee."""
    engine = named("triton:tf32")
    assert isinstance(engine, TritonEngine)
    assert engine.title == "triton:tf32"
    exact = problem(Perceptron(17, 20), 5, 3)
    single = there(exact.to(torch.float32))
    assert engine.supports(single.branch, single.h)
    loose = {role: t.cpu() for role, t in gradients(engine.final, single).items()}
    off = joint_error(loose, gradients(plain, exact))
    assert (1e-5 if GPU else 0) < off <= (1e-2 if GPU else 2e-6)


# --- what does not change the numbers ---


@pytest.mark.parametrize("name", ["perceptron-bias-gelu", "one-matrix-layer-tanh"])
def test_members_and_blocks_of_samples_do_not_see_each_other(name):
    together = there(problem(ROWS[name].build(3, 4), 19, 2, members=2))
    last = ENGINE.final(together.branch, together.h, together.theta, together.scale)
    for e in range(2):
        theta = {role: t[e] for role, t in together.theta.items()}
        assert torch.equal(ENGINE.final(together.branch, together.h[e], theta, together.scale), last[e])
        tail = ENGINE.final(together.branch, together.h[e, 16:], theta, together.scale)
        assert torch.equal(tail, last[e, 16:])


def test_tensors_may_lie_in_memory_as_they_like():
    p = problem(Perceptron(3, 4, bias=True), 5, 3, members=2)
    turned = replace(
        p,
        h=p.h.mT.contiguous().mT,
        p=p.p[:, :1].expand(p.p.shape),
        theta={role: t.transpose(0, 1).contiguous().transpose(0, 1) for role, t in p.theta.items()},
    )
    known = gradients(plain, replace(p, p=turned.p.contiguous()))
    assert not turned.theta["W"].is_contiguous()
    assert error(found(turned), known) <= 1e-12


# --- graphs ---


def leaves(final: Final, p: Problem) -> tuple[list[Tensor], Tensor]:
    """What asks for a gradient, h and θ, and the last state."""
    h, theta = p.h.clone().requires_grad_(), {role: t.clone().requires_grad_() for role, t in p.theta.items()}
    return [h, *theta.values()], final(p.branch, h, theta, p.scale)


def test_two_passes_may_be_open_at_once_and_a_retained_graph_gives_the_same_gradient_again():
    one, two = (there(problem(Perceptron(3, 4), 5, 2, seed=seed)) for seed in (1, 2))
    (inputs_one, last_one), (inputs_two, last_two) = leaves(ENGINE.final, one), leaves(ENGINE.final, two)
    first = torch.autograd.grad(last_one, inputs_one, one.p, retain_graph=True)
    other = torch.autograd.grad(last_two, inputs_two, two.p)
    again = torch.autograd.grad(last_one, inputs_one, one.p)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for p, grads in ((one, first), (two, other)):
        known = [g for role, g in gradients(plain, p).items() if role != "last"]
        assert max(relative(a, b) for a, b in zip(grads, known, strict=True)) <= 1e-12


@pytest.mark.parametrize("name", ["perceptron-bias-gelu", "one-matrix-shared-gelu"])
def test_the_gradient_can_be_differentiated(name):
    p = there(problem(ROWS[name].build(2, 3), 3, 2, members=2))

    def second(final: Final) -> tuple[Tensor, ...]:
        """The gradient of the squared norm of the gradient."""
        inputs, last = leaves(final, p)
        first = torch.autograd.grad(last, inputs, p.p, create_graph=True)
        return torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), inputs)

    pairs = zip(second(ENGINE.final), second(plain), strict=True)
    assert max(relative(*pair) for pair in pairs) <= 1e-12


# --- choice ---


def test_auto_takes_it_on_a_gpu_and_never_on_the_cpu(monkeypatch):
    branch = Perceptron(2, 3)
    assert ENGINE.supports(branch) is not GPU  # in the interpreter
    monkeypatch.setattr("deeplimit.engines.native.MISSING", "not built")
    assert select("auto", branch).name == select("auto", branch, like=torch.ones(3, 2)).name == "torch"
    assert select("triton", branch, like=torch.ones(3, 2, device=DEVICE)) is ENGINES["triton"]
    if GPU:
        assert select("auto", branch, like=torch.ones(3, 2, device=DEVICE)).name == "triton"


class Louder(Perceptron):
    """A perceptron that computes something else."""


def test_it_runs_what_its_kernels_know():
    like = torch.ones(3, 2, device=DEVICE)
    assert not ENGINE.supports(Convolution(2, (3, 3)), torch.ones(4, 2, 3, 3, device=DEVICE))
    assert not ENGINE.supports(Louder(2, 3), like)
    assert not ENGINE.supports(Perceptron(2, 3), like.half())
    assert not ENGINE.supports(Perceptron(2, 3), like[:0])
    assert not ENGINE.supports(Perceptron(2, 3), like.to("meta"))
    assert not TritonEngine("tf32").supports(Perceptron(2, 3), like.double())
    with pytest.raises(InputError, match="expected one that runs Convolution"):
        select("triton", Convolution(2, (3, 3)), like=torch.ones(4, 2, 3, 3, device=DEVICE))


@pytest.mark.parametrize(
    ("branch", "single", "double"),
    [
        (Perceptron(64, 64), True, False),
        (Perceptron(65, 16), True, False),
        (Perceptron(65, 33), False, False),
        (Perceptron(32, 128), True, False),
        (Perceptron(16, 129), False, False),
        (Perceptron(32, 64), True, True),
        (OneMatrix(32), True, True),
        (OuterMatrix(65), False, False),
    ],
    ids=repr,
)
def test_a_matrix_must_fit_one_tile(branch, single, double):
    like = torch.ones(3, branch.state, device=DEVICE)
    assert ENGINE.supports(branch, like) is single
    assert ENGINE.supports(branch, like.double()) is double


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert ENGINE.missing == "no GPU that PyTorch's cuda knows"
    assert not ENGINE.supports(Perceptron(2, 3))
    with pytest.raises(InputError, match=r"engine: expected one that is there, found 'triton:tf32': no GPU"):
        named("triton:tf32")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert ENGINE.missing == "triton is not installed; pip install 'deeplimit[triton]' installs it, on Linux"
    assert TritonEngine().title == "triton"


def test_an_unknown_way_is_refused():
    with pytest.raises(InputError, match=r"products: expected one of ieee, tf32; found 'bf16'"):
        named("triton:bf16")


def test_triton_is_not_imported_before_it_is_used():
    asked = "import sys, deeplimit.engines.listing as l; l.listing(); print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
