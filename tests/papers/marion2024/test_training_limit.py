from __future__ import annotations

import polars as pl
import pytest
import torch

from deeplimit.claims import Claim, judge
from deeplimit.data import SpherePairs
from deeplimit.papers.marion2024 import training_limit
from deeplimit.papers.marion2024.finite_time import SMOOTH, theory_network
from deeplimit.papers.marion2024.training_limit import TrainingLimit, gradient_flow
from deeplimit.records import Context, frame
from deeplimit.training import draw_members

DATA = SpherePairs(4, 4, 4, radius=1.0)
(STUDY,) = training_limit.STUDIES


def claim(name: str) -> Claim:
    return next(c for c in STUDY.claims if c.id == f"marion2024.10.{name}")


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    task = TrainingLimit(
        network=theory_network(1, SMOOTH),
        data=DATA,
        depths=(8, 16),
        deepest=64,
        rates=(0.125, 0.0625),
        horizon=0.25,
        steps=2,
        intervals=8,
        seeds=(0, 1),
    )
    return frame(task.run(Context()))


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_the_study_is_planned_at_both_tiers(tier):
    (task,) = STUDY.plan(tier)
    assert isinstance(task, TrainingLimit)
    assert all(task.horizon % rate == pytest.approx(0) or task.horizon / rate % 1 < 1e-9 for rate in task.rates)
    assert len(task.depths) >= 5
    assert task.cost().layer_steps > 0


def test_the_flow_of_a_network_is_its_scaled_gradient():
    network = theory_network(6, SMOOTH)
    params, (x, y) = draw_members(network, DATA, seeds=(3,))
    flow = gradient_flow(network)(params, (x, y))
    leaves = {role: p.clone().requires_grad_() for role, p in params.items()}
    (network(leaves, x, engine="reference") - y).square().sum().div(x.shape[1]).backward()
    for role, leaf in leaves.items():
        assert leaf.grad is not None
        torch.testing.assert_close(flow[role], -(6 if role in ("V", "W") else 1) * leaf.grad)


def test_networks_approach_the_corrected_dynamics_alone(rows):
    flows = rows.filter(pl.col("learning_rate").is_null(), quantity="error.parameters")
    for seed in (0, 1):
        own = {key: flows.filter(adjoint=key, seed=seed).sort("depth")["value"] for key in ("corrected", "printed")}
        assert own["corrected"][0] / own["corrected"][1] == pytest.approx(2.0, rel=0.2)
        assert own["printed"][1] > 5 * own["corrected"][1]


def test_gradient_descent_approaches_it_with_its_learning_rate(rows):
    found = (
        rows.filter(quantity="error.outputs", adjoint="corrected", depth=64)
        .group_by("learning_rate")
        .agg(pl.col("value").max())
    )
    coarse, fine = found.sort("learning_rate", descending=True)["value"]
    assert 1.5 < coarse / fine < 3


def synthetic(exponent: float, reference: float = 1e-9) -> pl.DataFrame:
    """Distances with this exponent in depth for the corrected adjoint, in the learning rate too, and a constant for the printed one."""
    depths, rates = (16, 32, 64), (0.1, 0.05, 0.025)
    cells: list[tuple[object, ...]] = [("error.parameters", "corrected", L, None, L**exponent) for L in depths]
    cells += [("error.parameters", "corrected", 64, rate, rate**-exponent) for rate in rates]
    cells += [("error.parameters", "printed", L, None, 1 + 1 / L) for L in depths]
    cells += [("reference.parameters", adjoint, None, None, reference) for adjoint in ("corrected", "printed")]
    columns = ("quantity", "adjoint", "depth", "learning_rate", "value")
    return pl.DataFrame(
        [dict(zip(columns, cell, strict=True)) | {"seed": seed} for seed in range(5) for cell in cells],
        infer_schema_length=None,
    )


@pytest.mark.parametrize(("exponent", "ruling"), [(-1.0, "reproduced"), (-0.7, "not reproduced")])
@pytest.mark.parametrize("name", ["parameters-in-depth", "parameters-in-rate"])
def test_the_claims_tell_the_rates_apart(name, exponent, ruling):
    assert judge(claim(name), synthetic(exponent), tier="quick").ruling == ruling


def test_a_distance_that_does_not_shrink_refutes_the_printed_adjoint():
    verdict = judge(claim("printed-adjoint"), synthetic(-1.0), tier="quick")
    assert verdict.ruling == verdict.claim.expected_ruling == "not reproduced"


def test_nothing_is_judged_by_a_coarse_reference():
    verdict = judge(claim("parameters-in-depth"), synthetic(-1.0, reference=1e-2), tier="quick")
    assert verdict.ruling == "undecided"
    assert "too coarse" in verdict.reason


def test_the_figure_shows_both_adjoints_and_the_learning_rate():
    left, right = STUDY.figures[0].panels(synthetic(-1.0))
    assert [curve.label for curve in left.curves] == ["corrected adjoint", "adjoint as printed", "slope -1"]  # type: ignore[union-attr]
    assert list(right.curves[0].x) == [0.025, 0.05, 0.1]  # type: ignore[union-attr]
