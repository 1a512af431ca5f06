"""CIFAR-10: the plan, the claims on planted norms, and one training of a few steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import torch

from deeplimit.claims import judge
from deeplimit.data import CIFAR_CHANNELS, FixedPairs, Images
from deeplimit.data.sets import SETS
from deeplimit.measures import BlockNorms, HeldOut
from deeplimit.networks import StagedResidual
from deeplimit.papers.cohen2021.cifar import (
    BLOCKS,
    CURVES,
    DECAY,
    FORGOTTEN,
    PLOTTED,
    REMEMBERED,
    SIZES,
    STUDY,
    bulk,
)
from deeplimit.papers.marion2024.cifar.runs import AUGMENTED
from deeplimit.records import Row
from deeplimit.training import SGD, Batches, CosineDecay, CrossEntropy, TrainingRun
from tests.data.fakes import tiny_cifar
from tests.papers.lewkowycz2020.images import rows_of, shrunk

Law = Callable[[int, int], float]
"""Depth, block -> norm."""


def runs(tier: str) -> list[TrainingRun]:
    return [task for task in STUDY.plan(tier) if isinstance(task, TrainingRun)]


def sparse(depth: int, block: int) -> float:
    """Eight blocks of norm 4, the others fall with depth."""
    return 4.0 if block * 8 // depth != (block - 1) * 8 // depth else 8 / depth


def dense(depth: int, block: int) -> float:
    """All blocks alike."""
    return 1.2


def planted(law: Law, *, tier: str = "paper", accuracy: float = 0.5) -> pl.DataFrame:
    """Rows of all runs of a plan, whose blocks have the norms of a law; a seed moves all norms by a thousandth."""
    rows = [row for run in runs(tier) for seed in run.seeds for row in _run(run, law, seed=seed, accuracy=accuracy)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _run(run: TrainingRun, law: Law, *, seed: int, accuracy: float) -> Iterator[Row]:
    (network,) = run.networks
    common: Row = {**run.labels, "depth": network.depth, "seed": seed}
    # A little of each depth's own: nothing is measured with an interval of no width.
    factor = 1 + (seed % 10 - 1) / 1000 * math.log(network.depth)
    found = [factor * law(network.depth, k) for k in range(1, network.depth + 1)]
    squares = [a**2 for a in found]
    numbers = {
        "maximum": max(found),
        "root_sum_of_squares": math.sqrt(sum(squares)),
        "carriers": sum(squares) ** 2 / sum(a**2 for a in squares),
        "increment": max(found) - min(found) + factor,
    }
    for iteration in (0, run.iterations):
        end: Row = {**common, "iteration": iteration}
        for kind in ("A", "delta"):
            for k, a in enumerate(found, start=1):
                yield {**end, "quantity": f"block.{kind}", "index": k, "value": a * (1 if iteration else 2)}
            for name, value in numbers.items() if iteration else ():
                yield {**end, "quantity": f"statistic.{name}.{kind}", "value": value}
        for name in ("accuracy.full", "test.accuracy", "loss.full"):
            yield {**end, "quantity": name, "value": accuracy}


def rulings(law: Law, *, tier: str = "paper") -> dict[str, str]:
    rows = planted(law, tier=tier)
    return {claim.id.removeprefix("cohen2021."): judge(claim, rows, tier=tier).ruling for claim in STUDY.claims}


def test_sparse_norms_are_found_sparse_and_equal_ones_are_not() -> None:
    few, all_alike = rulings(sparse), rulings(dense)
    for kind in ("a", "delta"):
        for name in (f"11.maximum-{kind}", f"11.root-sum-of-squares-{kind}", f"12.bulk-{kind}", f"12.carriers-{kind}"):
            assert few[name] == "reproduced", name
        for name in (f"11.root-sum-of-squares-{kind}", f"12.bulk-{kind}", f"12.carriers-{kind}"):
            assert all_alike[name] == "not reproduced", name
        assert all_alike[f"12.remembered-{kind}"] == "reproduced"
        assert few[f"12.remembered-{kind}"] == "not reproduced"
    falling = rulings(lambda depth, block: 4 / math.sqrt(depth))
    assert falling["11.maximum-a"] == falling["11.maximum-delta"] == "not reproduced"


def test_what_the_authors_read_off_64_channels_is_decided_at_full_alone() -> None:
    for tier in ("quick", "paper"):
        found = rulings(sparse, tier=tier)
        for name in ("12.contrast", *(f"11.{c.slug}-{what}" for c in CURVES for what in ("slope", "levels"))):
            assert found[name] == "undecided", name
    assert set(rulings(sparse, tier="quick").values()) == {"undecided"}
    full = rulings(lambda depth, block: 4.2 if block == 1 else 4.2 * 0.35 / 4, tier="full")
    assert full["12.contrast"] == full["11.maximum-a-levels"] == "reproduced"
    assert full["11.maximum-a-slope"] == "reproduced"
    assert full["11.root-sum-of-squares-a-levels"] == "not reproduced"


def test_exponents_suppose_that_all_networks_learn() -> None:
    (claim,) = [claim for claim in STUDY.claims if claim.id == "cohen2021.11.trained"]
    assert judge(claim, planted(sparse, accuracy=0.3), tier="paper").ruling == "reproduced"
    assert judge(claim, planted(sparse, accuracy=0.1), tier="paper").ruling == "not reproduced"


def test_the_bulk_is_that_of_the_blocks_at_the_end() -> None:
    rows = planted(sparse).filter(pl.col("setting") == FORGOTTEN)
    at_33 = bulk(rows, "A").filter(pl.col("depth") == 33)["value"].to_list()
    assert len(at_33) == 3
    assert at_33 == pytest.approx([8 / 33] * 3, rel=0.01)
    assert bulk(rows, "A", statistic="min")["value"].min() == pytest.approx(8 / 33, rel=0.01)


def test_pictures() -> None:
    rows = planted(sparse)
    panels = {figure.id: figure.panels(rows) for figure in STUDY.figures}
    shape = {name: [len(panel.curves) for panel in found] for name, found in panels.items()}  # type: ignore[union-attr]
    assert shape == {
        "cifar-norms": [3, 3, 3, 3],
        "cifar-cloud": [3, 3, 3, 3],
        "cifar-accuracy": [2, 2, 2],
        "cifar-training": [3, 3, 3, 3],
    }
    cloud = panels["cifar-cloud"][0].curves[0]  # type: ignore[union-attr]
    assert len(cloud.x) == sum((8, 12, 16, 20, 24, 33))
    quick = planted(sparse, tier="quick")
    assert [len(figure.panels(quick)) for figure in STUDY.figures] == [2, 4, 2, 2]


def test_the_depths_are_the_blocks_of_the_released_networks() -> None:
    assert all(depth == sum(blocks) for depth, blocks in BLOCKS.items())
    assert len(PLOTTED) == 15
    assert set(BLOCKS) - set(PLOTTED) == {18}
    assert all(len(blocks) == 4 and min(blocks) >= 2 for blocks in BLOCKS.values())


def test_full_is_the_authors_recipe() -> None:
    full = runs("full")
    assert [run.networks[0] for run in full] == [StagedResidual(BLOCKS[depth]) for depth in PLOTTED]
    for run in full:
        assert run.optimizer == SGD(0.1, 0.9, 5e-4)
        assert (run.batches, run.decay, run.loss) == (Batches(128), CosineDecay(200), CrossEntropy())
        assert run.iterations == 200 * 391
        assert run.labels["setting"] == FORGOTTEN
        assert isinstance(run.data, FixedPairs)
        assert run.data.pairs == Images(
            "cifar-10", scale=CIFAR_CHANNELS, flatten=False, targets="labels", shuffled=True
        )
    assert math.exp(-SIZES.at("full").decay_times(DECAY)) == pytest.approx(2.9e-9, rel=0.1)


def test_smaller_tiers_forget_the_start_by_more_l2_and_only_that() -> None:
    paper = runs("paper")
    assert {run.labels["setting"] for run in paper} == {FORGOTTEN, REMEMBERED}
    assert {run.labels["setting"] for run in runs("quick")} == {REMEMBERED}
    for run in paper:
        assert isinstance(run.optimizer, SGD)
        assert run.networks[0].depth in BLOCKS
        authors = run.labels["setting"] == REMEMBERED
        assert (run.optimizer.weight_decay == 5e-4) == authors
        assert run.optimizer.weight_decay == run.labels["weight_decay"]


def test_decay_times_are_those_of_weights_without_gradients() -> None:
    size = dataclasses.replace(SIZES.at("paper"), images=320, epochs=40)
    theta, speed = 1.0, 0.0
    for epoch in range(size.epochs):
        rate = 0.1 * CosineDecay(size.epochs).factor_at(epoch)
        for _ in range(10):
            speed = 0.9 * speed + 0.005 * theta
            theta -= rate * speed
    assert -math.log(theta) == pytest.approx(size.decay_times(0.005), rel=0.05)


def test_the_augmentation_has_black_lines() -> None:
    raw = torch.ones(40, 3, 32, 32)
    mean, sd = (torch.tensor(n)[:, None, None] for n in (CIFAR_CHANNELS.mean, CIFAR_CHANNELS.sd))
    found, _ = AUGMENTED((raw - mean) / sd, torch.zeros(40), generator=torch.Generator().manual_seed(0))
    values = (found * sd + mean).unique()
    assert float(values.min()) == pytest.approx(0.0, abs=1e-6)
    assert float(values.max()) == pytest.approx(1.0)
    assert all(min(abs(float(v)), abs(float(v) - 1)) < 1e-5 for v in values)


def test_one_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shallow, *_, deepest = runs("quick")
    monkeypatch.setenv("DEEPLIMIT_DATA", str(tmp_path))
    monkeypatch.setitem(SETS, "cifar-10", tiny_cifar(tmp_path, batch=10))
    for run in (shallow, deepest):
        looked = [m for m in run.measures if isinstance(m, BlockNorms)]
        assert len(looked) == 1
        assert looked[0].at.due(0) == (run is deepest)
        assert looked[0].at.due(run.iterations, final=True)
        assert [m.name for m in run.measures if isinstance(m, HeldOut)] == ["test"]
    rows = rows_of(shrunk(shallow, train=30, validation=10, test=10, iterations=4))
    ends = rows.filter(pl.col("quantity") == "block.A")
    assert sorted(ends["index"].unique()) == list(range(1, 9))
    assert set(ends["iteration"]) == {4}
    assert {"test.accuracy", "accuracy.full", "loss.full", "statistic.increment.delta"} <= set(rows["quantity"])
    assert set(rows["setting"]) == {REMEMBERED}
