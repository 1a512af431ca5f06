"""The kernel and the function of wide networks against Theorem 1, and how fast they approach it as the width grows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.limits import HomogeneousFlow
from deeplimit.papers.lewkowycz2020.wide.chain import Chain
from deeplimit.papers.lewkowycz2020.wide.common import (
    REPLICATES,
    Measure,
    against_clock,
    claim,
    in_width,
    mean_largest,
    mean_of_rows,
    over_time,
)
from deeplimit.papers.lewkowycz2020.wide.training import INPUTS, WideTraining
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import guide, seed_band
from deeplimit.records import Label, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl

DECAY, RATE = 0.05, 0.05
"""λ and η."""

MEASURED = (0, 10, 20, 40, 70, 100, 140, 180, 220, 260, 300)
"""Iterations for k = 2; (k − 1) times as few for other degrees, so that the kernel has shrunk as far: 2(k−1)λt = 1.5 at the last."""

LONGER = (*MEASURED, 400, 500, 600)
"""Those of the widest network, which follows the law for twice as long."""

END = {2: 0.75, 3: 0.375}
"""λt at the last of them."""

LEARNED = 0.1
"""λt from which on the function has been learned: before, its distance from the flow is that of a step η with η g near 1/2."""

EARLY = 10
"""The iteration at which what kinks do is not yet hidden by what grows with time."""

MANY = 32
"""Seeds of the runs that end there."""

WIDE, WIDEST = 4096, 16384

WIDTHS: Tiered[tuple[int, ...]] = Tiered(
    quick=(256, 512, 1024, 2048, WIDE), paper=(256, 512, 1024, 2048, WIDE, 8192, 16384)
)
DEEP_WIDTHS: Tiered[tuple[int, ...]] = Tiered(quick=(64, 128, 256, 512), paper=(64, 128, 256, 512, 1024))

KINDS = {"ReLU": False, "linear": True}


def _tasks(settings: Settings) -> Iterator[Task]:
    """Two layers with and without kinks, three layers, and the first steps of many networks."""
    widths = settings.pick(WIDTHS)
    for (kind, linear), width in itertools.product(KINDS.items(), widths):
        yield _task(2, width, settings, linear=linear, kind=kind)
    for width in settings.pick(DEEP_WIDTHS):
        yield _task(3, width, settings, linear=False, kind="ReLU")
    labels: dict[str, Label] = {"layers": 2, "width": WIDEST, "kind": "first steps"}
    yield WideTraining(Chain(2, WIDEST, INPUTS), DECAY, RATE, (0, EARLY), tuple(range(MANY)), labels=labels)


def _task(layers: int, width: int, settings: Settings, *, linear: bool, kind: str) -> Task:
    measured = tuple(
        iteration // (layers - 1) for iteration in (LONGER if width == WIDEST and not linear else MEASURED)
    )
    labels: dict[str, Label] = {"layers": layers, "width": width, "kind": kind}
    return WideTraining(Chain(layers, width, INPUTS, linear), DECAY, RATE, measured, settings.seeds(0), labels=labels)


def _diagonal(where: str) -> Measure:
    """√n times the early shift of the diagonal."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        own = only(rows, quantity=f"diagonal.{where}", kind="first steps", iteration=EARLY)
        scaled = own.with_columns(pl.col("value") * pl.col("width").sqrt())
        return mean_of_rows(scaled)

    return measure


def _rate(rows: pl.DataFrame) -> Measured:
    """−d log ‖Θ‖/d(λt) of the widest network of three layers, over the first third of the run."""
    import polars as pl

    own = only(rows, quantity="kernel", layers=3)
    own = own.filter(pl.col("width") == pl.col("width").max(), pl.col("clock") > 0, pl.col("clock") < 0.13)
    last = own.filter(pl.col("clock") == pl.col("clock").max())
    return mean_of_rows(last.with_columns(value=-pl.col("value").log() / pl.col("clock")))


def _kernel_panels(rows: pl.DataFrame) -> list[Panel]:
    """The ratio against λt at several widths, for two and three layers."""
    return [_ratio_panel(only(rows, kind="ReLU", layers=layers), layers) for layers in (2, 3)]


