"""Figure 2: the long-time limit of one network (rows 11, 12 and 13 of the checklist)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import table_deviation
from deeplimit.measures import Entry, Every, LayerGaps, Loss
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024.common import (
    AUTHORS_DRAW,
    PRINTED_LOSS,
    RELEASED_LOSS,
    STATE,
    in_released_precision,
    only,
    per_precision,
    printed,
    released,
)
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, LossFunction, TrainingRun

if TYPE_CHECKING:
    import polars as pl

SEED = 0
WIDTH = 64
DEPTH = 64
# The released script draws a matrix between weights and data that it never uses.
DATA = GaussianPairs(50, STATE, STATE, skip=(STATE, STATE))
ITERATIONS = Tiered(quick=2_000, paper=80_000)
CURVES = Tiered(quick=Every(100), paper=Every(100))
# The released scripts store weights transposed: their V[3, 1] and W[3, 1] are our V[1, 3] and W[1, 3].
ENTRY = (1, 3)

# Read off the published figure (vector path): {iteration: loss}.
PUBLISHED_LOSS = {0: 1.89, 1_000: 0.40, 2_000: 0.21, 10_000: 0.0082, 20_000: 7.3e-4, 40_000: 1.55e-5, 80_000: 7.0e-8}


def _tasks(settings: Settings) -> Iterator[Task]:
    """The released model in every precision; the printed one at the sizes that can tell."""
    for dtype in settings.dtypes:
        yield _run(settings, released(DEPTH, WIDTH), loss=RELEASED_LOSS, labels={"model": "released", "dtype": dtype})
    if settings.tier == "paper":
        dtype = settings.dtypes[0]
        yield _run(settings, printed(DEPTH, WIDTH), loss=PRINTED_LOSS, labels={"model": "printed", "dtype": dtype})


def _run(settings: Settings, network: ResidualStack, *, loss: LossFunction, labels: dict[str, str]) -> TrainingRun:
    curves = settings.pick(CURVES)
    return TrainingRun(
        networks=(network,),
        data=DATA,
        optimizer=GradientFlow(5e-3),
        iterations=settings.pick(ITERATIONS),
        measures=(Loss(curves), LayerGaps(Every(500)), Entry("V", ENTRY, curves), Entry("W", ENTRY, curves)),
        seeds=(SEED,),
        loss=loss,
        draw=AUTHORS_DRAW,
        dtype=labels["dtype"],
        labels=labels,
    )


def _loss_deviation(*iterations: int) -> Callable[[pl.DataFrame], Measured]:
    """The largest relative deviation from the published loss at these iterations, in the precision of the released scripts."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = in_released_precision(only(rows, quantity="loss", model="released"))
        return table_deviation(own, {(t,): PUBLISHED_LOSS[t] for t in iterations}, keys=["iteration"])

    return measure


def _final_loss(model: str) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return per_precision(only(rows, quantity="loss", model=model, iteration=80_000))

    return measure


def _float32_effect(rows: pl.DataFrame) -> Measured:
    """How far float64 is from float32 at the end."""
    last = {
        row["dtype"]: row["value"] for row in only(rows, quantity="loss", model="released", iteration=80_000).to_dicts()
    }
    return Measured.spread([last["float64"] / last["float32"] - 1], "one run in each precision")


def _final_entry(
    role: str, number: Callable[[dict[int, list[float]]], float], *iterations: int
) -> Callable[[pl.DataFrame], Measured]:
    """A number computed from the plotted entry over layers at some iterations, in every precision."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, quantity=f"entry.{role}", model="released")
        precisions = [only(own, dtype=dtype) for dtype in sorted(own["dtype"].unique(), reverse=True)]
        found = [number({t: _layers(p, t) for t in iterations}) for p in precisions]
        return Measured.spread(found)

    return measure


def _layers(rows: pl.DataFrame, iteration: int) -> list[float]:
    """The entry in every layer at an iteration."""
    return only(rows, iteration=iteration).sort("index")["value"].to_list()


def _scaled_step(entries: dict[int, list[float]]) -> float:
    """L times the largest step from layer to layer."""
    (values,) = entries.values()
    return len(values) * max(abs(b - a) for a, b in itertools.pairwise(values))


def _largest_change(entries: dict[int, list[float]]) -> float:
    """The largest change of the entry between two iterations."""
    earlier, later = entries.values()
    return max(abs(b - a) for a, b in zip(earlier, later, strict=True))


def _late_growth(role: str) -> Callable[[pl.DataFrame], Measured]:
    """The relative growth of the largest distance between successive layers over the second half of training."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, quantity=f"gap.{role}", model="released")
        half, end = (only(own, iteration=t) for t in (40_000, 80_000))
        joined = half.join(end, on="dtype", suffix="_end")
        return per_precision(joined.with_columns(value=joined["value_end"] / joined["value"] - 1))

    return measure


def _final_step(role: str, expected: float) -> Claim:
    return Claim(
        f"marion2024.12.step-{role}",
        f"The plotted entry of {role} is a smooth function of depth at the end of training.",
        "Fig. 2",
        f"L times the largest step of the plotted {role} entry from layer to layer, at 80,000 iterations",
        _final_entry(role, _scaled_step, 80_000),
        expected=expected,
        tolerance=0.05 * expected,
        source="figure",
        tiers=("paper",),
    )


def _saturation(role: str) -> Claim:
    return Claim(
        f"marion2024.13.saturation-{role}",
        f"The distance between successive layers of {role} is bounded uniformly in time: it saturates by half of the training.",
        "Prop. 8 (ii); Fig. 2",
        f"relative growth of max over k of ‖{role}_(k+1) − {role}_k‖ from 40,000 to 80,000 iterations",
        _late_growth(role),
        expected=0.0,
        tolerance=0.05,
        source="measured",
        tiers=("paper",),
    )


