"""CIFAR-10: the plan is the published recipe, and one short training of each kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from deeplimit.branches import GELU, Identity, ReLU
from deeplimit.data import FixedPairs, Images
from deeplimit.data.sets import SETS
from deeplimit.measures import Entry, HeldOut
from deeplimit.networks import ConvolutionalStack
from deeplimit.papers.marion2024.cifar.runs import ENTRY, ROLES
from deeplimit.training import SGD, Batches, CosineDecay
from tests.data.fakes import tiny_cifar
from tests.papers.lewkowycz2020.images import rows_of, shrunk
from tests.papers.marion2024.cifar.planned import runs


def test_the_plan_is_the_recipe_of_the_released_code() -> None:
    full = runs("full")
    assert [(r.labels["activation"], r.labels["start"]) for r in full[:3]] == [
        ("identity", "tied"),
        ("identity", "i.i.d."),
        ("GELU", "tied"),
    ]
    activations = {"identity": Identity(), "GELU": GELU(), "ReLU": ReLU()}
    for run in full:
        (network,) = run.networks
        assert isinstance(network, ConvolutionalStack)
        assert (network.depth, network.channels, network.norm) == (256, 16, True)
        assert network.tied == (run.labels["start"] == "tied")
        assert network.activation == activations.get(str(run.labels["activation"]), network.activation)
        assert run.optimizer == SGD(0.04, 0.9, 5e-4)
        assert run.iterations == 180 * 782
        assert (run.batches, run.decay) == (Batches(64), CosineDecay(180))
        assert len(run.seeds) == 5
    assert len(full) == 10
    assert {run.iterations for run in runs("quick")} == {600}
    assert len(runs("quick")) == 6


@pytest.mark.parametrize("tier", ["quick", "paper", "full"])
def test_no_image_of_the_test_set_is_trained_on(tier: str) -> None:
    for run in runs(tier):
        (held,) = (m for m in run.measures if isinstance(m, HeldOut))
        for pairs, part in ((run.data, "train"), (held.data, "test")):
            assert isinstance(pairs, FixedPairs)
            assert isinstance(pairs.pairs, Images)
            assert pairs.pairs.part == part


def test_one_of_each_start_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planned = runs("quick")[:2]
    monkeypatch.setenv("DEEPLIMIT_DATA", str(tmp_path))
    monkeypatch.setitem(SETS, "cifar-10", tiny_cifar(tmp_path, batch=10))
    for task in planned:
        network = dataclasses.replace(task.networks[0], depth=6)  # type: ignore[type-var]
        short = shrunk(task, train=30, validation=0, test=10, iterations=6)
        measures = [m if not isinstance(m, Entry) else Entry(m.role, ENTRY) for m in short.measures]
        rows = rows_of(dataclasses.replace(short, networks=(network,), measures=tuple(measures), seeds=(1, 2)))
        last = rows.filter(pl.col("iteration") == 6)
        lags = last.filter(pl.col("quantity") == f"smooth.lag.{ROLES[0]}")["value"]
        assert len(lags) == 2
        # After six updates layers are where they started: equal, or independent.
        assert (lags > 0.9).all() if task.labels["start"] == "tied" else (lags < 0.3).all()
