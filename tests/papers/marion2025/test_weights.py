from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch

from deeplimit.claims import judge
from deeplimit.data import GaussianPairs
from deeplimit.figures import Panel
from deeplimit.measures import At, Entry, Measure
from deeplimit.papers.marion2025 import weights
from deeplimit.papers.marion2025.trained import res1
from deeplimit.papers.marion2025.weights import LABELS, ROUGH, SMOOTH, STARTS, DepthProfile
from deeplimit.records import Context, Row, frame
from deeplimit.training import SGD, SquaredError, TrainingRun
from tests.papers.marion2025.mnist import use_tiny_mnist

(STUDY,) = weights.STUDIES


def claim(name: str):
    return next(c for c in STUDY.claims if c.id == f"marion2025.18.{name}")


def seen(start: str, depth: int, rate: float) -> dict[tuple[int, str], float]:
    """What the measure sees of a network before and after one step of gradient descent on random pairs."""
    beta, process = STARTS[start]
    run = TrainingRun(
        networks=(res1(depth, beta, weights=process),),
        data=GaussianPairs(5, 784, 10),
        optimizer=SGD(rate, layer_factor=True),
        iterations=1,
        measures=(DepthProfile(At((0, 1))),),
        loss=SquaredError(),
    )
    return {(row["iteration"], row["quantity"]): row["value"] for row in run.run(Context())}  # type: ignore[misc]


def test_independent_layers_have_increments_of_root_two_and_no_order():
    found = seen(ROUGH, 200, 1e-3)
    assert found[0, "increment.weights"] == pytest.approx(math.sqrt(2), abs=0.02)
    assert found[0, "hurst.weights"] == pytest.approx(0, abs=0.02)
    assert LABELS[int(found[0, "verdict.weights"])] == "no order"
    assert (0, "movement") not in found
    assert 0 < found[1, "movement"] < 0.1


def test_the_values_of_a_smooth_process_have_increments_of_order_one_over_depth():
    deep, shallow = (seen(SMOOTH, depth, 1e-3) for depth in (200, 100))
    assert shallow[0, "increment.weights"] / deep[0, "increment.weights"] == pytest.approx(2, abs=0.1)
    # The mean square of the derivative of the process is std² / ℓ².
    assert deep[0, "increment.weights"] * 200 == pytest.approx(1 / 0.1, rel=0.15)
    assert LABELS[int(deep[0, "verdict.weights"])] == "smooth"


def test_the_change_is_that_of_the_weights_alone():
    found, faster = (seen(ROUGH, 50, rate) for rate in (1e-3, 1e-2))
    assert faster[1, "movement"] / found[1, "movement"] == pytest.approx(10, rel=1e-4)
    assert faster[1, "increment.change"] == pytest.approx(found[1, "increment.change"], rel=1e-4)
    assert found[1, "increment.change"] < 0.1 < found[1, "increment.weights"]
    low, value, high = (found[1, f"hurst.change{end}"] for end in (".low", "", ".high"))
    assert low < value < high


def test_the_first_step_of_gradient_descent_changes_layers_alike_at_beta_one():
    increments = [seen(ROUGH, depth, 1e-3)[1, "increment.change"] for depth in (32, 64, 128, 256)]
    slope = math.log(increments[-1] / increments[0]) / math.log(8)
    assert slope == pytest.approx(-1, abs=0.1)


def deep_rows(quantity: str, start: str, optimizer: str, slope: float) -> list[Row]:
    return [
        {"part": "depths", "start": start, "optimizer": optimizer, "quantity": quantity, "depth": depth}
        | {"seed": seed, "iteration": 9, "value": (1 + 0.01 * seed) * depth**slope}
        for depth in (32, 64, 128)
        for seed in range(5)
    ]


