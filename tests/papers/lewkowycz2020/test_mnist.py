"""What is trained on MNIST, and that it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplimit.data import FixedPairs, Images
from deeplimit.measures import FullLoss, Geometric, HeldOut
from deeplimit.papers.lewkowycz2020.clock import STUDY
from deeplimit.papers.lewkowycz2020.mnist import BUDGETS, LAW, LONGER, NETWORK, RATE, constants, run_of
from deeplimit.papers.lewkowycz2020.reading import DECAY_TIMES, TEST, TRAINED, VALIDATION, curves
from deeplimit.training import SGD, Adam, Batches, CrossEntropy
from tests.papers.lewkowycz2020.images import rows_of, shrunk
from tests.papers.marion2025.mnist import use_tiny_mnist


@pytest.mark.parametrize("tier", ["quick", "paper", "full"])
def test_constants_last_ten_decay_times_or_the_largest_budget(tier: str) -> None:
    runs = {run.labels["weight_decay"]: run for run in constants(STUDY.settings(tier))}
    assert set(runs) == {*LAW.at(tier), *LONGER.at(tier)}
    for decay, run in runs.items():
        assert run.optimizer == SGD(RATE, weight_decay=float(decay))
        if decay in LAW.at(tier):
            assert run.iterations == round(DECAY_TIMES / (RATE * float(decay)))
        else:
            assert run.iterations == max(BUDGETS.at(tier))


@pytest.mark.parametrize(
    ("tier", "sizes", "seeds"), [("quick", (5_000, 1_000, 1_000), 2), ("paper", (50_000, 5_000, 5_000), 5)]
)
def test_images_are_trained_on_or_looked_at(tier: str, sizes: tuple[int, ...], seeds: int) -> None:
    run = next(constants(STUDY.settings(tier)))
    assert len(run.seeds) == seeds
    assert run.networks == (NETWORK,)
    assert (run.loss, run.batches, run.dtype) == (CrossEntropy(), Batches(100), "float32")
    validation, test, full = run.measures
    assert isinstance(validation, HeldOut)
    assert isinstance(test, HeldOut)
    assert full == FullLoss(accuracy=True)
    assert {validation.at, test.at} == {Geometric(16)}
    images = [pairs.pairs for pairs in (run.data, validation.data, test.data) if isinstance(pairs, FixedPairs)]
    assert tuple(own.samples for own in images if isinstance(own, Images)) == sizes
    trained, aside, held = images
    assert isinstance(trained, Images)
    assert isinstance(aside, Images)
    assert (trained.part, aside.part, held.part) == ("train", "train", "test")  # type: ignore[attr-defined]
    assert (trained.samples or 0) <= aside.offset == 60_000 - sizes[1]


def test_labels_say_what_the_optimiser_does() -> None:
    settings = STUDY.settings("quick")
    heavy = run_of(settings, SGD(0.02, 0.9, 0.03), iterations=1, labels={"setting": "x"})
    assert heavy.labels == {"learning_rate": 0.02, "weight_decay": 0.03, "momentum": 0.9, "setting": "x"}
    adam = run_of(settings, Adam(1e-3, weight_decay=1.0, decoupled=True), iterations=1, labels={}, batches=None)
    assert adam.labels["momentum"] == 0.0
    assert adam.batches is None


def test_a_constant_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = next(constants(STUDY.settings("quick")))
    use_tiny_mnist(monkeypatch, tmp_path, train=60, test=10)
    rows = rows_of(shrunk(run, train=40, validation=20, test=10, iterations=30))
    for quantity, count in ((VALIDATION, 20), (TEST, 10)):
        for labels, times, values in curves(rows, quantity):
            assert labels["weight_decay"] == 0.1
            assert times == [t for t in range(31) if Geometric(16).due(t, final=t == 30)]
            assert all(value * count == pytest.approx(round(value * count), abs=1e-5) for value in values)
    assert set(rows.filter(quantity=TRAINED)["iteration"]) == {30}