CLAIMS = (
    Claim(
        "marion2024.11.loss-early",
        "The training loss of the published figure, first 2,000 iterations.",
        "Fig. 2",
        "largest relative deviation from the published loss in float32 at iterations 0, 1,000 and 2,000",
        _loss_deviation(0, 1_000, 2_000),
        expected=0.0,
        tolerance=0.05,
        source="figure",
    ),
    Claim(
        "marion2024.11.loss-late",
        "The training loss of the published figure, to the end.",
        "Fig. 2",
        "largest relative deviation from the published loss in float32 at iterations 10,000, 20,000, 40,000, 80,000",
        _loss_deviation(10_000, 20_000, 40_000, 80_000),
        expected=0.0,
        tolerance=0.05,
        source="figure",
        tiers=("paper",),
    ),
    Claim(
        "marion2024.11.loss-last-exact",
        "As plotted: the loss of the model after 80,000 iterations is 7.0e-8, whatever the precision.",
        "Fig. 2",
        "relative difference of the loss at 80,000 iterations in float64 from that in float32",
        _float32_effect,
        expected=0.0,
        tolerance=0.05,
        source="derived",
        tiers=("paper",),
        expected_ruling="not reproduced",
    ),
    Claim(
        "marion2024.11.final-loss",
        "The loss tends to 0: below 1e-7 after 80,000 iterations, in the conventions of the released code.",
        "Theorem 6; Fig. 2",
        "loss after 80,000 iterations, released conventions",
        _final_loss("released"),
        expected=1e-7,
        tolerance=0.0,
        source="figure",
        relation="at most",
        tiers=("paper",),
    ),
    Claim(
        "marion2024.11.final-loss-as-printed",
        "As printed: model (3) with its factors 1/√m and 1/√q and the loss summed over coordinates reaches the loss of Figure 2.",
        "Fig. 2; equation (3); section 5.1",
        "loss after 80,000 iterations, model and loss as printed",
        _final_loss("printed"),
        expected=1e-7,
        tolerance=0.0,
        source="text",
        relation="at most",
        tiers=("paper",),
        expected_ruling="not reproduced",
    ),
    _final_step("V", 0.83),
    _final_step("W", 0.68),
    Claim(
        "marion2024.12.converged",
        "The plotted entry of V has converged: its last 10,000 iterations do not show.",
        "Fig. 2",
        "largest change over layers of the plotted V entry from 70,000 to 80,000 iterations",
        _final_entry("V", _largest_change, 70_000, 80_000),
        expected=3e-4,
        tolerance=0.0,
        source="figure",
        relation="at most",
        tiers=("paper",),
    ),
    _saturation("V"),
    _saturation("W"),
)


def _panels(rows: pl.DataFrame) -> list[Panel]:
    """Both entries over depth, and the loss."""
    own = only(rows, model="released")
    own = only(own, dtype=max(own["dtype"]))
    last = max(own["iteration"])
    return [*(_entry_panel(own, role, last) for role in ("V", "W")), _loss_panel(own, rows)]


def _entry_panel(rows: pl.DataFrame, role: str, last: int) -> Panel:
    """The entry over layers, one curve for each iteration kept (at most 100 of them: more cannot be told apart)."""
    own = only(rows, quantity=f"entry.{role}")
    iterations = sorted(own["iteration"].unique())
    kept = iterations[:: max(1, len(iterations) // 100)]
    curves = [_layer_curve(only(own, iteration=t).sort("index"), t / last) for t in kept]
    return Panel(
        curves,
        xlabel="layer k",
        ylabel=f"entry of {role}",
        title=f"one entry of {role}",
        shade_label="training iteration",
        shade_range=(0, last),
    )


def _layer_curve(rows: pl.DataFrame, shade: float) -> Curve:
    return Curve(rows["index"].to_list(), rows["value"].to_list(), shade=shade)


def _loss_panel(rows: pl.DataFrame, every: pl.DataFrame) -> Panel:
    own = only(rows, quantity="loss").sort("iteration")
    last = own["iteration"][-1]
    published = {t: loss for t, loss in PUBLISHED_LOSS.items() if t <= last}
    curves = [
        Curve(own["iteration"].to_list(), own["value"].to_list(), label="released conventions"),
        Curve(list(published), list(published.values()), label="published", style="markers"),
    ]
    if "printed" in every["model"].to_list():
        other = only(every, model="printed", quantity="loss").sort("iteration")
        curves.append(
            Curve(other["iteration"].to_list(), other["value"].to_list(), label="model (3) as printed", style="dotted")
        )
    return Panel(curves, xlabel="training iteration", ylabel="training loss", title="loss", yscale="log")


STUDIES = (
    Study(
        "figure2",
        title="The long-time limit",
        text=(
            "One network of depth 64 is trained for 80,000 iterations (2,000 at the quick tier). At every time the weights"
            " are smooth functions of depth; they converge as training goes on, and the loss tends to 0. The published"
            " curves are those of the released code, without the factors 1/√m and 1/√q of equation (3) and with the loss"
            " averaged over coordinates; the model as printed, trained just as long, is far from that loss."
        ),
        tasks=_tasks,
        dtypes=("float64", "float32"),
        figures=(
            Figure(
                "figure2",
                "Weights over depth and loss over training time",
                "Left and middle: the entries plotted in the paper, dark to bright with training time. Right: the training loss.",
                _panels,
                where="Figure 2",
            ),
        ),
        claims=CLAIMS,
    ),
)
