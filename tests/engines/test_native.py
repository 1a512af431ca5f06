"""What belongs to the C++ engine alone: error bounds, memory, threads, instruction sets, and its operator under the tools of PyTorch.

What all engines have in common is in tests/test_engines.py; its gradient in every mode of autograd in tests/engines/test_autograd.py; the
checks of the operator in tests/engines/test_operator.py, its blocks of memory in tests/engines/test_extension.py. Without a compiler there
is no extension, and nothing here to test.
"""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from deeplimit.branches import Convolution, Identity, LeakyReLU, OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.engines import (
    ENGINES,
    Engine,
    NativeEngine,
    ReferenceEngine,
    blocks_in_use,
    named,
    native,
    reset_peak,
    select,
)
from deeplimit.networks import ResidualStack
from tests.cases import (
    ACTIVATIONS,
    CASES,
    MEMBERS,
    Problem,
    distance_from_kink,
    gradients,
    joint_error,
    plain,
    problem,
    relative,
)

ENGINE = NativeEngine()
pytestmark = pytest.mark.skipif(bool(ENGINE.missing), reason=f"no native engine: {ENGINE.missing}")
if not ENGINE.missing:
    from deeplimit.engines import _native

KNOWN = [case for case in CASES if case.name.startswith(("perceptron", "one-matrix", "outer-matrix"))]
NAMES = ["perceptron-bias-gelu", "perceptron-released-tanh", "one-matrix-shared-silu", "one-matrix-layer-relu"]
SOME = [case for case in CASES if case.name in NAMES]
WAYS = ["native:store", "native:recompute", *(f"native:recompute={S}" for S in (1, 2, 3, 7, 10, 11, 100))]
INSTRUCTION_SETS = [] if ENGINE.missing else [name for name, here in _native.instruction_sets() if here]

some = pytest.mark.parametrize("case", SOME, ids=str)
members = pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")
precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Whether two results are the same to the last bit."""
    assert found.keys() == expected.keys()
    return all(torch.equal(found[role], expected[role]) for role in expected)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def instruction_sets() -> Iterator[None]:
    before = _native.instruction_set()
    yield
    _native.use_instruction_set(before)


def way_of(name: str) -> Engine:
    engine = named(name)
    assert engine is not None
    return engine


# --- errors ---

EDGES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33]
"""Sizes around those of vector registers (4 to 16 numbers) and of the 32 samples that travel together."""


def shrunk(p: Problem) -> Problem:
    """The perceptron without its factor 1/√(q m) at weights that have about this factor, as a power of two: it rounds nothing.

    At normal weights and these widths it is chaotic: which of two equally good float32 results is the better one by a factor of 5 is
    chance. `test_where_rounding_grows_it_does_not_grow_faster_than_in_pytorch` sees to that.
    """
    if not isinstance(p.branch, Perceptron) or p.branch.normalised:
        return p
    factor = 2.0 ** -round(math.log2(p.branch.width * p.h.shape[-1]) / 4)
    return replace(p, theta=p.theta | {role: factor * p.theta[role] for role in ("V", "W")})


def comparable(p: Problem, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The results with ∂ℓ/∂δ divided by √(n q): it is a sum of n q products of either sign, and rounds as they do, not as what is left."""
    return found | {"delta": found["delta"] / math.sqrt(p.h.shape[-2] * p.h.shape[-1])} if "delta" in found else found


def bounds(p: Problem) -> tuple[float, float]:
    """Errors in float32 and float64, as shares of what is allowed."""
    single, oracle = p.to(torch.float32), comparable(p, gradients(plain, p))
    runs = ((plain, single), (ENGINE.final, single), (ENGINE.final, p))
    own, in_32, in_64 = (joint_error(comparable(p, gradients(final, q)), oracle) for final, q in runs)
    return in_32 / max(2e-6, 2 * own), in_64 / (1e-13 * max(1, own / 1e-5))


