from __future__ import annotations

import math

import polars as pl
import pytest
import torch

from deeplimit import theory
from deeplimit.branches import OneMatrix, ReLU
from deeplimit.checks import InputError
from deeplimit.claims import Claim, judge
from deeplimit.draws import NamedDraw
from deeplimit.measures import LayerGaps
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024 import counterexamples
from deeplimit.papers.marion2024.counterexamples import (
    INPUT,
    ITERATIONS,
    RATE,
    RATIO,
    Alternating,
    ChernoffTails,
    EvenAndOdd,
    ScaledPoint,
    deep_gap,
    even_weights,
    flow_over,
    odd_weights,
    tail_over,
)
from deeplimit.records import Context, frame, run_id
from deeplimit.training import GradientFlow, TrainingRun

RELU, CHERNOFF = counterexamples.STUDIES


def claim(name: str) -> Claim:
    return next(c for study in counterexamples.STUDIES for c in study.claims if c.id == f"marion2024.{name}")


@pytest.fixture(scope="module")
def trained() -> pl.DataFrame:
    """The counter-example of 2L = 20 layers."""
    network = ResidualStack(OneMatrix(1, ReLU(), delta="fixed", bias=False), 20, init=Alternating())
    measures = (EvenAndOdd(), LayerGaps())
    run = TrainingRun((network,), ScaledPoint(INPUT, RATIO), GradientFlow(RATE), ITERATIONS, measures)
    return frame(run.run(Context())).with_columns(dtype=pl.lit("float64"))


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_the_studies_are_planned_at_both_tiers(tier):
    relu, chernoff = RELU.plan(tier), CHERNOFF.plan(tier)
    assert {10, 100, 1000} <= {network.depth // 2 for network in relu[0].networks}  # type: ignore[attr-defined]
    assert [task.labels["dtype"] for task in relu] == ["float64", "float32"]
    assert len({run_id(task) for task in chernoff}) == 3


def test_the_alternating_weights_have_no_limit():
    path = Alternating().sample((1, 1), torch.Generator())
    assert path(4).flatten().tolist() == [-0.25, 0.25, -0.25, 0.25]
    assert path(6).shape == (6, 1, 1)
    with pytest.raises(InputError, match="function of s, found alternating layers"):
        path.at(torch.zeros(1))


def test_the_one_pair_is_the_input_and_its_multiple():
    x, y = ScaledPoint(0.5, 3.0).sample(NamedDraw().stream(0))
    assert (x.tolist(), y.tolist()) == ([[0.5]], [[1.5]])


def test_training_ends_where_the_closed_form_says(trained):
    last = {q: trained.filter(quantity=q, iteration=ITERATIONS)["value"].item() for q in ("even", "even.spread", "gap")}
    assert last["even"] == pytest.approx(theory.relu_limit_weight(10, ratio=RATIO), abs=1e-9)
    assert last["even.spread"] < 1e-12
    assert last["gap"] == pytest.approx(theory.relu_final_gap(10, ratio=RATIO), abs=1e-9)
    assert odd_weights(trained).high == 0


def test_the_flow_is_the_exact_one_and_not_the_printed(trained):
    assert flow_over(theory.relu_flow_exact)(trained).value == pytest.approx(1.0)
    assert flow_over(theory.relu_flow_printed)(trained).value == pytest.approx(INPUT / 20)
    for name, ruling in (("exact", "reproduced"), ("printed", "not reproduced")):
        verdict = judge(claim(f"19.{name}-flow"), trained, tier="quick")
        assert verdict.ruling == verdict.claim.expected_ruling == ruling


def made_up(shift: float = 0.0, odd: float = 0.0) -> pl.DataFrame:
    """What five depths would leave, the even weights off by `shift`, an odd one moved by `odd`."""
    rows = []
    for half in (10, 30, 100, 300, 1000):
        values = {
            "even": theory.relu_limit_weight(half, ratio=RATIO) + shift,
            "even.spread": 0.0,
            "odd.moved": odd,
            "gap": theory.relu_final_gap(half, ratio=RATIO) + shift,
        }
        rows += [
            {"depth": 2 * half, "iteration": ITERATIONS, "quantity": q, "value": value, "dtype": dtype}
            for q, value in values.items()
            for dtype in ("float64", "float32")
        ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("shift", "ruling"), [(0.0, "reproduced"), (0.01, "not reproduced")])
def test_weights_off_their_limit_are_seen(shift, ruling):
    assert judge(claim("19.even-weights"), made_up(shift), tier="quick").ruling == ruling
    assert judge(claim("19.gap"), made_up(shift), tier="quick").ruling == ruling
    assert even_weights(made_up(shift)).value == pytest.approx(shift, abs=1e-12)
    assert deep_gap(made_up(shift)).value == pytest.approx(2 * math.log(RATIO) + shift, abs=2e-4)


def test_an_odd_layer_that_moves_is_seen():
    assert judge(claim("19.odd-weights"), made_up(), tier="quick").ruling == "reproduced"
    assert judge(claim("19.odd-weights"), made_up(odd=1e-16), tier="quick").ruling == "not reproduced"


def test_the_figure_holds_what_was_trained_against_the_closed_form():
    _, right = RELU.figures[0].panels(made_up())
    theory_curve, markers = right.curves  # type: ignore[union-attr]
    assert list(theory_curve.x) == [10, 30, 100, 300, 1000]
    assert markers.y == pytest.approx(theory_curve.y)


# --- Lemma 21 ---


def test_the_printed_bound_is_broken_and_the_usual_one_is_not():
    rows = pl.concat(
        [frame(task.run(Context())).with_columns(mean=pl.lit(task.labels["mean"])) for task in CHERNOFF.plan("quick")]
    )
    for name in ("chernoff-as-printed", "chernoff-usual"):
        verdict = judge(claim(f"lemma21.{name}"), rows, tier="quick")
        assert verdict.ruling == verdict.claim.expected_ruling
    assert tail_over("bound.printed")(rows).low > 1 > tail_over("bound.usual")(rows).high
    (panel,) = CHERNOFF.figures[0].panels(rows)
    assert [curve.label for curve in panel.curves] == ["exact tail", "as printed", "usual form"]  # type: ignore[union-attr]


def test_the_rows_of_the_tails_are_the_closed_forms():
    rows = frame(ChernoffTails(50, 0.2, (50,)).run(Context()))
    assert dict(zip(rows["quantity"], rows["value"], strict=True)) == pytest.approx(
        {
            "tail": theory.binomial_lower_tail(50, 0.2, t=0.5),
            "bound.printed": math.exp(-0.75 * 5),
            "bound.usual": math.exp(-0.25 * 5),
        }
    )
