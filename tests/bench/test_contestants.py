from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import pytest
import torch

from deeplimit.bench.cases import CASES, Case
from deeplimit.bench.contestants import INPUT, Compiled, EngineRun, Jax, PlainLoop, contestants, problem
from deeplimit.branches import GELU, Convolution, OneMatrix, Perceptron, ReLU, Tanh
from deeplimit.engines import ENGINES, NativeEngine, ReferenceEngine, TritonEngine

TINY = [
    Case("perceptron", Perceptron(3, 5), 4, 6),
    Case("biased", Perceptron(3, 5, Tanh(), normalised=False, bias=True), 4, 6),
    Case("one-matrix", OneMatrix(3), 4, 6),
    Case("layer-delta", OneMatrix(3, GELU(), delta="layer", bias=False), 4, 6),
    Case("shared-delta", OneMatrix(3, delta="shared"), 4, 6),
    Case("ensemble", Perceptron(3, 5), 4, 6, members=2),
    Case("ensemble-shared-delta", OneMatrix(3, delta="shared"), 4, 6, members=2),
]
tiny = pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
ROWS = {row.name: row for row in contestants(2)}
THERE = {name: row for name, row in ROWS.items() if not row.missing()}
FAST = [row for row in THERE.values() if row.name not in ("jax", "compile")]
needs_native = pytest.mark.skipif("native" not in THERE, reason="the native engine is not built here")


def gradients(contestant, case):
    prepared = contestant.prepare(problem(case))
    return prepared.read(prepared.run())


def agree(contestant, case):
    """Whether its gradients are those of the reference engine, up to the rounding of float32."""
    found, expected = gradients(contestant, case), gradients(EngineRun("oracle", "oracle"), case)
    assert list(found) == [*case.branch.shapes, *case.branch.shared_shapes, INPUT]
    for role, gradient in expected.items():
        assert float(gradient.abs().max()) > 1e-5  # nothing is compared with zeros
        torch.testing.assert_close(found[role], gradient, rtol=1e-4, atol=1e-6)


@tiny
@pytest.mark.parametrize("contestant", FAST, ids=lambda row: row.name)
def test_its_gradients_are_those_of_the_reference(contestant, case):
    assert contestant.supports(case)
    agree(contestant, case)


@tiny
def test_the_gradients_of_jax_are_those_of_the_reference(case):
    pytest.importorskip("jax", reason="JAX is an extra, not a requirement of the tests")
    assert ROWS["jax"].missing() == ""
    assert ROWS["jax"].supports(case)
    agree(ROWS["jax"], case)


@pytest.mark.parametrize("case", [TINY[0], TINY[4]], ids=lambda case: case.name)
def test_the_loop_is_traced_as_a_whole(case, monkeypatch):
    # With a backend that needs no C++ compiler: what is ours is that the loop is one graph without breaks.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    agree(ROWS["compile"], case)


def test_a_wrong_gradient_would_be_found(monkeypatch):
    monkeypatch.setattr(Perceptron, "outer_factor", 1.0)
    right = gradients(ROWS["reference"], TINY[0])
    monkeypatch.setattr(Perceptron, "outer_factor", 1.01)
    wrong = gradients(ROWS["plain"], TINY[0])
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(wrong["W"], right["W"], rtol=1e-4, atol=1e-6)


def test_every_engine_is_listed_and_the_fastest_that_is_there_runs_on_several_threads_too():
    assert list(ROWS)[: len(ENGINES)] == list(ENGINES)
    fastest = next(iter(THERE))
    assert ROWS[f"{fastest}-threads"].title == f"{fastest}, 2 threads"
    assert {row.name for row in ROWS.values() if row.threads == 2} == {f"{fastest}-threads", "plain-threads"}
    assert {row.threads for row in contestants(1)} == {1}


@dataclass(frozen=True)
class NotBuilt(NativeEngine):
    missing = "no extension"


