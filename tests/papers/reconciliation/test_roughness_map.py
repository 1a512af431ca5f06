"""The map of roughness against β."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.claims import judge
from deeplimit.papers.reconciliation.roughness_map import (
    BETAS,
    CLAIMS,
    MAP,
    ROUGHNESS,
    function_at,
    weights_at,
)


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_every_point_is_planned(tier):
    tasks = MAP.plan(tier)
    assert {(t.labels["rough"], t.labels["exponent"]) for t in tasks} == {(r, b) for r in ROUGHNESS for b in BETAS}


def rows(after: str = "neural ODE") -> pl.DataFrame:
    found = []
    for rough in ROUGHNESS:
        for beta in BETAS[1:]:
            for stage, label in (("before", "neural ODE"), ("after", after)):
                common = {"rough": rough, "exponent": beta, "stage": stage, "value": 1.0}
                found.append({**common, "quantity": "function", "label": label})
                found.append({**common, "quantity": "weights", "label": "hypothesis 1"})
    return pl.DataFrame(found)


def test_points_without_a_verdict_have_diverged():
    assert function_at(rows(), "smooth", beta=0.25) == weights_at(rows(), "smooth", beta=0.25) == "diverged"
    assert function_at(rows("SDE"), "smooth", beta=0.5) == "SDE"
    assert weights_at(rows(), "smooth", beta=0.5) == "hypothesis 1"


def test_claims_and_figure_are_made_of_the_rows():
    rulings = {claim.id.rpartition(".")[2]: judge(claim, rows(), tier="quick").ruling for claim in CLAIMS}
    assert rulings["smooth"] == rulings["rough-path"] == rulings["smooth-weights"] == "reproduced"
    assert rulings["sde"] == rulings["explosion"] == "not reproduced"
    before, after = MAP.figures[0].panels(rows("SDE"))
    assert before.texts[0] == ["diverged", *["neural ODE"] * 3]  # type: ignore[union-attr,index]
    assert after.texts[0] == ["diverged", *["SDE"] * 3]  # type: ignore[union-attr,index]
