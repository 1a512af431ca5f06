from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.wide.chain import Chain
from deeplimit.papers.lewkowycz2020.wide.training import INPUTS, Problem, WideTraining, last_above
from deeplimit.records import Context, frame

SEEDS = (0, 1, 2)


def trained(chain: Chain, *, decay: float = 0.05, rate: float = 0.05, measured=(0, 20, 150), **fields) -> pl.DataFrame:
    return frame(WideTraining(chain, decay, rate, measured, SEEDS, **fields).run(Context()))


def mean(rows: pl.DataFrame, quantity: str, iteration: int) -> float:
    value = rows.filter(quantity=quantity, iteration=iteration)["value"].mean()
    assert isinstance(value, float)
    return value


def test_data_are_those_of_the_seed_whatever_the_others():
    both, one = Problem((3, 4)), Problem((4,))
    assert both.points.shape == (2, 18, 6)
    assert both.y.shape == (2, 12)
    assert bool((both.points[1] == one.points[0]).all() and (both.y[1] == one.y[0]).all())
    assert bool((both.x == both.points[:, :12]).all())


def test_a_linear_model_is_its_own_limit():
    rows = trained(Chain(1, 1, INPUTS))
    for quantity in ("kernel.gap", "rotation", "gap.steps.train", "gap.steps.test"):
        assert max(rows.filter(quantity=quantity)["value"].to_list()) < 1e-12
    assert mean(rows, "gap.train", 20) > 1e-4  # the flow is not gradient descent


def test_wide_networks_follow_the_law_and_narrow_ones_do_not():
    narrow, wide = trained(Chain(2, 16, INPUTS)), trained(Chain(2, 2048, INPUTS))
    law = (1 - 0.0025) ** 300
    assert mean(wide, "kernel", 150) == pytest.approx(law, rel=0.03)
    assert mean(wide, "kernel.gap", 150) < 0.02 < 0.2 < mean(narrow, "kernel.gap", 150)
    assert mean(wide, "rotation", 150) < 1e-3 < mean(narrow, "rotation", 150)
    assert mean(wide, "gap.train", 150) < 0.06
    assert mean(wide, "size.train", 150) == pytest.approx(mean(wide, "size.flow.train", 150), rel=0.05)
    assert wide.filter(quantity="kernel", iteration=150)["clock"].unique().to_list() == pytest.approx([0.375])
    assert max(wide.filter(iteration=0, quantity="gap.test")["value"].to_list()) < 1e-12


def test_the_diagonal_is_that_of_the_kernel_on_either_kind_of_points():
    chain, problem = Chain(2, 32, INPUTS), Problem(SEEDS)
    weights, rate = chain.draw(problem.streams), problem.y.new_full((3,), 0.05)
    first = chain.kernel(weights, problem.points).diagonal(dim1=1, dim2=2)
    for _ in range(20):
        chain.step(weights, problem.x, y=problem.y, learning_rate=rate, weight_decay=rate)
    now = chain.kernel(weights, problem.points).diagonal(dim1=1, dim2=2) / (1 - 0.0025) ** 40
    moved = (now - first) / first.mean(1, keepdim=True)
    rows = trained(chain, measured=(0, 20)).filter(iteration=20)
    for where, part in (("train", moved[:, :12]), ("test", moved[:, 12:])):
        assert rows.filter(quantity=f"diagonal.{where}")["value"].to_list() == pytest.approx(part.mean(1).tolist())


def test_three_layers_fall_twice_as_fast():
    rows = trained(Chain(3, 256, INPUTS), measured=(0, 75))
    assert mean(rows, "kernel", 75) == pytest.approx(math.exp(-4 * 0.05 * 0.05 * 75), rel=0.06)


def test_the_last_time_above_a_level_is_that_of_a_curve():
    times = np.linspace(0, 20, 4001)
    assert last_above(times, np.exp(-times / 3), level=0.5) == pytest.approx(3 * math.log(2), abs=1e-4)
    assert last_above(times, 1 - np.exp(-times), level=0.5) == math.inf
    assert last_above(times, -np.exp(-times), level=0.5) == 0.0


def test_networks_have_the_half_life_of_their_flow():
    rows = trained(Chain(2, 1024, INPUTS), decay=0.8, rate=0.02, measured=(150,), halving=True)
    found, flow = (rows.filter(quantity=name)["value"].to_list() for name in ("half-life", "half-life.flow"))
    assert found == pytest.approx(flow, rel=0.04)
    assert 0.5 < min(found) < max(found) < 2.4


def test_costs_and_probes_grow_with_the_work():
    small, large = (WideTraining(Chain(2, n, INPUTS), 0.05, 0.05, (0, 40), SEEDS) for n in (64, 2**16))
    assert large.cost().layer_steps > 10 * small.cost().layer_steps
    assert small.probe(Context()) > 0
