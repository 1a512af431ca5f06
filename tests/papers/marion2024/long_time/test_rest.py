from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch

from deeplimit.papers.marion2024.long_time.rest import RESTS, Suprema
from deeplimit.papers.marion2024.long_time.strict import strict, strict_data
from deeplimit.records import Context, frame
from deeplimit.training import GradientFlow, TrainingRun, draw_members
from tests.papers.marion2024.long_time.cases import ruling


def test_the_threshold_tends_to_its_closed_form_for_small_radii():
    case = RESTS["n = 4, y 1e-5"]
    suprema = Suprema(case, 8.0, "ball")
    found = suprema.threshold(1e-9, 1e-12)
    assert found == pytest.approx(8 * math.e * math.sqrt(case.inputs + 1) * 1e-6 / 1e-9, rel=1e-6)
    assert Suprema(case, 8.0, "printed").threshold(1e-9, 1e-12) > 1e6 * found


def test_suprema_bound_the_derivatives():
    case = RESTS["n = 8, y 1e-6"]
    radius, network = 0.5, strict(1, inputs=case.inputs, width=case.width)
    params, (x, _) = draw_members(network, strict_data(4, inputs=case.inputs, target=1.0), seeds=(0,))
    V = torch.randn(case.inputs + 1, case.width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    theta = {"V": radius * V / V.norm(), "W": params["W"][0, 0]}
    h = network.embed(params, x)[0, 0]
    branch = network.branch
    by_state = torch.func.jacrev(lambda z: branch(z[None], theta)[0])(h)
    by_V = torch.func.jacrev(lambda v: branch(h[None], theta | {"V": v})[0])(theta["V"]).flatten(1)
    by_W = torch.func.jacrev(lambda w: branch(h[None], theta | {"W": w})[0])(theta["W"]).flatten(1)
    bound = Suprema(case, params["W"].norm().item(), "ball").ball(radius).first
    largest = max(torch.linalg.matrix_norm(jacobian, 2).item() for jacobian in (by_state, by_V, by_W))
    assert bound / 20 < largest <= bound


def rest_rows(target: float) -> pl.DataFrame:
    """The first case for fewer iterations and one seed, with targets of another scale."""
    case = dataclasses.replace(RESTS["n = 4, y 1e-5"], target=target, horizon=20.0)
    run = TrainingRun(
        networks=(strict(2, inputs=case.inputs, width=case.width),),
        data=strict_data(case.samples, inputs=case.inputs, target=target),
        optimizer=GradientFlow(case.rate),
        iterations=case.at.iterations[-1],
        measures=case.measures,
        seeds=(0,),
    )
    return frame(run.run(Context())).with_columns(case=pl.lit("n = 4, y 1e-5"))


def test_small_targets_come_to_rest_within_the_bound():
    rows = rest_rows(1e-5)
    assert [ruling(f"17.{name}", rows) for name in ("condition", "ball", "rate")] == ["reproduced"] * 3


def test_large_targets_do_not_meet_the_condition():
    rows = rest_rows(0.1)
    assert ruling("17.condition", rows) == "not reproduced"
    assert ruling("17.ball", rows) == "undecided"