@pytest.mark.parametrize(
    ("name", "optimizer", "what", "slopes"),
    [
        ("rough-increments", "Adam", "weights", (0.0, -0.5)),
        ("trend-and-noise", "Adam", "change", (-0.6, 0.0)),
        ("trend-of-descent", "gradient descent", "change", (-1.0, -0.5)),
    ],
)
def test_exponents_are_judged_by_optimiser(name, optimizer, what, slopes):
    for slope, ruling in zip(slopes, ("reproduced", "not reproduced"), strict=True):
        rows = deep_rows(f"increment.{what}", ROUGH, optimizer, slope)
        other = "Adam" if optimizer != "Adam" else "gradient descent"
        rows += deep_rows(f"increment.{what}", ROUGH, other, 3.0) + deep_rows(
            f"increment.{what}", SMOOTH, optimizer, 3.0
        )
        assert judge(claim(name), pl.DataFrame(rows), tier="quick").ruling == ruling


@pytest.mark.parametrize(
    ("label", "ruling"), [("no order", "reproduced"), ("rough", "reproduced"), ("smooth", "not reproduced")]
)
def test_rough_weights_may_have_a_trend_and_not_be_smooth(label, ruling):
    row = {"part": "figure", "start": ROUGH, "quantity": "verdict.weights", "iteration": 9}
    rows = pl.DataFrame([{**row, "value": float(LABELS.index(label))}])
    assert judge(claim("rough-stays-rough"), rows, tier="quick").ruling == ruling


@pytest.mark.parametrize(("value", "ruling"), [(0.01, "reproduced"), (0.2, "not reproduced")])
def test_the_hurst_index_is_judged_with_its_interval(value, ruling):
    row = {"part": "figure", "start": ROUGH, "iteration": 9}
    ends = {"": value, ".low": value - 0.01, ".high": value + 0.01}
    rows = [{**row, "quantity": f"hurst.weights{end}", "value": number} for end, number in ends.items()]
    verdict = judge(claim("rough-hurst"), pl.DataFrame(rows), tier="quick")
    assert verdict.ruling == ruling
    assert verdict.measured is not None
    assert verdict.measured.high - verdict.measured.low == pytest.approx(0.02)


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_the_study_has_the_three_networks_and_every_depth_by_both_optimisers(tier):
    tasks = STUDY.plan(tier)
    figure = [task for task in tasks if task.labels["part"] == "figure"]
    assert [task.labels["start"] for task in figure] == list(STARTS)
    assert len(tasks) - len(figure) == len(STARTS) * 2 * 4
    for task in tasks:
        assert isinstance(task, TrainingRun)
        assert task.iterations in {t for measure in task.measures for t in measure.at.iterations}  # type: ignore[attr-defined]


def test_the_figures_are_drawn_from_the_rows(monkeypatch, tmp_path):
    tasks, parts = STUDY.plan("quick", seeds=1), []
    use_tiny_mnist(monkeypatch, tmp_path, train=20, test=5)
    for task in tasks:
        assert isinstance(task, TrainingRun)
        data = dataclasses.replace(task.data, samples=20)  # type: ignore[type-var]
        measures: list[Measure] = [DepthProfile(At((0, 1)))]
        if task.labels["part"] == "figure":
            measures.append(Entry("V", weights.ENTRY, at=At((0, 1))))
        small = dataclasses.replace(task, data=data, iterations=1, measures=tuple(measures))
        if task.networks[0].depth <= 128:
            rows = frame(small.run(Context()))
            parts.append(rows.with_columns(**{name: pl.lit(value) for name, value in task.labels.items()}))
    rows = pl.concat(parts, how="diagonal")
    entries, rates = ([p for p in figure.panels(rows) if isinstance(p, Panel)] for figure in STUDY.figures)
    assert [len(panel.curves) for panel in entries] == [3, 3, 3]
    before, after, change = (torch.tensor(curve.y) for curve in entries[0].curves)
    torch.testing.assert_close(after - before, change)
    assert [len(panel.curves) for panel in rates] == [3, 3, 3]
    with pytest.raises(LookupError, match="no rows with"):
        STUDY.figures[0].panels(rows.head(0))
