from __future__ import annotations

import dataclasses
import itertools

import polars as pl
import pytest

from deeplimit.claims import judge
from deeplimit.networks import as_stack
from deeplimit.papers.marion2025 import accuracy
from deeplimit.papers.marion2025.accuracy import CONTOUR, GRID, GUESSING, SIZES, accuracies, contour, crossing
from deeplimit.records import Context, frame
from deeplimit.training import TrainingRun
from tests.papers.marion2025.mnist import use_tiny_mnist

(STUDY,) = accuracy.STUDIES


def claim(name: str):
    return next(c for c in STUDY.claims if c.id == f"marion2025.17.{name}")


def cell(hurst: float, beta: float, *, validation: dict[float, float], test: dict[float, float], size: str = "reduced"):
    return [
        {"size": size, "hurst": hurst, "beta": beta, "quantity": f"{name}.accuracy", "learning_rate": rate, "value": a}
        for name, scores in (("validation", validation), ("test", test))
        for rate, a in scores.items()
    ]


def map_with_line(shift: float) -> pl.DataFrame:
    """Accuracies that rise from .1 to .9 within .1 around the published line, moved up."""
    rows = []
    for hurst, beta in itertools.product(GRID, GRID):
        value = min(0.9, max(0.1, 0.5 + 8 * (beta - CONTOUR.get(hurst, 0.05) - shift)))
        rows += cell(hurst, beta, validation={1e-2: value}, test={1e-2: value})
    return pl.DataFrame(rows)


def test_the_rate_is_chosen_on_validation_images_and_judged_on_others():
    rows = cell(0.5, 0.2, validation={1e-3: 0.6, 1e-2: 0.5}, test={1e-3: 0.4, 1e-2: 0.7})
    assert accuracies(pl.DataFrame(rows)) == {(0.5, 0.2): 0.4}
    published = cell(0.5, 0.2, validation={}, test={1e-3: 0.4, 1e-2: 0.7}, size="L = 100")
    assert accuracies(pl.DataFrame(rows + published), "L = 100") == {(0.5, 0.2): 0.7}
    with pytest.raises(LookupError, match="no cells of size L = 1000"):
        accuracies(pl.DataFrame(rows), "L = 1000")


def test_networks_that_all_diverged_guess():
    diverged = {
        "size": "reduced",
        "hurst": 0.9,
        "beta": 0.1,
        "quantity": "diverged",
        "learning_rate": 1.0,
        "value": 1.0,
    }
    assert accuracies(pl.DataFrame([diverged])) == {(0.9, 0.1): GUESSING}


def test_a_crossing_is_the_last_one():
    assert crossing({0.1: 0.6, 0.2: 0.2, 0.3: 0.7, 0.4: 0.9}) == pytest.approx(0.26)
    assert crossing({0.1: 0.6, 0.2: 0.7}) is None
    assert contour({(0.5, 0.1): 0.2, (0.5, 0.3): 0.8, (0.1, 0.1): 0.9, (0.1, 0.3): 0.9}) == {0.5: pytest.approx(0.2)}


@pytest.mark.parametrize(("shift", "ruling"), [(0.0, "reproduced"), (0.15, "not reproduced")])
def test_the_contour_is_compared_with_the_published_one(shift, ruling):
    verdict = judge(claim("contour"), map_with_line(shift), tier="paper")
    assert verdict.ruling == ruling
    assert verdict.measured is not None
    assert verdict.measured.value == pytest.approx(shift, abs=0.03)


def test_smooth_weights_need_a_larger_beta_and_networks_above_the_line_learn():
    rows = map_with_line(0.0)
    assert judge(claim("smooth-needs-scaling"), rows, tier="quick").ruling == "reproduced"
    assert judge(claim("above"), rows, tier="quick").ruling == "reproduced"
    alike = [row for h in GRID for b in GRID for row in cell(h, b, validation={1.0: b}, test={1.0: b})]
    assert judge(claim("smooth-needs-scaling"), pl.DataFrame(alike), tier="quick").ruling == "not reproduced"
    assert judge(claim("above"), pl.DataFrame(alike), tier="quick").ruling == "undecided"


def test_cells_of_published_size_are_judged_by_their_size():
    rows = []
    for size, middle in (("L = 100", 0.2), ("L = 1000", 0.4)):
        for beta in GRID[:6]:
            rows += cell(0.9, beta, validation={}, test={1e-3: 0.96 if beta > middle else 0.1}, size=size)
    table = pl.DataFrame(rows)
    assert judge(claim("contour-at-100"), table, tier="paper").ruling == "not reproduced"
    assert judge(claim("contour-at-1000"), table, tier="paper").ruling == "reproduced"
    assert judge(claim("accuracy"), table, tier="paper").ruling == "reproduced"
    assert judge(claim("accuracy-with-frozen-ends"), table, tier="paper").ruling == "undecided"


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_every_cell_has_its_own_hurst_index_and_beta(tier):
    tasks = STUDY.plan(tier)
    assert all(isinstance(task, TrainingRun) for task in tasks)
    names = [tuple(task.labels.values()) for task in tasks]
    assert len(set(names)) == len(names)
    reduced = {name[1:] for name in names if name[0] == "reduced"}
    assert len(reduced) == {"quick": 24, "paper": 100}[tier]
    for task in tasks:
        assert isinstance(task, TrainingRun)
        network = as_stack(*task.networks)
        assert network.depth == SIZES[str(task.labels["size"])].depth
        assert network.scaling.beta == task.labels["beta"]
        assert ("embedding" in network.trainable) == ("frozen" not in str(task.labels["size"]))


def test_a_cell_is_trained_and_seen_on_both_sets(monkeypatch, tmp_path):
    task = STUDY.plan("quick")[0]
    use_tiny_mnist(monkeypatch, tmp_path, train=40, test=6)
    assert isinstance(task, TrainingRun)
    data = dataclasses.replace(task.data, samples=30)  # type: ignore[type-var]
    tested, validation = task.measures
    small = dataclasses.replace(
        task,
        networks=(as_stack(task.networks[0]).at_depth(10),),
        data=data,
        iterations=2,
        measures=(
            dataclasses.replace(tested, data=dataclasses.replace(tested.data, samples=6)),  # type: ignore[union-attr,type-var]
            dataclasses.replace(validation, data=dataclasses.replace(validation.data, samples=10, offset=30)),  # type: ignore[union-attr,type-var]
        ),
    )
    rows = frame(small.run(Context())).with_columns(size=pl.lit("reduced"), hurst=0.1, beta=0.1)
    assert set(rows["quantity"]) == {"test.loss", "test.accuracy", "validation.loss", "validation.accuracy"}
    assert list(accuracies(rows)) == [(0.1, 0.1)]
    (figure,) = STUDY.figures
    assert len(figure.panels(map_with_line(0.0))) == 2
