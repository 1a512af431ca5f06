"""The two families, their training and their depths."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.measures import FullLoss
from deeplimit.networks import ensemble
from deeplimit.papers.cohen2021.networks import (
    RELU,
    SETTINGS,
    TANH,
    TANH_DEPTHS,
    Setting,
    depth_grid,
    sweep,
    trained,
    up_to,
)
from deeplimit.records import Context, run_id
from deeplimit.study import Tiered
from deeplimit.training import SGD


def test_powers_that_are_integers_are_depths():
    grid = depth_grid(2 ** (1 / 3), 10321)
    assert {4, 8, 64, 512, 1024, 4096, 8192} <= set(grid)
    assert 1023 not in grid
    assert len(grid) == 36
    with pytest.raises(InputError, match="base"):
        depth_grid(1.0, 10)


def test_depths_up_to_a_last_one():
    assert up_to(Tiered(quick=(3, 4), paper=(3, 4, 8)), 4).by_tier == {"quick": (3, 4), "paper": (3, 4)}
    assert max(TANH_DEPTHS.at("paper")) == 10321


def test_the_update_of_tanh_is_that_of_the_paper():
    network = SETTINGS[TANH].network(3)
    params = network.initialise(0, dtype=torch.float64)
    assert float(params["delta"]) == pytest.approx(1 / 3)
    h = x = torch.randn(5, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for A, b in zip(params["A"], params["b"], strict=True):
        h = h + params["delta"] * torch.tanh(h @ A.T + b)
    assert torch.allclose(network(params, x), h)
    assert not torch.allclose(h, x)


def test_the_update_of_relu_has_a_delta_per_layer():
    network = SETTINGS[RELU].network(3)
    params = network.initialise(0, dtype=torch.float64)
    assert params["delta"].shape == (3,)
    h = x = torch.randn(5, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for A, b, delta in zip(params["A"], params["b"], params["delta"], strict=True):
        h = h + delta * torch.relu(h @ A.T + b)
    assert torch.allclose(network(params, x), h)


@pytest.mark.parametrize(("start", "factor"), [("xavier", 1.0), ("xavier-depth", 1 / 64)])
def test_sizes_at_the_start(start, factor):
    network = Setting("relu", SGD(0.1), start, 0.5).network(64, 25)
    params = network.initialise(0)
    assert float(params["A"].std()) == pytest.approx(factor * 0.5 / 25, rel=0.03)
    assert float(params["b"].std()) == pytest.approx(factor * 0.5 / 5, rel=0.1)
    assert float(params["delta"].std()) == pytest.approx(1 / 64, rel=0.25)


def test_equal_runs_of_two_sweeps_are_one():
    deep = {run.networks[0].depth: run_id(run) for run in sweep(TANH, (8, 16, 128), seeds=(0,))}
    shallow = {run.networks[0].depth: run_id(run) for run in sweep(TANH, (8, 16), seeds=(0,))}
    assert shallow == {depth: deep[depth] for depth in (8, 16)}
    other = {run.networks[0].depth: run_id(run) for run in sweep(RELU, (8,), seeds=(0,))}
    assert other[8] != deep[8]


def test_training_within_a_task_gives_the_weights_of_a_run():
    setting, context = SETTINGS[RELU], Context()
    params = trained(setting, 6, seeds=(0, 1), context=context)
    assert {role: tuple(w.shape) for role, w in params.items()} == {
        "A": (2, 6, 10, 10),
        "b": (2, 6, 10),
        "delta": (2, 6),
    }
    assert "data" in context.provenance
    start = ensemble([setting.network(6).initialise(seed) for seed in (0, 1)])
    assert not torch.allclose(params["A"], start["A"])
    run = setting.run(6, (0, 1), measures=(FullLoss(),))
    rows = list(run.run(Context()))
    assert max(int(row["iteration"]) for row in rows) <= 320  # type: ignore[call-overload]
    assert not run.keep_weights
    assert all(float(row["value"]) < 0.03 for row in rows if row["quantity"] == "loss.full")  # type: ignore[arg-type]