def _ratio_panel(rows: pl.DataFrame, layers: int) -> Panel:
    widths = sorted(rows["width"].unique())
    chosen = [widths[0], widths[len(widths) // 2], widths[-1]]
    curves = [against_clock(rows, "kernel", label=f"n = {width}", width=width) for width in chosen]
    x = curves[-1].x
    law = HomogeneousFlow(layers, 1.0).kernel(x).tolist()
    curves.append(Curve(x, law, f"exp(−{2 * (layers - 1)} λt)", style="dashed"))
    return Panel(curves, "λt", "‖Θ(t)‖ / ‖Θ(0)‖", title=f"k = {layers}", yscale="log")


def _width_panels(rows: pl.DataFrame) -> list[Panel]:
    """What is left of kernel and function at the end, against the width."""
    return [
        _width_panel(rows, "kernel.gap", "distance from the law", title="norm of the kernel", slopes=(-1.0,)),
        _width_panel(rows, "rotation", "1 − cos of the angle", title="rotation of the kernel", slopes=(-1.5, -2.0)),
        _width_panel(
            rows, "gap.steps.train", "distance from the law", title="function, training points", slopes=(-0.5, -1.0)
        ),
    ]


def _width_panel(rows: pl.DataFrame, quantity: str, ylabel: str, *, title: str, slopes: tuple[float, ...]) -> Panel:
    curves = [
        seed_band(over_time(only(rows, kind=kind, layers=2), quantity, until=END[2]), "width", label=kind)
        for kind in KINDS
    ]
    pairs = zip(curves[-len(slopes) :] if len(slopes) == 1 else curves, slopes, strict=False)
    guides = [guide(curve, slope, factor=0.6) for curve, slope in pairs]
    return Panel([*curves, *guides], "width n", ylabel, title=title, xscale="log", yscale="log")


def _function_panels(rows: pl.DataFrame) -> list[Panel]:
    """‖f‖ along training of one seed at two widths, each beside the flow from its own start."""
    own = only(rows, kind="ReLU", layers=2, seed=0)
    own = own.filter(own["clock"] > 0)
    panels = []
    for where, title in (("train", "training points"), ("test", "test points")):
        curves = []
        for width in (256, WIDE):
            trained = against_clock(own, f"size.{where}", label=f"n = {width}", width=width)
            flow = against_clock(own, f"size.flow.{where}", label="", width=width)
            curves += [Curve(trained.x, trained.y, trained.label), Curve(flow.x, flow.y, style="dashed")]
        panels.append(Panel(curves, "λt", "‖f‖ / ‖y‖ per point", title=title, xscale="log"))
    return panels


KERNEL = Study(
    "wide-kernel",
    title="Wide networks with L2: the kernel shrinks and barely turns",
    text=(
        "Networks of two and three layers without biases, in the parameterisation in which Θ has a limit, are trained on 12 points under"
        " ½ Σ (f − y)² + (λ/2)‖θ‖² with λ = 0.05 by full-batch gradient descent with η = 0.05. The kernel on these points and 6 others is"
        " held against (1 − ηλ)^(2(k−1) steps), the function against the flow at infinite width from the network's own Θ(0) and f(0), for"
        " as long as 2(k−1)λt ≤ 1.5. All leading corrections are expected to be of order 1/n where f has two derivatives in θ, which ReLU"
        " has not: a deep linear network of the same degree is the control. At a training point a unit whose input is near 0 feels the"
        " point's own residual only while it is active, so that units that fall silent there are not balanced by units that wake:"
        " Θ(x, x) of ReLU networks falls by O(n^(−1/2)) at training points, and by less elsewhere. The norm of the kernel hardly sees"
        " this; the function does."
    ),
    tasks=_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "wide-kernel",
            "The kernel shrinks by exp(−2(k−1)λt)",
            "Mean and range over seeds. Narrow networks leave the law upwards, wide ones follow it for longer.",
            _kernel_panels,
        ),
        Figure(
            "wide-width",
            "Distance from infinite width",
            "Largest values while 2λt ≤ 1.5, two layers. The norm of the kernel is off by 1/n with kinks and without. Its direction and the"
            " function approach their limits at the rates of smooth theory only without kinks.",
            _width_panels,
        ),
        Figure(
            "wide-function",
            "The function against the closed form",
            "Two layers of ReLU, one seed; dashed: the flow at infinite width from the same start. The function is learned in a time that"
            " does not depend on λ and fades on the clock of λt, on and off the sample.",
            _function_panels,
        ),
    ),
    claims=(
        claim(
            "kernel.within",
            "A wide network's tangent kernel shrinks by exp(−2(k−1)λt) under L2.",
            quantity=f"largest |‖Θ‖/‖Θ(0)‖ · (1−ηλ)^(−2 steps) − 1| while 2λt ≤ 1.5, two layers of ReLU, n = {WIDE}",
            measure=mean_largest("kernel.gap", until=END[2], layers=2, kind="ReLU", width=WIDE),
            band=(0.0, 0.05),
            relation="at most",
            minimum_sample=8,
        ),
        claim(
            "kernel.longer",
            "The wider the network, the longer it follows the law.",
            quantity=f"the same while 2λt ≤ 3, n = {WIDEST}",
            measure=mean_largest("kernel.gap", until=2 * END[2], layers=2, kind="ReLU", width=WIDEST),
            band=(0.0, 0.05),
            relation="at most",
            minimum_sample=8,
            tiers=("paper",),
        ),
        claim(
            "kernel.rotation",
            "The kernel is rescaled without rotation.",
            quantity=f"largest 1 − cos between Θ and Θ(0) while 2λt ≤ 1.5, two layers of ReLU, n = {WIDE}",
            measure=mean_largest("rotation", until=END[2], layers=2, kind="ReLU", width=WIDE),
            band=(0.0, 1e-3),
            relation="at most",
        ),
        claim(
            "kernel.exponent",
            "What theory drops for the norm of the kernel is of order 1/width.",
            where="Theorem 1, with the conjecture of Dyer and Gur-Ari",
            quantity="exponent in n of the largest distance from the law while 2λt ≤ 1.5, two layers of ReLU",
            measure=in_width("kernel.gap", until=END[2], layers=2, kind="ReLU"),
            band=(-1.0, 0.2),
        ),
        claim(
            "kernel.exponent-linear",
            "The same in a deep linear network of two layers.",
            where="Theorem 1, with the conjecture of Dyer and Gur-Ari",
            quantity="exponent in n of the largest distance from the law while 2λt ≤ 1.5, two linear layers",
            measure=in_width("kernel.gap", until=END[2], layers=2, kind="linear"),
            band=(-1.0, 0.2),
        ),
        claim(
            "degree.rate",
            "With three layers the rate is 4λ.",
            quantity="−log(‖Θ‖/‖Θ(0)‖)/(λt) at 4λt = 0.5, three layers of ReLU, the widest",
            measure=_rate,
            band=(4.0, 0.2),
        ),
        claim(
            "degree.exponent",
            "The correction is of order 1/width with three layers, too.",
            where="Theorem 1, with the conjecture of Dyer and Gur-Ari",
            quantity="exponent in n of the largest distance from the law while 4λt ≤ 1.5, three layers of ReLU",
            measure=in_width("kernel.gap", until=END[3], layers=3),
            band=(-1.0, 0.2),
        ),
        claim(
            "function.train",
            "The function on the training points follows the closed form of the modes.",
            where="Theorems 1 and 2",
            source="derived",
            quantity=f"largest ‖f − f_flow‖/‖f_flow‖ on training points, 0.2 ≤ 2λt ≤ 1.5, two layers of ReLU, n = {WIDE}",
            measure=mean_largest("gap.train", since=LEARNED, until=END[2], layers=2, kind="ReLU", width=WIDE),
            band=(0.0, 0.05),
            relation="at most",
        ),
        claim(
            "function.test",
            "So does it off the sample.",
            where="Theorem 1",
            source="derived",
            quantity=f"largest ‖f − f_flow‖/‖f_flow‖ on test points, 0.2 ≤ 2λt ≤ 1.5, two layers of ReLU, n = {WIDE}",
            measure=mean_largest("gap.test", since=LEARNED, until=END[2], layers=2, kind="ReLU", width=WIDE),
            band=(0.0, 0.05),
            relation="at most",
        ),
        claim(
            "function.exponent-linear",
            "Without kinks the function, too, is off by 1/width.",
            where="Theorem 1, with the conjecture of Dyer and Gur-Ari",
            quantity="exponent in n of the largest distance from gradient descent at infinite width, training points, two linear layers",
            measure=in_width("gap.steps.train", until=END[2], layers=2, kind="linear"),
            band=(-1.0, 0.2),
        ),
        claim(
            "function.exponent-kinks",
            "The function of a ReLU network is off by 1/width.",
            where="the same conjecture, for units with kinks",
            quantity="exponent in n of the largest distance from gradient descent at infinite width, training points, two layers of ReLU",
            measure=in_width("gap.steps.train", until=END[2], layers=2, kind="ReLU"),
            band=(-1.0, 0.2),
            expected_ruling="not reproduced",
        ),
        claim(
            "kinks.train",
            "Kinks lower the diagonal of the kernel at training points by order n^(−1/2).",
            where="of our own",
            source="derived",
            quantity=f"√n times the relative shift of Θ(x, x) at training points after {EARLY} steps, n = {WIDEST}",
            measure=_diagonal("train"),
            band=(0.0, 0.0),
            relation="at most",
            minimum_sample=8,
        ),
        claim(
            "kinks.test",
            "And not that of other points.",
            where="of our own",
            source="derived",
            quantity=f"√n times the relative shift of Θ(x, x) at test points after {EARLY} steps, n = {WIDEST}",
            measure=_diagonal("test"),
            band=(0.0, 0.05),
            minimum_sample=8,
        ),
    ),
)
