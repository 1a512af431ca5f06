from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplimit.branches import Convolution, FunctionBranch, Identity, OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.engines import ENGINES, Engine, named, select
from tests.cases import CASES, MEMBERS, bilinear, error, gradients, joint_error, plain, problem, relative

PAIRS = [(engine, case) for engine in ENGINES.values() for case in CASES if engine.supports(case.build(1, 1))]
HERE = {name: engine for name, engine in ENGINES.items() if engine.supports(Perceptron(1, 1))}  # on the CPU
FASTEST = next(iter(HERE))
every_engine = pytest.mark.parametrize("engine", HERE.values(), ids=HERE)


# --- every engine against the oracle: the last state and every gradient ---


@pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")
@pytest.mark.parametrize(("engine", "case"), PAIRS, ids=[f"{engine.name}-{case}" for engine, case in PAIRS])
def test_an_engine_agrees_with_the_oracle(engine, case, members):
    """Each tensor relative to its own largest entry, in both precisions; float32 starts from the same numbers."""
    exact = problem(case.build(3, 4), 5, 6, members=members, seed=1)
    single, oracle = exact.to(torch.float32), gradients(plain, exact)
    assert error(gradients(engine.final, exact), oracle) <= 1e-12
    assert error(gradients(engine.final, single), oracle) <= max(2e-6, 2 * error(gradients(plain, single), oracle))


@settings(max_examples=300)
@given(
    pair=st.sampled_from(PAIRS),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 6), st.integers(1, 7)),
    members=st.sampled_from([None, 1, 2, 3]),
    seed=st.integers(0, 2**32),
)
def test_an_engine_agrees_with_the_oracle_at_any_size(pair, sizes, members, seed):
    engine, case = pair
    samples, d, m, depth = sizes
    exact = problem(case.build(d, m), samples, depth, members=members, seed=seed)
    single, oracle = exact.to(torch.float32), gradients(plain, exact)
    assert error(gradients(engine.final, exact), oracle) <= 1e-12
    own = joint_error(gradients(plain, single), oracle)
    assert joint_error(gradients(engine.final, single), oracle) <= max(2e-6, 2 * own)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 3, 2, 4), (4, 1, 1, 5), (3, 2, 5, 1)], ids=str)
@pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")
def test_the_smallest_sizes_are_no_exception(sizes, members):
    samples, d, m, depth = sizes
    for engine, case in PAIRS:
        exact = problem(case.build(d, m), samples, depth, members=members, seed=2)
        assert error(gradients(engine.final, exact), gradients(plain, exact)) <= 1e-12, (engine.name, case)


@every_engine
@pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")
@pytest.mark.parametrize("row", ["perceptron-bias-gelu", "one-matrix-shared-tanh"])
def test_the_states_are_those_of_shallower_stacks(engine, members, row):
    case = next(case for case in CASES if case.name == row)
    p = problem(case.build(3, 4), 5, 6, members=members)
    states = engine.states(p.branch, p.h.requires_grad_(), p.theta, p.scale)
    axis = 0 if members is None else 1
    assert states.shape == (7, *p.h.shape)
    assert not states.requires_grad
    assert torch.equal(states[0], p.h)
    for k in range(1, 7):
        cut = {r: t.narrow(axis, 0, k) if r in p.branch.shapes else t for r, t in p.theta.items()}
        assert relative(states[k], plain(p.branch, p.h, cut, p.scale).detach()) <= 1e-14


# --- closed forms ---


@every_engine
@pytest.mark.parametrize("depth", [1, 2, 9])
def test_a_linear_stack_is_a_product_of_matrices(engine, depth):
    p = problem(OneMatrix(4, Identity(), bias=False), 3, depth)
    product = torch.eye(4, dtype=torch.float64)
    for A in p.theta["A"]:
        product = (torch.eye(4) + A / depth) @ product
    last = engine.final(p.branch, p.h, p.theta, 1 / depth)
    torch.testing.assert_close(last, p.h @ product.mT, rtol=1e-13, atol=1e-13)
    assert relative(last, p.h) > 1e-2  # far from doing nothing


@every_engine
@pytest.mark.parametrize(("normalised", "factor"), [(True, (3 * 5) ** -0.5), (False, 1.0)])
def test_the_factors_of_the_perceptron(engine, normalised, factor):
    p = problem(Perceptron(3, 5, Identity(), normalised=normalised), 4, 2)
    first, second = (torch.eye(3) + 0.5 * factor * V @ W for V, W in zip(p.theta["V"], p.theta["W"], strict=True))
    last = engine.final(p.branch, p.h, p.theta, 0.5)
    torch.testing.assert_close(last, p.h @ (second @ first).mT, rtol=1e-13, atol=1e-13)