def test_an_engine_that_is_not_there_says_why_and_the_next_one_is_the_fastest(monkeypatch):
    monkeypatch.setattr(
        "deeplimit.engines.ENGINES", {"native": NotBuilt(), "triton": TritonEngine(), "reference": ReferenceEngine()}
    )
    rows = {row.name: row for row in contestants(2)}
    assert {name for name, row in rows.items() if row.missing() == "no extension"} == {"native", "native-recompute"}
    assert rows["reference-threads"].threads == 2
    assert "native-threads" not in rows


@needs_native
def test_recomputing_keeps_fewer_bytes_and_both_know_how_many():
    deep = replace(TINY[0], depth=400, samples=100)
    stored, recomputed = (THERE[name].activation_bytes(deep) for name in ("native", "native-recompute"))
    assert stored is not None
    assert recomputed is not None
    assert stored >= 400 * 100 * 3 * 4  # all states, in float32
    assert recomputed < stored / 2


def test_names_and_titles_are_unique():
    assert len({row.title for row in ROWS.values()}) == len(ROWS)
    assert len(contestants(2)) == len(ROWS)


def test_a_deep_case_is_capped_for_those_that_unroll_it():
    case = Case("deep", OneMatrix(3), 4, 5000)
    depths = {name: row.asked(case).depth for name, row in ROWS.items()}
    assert (depths["torch"], depths["jax"]) == (5000, 5000)
    assert (depths["plain"], depths["plain-threads"], depths["reference"], depths["compile"]) == (1024, 1024, 1024, 64)
    assert all(row.asked(TINY[0]) == TINY[0] for row in ROWS.values())


def test_what_a_contestant_cannot_compute_it_does_not_support():
    image, kink = Case("image", Convolution(2, (5, 6)), 4, 3), Case("kink", OneMatrix(3, ReLU()), 4, 3)
    assert {name for name, row in ROWS.items() if row.supports(image)} == {"reference"}
    assert not any(ROWS[name].supports(kink) for name in ("plain", "compile", "jax"))
    assert ROWS["plain"].supports(replace(TINY[0], dtype="float64"))
    assert not ROWS["jax"].supports(replace(TINY[0], dtype="float64"))
    assert all(ROWS["plain"].supports(case) for case in CASES if case.device == "cpu")


def test_a_case_of_a_gpu_is_for_one_thread_of_those_that_know_one(monkeypatch):
    case = next(case for case in CASES if case.device == "cuda")
    empty, asked = torch.empty, []

    def pretend(*size, device, dtype):
        asked.append(device)
        return empty(*size, device="meta", dtype=dtype)

    monkeypatch.setattr("torch.empty", pretend)
    for there in (False, True):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        able = {name for name, row in ROWS.items() if row.supports(case)}
        assert able == ({"torch", "reference", "plain", "compile"} if there else set())
    assert set(asked) == {"cuda"}


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "jax is not installed" in Jax("jax", "JAX").missing()
    assert Compiled("compile", "torch.compile").missing() == "no C++ compiler"
    assert PlainLoop("plain", "plain loop").missing() == ""


def test_a_problem_has_the_shapes_and_numbers_of_its_case():
    found = problem(TINY[-1])
    assert {role: tuple(t.shape) for role, t in found.theta.items()} == {
        "A": (2, 6, 3, 3),
        "b": (2, 6, 3),
        "delta": (2,),
    }
    assert found.h.shape == found.p.shape == (2, 4, 3)
    assert all(t.requires_grad and t.is_leaf for t in (found.h, *found.theta.values()))
    assert found.case == TINY[-1]
    assert torch.equal(found.theta["A"], problem(TINY[-1]).theta["A"])
    assert problem(replace(TINY[0], dtype="float64")).h.dtype == torch.float64
    numbers = problem(Case("large", OneMatrix(30), 4, 10)).theta["A"].detach()
    assert float(numbers.std()) == pytest.approx(0.3, rel=0.05)


def test_who_does_not_know_its_memory_says_nothing():
    assert ROWS["plain"].activation_bytes(TINY[0]) is None
    assert ROWS["reference"].activation_bytes(TINY[0]) is None
