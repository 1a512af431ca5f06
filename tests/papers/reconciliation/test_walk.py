"""The walk: each step changes one factor, and the claims read the verdicts."""

from __future__ import annotations

import dataclasses
import itertools

import polars as pl
import pytest
import torch

from deeplimit.claims import judge
from deeplimit.papers.reconciliation.family import says
from deeplimit.papers.reconciliation.walk import (
    CLAIMS,
    COHEN,
    FROM_COHEN,
    FROM_MARION,
    GROUPS,
    MARION,
    PATH,
    WALK,
    Setting,
    function_of,
    weights_of,
)
from deeplimit.training import SGD, Adam


def test_each_step_changes_one_factor():
    steps = list(PATH.values())
    assert (steps[0], steps[-1]) == (COHEN, MARION)
    for before, after in itertools.pairwise(steps):
        assert sum(getattr(before, f.name) != getattr(after, f.name) for f in dataclasses.fields(Setting)) == 1
    for name, setting in FROM_COHEN.items():
        assert sum(getattr(COHEN, f.name) != getattr(setting, f.name) for f in dataclasses.fields(Setting)) == 1, name
    several = {"Adam", "independent, 1/√L, rate not × L"}  # a rate times depth is none of Adam's
    for name, setting in FROM_MARION.items():
        changed = sum(getattr(MARION, f.name) != getattr(setting, f.name) for f in dataclasses.fields(Setting))
        assert (changed > 1) == (name in several), name


def test_the_first_setting_is_that_of_the_released_code():
    network = COHEN.network(40)
    params = network.initialise(0, dtype=torch.float64)
    assert params["delta"].item() == pytest.approx(1 / 40)
    assert float(params["A"].std()) == pytest.approx(0.01 / 10 / 40, rel=0.05)
    assert float(params["b"].std()) == pytest.approx(0.01 / 10**0.5 / 40, rel=0.15)
    assert network.scaling(40) == 1.0
    assert COHEN.optimizer(40) == Adam(1e-2)
    assert COHEN.batches() is not None
    relu = dataclasses.replace(COHEN, activation="relu").network(40).initialise(0)
    assert relu["delta"].shape == (40,)
    assert float(relu["delta"].std()) == pytest.approx(1 / 40, rel=0.5)


def test_the_last_setting_is_that_of_the_theorem():
    network = MARION.network(8)
    params = network.initialise(0)
    assert not params["V"].any()
    assert torch.equal(params["W"][0], params["W"][-1])
    assert network.scaling(8) == 1 / 8
    optimizer = MARION.optimizer(8)
    assert isinstance(optimizer, SGD)
    assert optimizer.layer_factor
    assert MARION.batches() is None


def test_rates_agree_at_the_depth_at_which_they_meet():
    grows, steady = MARION.optimizer(16), dataclasses.replace(MARION, times_depth=False).optimizer(16)
    assert grows.learning_rate * 16 == steady.learning_rate
    decayed = dataclasses.replace(MARION, weight_decay=1e-2).optimizer(10)
    assert isinstance(decayed, SGD)
    assert decayed.weight_decay == pytest.approx(1e-3)


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_every_setting_is_planned_once(tier):
    tasks = WALK.plan(tier)
    assert [(t.labels["group"], t.labels["step"]) for t in tasks] == [
        (group, step) for group, members in GROUPS.items() for step in members
    ]


def verdicts(**functions: str) -> pl.DataFrame:
    """Rows of a walk in which all are neural ODEs with smooth weights, but for some."""
    rows = []
    for group, members in GROUPS.items():
        for step in members:
            label = functions.get(step, "neural ODE")
            common = {"group": group, "step": step, "stage": "after", "value": 1.0}
            rows.append({**common, "quantity": "function", "label": label, "draw": "undecided", "learning": "lazy"})
            rows.append({**common, "quantity": "weights", "role": "A", "label": "hypothesis 1"})
            rows.append({**common, "quantity": "weights", "role": "b", "label": "undecided"})
            rows.append({**common, "quantity": "loss", "depth": 16, "value": 2e-3})
            rows.append({**common, "quantity": "loss", "depth": 32, "value": 1e-3})
    return pl.DataFrame(rows)


def test_claims_are_read_off_the_verdicts():
    rows = verdicts(**{"Cohen et al. 2021": "linear ODE", "learning rate not × L": "undecided"})
    rulings = {claim.id.rpartition(".")[2]: judge(claim, rows, tier="quick").ruling for claim in CLAIMS}
    assert rulings["start"] == rulings["delta"] == rulings["end-function"] == rulings["end-weights"] == "reproduced"
    assert rulings["rest"] == "reproduced"
    assert rulings["rate"] == "undecided"
    assert rulings["diffusion"] == rulings["independent-function"] == "not reproduced"
    assert function_of(rows, "path", step="Cohen et al. 2021") == "linear ODE"
    assert weights_of(rows, "path", step="Cohen et al. 2021") == "hypothesis 1"  # biases do not speak
    broken = verdicts(**{"two matrices, V = 0": "SDE"})
    (rest,) = (claim for claim in CLAIMS if claim.id.endswith(".rest"))
    assert judge(rest, broken, tier="quick").ruling == "not reproduced"


def test_a_verdict_that_abstains_measures_nothing():
    with pytest.raises(LookupError, match="abstains"):
        says(lambda rows: "undecided", "SDE", seeds=(0,))(pl.DataFrame())


def test_a_table_for_each_group_shows_every_step():
    tables = [figure.panels(verdicts())[0] for figure in WALK.figures]
    assert [len(table.values) for table in tables] == [len(members) for members in GROUPS.values()]  # type: ignore[union-attr]
    assert tables[0].texts[0] == ["hypothesis 1", "neural ODE", "?", "lazy", "1e-03"]  # type: ignore[union-attr,index]
