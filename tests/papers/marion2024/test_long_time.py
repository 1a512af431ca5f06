from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys

import polars as pl
import pytest
import torch

from deeplimit import theory
from deeplimit.claims import Claim, Ruling, judge
from deeplimit.measures import At, Drift, Loss, PLRatio
from deeplimit.papers.marion2024 import long_time
from deeplimit.papers.marion2024.long_time import (
    GELU,
    NAMES,
    RESTS,
    TANH,
    Conditions,
    KernelConstant,
    LinearWidth,
    Settling,
    Suprema,
    TrainedWidth,
    smallest,
    strict,
    strict_data,
    tangent_kernel,
)
from deeplimit.records import Checkpoint, Context, frame
from deeplimit.study import Study, conclude
from deeplimit.training import GradientFlow, TrainingRun, draw_members

TIERS = ("quick", "paper")


def study(name: str) -> Study:
    return next(s for s in long_time.STUDIES if s.name == name)


def claim(name: str) -> Claim:
    return next(c for s in long_time.STUDIES for c in s.claims if c.id == f"marion2024.{name}")


def ruling(name: str, rows: pl.DataFrame, tier: str = "paper") -> Ruling:
    return judge(claim(name), rows, tier=tier).ruling


def run_of(samples: int, inputs: int, *, width: int, target: float, rate: float, iterations: int) -> TrainingRun:
    return TrainingRun(
        networks=(strict(3, inputs=inputs, width=width),),
        data=strict_data(samples, inputs=inputs, target=target),
        optimizer=GradientFlow(rate),
        iterations=iterations,
        measures=(Loss(At((0, iterations))), PLRatio(At((0,)))),
        seeds=(0, 1),
    )


# ---------------------------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", [s.name for s in long_time.STUDIES])
def test_every_study_is_planned(name, tier):
    assert all(task.cost().layer_steps > 0 for task in study(name).plan(tier))


def test_claims_have_ids_of_their_own():
    ids = [c.id for s in long_time.STUDIES for c in s.claims]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("marion2024.") for name in ids)


def test_listing_needs_no_torch():
    reading = "from deeplimit.papers.marion2024.long_time import STUDIES; [study.claims for study in STUDIES]"
    code = f"import sys; {reading}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ------------------------------------------------------------------------------------------------------- the PL constant


def test_the_constants_are_those_of_the_activations():
    gelu = lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2))  # noqa: E731
    assert theory.hermite_coefficient(math.tanh, 3) == pytest.approx(TANH.hermite, abs=1e-4)
    assert theory.hermite_coefficient(gelu, 2) == pytest.approx(GELU.hermite, abs=1e-4)
    steepest = max((gelu(z + 1e-4) - gelu(z - 1e-4)) / 2e-4 for z in (1.4, math.sqrt(2), 1.43))
    assert steepest == pytest.approx(GELU.lipschitz, abs=1e-4)


def test_the_kernel_gives_the_ratio_at_the_start():
    task = run_of(5, 3, width=7, target=0.5, rate=0.1, iterations=0)
    rows = frame(task.run(Context())).filter(quantity="pl")
    params, (x, y) = draw_members(task.networks[0], task.data, seeds=task.seeds)
    kernel, residual = tangent_kernel(task.networks[0], params, x=x), -y
    expected = 4 / 5 * (residual.mT @ kernel @ residual).flatten() / residual.square().sum((1, 2))
    assert rows["value"].to_list() == pytest.approx(expected.tolist(), rel=1e-12)
    least = frame(KernelConstant(5, 3, (7,), task.seeds).run(Context()))["value"]
    assert all(0 < mu < ratio for mu, ratio in zip(least, rows["value"], strict=True))


def test_too_few_features_leave_no_constant():
    rows = frame(KernelConstant(12, 6, (5, 24), (0,)).run(Context()))
    few, many = rows["value"]
    assert few < 1e-12 < 1e-5 < many


def mu_rows(slope: float) -> pl.DataFrame:
    """The least ratio of runs, falling with n like a power."""
    cells = itertools.product((12, 16, 24), range(5))
    return pl.DataFrame(
        [
            {"samples": n, "seed": seed, "iteration": 20, "quantity": "pl.min", "value": (1 + seed) * float(n) ** slope}
            for n, seed in cells
        ]
    )


@pytest.mark.parametrize(("slope", "expected"), [(-1.0, "reproduced"), (-3.0, "not reproduced")])
def test_a_constant_that_falls_too_fast_is_refused(slope, expected):
    assert ruling("15.exponent-training", mu_rows(slope)) == expected
    assert ruling("14.no-decay", mu_rows(slope)) == expected


