from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch

from deeplimit.claims import Claim, judge
from deeplimit.measures import At, View
from deeplimit.papers.marion2024 import generalisations
from deeplimit.papers.marion2024.finite_time import STATE, WIDTH, theory_network
from deeplimit.papers.marion2024.generalisations import (
    CASES,
    CLIP,
    LATE,
    ClipActivity,
    at_time,
    clip_activity,
    weight_ratio,
)
from deeplimit.records import Context, frame, run_id
from deeplimit.study import Settings, Tiered
from deeplimit.training import SquaredError, TrainingRun, draw_members

(STUDY,) = generalisations.STUDIES
FEW = Settings("quick", replicates=1)


def claim(name: str) -> Claim:
    return next(c for c in STUDY.claims if c.id == f"marion2024.{name}")


def small(name: str) -> pl.DataFrame:
    """The rows of a setting at small depths, with its labels."""
    case = dataclasses.replace(CASES[name], depths=Tiered(quick=(2, 4, 8)), horizon=0.25)
    run = case.run(FEW, name, dtype="float64")
    return frame(run.run(Context())).with_columns(*(pl.lit(v).alias(k) for k, v in run.labels.items()))


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_every_setting_is_planned_at_both_tiers(tier):
    tasks = STUDY.plan(tier)
    assert [task.labels["case"] for task in tasks] == list(CASES)
    assert len({run_id(task) for task in tasks}) == len(CASES)


def test_the_paper_tier_looks_at_later_times():
    (smooth,) = (task for task in STUDY.plan("paper") if task.labels["case"] == "smooth")
    assert isinstance(smooth, TrainingRun)
    assert smooth.iterations == round(LATE / float(smooth.labels["rate"]))


@pytest.mark.parametrize("name", CASES)
def test_every_setting_trains_and_is_drawn(name):
    rows = small(name)
    gaps = rows.filter(quantity="gap.max").sort("seed", "depth")["value"].to_list()
    assert len(gaps) == 6
    assert all(gap > 0 for gap in gaps)
    assert rows.filter(quantity="diverged").is_empty()


def test_the_clipped_weights_stay_within_their_bound_while_the_clipping_works():
    rows = small("clipped")
    assert 0.4 < weight_ratio(rows).value < 1
    assert 0 < clip_activity(rows).value < 1


# --- the share that is clipped ---


def test_the_share_counts_the_entries_beyond_the_bound():
    network = theory_network(2)
    params, (x, y) = draw_members(network, CASES["clipped"].data, seeds=(0, 1))
    grads = {role: torch.zeros_like(params[role]) for role in network.trainable}
    grads["V"][0, 0, 0, 0] = -0.3  # twice that beyond 0.5 ...
    grads["V"][0, 0, 0, 1] = 0.2  # ... and this not
    grads["embedding"] += 1.0  # no layer
    view = View(
        network,
        params,
        grads,
        torch.zeros(2),
        0,
        x,
        y,
        params,
        "reference",
        batch_output=y,
        data=(x, y),
        criterion=SquaredError(),
        seeds=(0, 1),
    )
    (found,) = ClipActivity(0.5, At((0,))).observe(view, {})
    assert found.values.tolist() == pytest.approx([1 / (2 * 2 * STATE * WIDTH), 0.0])


# --- claims on made-up rows ---


def clipped(norms: dict[str, float], time: float = 2.0) -> pl.DataFrame:
    rows = [{"quantity": f"norm.{role}", "value": value} for role, value in norms.items()]
    iteration = round(time / 0.05)
    return pl.DataFrame(rows).with_columns(
        case=pl.lit("clipped"), depth=pl.lit(16), seed=pl.lit(0), iteration=pl.lit(iteration), rate=pl.lit(0.05)
    )


def test_the_ratio_is_that_to_the_bound_at_the_same_time():
    bound = 2.0 * CLIP * math.sqrt(STATE * WIDTH) + 2 * math.sqrt(STATE * WIDTH)
    rows = clipped({"V": 0.25 * bound, "W": 0.75 * bound, "embedding": 0.1, "readout": 0.1})
    assert weight_ratio(rows).value == pytest.approx(1.0)
    assert weight_ratio(clipped({"V": 0.1, "W": 0.1, "embedding": 0.1, "readout": 3 * bound})).value == pytest.approx(3)


def test_weights_beyond_their_bound_refute_it():
    assert judge(claim("18.weight-bound"), clipped({"V": 1.0, "W": 40.0}), tier="quick").ruling == "not reproduced"
    assert judge(claim("18.weight-bound"), clipped({"V": 1.0, "W": 10.0}), tier="quick").ruling == "reproduced"


def law(case: str, exponent: float) -> pl.DataFrame:
    """The largest gap of one setting as a power law in depth, at its own time and at twice that."""
    return pl.DataFrame(
        [
            {
                "quantity": "gap.max",
                "case": case,
                "rate": 0.05,
                "iteration": factor * round(CASES[case].horizon / 0.05),
                "depth": L,
                "seed": seed,
                "value": factor * float(L) ** exponent,
            }
            for L in (16, 64, 256)
            for seed in range(5)
            for factor in (1, 2)
        ]
    )


@pytest.mark.parametrize(
    ("name", "case", "exponent", "ruling"),
    [
        ("15b.gap", "smooth", -1.0, "reproduced"),
        ("15b.gap", "smooth", -0.95, "not reproduced"),
        ("18.gap", "clipped", -1.0, "reproduced"),
        ("18.gap", "clipped", -0.5, "not reproduced"),
        ("20.convolution", "convolution", -1.0, "reproduced"),
        ("20.smooth-convolution", "smooth-convolution", -1.03, "not reproduced"),
        ("21.independent-layers", "independent", 0.02, "reproduced"),
        ("21.independent-layers", "independent", -1.0, "not reproduced"),
    ],
)
def test_the_gap_claims_tell_the_rates_apart(name, case, exponent, ruling):
    assert judge(claim(name), law(case, exponent), tier="quick").ruling == ruling


def test_rows_are_found_by_their_training_time():
    rows = law("smooth", -1.0)
    assert set(at_time(rows, "gap.max", case="smooth", time=4.0)["iteration"]) == {80}
    with pytest.raises(LookupError, match="iteration = 60"):
        at_time(rows, "gap.max", case="smooth", time=3.0)


def test_the_distance_is_measured_against_the_deepest():
    rows = law("smooth", -1.0).filter(iteration=40)
    distances = rows.with_columns(quantity=pl.lit("distance.l2.V"), value=1 / pl.col("depth") - 1 / 1024)
    deepest = rows.filter(depth=16).with_columns(depth=pl.lit(1024, pl.Int64))
    verdict = judge(claim("15b.distance-V"), pl.concat([distances, deepest]), tier="quick")
    assert verdict.measured is not None
    assert verdict.measured.value == pytest.approx(-1.0)


def test_the_later_times_have_a_panel_of_their_own():
    figure = STUDY.figures[0]
    both = figure.panels(pl.concat([law("smooth", -1.0), law("independent", 0.0)]))
    assert [len(panel.curves) for panel in both] == [3, 2]  # type: ignore[union-attr]
    assert len(figure.panels(law("independent", 0.0))) == 1