@settings(max_examples=200)
@given(
    case=st.sampled_from(KNOWN),
    samples=st.sampled_from([*EDGES, 63, 64, 65]),
    widths=st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)),
    depth=st.sampled_from([1, 2, 3, 5]),
    members=st.sampled_from([None, 1, 2, 3]),
    seed=st.integers(0, 2**32),
)
def test_errors_stay_within_their_bounds_at_any_size(case, samples, widths, depth, members, seed):
    p = shrunk(problem(case.build(*widths), samples, depth, members=members, seed=seed))
    assume(distance_from_kink(p) > 1e-5)
    assert max(bounds(p)) <= 1


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (33, 1, 9, 3), (32, 17, 1, 2), (97, 16, 33, 2), (300, 5, 8, 1)], ids=str
)
@members
def test_every_branch_and_activation_stays_within_the_bounds(sizes, members):
    samples, d, m, depth = sizes
    for case in KNOWN:
        p = shrunk(problem(case.build(d, m), samples, depth, members=members, seed=3))
        assert distance_from_kink(p) < 1e-6 or max(bounds(p)) <= 1, case


@pytest.mark.parametrize("name", ["perceptron-released-gelu", "perceptron-released-tanh"])
def test_where_rounding_grows_it_does_not_grow_faster_than_in_pytorch(name):
    """The geometric mean over 40 inputs of the error relative to PyTorch's own, both against float64."""
    (case,) = (case for case in CASES if case.name == name)
    ratios = []
    for seed in range(40):
        p = problem(case.build(15, 16), 2, 9, members=3, seed=seed)
        single, oracle = p.to(torch.float32), gradients(plain, p)
        found, own = (joint_error(gradients(final, single), oracle) for final in (ENGINE.final, plain))
        ratios.append(math.log(found / own))
    assert -0.5 <= sum(ratios) / len(ratios) <= math.log(1.5)


@precisions
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_exact_from_the_smallest_to_the_largest_numbers(activation, dtype):
    """σ and σ′ alone: h + σ(h) for one matrix, 1; the error relative to 1 + |h + σ(h)|."""
    sizes = torch.cat(
        [torch.linspace(0, 120, 4001, dtype=torch.float64), torch.logspace(-44, 37, 82, dtype=torch.float64)]
    )
    h = torch.cat([-sizes, sizes]).to(dtype).double()[:, None]
    exact = Problem(
        OneMatrix(1, ACTIVATIONS[activation], bias=False),
        h,
        {"A": torch.ones(1, 1, 1).double()},
        torch.ones_like(h),
        1.0,
    )
    found, expected = gradients(ENGINE.final, exact.to(dtype)), gradients(plain, exact)
    unit = torch.finfo(dtype).eps
    for role in ("last", "h"):
        errors = (found[role].double() - expected[role]).abs() / (1 + expected[role].abs())
        assert float(errors.max()) <= 4 * unit, role


@precisions
@pytest.mark.parametrize("build", [lambda: Perceptron(3, 4, Identity()), lambda: OneMatrix(3, Identity())])
def test_what_overflows_is_a_result_and_raises_nothing(build, dtype):
    p = problem(build(), 5, 20).to(dtype)
    huge = 1e20 if dtype == torch.float32 else 1e160
    found = gradients(ENGINE.final, replace(p, theta={role: huge * t for role, t in p.theta.items()}))
    assert not found["last"].isfinite().any()
    assert gradients(ENGINE.final, p)["last"].isfinite().all()


@precisions
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("build", [lambda σ: Perceptron(3, 20, σ, bias=True), lambda σ: OneMatrix(3, σ)])
def test_a_sample_that_is_not_a_number_spoils_no_other_sample(build, activation, dtype):
    p = problem(build(ACTIVATIONS[activation]), 40, 3).to(dtype)
    h = p.h.clone()
    h[17, 1] = math.nan
    spoilt, whole = gradients(ENGINE.final, replace(p, h=h)), gradients(ENGINE.final, p)
    assert spoilt["last"][17].isnan().all()
    others = torch.arange(40) != 17
    assert torch.equal(spoilt["last"][others], whole["last"][others])
    assert torch.equal(spoilt["h"][others], whole["h"][others])
    expected = gradients(plain, replace(p, h=h))
    assert all(torch.equal(spoilt[role].isnan(), expected[role].isnan()) for role in expected)


# --- memory ---