def loss_rows(rate: float) -> pl.DataFrame:
    """A run whose least ratio is 1 and whose loss decays at a rate."""
    common = {"samples": 12, "seed": 0}
    losses = [
        common | {"iteration": t, "quantity": "loss", "value": math.exp(-rate * long_time.PL_RATE * t)}
        for t in (0, 20, 40)
    ]
    return pl.DataFrame([*losses, common | {"iteration": 40, "quantity": "pl.min", "value": 1.0}])


@pytest.mark.parametrize(("rate", "expected"), [(1.1, "reproduced"), (0.9, "not reproduced")])
def test_a_loss_above_its_bound_is_refused(rate, expected):
    assert ruling("14.loss-bound", loss_rows(rate)) == expected


def test_the_study_of_the_kernel_comes_out_at_small_sizes():
    planned = [task for task in study("pl-constant").plan("quick") if isinstance(task, KernelConstant)]
    tasks = [dataclasses.replace(task, seeds=task.seeds[:5]) for task in planned]
    small = [task for task in tasks if task.samples <= 64]
    parts = [frame(t.run(Context())).with_columns(**{k: pl.lit(v) for k, v in t.labels.items()}) for t in small]
    rows = pl.concat(parts).with_columns(study=pl.lit("pl-constant"))
    verdicts = conclude([study("pl-constant")], rows, tier="quick")
    assert [verdict.ruling for verdict in verdicts] == ["reproduced", "reproduced"]
    (figure,) = study("pl-constant").figures
    assert all(len(panel.curves) <= 6 for panel in figure.panels(rows))  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------------- the smallest width


@pytest.mark.parametrize("least", [1, 3, 64])
def test_bisection_finds_the_first_that_passes(least: int) -> None:
    tried: list[int] = []

    def passed(m: int) -> bool:
        tried.append(m)
        return m >= least

    assert smallest(range(1, 65), passed) == least
    assert len(tried) <= 7


def test_bisection_says_when_none_passes():
    assert smallest((1, 2, 4), lambda m: False) is None


def test_small_targets_train_as_their_limit_says():
    task = run_of(4, 3, width=6, target=1e-6, rate=0.01, iterations=600)
    losses = frame(task.run(Context())).filter(quantity="loss").sort("seed", "iteration")["value"]
    predicted = LinearWidth(4, 3, 6.0, task.seeds).decay(6, task.seeds)
    assert [losses[1] / losses[0], losses[3] / losses[2]] == pytest.approx(predicted, rel=0.05)
    assert predicted[0] != pytest.approx(predicted[1], rel=0.05)


def test_the_limit_of_small_targets_needs_as_many_features_as_directions():
    rows = frame(LinearWidth(16, 8, 1e6, tuple(range(6))).run(Context()))
    (rank,) = rows.filter(quantity="rank")["value"]
    widths = rows.filter(quantity="width")["value"]
    assert len(widths) == 2
    assert min(widths) >= rank == 8


def test_a_time_too_short_leaves_no_width():
    assert frame(LinearWidth(16, 8, 1.0, (0, 1, 2)).run(Context()))["quantity"].to_list() == ["rank"]


# More inputs than samples: quick to train.
EASY = TrainedWidth(3, 5, 0.1, 20.0, (0, 1, 2, 3, 4, 5), goal=1e-4, depth=2, rate=0.05)


def test_training_finds_a_width_for_each_group():
    rows = frame(EASY.run(Context()))
    widths = rows.filter(quantity="width").sort("index")
    assert widths["index"].to_list() == [0, 1]
    for index, width in zip(widths["index"], widths["value"], strict=True):
        passed = rows.filter(quantity="passage", index=width)["seed"]
        assert set(EASY.seeds[3 * index : 3 * index + 3]) <= set(passed)
    missed = dict(zip(*rows.filter(quantity="missed")["index", "value"], strict=True))
    for width, count in missed.items():
        assert count + len(rows.filter(quantity="passage", index=width)) == 6
    assert rows.filter(quantity="passage")["value"].is_between(0, EASY.horizon).all()


def test_a_passage_is_when_the_loss_is_reached():
    width, seed = 4, 2
    found = EASY.passages(width, Context())[seed]
    run = TrainingRun(
        networks=(strict(EASY.depth, inputs=EASY.inputs, width=width),),
        data=strict_data(EASY.samples, inputs=EASY.inputs, target=EASY.target),
        optimizer=GradientFlow(EASY.rate),
        iterations=round(EASY.horizon / EASY.rate),
        measures=(Loss(),),
        seeds=(seed,),
    )
    losses = frame(run.run(Context())).filter(pl.col("value") <= EASY.goal)
    assert found == pytest.approx(EASY.rate * losses["iteration"].min())  # type: ignore[operator]


def test_no_time_no_width():
    rows = frame(dataclasses.replace(EASY, horizon=0.1).run(Context()))
    assert rows["quantity"].unique().to_list() == ["missed"]
    assert (rows["value"] == 6).all()