@every_engine
def test_constant_biases_add_up(engine):
    branch = Perceptron(3, 2, bias=True)
    theta = {r: torch.zeros(5, *shape, dtype=torch.float64) for r, shape in branch.shapes.items()}
    theta["c"] = torch.arange(15.0, dtype=torch.float64).reshape(5, 3)
    h = torch.ones(2, 3, dtype=torch.float64)
    last = engine.final(branch, h, theta, 0.2)
    torch.testing.assert_close(last, h + 0.2 * theta["c"].sum(0), rtol=1e-14, atol=0)


@every_engine
@pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")
def test_a_perceptron_with_zero_outer_weights_is_the_identity_to_the_last_bit(engine, members):
    p = problem(Perceptron(3, 4), 5, 6, members=members)
    p.theta["V"].zero_()
    assert torch.equal(engine.final(p.branch, p.h, p.theta, p.scale), p.h)
    p.theta["V"].fill_(1e-3)
    assert not torch.equal(engine.final(p.branch, p.h, p.theta, p.scale), p.h)


# --- choice ---


def test_the_engines_are_tried_from_the_fastest_to_the_one_that_runs_everything():
    assert list(ENGINES) == ["native", "triton", "torch", "reference"]
    assert list(HERE)[-2:] == ["torch", "reference"]


@pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")) or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="no compiler or no headers of Python: the native engine cannot be built here",
)
def test_where_there_is_a_compiler_there_is_the_native_engine():
    """An installation goes on without it, so that nothing but this test would tell: all others would skip or take another engine."""
    why = "DEEPLIMIT_REQUIRE_NATIVE=1 .venv/bin/pip install --no-build-isolation --no-deps -e ."
    assert not ENGINES["native"].missing, f"{ENGINES['native'].missing}; to see why: {why}"


def test_without_the_extension_the_other_engines_serve(monkeypatch):
    monkeypatch.setattr("deeplimit.engines.native.MISSING", "the extension was not built (no compiler)")
    for name in ("native", "native:store"):
        with pytest.raises(
            InputError, match=re.escape(f"expected one that is there, found {name!r}: the extension was not built (no")
        ):
            select(name, Perceptron(2, 3))
    assert select("auto", Perceptron(2, 3)) is ENGINES["torch"]
    assert ENGINES["native"].title == "native"
    ENGINES["native"].release()


@every_engine
def test_an_engine_can_be_forced_by_its_name(engine):
    assert named(engine.name) == engine
    assert select(engine.name, OneMatrix(2)) is engine
    assert str(engine.title).startswith(engine.name)


OWN = FunctionBranch(bilinear, {"M": (2, 2), "gain": ()}, (2,))


@pytest.mark.parametrize(
    ("name", "branch", "chosen"),
    [
        ("auto", Perceptron(2, 3), FASTEST),
        ("auto", OneMatrix(2), FASTEST),
        ("auto", Convolution(2, (3, 3)), "reference"),
        ("auto", OWN, "reference"),
        ("reference", Perceptron(2, 3), "reference"),
        ("torch", OneMatrix(2), "torch"),
        (FASTEST, Perceptron(2, 3), FASTEST),
    ],
)
def test_the_fastest_engine_that_knows_the_branch_is_chosen(name, branch, chosen):
    assert select(name, branch) is ENGINES[chosen]


@pytest.mark.parametrize("name", [name for name in HERE if name != "reference"])
def test_an_engine_that_does_not_know_the_branch_is_refused(name):
    with pytest.raises(
        InputError, match=rf"engine: expected one that runs Convolution \(reference does, or auto\), found '{name}'"
    ):
        select(name, Convolution(2, (3, 3)))


def test_states_in_a_precision_of_no_kernel_go_to_pytorch():
    here = torch.ones(3, 2, dtype=torch.float16)
    assert select("auto", Perceptron(2, 3), like=here).name == "torch"
    assert select("torch", Perceptron(2, 3), like=here).name == "torch"


def test_an_unknown_engine_is_refused_with_the_nearest_names():
    with pytest.raises(InputError, match=r"engine: expected one of reference; found 'refrence'"):
        select("refrence", Perceptron(2, 3))


def chosen_inside(transform, name):
    seen: list[Engine] = []

    def function(x):
        seen.append(select(name, OneMatrix(2)))
        return x.sum()

    transform(function)(torch.ones(3))
    return seen


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # PyTorch's own forward mode
@pytest.mark.parametrize(
    "transform",
    [
        torch.func.grad,
        torch.func.vmap,
        torch.func.hessian,
        lambda f: lambda x: torch.func.jvp(f, (x,), (x,)),
        lambda f: lambda x: torch.func.vjp(f, x),
        lambda f: lambda x: under_forward_mode(f, x),
    ],
    ids=["grad", "vmap", "hessian", "jvp", "vjp", "forward-mode"],
)
@pytest.mark.parametrize("name", HERE)
def test_under_a_transform_the_reference_runs_whatever_is_asked_for(transform, name):
    assert {engine.name for engine in chosen_inside(transform, name)} == {"reference"}
    assert select(name, OneMatrix(2)).name == name


def under_forward_mode(f, x):
    with torch.autograd.forward_ad.dual_level():
        f(torch.autograd.forward_ad.make_dual(x, x))