def kept(engine: NativeEngine, p: Problem) -> int:
    """How many numbers lie between the passes."""
    last = engine.final(p.branch, p.h.clone().requires_grad_(), p.theta, p.scale)
    assert last.grad_fn is not None
    size: int = last.grad_fn.saved_tensors[0].numel()  # type: ignore[attr-defined]
    return size


def state_size(p: Problem) -> int:
    """The numbers of one state of a stack: samples × state, rounded up to whole vectors."""
    return kept(NativeEngine("recompute", p.theta[next(iter(p.theta))].shape[-3]), p)


def deep(depth: int, samples: int = 5) -> Problem:
    return problem(Perceptron(3, 2), samples, depth).to(torch.float32)


@precisions
@some
@members
def test_what_is_kept_does_not_change_a_bit(case, members, dtype):
    p = problem(case.build(9, 17), 70, 10, members=members).to(dtype)
    results = [gradients(way_of(way).final, p) for way in ("native", *WAYS)]
    assert all(equal(found, results[0]) for found in results[1:])
    assert not equal(results[0], gradients(ENGINES["torch"].final, p))


@pytest.mark.parametrize(
    ("depth", "states"), [(1, 1), (2, 1), (9, 3), (10, 3), (16, 4), (17, 4), (100, 10), (4096, 64)]
)
def test_recomputing_keeps_every_state_at_a_multiple_of_the_root_of_the_depth(depth, states):
    p = deep(depth, 1)
    assert kept(NativeEngine("recompute"), p) == states * state_size(p)


@pytest.mark.parametrize(("interval", "states"), [(2, 50), (3, 34), (99, 2), (100, 1), (101, 1)])
def test_recomputing_keeps_every_sth_state(interval, states):
    p = deep(100)
    assert kept(NativeEngine("recompute", interval), p) == states * state_size(p)
    assert kept(NativeEngine("store"), p) == 101 * state_size(p)


def test_auto_stores_the_states_unless_they_exceed_half_of_the_memory(monkeypatch):
    p = deep(64)
    states = native._kept_bytes(p.h, p.theta["W"])
    assert states >= 65 * p.h.nbytes  # rows are padded
    monkeypatch.setattr(native, "MACHINE_MEMORY", 2 * states)
    assert kept(ENGINE, p) == 65 * state_size(p)
    monkeypatch.setattr(native, "MACHINE_MEMORY", 2 * states - 1)
    assert kept(ENGINE, p) == 8 * state_size(p)
    assert kept(NativeEngine("store"), p) == 65 * state_size(p)


def test_the_memory_of_the_machine_is_known():
    assert 1 << 28 < native.MACHINE_MEMORY < 1 << 50


def test_recomputing_needs_a_twentieth_of_the_memory_in_both_passes(threads):
    torch.set_num_threads(1)  # each further thread has gradients of its own
    p = problem(Perceptron(16, 1), 64, 4096).to(torch.float32)

    def peak(engine: NativeEngine) -> int:
        engine.release()
        reset_peak()
        before = blocks_in_use()[0]
        gradients(engine.final, p)
        return blocks_in_use()[1] - before

    store, recompute = peak(NativeEngine("store")), peak(NativeEngine("recompute"))
    assert store >= 4096 * p.h.nbytes
    assert recompute <= store / 20
    assert kept(NativeEngine("recompute"), p) <= kept(NativeEngine("store"), p) / 20


def test_no_states_are_kept_where_no_gradient_is_asked_for():
    p = problem(Perceptron(16, 16), 64, 1000).to(torch.float32)
    theta = {role: t.requires_grad_() for role, t in p.theta.items()}
    reset_peak()
    before = blocks_in_use()[0]
    with torch.no_grad():
        assert not ENGINE.final(p.branch, p.h, theta, p.scale).requires_grad
    with torch.inference_mode():
        ENGINE.final(p.branch, p.h, theta, p.scale)
    ENGINE.final(p.branch, p.h, {role: t.detach() for role, t in theta.items()}, p.scale)
    assert blocks_in_use()[1] - before < 50 * p.h.nbytes  # a few states of each thread
    last = ENGINE.final(p.branch, p.h, theta, p.scale)
    assert last.requires_grad
    assert blocks_in_use()[1] - before >= 1000 * p.h.nbytes


