from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deeplimit.bench import cases as rows
from deeplimit.bench import running
from deeplimit.bench.cases import Case, Series, Training
from deeplimit.bench.contestants import EngineRun
from deeplimit.bench.running import Options, bench
from deeplimit.bench.steps import MEASURES, OPTIMIZERS
from deeplimit.bench.timing import Call
from deeplimit.branches import OneMatrix
from deeplimit.checks import InputError
from tests.bench.fakes import Fake, Time

CASE = Case("tiny", OneMatrix(2), 3, 8)
ALONG = (8, 16, 32, 64, 128)
DEPTHS = Series("deeper", "time against depth", "L", ALONG, tuple(CASE.at_depth(L) for L in ALONG))


@pytest.fixture
def time(monkeypatch):
    """A clock; the fastest contestant takes 1 s a layer, the product 1 s."""
    time = Time()
    found = [
        Fake("fast", "fast", time=time, seconds=lambda case: float(case.depth)),
        Fake("fast-threads", "fast, 2 threads", 2, time=time, seconds=lambda case: 0.8 * case.depth),
        Fake("slow", "slow", time=time, seconds=lambda case: 3.0 * case.depth, deepest=4),
        Fake("bad", "bad", error="out of luck"),
        Fake("absent", "not here", absent="not installed"),
        Fake("nothing", "nothing"),
    ]
    monkeypatch.setattr(running, "contestants", lambda threads: found)
    monkeypatch.setattr(running, "_matmul", lambda device: Call(lambda: time.pass_by(1.0)))
    monkeypatch.setattr(rows, "CASES", (CASE,))
    monkeypatch.setattr(rows, "SERIES", (DEPTHS,))
    monkeypatch.setattr(rows, "TRAINING", ())
    return time


def test_each_contestant_is_compared_with_the_first(time):
    report = bench(Options(rounds=5, threads=2), clock=time.clock)
    (found,) = report.cases
    lines = {line.contestant: line for line in found.lines}
    assert list(lines) == ["fast", "fast, 2 threads", "slow"]
    assert {name: line.microseconds.median for name, line in lines.items()} == pytest.approx(
        {"fast": 1e6, "fast, 2 threads": 0.8e6, "slow": 3e6}
    )
    assert [line.ratio.median for line in lines.values()] == pytest.approx([1.0, 0.8, 3.0])
    assert [line.cores for line in lines.values()] == pytest.approx([1.0, 2.0, 1.0])
    assert {line.ratio.n for line in lines.values()} == {5}


def test_a_capped_contestant_is_compared_per_layer_and_marked(time):
    lines = bench(Options(rounds=2, threads=2), clock=time.clock).cases[0].lines
    assert [line.depth for line in lines] == [8, 8, 4]
    assert lines[2].first_seconds == pytest.approx(12.0)  # 4 layers, not 8
    assert lines[2].ratio.median == pytest.approx(3.0)


def test_rates_are_fractions_of_that_of_the_large_product(time):
    (found,) = bench(Options(rounds=2, threads=2), clock=time.clock).cases
    assert found.matmul_gflops.median == pytest.approx(2 * 1024**3 / 1e9)
    assert found.lines[0].share.median == pytest.approx(6 * 3 * 2 * 2 / (2 * 1024**3))


def test_who_fails_or_is_absent_is_named_and_the_others_go_on(time):
    report = bench(Options(rounds=2, threads=2), clock=time.clock)
    assert report.missing == {"not here": "not installed"}
    assert report.cases[0].failed == {"bad": "RuntimeError: out of luck"}
    assert bench(Options(contestants=["bad"], rounds=2), clock=time.clock).cases == ()
    with pytest.raises(InputError, match=r"expected some that can run here, found not here: not installed"):
        bench(Options(contestants=["absent"]), clock=time.clock)


def test_a_series_is_run_by_the_first_contestant_and_has_an_exponent(time):
    (found,) = bench(Options(rounds=3), clock=time.clock).series
    assert (found.contestant, found.along) == ("fast", ALONG)
    assert [t.median for t in found.milliseconds] == pytest.approx([1e3 * L for L in ALONG])
    assert [r.median for r in found.ratio] == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0])
    assert found.exponent == pytest.approx((1.0, 1.0, 1.0))


def test_a_short_series_has_no_exponent(time, monkeypatch):
    monkeypatch.setattr(rows, "SERIES", (replace(DEPTHS, along=ALONG[:3], cases=DEPTHS.cases[:3]),))
    (found,) = bench(Options(rounds=3), clock=time.clock).series
    assert (found.exponent, len(found.ratio)) == (None, 3)


def test_a_series_is_left_to_the_first_that_can_run_it(time):
    (found,) = bench(Options(only=["deeper"], contestants=["slow", "fast-threads"], rounds=2), clock=time.clock).series
    assert found.contestant == "fast, 2 threads"


