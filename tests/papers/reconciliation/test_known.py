"""Trained networks of known limit."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from deeplimit.claims import judge
from deeplimit.papers.reconciliation.known import (
    AVERAGED,
    CLAIMS,
    DIFFUSED,
    EQUAL,
    FLOW,
    KNOWN,
    diffusion,
    labelled,
    mean_field,
    slope,
)
from deeplimit.processes import IID


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_five_families_are_planned(tier):
    tasks = KNOWN.plan(tier)
    assert len({task.labels["network"] for task in tasks}) == 5
    assert {AVERAGED, EQUAL, DIFFUSED} <= {task.labels["network"] for task in tasks}


def test_the_mean_field_step_does_not_depend_on_depth_and_width():
    """One step of rate times L M moves the output by as much, whatever L and M."""
    moves = []
    for depth, width in ((8, 16), (16, 64)):
        network = mean_field(depth, width=width, init=IID())
        params = {role: p.requires_grad_() for role, p in network.initialise(0, dtype=torch.float64).items()}
        x = torch.ones(1, 8, dtype=torch.float64)
        before = network(params, x)
        (gradient,) = torch.autograd.grad(before.sum(), [params["V"]])
        with torch.no_grad():
            moved = {**params, "V": params["V"] + 1e-6 * FLOW * width * depth * gradient}
            moves.append(float((network(moved, x) - before).mean()))
    assert moves[0] == pytest.approx(moves[1], rel=0.5)
    assert diffusion(16).scaling(16) == 0.25


def rows(network: str, *, label: str, value: float = -0.5) -> pl.DataFrame:
    common = {"network": network, "stage": "after"}
    return pl.DataFrame(
        [
            {**common, "quantity": "function", "label": label, "value": 1.0},
            {**common, "quantity": "weights", "label": "i.i.d.-like", "value": 1.0},
            {**common, "quantity": "weights", "label": "hypothesis 1", "value": 1.0},
            {**common, "quantity": "slope.spread", "value": value, "low": value - 0.02, "high": value + 0.02},
        ]
    )


def test_claims_read_slopes_and_verdicts():
    own = rows(AVERAGED, label="mean ODE")
    rulings = {claim.id.rpartition(".")[2]: judge(claim, own, tier="quick").ruling for claim in CLAIMS}
    assert rulings["averaging"] == rulings["mean-ode"] == rulings["rough"] == "reproduced"
    assert rulings["tied"] == rulings["sde"] == "undecided"
    wrong = rows(AVERAGED, label="SDE", value=-0.1)
    rulings = {claim.id.rpartition(".")[2]: judge(claim, wrong, tier="quick").ruling for claim in CLAIMS}
    assert rulings["averaging"] == rulings["mean-ode"] == "not reproduced"
    assert slope("spread", network=AVERAGED)(own).low == pytest.approx(-0.52)
    with pytest.raises(LookupError, match="abstains"):
        labelled("function", network=AVERAGED, expected="SDE")(rows(AVERAGED, label="undecided"))