def test_released_memory_is_given_back_and_results_stay():
    p = problem(Perceptron(16, 16), 64, 1000).to(torch.float32)
    first = gradients(ENGINE.final, p)
    assert _native.memory()[2] > 1000 * p.h.nbytes
    ENGINE.release()
    assert _native.memory()[2] == 0
    assert equal(gradients(ENGINE.final, p), first)


def test_memory_of_results_that_are_held_is_not_used_again():
    p, other = (problem(Perceptron(32, 32), 40, 300, seed=seed).to(torch.float32) for seed in (1, 2))
    found = gradients(ENGINE.final, p)  # the weights' gradients are blocks of the engine: 1.2 MB each
    states = ENGINE.states(p.branch, p.h, p.theta, p.scale)
    copies, states_copy = {role: t.clone() for role, t in found.items()}, states.clone()
    for _ in range(3):
        gradients(ENGINE.final, other)
        ENGINE.states(p.branch, other.h, other.theta, p.scale)
    assert equal(found, copies)
    assert torch.equal(states, states_copy)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("native:other", r"memory: expected one of .*store.*; found 'other'"),
        ("native:", r"memory: expected one of auto, recompute, store; found ''"),
        ("native:recompute=x", r"engine: expected native:recompute=S with a number S, found 'x'"),
        ("native:recompute=-1", r"engine: expected native:recompute=S with a number S, found '-1'"),
        ("native:recompute=0", r"interval: expected .* found 0"),
        ("native:store=3", r"interval: expected with memory 'recompute' only, found with 'store'"),
        ("torch:store", r"engine: expected a way of working with native or triton alone, found 'torch:store'"),
        ("auto:store", r"engine: expected a way of working with native or triton alone, found 'auto:store'"),
    ],
)
def test_a_way_that_there_is_not_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        named(name)


def test_a_way_makes_an_engine_of_its_own():
    assert named("native") is ENGINES["native"] == NativeEngine("auto")
    assert named("native:store") == NativeEngine("store")
    assert named("native:recompute") == NativeEngine("recompute")
    assert named("native:recompute=64") == NativeEngine("recompute", 64)
    assert named("auto") is None


# --- threads and processes ---


@precisions
@some
@members
def test_results_are_the_same_to_the_last_bit_on_any_number_of_threads(threads, case, members, dtype):
    p = problem(case.build(5, 6), 200, 4, members=members).to(dtype)
    results = []
    for count in (1, 2, 3, 5):
        torch.set_num_threads(count)
        results += [gradients(way_of(way).final, p) for way in ("native", "native:recompute")]
    assert all(equal(found, results[0]) for found in results[1:])


def test_several_threads_of_python_share_the_engine(threads):
    torch.set_num_threads(2)
    problems = [problem(case.build(3, 4), 70, 20, seed=seed) for seed, case in product(range(8), SOME[:2])]
    expected = [gradients(ENGINE.final, p) for p in problems]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: gradients(ENGINE.final, p), problems * 4))
    assert all(equal(f, e) for f, e in zip(found, expected * 4, strict=True))


ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Spoken:
    """A fixed problem, solved in this process or in another."""

    threads: int = 3

    def __call__(self) -> dict[str, list[float]]:
        torch.set_num_threads(self.threads)
        found = gradients(ENGINE.final, problem(Perceptron(3, 4, bias=True), 200, 20))
        return {role: t.flatten().tolist() for role, t in found.items()}


def test_a_process_of_its_own_gives_the_same_bits(threads):
    here = Spoken()
    program = f"import json; from tests.engines.test_native import Spoken; print(json.dumps(Spoken({here.threads})()))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == here()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_works_on_beside_its_parent(threads):
    """The child has none of its parent's threads; a child of the child has none of its own."""
    here = Spoken()()
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that waits for threads that are not there
        well = Spoken()() == here
        grandchild = os.fork()
        if grandchild == 0:
            signal.alarm(30)
            os._exit(0 if Spoken()() == here else 1)
        os._exit(0 if well and os.waitpid(grandchild, 0)[1] == 0 else 1)
    assert Spoken()() == here
    assert os.waitpid(child, 0)[1] == 0