def test_members_that_diverge_miss():
    assert dataclasses.replace(EASY, rate=1e3).passages(2, Context()) == {}


def test_an_interrupted_bisection_trains_no_width_twice(tmp_path, monkeypatch):
    context = Context(checkpoint=Checkpoint(tmp_path / "state"))
    rows = frame(EASY.run(context))

    def never(self: TrainedWidth, width: int, context: Context) -> dict[int, float]:
        raise AssertionError(f"width {width} was trained before")

    monkeypatch.setattr(TrainedWidth, "passages", never)
    assert frame(EASY.run(context)).equals(rows)


@pytest.mark.parametrize(("slope", "expected"), [(0.5, "reproduced"), (2.0, "not reproduced")])
def test_a_width_that_grows_too_fast_is_refused(slope, expected):
    cells = itertools.product((16, 32, 64), range(5))
    rows = pl.DataFrame(
        [
            {
                "samples": n,
                "index": group,
                "quantity": "width",
                "clock": clock,
                "value": (3 + group) * float(n) ** slope,
            }
            for n, group in cells
            for clock in ("10 n√n q", "400 n", "training")
        ]
    )
    names = ("15.smallest-width", "15.smallest-width-short", "15.smallest-width-trained")
    assert [ruling(name, rows) for name in names] == [expected] * 3


# ---------------------------------------------------------------------------------------------- the double limit and rest


@pytest.fixture(scope="module")
def settled() -> pl.DataFrame:
    at = At((0, 2, 4, 8))
    base = run_of(4, 3, width=5, target=0.5, rate=0.05, iterations=8)
    return frame(dataclasses.replace(base, measures=(Settling(at), Drift(at))).run(Context()))


@pytest.mark.parametrize("role", ["embedding", "readout"])
def test_the_way_from_the_start_is_the_drift(settled, role):
    moved = settled.filter(quantity=f"moved.{role}").sort("seed", "iteration")
    drift = settled.filter(quantity=f"drift.{role}").filter(pl.col("iteration") > 0).sort("seed", "iteration")
    assert moved["value"].to_list() == pytest.approx(drift["value"].to_list())
    assert all(moved["value"] > 0)


@pytest.mark.parametrize("name", NAMES)
def test_rest_and_steps_are_distances_between_listed_times(settled, name):
    for seed in (0, 1):
        own = settled.filter(seed=seed)
        rest = own.filter(quantity=f"rest.{name}").sort("index")
        assert rest["index"].to_list() == [0, 2, 4]
        assert rest["value"][0] == own.filter(quantity=f"moved.{name}", iteration=8)["value"].item()
        assert rest["value"][-1] == own.filter(quantity=f"step.{name}", iteration=8)["value"].item()


def test_a_layer_moves_by_the_sum_over_its_matrices(settled):
    moved, V, W = (
        settled.filter(quantity=quantity, iteration=8).sort("seed")["value"]
        for quantity in ("moved.Z", "drift.V", "drift.W")
    )
    assert all(max(v, w) < z <= v + w + 1e-15 for z, v, w in zip(moved, V, W, strict=True))


def double_rows(quantity: str, values: tuple[float, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"samples": 4, "depth": 16, "seed": 0, "iteration": t, "quantity": quantity, "value": value}
            for t, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 0.1, 1e-4), "reproduced"),
        ((1.0, 1e-17, 3e-17), "reproduced"),  # rounding
        ((1.0, 0.1, 0.09), "not reproduced"),
    ],
)
def test_a_run_that_does_not_come_to_rest_is_refused(values, expected):
    assert ruling("16.residuals", double_rows("residual", values)) == expected
    rows = pl.concat([double_rows(f"step.{name}", values) for name in NAMES])
    assert ruling("16.time", rows) == expected


def test_residuals_that_stay_are_no_interpolation():
    assert ruling("16.interpolation", double_rows("residual", (1.0, 0.1))) == "not reproduced"
    assert ruling("16.interpolation", double_rows("residual", (1.0, 1e-6))) == "reproduced"


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


# -------------------------------------------------------------------------------------------------------- the conditions


def test_the_run_of_figure_2_meets_no_condition():
    rows = frame(Conditions((0, 1)).run(Context()))
    names = [c.id.removeprefix("marion2024.") for c in study("theorem-6-conditions").claims]
    assert [ruling(name, rows, "quick") for name in names] == ["not reproduced"] * 4
    assert rows.filter(quantity="state")["value"].to_list() == [-16.0]


@pytest.mark.parametrize(("name", "value"), [("state", 0.0), ("width", 2.0), ("depth", 1.0), ("input", 0.0)])
def test_a_run_that_meets_them_would_be_an_instance(name, value):
    rows = pl.DataFrame({"quantity": [name], "value": [value]})
    assert ruling(f"11.condition-{name}", rows) == "reproduced"