@pytest.mark.parametrize("name", ["nothing", "bad", "slow"])
def test_a_series_that_nobody_can_run_is_left_out(time, name):
    report = bench(Options(only=["deeper"], contestants=[name], rounds=2), clock=time.clock)
    assert (report.series, report.cases) == ((), ())


@pytest.fixture
def training(time, monkeypatch):
    """Two engines and a training: an evaluation takes 1 s, a step 2 s, an observation 0.1 s; what ran is in `time.called`."""
    seconds = {"evaluation": 1.0, **dict.fromkeys(OPTIMIZERS, 2.0), **dict.fromkeys(MEASURES, 0.1)}

    def calls(case, engine):
        return {name: time.call(s, name=f"{engine}: {name}").run for name, s in seconds.items()}

    engines = [
        EngineRun("reference", "shallow", deepest=4, engine="reference"),
        EngineRun("torch", "torch", engine="torch"),
    ]
    fakes = [Fake("fast", "fast", time=time)]
    monkeypatch.setattr(running, "contestants", lambda threads: [*fakes, *engines])
    monkeypatch.setattr("deeplimit.bench.steps.calls", calls)
    monkeypatch.setattr(
        rows, "TRAINING", (Training("lessons", "steps", (CASE, replace(CASE, name="wide", samples=5))),)
    )
    return time


def test_training_is_run_by_the_first_engine_that_reaches_its_depths(training):
    said: list[str] = []
    report = bench(Options(only=["lessons"], rounds=3), say=said.append, clock=training.clock)
    assert said == ["lessons: steps"]
    assert [(row.name, row.contestant) for row in report.training] == [("tiny", "torch"), ("wide", "torch")]
    assert training.called[0] == "torch: evaluation"
    first = report.training[0]
    assert (first.evaluation.median, first.evaluation.n) == (1000.0, 3)
    assert [part.share.median for part in first.steps] == pytest.approx([0.5, 0.5, 0.5])
    assert (report.cases, report.series) == ((), ())


@pytest.mark.parametrize("name", ["fast", "reference"])
def test_a_training_that_no_engine_can_run_is_left_out(training, name):
    assert bench(Options(only=["lessons"], contestants=[name]), clock=training.clock).training == ()


def test_only_what_is_asked_for_is_measured_and_said(time):
    said: list[str] = []
    report = bench(Options(only=["tiny"], contestants=["slow"], rounds=2), say=said.append, clock=time.clock)
    assert said == [f"tiny: {CASE.title}"]
    assert [line.contestant for line in report.cases[0].lines] == ["slow"]
    assert report.series == ()


def test_contestants_with_several_threads_have_their_turn_last(time, monkeypatch):
    order: list[str] = []

    def race(calls, **options):
        order.extend(calls)
        return {}

    monkeypatch.setattr(running, "race", race)
    with pytest.raises(KeyError, match="fast"):  # no track comes back
        bench(Options(only=["tiny"], threads=2))
    assert order == ["matmul", "fast", "slow", "bad", "fast, 2 threads"]


def test_the_number_of_threads_is_put_back(time):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        bench(Options(contestants=["fast"], rounds=2), clock=time.clock)  # on one thread
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_machine_is_described(time):
    machine = bench(Options(rounds=1), clock=time.clock).machine
    assert machine.versions["torch"] == torch.__version__
    assert machine.date.startswith("20")
    assert machine.processors >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["tinny"]}, "only: expected one of tiny"),
        ({"contestants": ["slwo"]}, "contestants: expected one of slow"),
        ({"rounds": 0}, "rounds: expected an integer from 1 to 10000, found"),
        ({"threads": 0}, "threads: expected an integer of at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(time, options, message):
    with pytest.raises(InputError, match=message):
        bench(Options(**options), clock=time.clock)


def test_the_real_contestants_run_a_real_case(monkeypatch):
    monkeypatch.setattr(rows, "CASES", (replace(CASE, depth=4),))
    monkeypatch.setattr(running, "MATRIX", 8)
    report = bench(Options(["tiny"], ["torch", "reference", "plain"], rounds=1))
    assert [line.contestant for line in report.cases[0].lines] == ["torch", "reference", "plain loop"]
    assert all(line.microseconds.median > 0 for line in report.cases[0].lines)


def test_a_series_over_threads_changes_them_and_nothing_else(time, monkeypatch):
    seen: list[int] = []
    monkeypatch.setattr(running, "_set_threads", seen.append)
    row = Series("threads", "time against threads", "threads", (1, 2), (CASE, CASE), threads=True)
    fast = Fake("fast", "fast", time=time, seconds=lambda case: float(case.depth))
    (found,) = running.Heat([fast], rounds=2, clock=time.clock).series(row)
    assert found.along == (1, 2)
    assert set(seen) == {1, 2}