# --- instruction sets ---


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@some
@members
def test_every_instruction_set_agrees_with_the_oracle(instruction_sets, name, case, members):
    _native.use_instruction_set(name)
    assert _native.instruction_set() == name
    assert ENGINE.title == f"native ({name})"
    for samples, d, m, depth in [(5, 3, 4, 6), (70, 17, 9, 3), (33, 1, 33, 2)]:
        p = shrunk(problem(case.build(d, m), samples, depth, members=members, seed=4))
        assert max(bounds(p)) <= 1
        results = [gradients(way_of(way).final, p) for way in ("native:store", "native:recompute=2")]
        assert equal(*results)


def test_an_instruction_set_that_is_not_there_is_refused():
    before = _native.instruction_set()
    with pytest.raises(ValueError, match="instruction set: mmx was not compiled"):
        _native.use_instruction_set("mmx")
    assert _native.instruction_set() == before


def test_the_best_instruction_set_of_the_processor_is_in_use():
    assert _native.instruction_set() == INSTRUCTION_SETS[0]
    assert INSTRUCTION_SETS[-1] == "generic"


# --- choice ---


class Flipped(Tanh):
    def __call__(self, z):
        return -super().__call__(z)


class Leakier(LeakyReLU):
    pass


def test_it_knows_the_perceptron_and_the_branches_with_one_matrix_alone():
    assert len(KNOWN) == 12 * len(ACTIVATIONS)
    assert [case for case in CASES if ENGINE.supports(case.build(1, 1))] == KNOWN


@pytest.mark.parametrize("branch", [Perceptron(3, 5, Flipped()), OneMatrix(3, Leakier(0.1)), Convolution(2, (3, 3))])
def test_what_may_compute_something_else_is_not_taken_for_what_it_knows(branch):
    assert not ENGINE.supports(branch)
    assert select("auto", branch).name != "native"
    with pytest.raises(
        InputError, match=f"engine: expected one that runs {type(branch).__name__} .*found 'native:store'"
    ):
        select("native:store", branch)


@pytest.mark.parametrize(
    ("like", "where"),
    [
        (torch.ones(5, 3, dtype=torch.float16), "on torch.float16 of cpu"),
        (torch.ones(5, 3, dtype=torch.bfloat16), "on torch.bfloat16 of cpu"),
        (torch.ones(5, 3, device="meta"), "on torch.float32 of meta"),
        (torch.ones(0, 3), "on torch.float32 of cpu"),
    ],
    ids=["float16", "bfloat16", "meta", "no samples"],
)
def test_what_the_kernels_do_not_take_goes_to_another_engine(like, where):
    assert select("auto", Perceptron(3, 4), like=like).name == "torch"
    with pytest.raises(InputError, match=rf"expected one that runs Perceptron {where} .*found 'native'"):
        select("native", Perceptron(3, 4), like=like)
    assert select("native", Perceptron(3, 4), like=torch.ones(5, 3)) is ENGINES["native"]


@pytest.mark.parametrize(
    "x",
    [torch.ones(5, 3, dtype=torch.bfloat16), torch.ones(5, 3, device="meta"), torch.ones(0, 3)],
    ids=["bfloat16", "meta", "no samples"],
)
def test_a_network_runs_where_the_kernels_do_not(x):
    network = ResidualStack(Perceptron(3, 4), 5)
    theta = {role: t.to(x).requires_grad_() for role, t in network.initialise(0).items()}
    last = network(theta, x)
    last.sum().backward()
    assert (last.shape, last.dtype, last.device) == (x.shape, x.dtype, x.device)


def test_precisions_that_do_not_go_together_are_refused():
    network = ResidualStack(Perceptron(3, 4), 5)
    with pytest.raises(
        InputError, match=r"stack: expected W \[5, 4, 3\] in torch.float64 on cpu, found .* in torch.float32 on cpu"
    ):
        network(network.initialise(0), torch.ones(2, 3, dtype=torch.float64), engine="native")


