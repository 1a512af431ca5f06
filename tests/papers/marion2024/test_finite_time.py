from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass, field

import polars as pl
import pytest

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.claims import Claim, judge
from deeplimit.data import GaussianPairs, SpherePairs
from deeplimit.engines import ENGINES
from deeplimit.papers.marion2024 import finite_time
from deeplimit.papers.marion2024.finite_time import (
    DEPTHS,
    SMOOTH,
    OdeConsistency,
    ZeroBranch,
    guide,
    seconds_for,
    seed_band,
    theory_network,
)
from deeplimit.processes import IID
from deeplimit.records import Context, Cost, frame

CLAIMS = {claim.id: claim for study in finite_time.STUDIES for claim in study.claims}
SMALL = GaussianPairs(3, 4, 4)


def claim(name: str) -> Claim:
    return CLAIMS[f"marion2024.{name}"]


def power_laws(quantity: str, exponent: float, seeds: int = 5) -> pl.DataFrame:
    """One power law in depth per seed."""
    return pl.DataFrame(
        [
            {"quantity": quantity, "depth": L, "seed": seed, "value": (1.0 + seed) * L**exponent}
            for seed in range(seeds)
            for L in DEPTHS
        ]
    )


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_the_studies_are_planned_at_both_tiers(tier):
    counts = {study.name: len(study.plan(tier)) for study in finite_time.STUDIES}
    assert counts == {"ode-consistency": 1, "zero-branch": 2, "gradient-scale": len(DEPTHS)}


def test_reading_the_studies_does_not_load_torch():
    modules = "finite_time, training_limit, generalisations, counterexamples"
    code = f"import sys; from deeplimit.papers.marion2024 import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


# --- row 1 ---


def consistency(init: object = SMOOTH) -> OdeConsistency:
    network = theory_network(1, init)  # type: ignore[arg-type]
    return OdeConsistency(network, SpherePairs(5, 4, 4, radius=1.0), (8, 16), (0, 1), tolerance=1e-6)


def test_twice_the_depth_is_half_the_distance_to_the_ode():
    rows = frame(consistency().run(Context()))
    assert rows.filter(quantity="reference.error")["value"].item() < 1e-6
    for quantity in ("error.outputs", "error.states"):
        both = [rows.filter(quantity=quantity, depth=L).sort("seed")["value"].to_numpy() for L in (8, 16)]
        assert both[0] / both[1] == pytest.approx([2.0, 2.0], rel=0.15)


def test_independent_layers_have_no_ode():
    with pytest.raises(InputError, match="function of s, found independent layers"):
        list(consistency(IID()).run(Context()))


@pytest.mark.parametrize(("exponent", "ruling"), [(-1.0, "reproduced"), (-0.5, "not reproduced")])
def test_the_consistency_claim_tells_the_rates_apart(exponent, ruling):
    assert judge(claim("1.outputs"), power_laws("error.outputs", exponent), tier="quick").ruling == ruling


def test_four_seeds_are_too_few():
    verdict = judge(claim("1.outputs"), power_laws("error.outputs", -1.0, seeds=4), tier="quick")
    assert verdict.ruling == "undecided"


# --- row 2 ---


def test_the_zero_branch_is_exact_and_another_is_not():
    for init, exact in ((None, True), (SMOOTH, False)):
        rows = frame(ZeroBranch(theory_network(1, init), SMALL, (4,), (0, 1)).run(Context()))
        assert (
            {"reference", "torch"}
            <= set(rows["engine"])
            == {n for n, e in ENGINES.items() if e.supports(Perceptron(1, 1))}
        )
        assert (rows["value"] == 0).all() == exact


def test_one_rounding_error_in_one_engine_is_not_exact():
    rows = pl.DataFrame(
        {
            "quantity": ["start.states"] * 4,
            "dtype": ["float64", "float64", "float32", "float32"],
            "engine": ["torch", "reference"] * 2,
            "value": [0.0, 0.0, 0.0, 0.0],
        }
    )
    assert judge(claim("2.states"), rows, tier="quick").ruling == "reproduced"
    off = rows.with_columns(value=pl.Series([1e-16, 0.0, 1e-16, 0.0]))
    assert judge(claim("2.states"), off, tier="quick").ruling != "reproduced"


# --- row 3 ---


def gradients(factor: float) -> pl.DataFrame:
    """Gradients that do not depend on depth, but for one at the largest depth."""
    return pl.DataFrame(
        [
            {
                "quantity": f"gradient.{role}",
                "depth": L,
                "seed": seed,
                "index": 50,
                "value": 3.0 * (factor if (role, L, seed) == ("W", DEPTHS[-1], 2) else 1.0),
            }
            for role in ("V", "W")
            for L in DEPTHS
            for seed in range(5)
        ]
    )


@pytest.mark.parametrize(("factor", "ruling"), [(1.05, "reproduced"), (1.2, "undecided")])
def test_one_gradient_that_varies_is_seen(factor, ruling):
    verdict = judge(claim("3.gradients"), gradients(factor), tier="quick")
    assert verdict.measured is not None
    assert verdict.measured.value == pytest.approx(factor - 1)
    assert verdict.ruling == ruling


def test_a_depth_that_is_missing_is_not_overlooked():
    rows = gradients(1.0).filter((pl.col("depth") > 16) | (pl.col("seed") > 0))
    assert "lack a depth" in judge(claim("3.gradients"), rows, tier="quick").reason


# --- what the files of this paper share ---


@dataclass(frozen=True)
class Counted:
    size: int
    runs: list[int] = field(default_factory=list)

    def run(self, context: Context):
        self.runs.append(self.size)
        yield {"quantity": "q", "value": 0.0}

    def cost(self) -> Cost:
        return Cost(float(self.size))


def test_seconds_are_expected_in_proportion_to_the_cost():
    sample = Counted(1)
    small, large = (seconds_for(Counted(size), sample, context=Context()) for size in (1, 10**9))  # type: ignore[arg-type]
    assert sample.runs == [1] * 4
    assert large > 1e3 * small > 0


def test_a_band_holds_the_seeds():
    curve = seed_band(power_laws("q", -1.0, seeds=3), "depth", label="q")
    assert list(curve.x) == list(DEPTHS)
    assert curve.low is not None
    assert curve.high is not None
    assert (curve.low[0], curve.y[0], curve.high[0]) == pytest.approx((1 / 16, 2 / 16, 3 / 16))
    line = guide(curve, -1.0, factor=0.5)
    assert line.y == pytest.approx([y / 2 for y in curve.y])
    assert not math.isclose(guide(curve, -0.5).y[-1], curve.y[-1])