# --- the tools of PyTorch ---


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, of its tracing
@pytest.mark.parametrize("interval", [1, 3])
@some
@members
def test_the_operator_is_one_that_pytorch_knows_all_about(case, members, interval):
    """Its schema, its gradient's registration, its shapes under tracing with sizes that vary, and both against the real ones."""
    p = problem(case.build(3, 4), 5, 6, members=members)
    *tensors, name, numbers = native._call(p.branch, p.h, p.theta, p.scale)
    inputs = [t if t is None else t.clone().requires_grad_() for t in tensors]
    passed = torch.library.opcheck(torch.ops.deeplimit.stack, (*inputs, name, numbers, interval))
    assert set(passed.values()) == {"SUCCESS"}
    kept = torch.ops.deeplimit.stack(*tensors, name, numbers, interval)[1]
    call = (p.p, kept, *tensors[1:], name, numbers, interval)
    checks = ("test_schema", "test_faketensor")
    assert set(torch.library.opcheck(torch.ops.deeplimit.stack_backward, call, test_utils=checks).values()) == {
        "SUCCESS"
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_stack_gives_the_same_bits():
    engine, p = NativeEngine("recompute", 2), problem(Perceptron(3, 4, bias=True), 5, 6)
    torch._dynamo.reset()
    compiled = torch.compile(engine.final, backend="aot_eager", fullgraph=True)
    assert equal(gradients(compiled, p), gradients(engine.final, p))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("engine", ["auto", "native:recompute"])
def test_a_compiled_network_gives_the_same_numbers(engine):
    module = ResidualStack(Perceptron(3, 4), 6).module(0, dtype=torch.float64, engine=engine)
    weights, x = dict(module.named_parameters()), problem(Perceptron(3, 4), 5, 1).h
    with torch.no_grad():
        weights["V"].copy_(0.1 * weights["W"].mT)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager")
    for samples in (5, 4, 3):  # PyTorch takes sizes for variables from the second one on
        found, expected = compiled(x[:samples]), module(x[:samples])
        assert relative(found, expected) <= 1e-14
        (gradient,), (known,) = (torch.autograd.grad(out.sum(), weights["V"]) for out in (found, expected))
        assert relative(gradient, known) <= 1e-13


def test_members_may_share_their_numbers_in_memory():
    p = problem(Perceptron(3, 4), 5, 6)
    shared = replace(
        p,
        h=p.h.expand(3, -1, -1),
        p=p.p.expand(3, -1, -1),
        theta={r: t.expand(3, -1, -1, -1) for r, t in p.theta.items()},
    )
    together, alone = gradients(ENGINE.final, shared), gradients(ENGINE.final, p)
    assert all(torch.equal(together[role][e], alone[role]) for role in alone for e in range(3))


# --- as a part of a network ---


@members
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (5, 3, 4, 6), (33, 17, 9, 5)], ids=str)
def test_the_states_are_those_of_the_reference(sizes, members):
    samples, d, m, depth = sizes
    for case in SOME:
        p = shrunk(problem(case.build(d, m), samples, depth, members=members))
        found = ENGINE.states(p.branch, p.h.clone().requires_grad_(), p.theta, p.scale)
        expected = ReferenceEngine().states(p.branch, p.h, p.theta, p.scale)
        assert not found.requires_grad
        assert relative(found, expected) <= 1e-13
        assert torch.equal(found[-1], ENGINE.final(p.branch, p.h, p.theta, p.scale))


def test_a_module_is_copied_and_stored_as_with_any_engine(tmp_path):
    network = ResidualStack(Perceptron(3, 4), 5)
    module, x = network.module(0, engine="native"), torch.randn(7, 3)
    with torch.no_grad():
        module.get_parameter("V").normal_()
    twin = copy.deepcopy(module)
    torch.save(module.state_dict(), tmp_path / "weights")
    fresh = network.module(1, engine="native")
    assert not torch.equal(fresh(x), module(x))
    fresh.load_state_dict(torch.load(tmp_path / "weights"))
    assert torch.equal(twin(x), module(x))
    assert torch.equal(fresh(x), module(x))
    module(x).sum().backward()
    expected = module.get_parameter("V").grad
    assert twin.get_parameter("V").grad is None
    twin(x).sum().backward()
    found = twin.get_parameter("V").grad
    assert found is not None
    assert expected is not None
    assert torch.equal(found, expected)
