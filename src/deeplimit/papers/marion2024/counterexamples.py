"""What the theory needs and what does not hold as printed: the ReLU counter-example (row 19), and the Chernoff bound of Lemma 21."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit import checks, theory
from deeplimit.branches import OneMatrix, ReLU
from deeplimit.claims import Claim, Measured
from deeplimit.data import Pairs
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import convergence_law
from deeplimit.measures import At, Every, LayerGaps, Measure, Schedule
from deeplimit.measures.measure import Memory, Observation, View
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024.common import only
from deeplimit.processes import Path, Process
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, TrainingRun

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor

    from deeplimit.draws import Stream

# ------------------------------------------------------------------------------------- appendix D: the counter-example

RATIO = 2.0
"""C: the target is C times the input."""

INPUT = 0.5
"""x; at x = 1 the printed flow would be the flow (4) by accident."""

RATE = 0.4
ITERATIONS = 60
"""Near the end an iteration leaves the share 1 − η x² C^{2(L−1)/L} of the distance, 0.6 for large L: 60 of them are float64 rounding."""

HALF_DEPTHS = Tiered(quick=(10, 30, 100, 300, 1000), paper=(10, 30, 100, 300, 1000, 3000))
EARLY = tuple(range(9))
"""Iterations at which the flow is compared; later both sides tend to 0."""


@dataclass(frozen=True)
class Alternating(Process):
    """w_k = (−1)^k / L in every entry, k = 1…L: successive layers are 2/L apart, and every other pre-activation is negative.

    Reference: Marion et al. 2024, appendix D (whose depth L is called 2L there). No function of s = k/L.

    >>> import torch
    >>> Alternating().sample((), torch.Generator())(4).tolist()
    [-0.25, 0.25, -0.25, 0.25]
    """

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Path:
        """Nothing is drawn."""
        return _AlternatingPath(shape)


class _AlternatingPath(Path):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __call__(self, depth: int) -> Tensor:
        import torch

        checks.positive_int("depth", depth)
        signs = torch.tensor([(-1.0) ** k for k in range(1, depth + 1)], dtype=torch.float64)
        return (signs / depth).reshape(depth, *(1,) * len(self._shape)).expand(depth, *self._shape).clone()

    def at(self, s: Tensor) -> Tensor:
        raise checks.InputError(
            "weights at a position s: expected a process that is a function of s, found alternating layers"
        )


@dataclass(frozen=True)
class ScaledPoint(Pairs):
    """The one pair (x, C x).

    Args:
        x: the input.
        ratio: C.
    """

    x: float
    ratio: float
    samples: ClassVar[int] = 1

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Nothing is drawn: x and C x, `[1, 1]` each."""
        import torch

        x = torch.full((1, 1), self.x)
        return x, self.ratio * x


@dataclass(frozen=True)
class EvenAndOdd(Measure):
    """The layers of the counter-example, counted from 1: the even ones move together, the odd ones do not move.

    Quantities: `even`, the mean of the even weights; `even.spread`, their largest distance from it; `odd.moved`, the largest distance of an
    odd weight from where it started; `flow`, the mean of −∂ℓ/∂w_k over even k.

    Args:
        at: the iterations.
    """

    at: Schedule = field(default_factory=lambda: Every(1))

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The four numbers."""
        (role,) = view.network.layer_roles
        moved, w, g = (
            t[role].flatten(1) for t in ({role: view.params[role] - view.initial[role]}, view.params, view.grads)
        )
        even = w[:, 1::2].mean(1)
        yield Observation("even", even)
        yield Observation("even.spread", (w[:, 1::2] - even.unsqueeze(1)).abs().amax(1))
        yield Observation("odd.moved", moved[:, ::2].abs().amax(1))
        yield Observation("flow", -g[:, 1::2].mean(1))


def _relu_tasks(settings: Settings) -> Iterator[Task]:
    """All depths in lock-step, in each precision; nothing is drawn, so that one seed is all."""
    branch = OneMatrix(1, ReLU(), delta="fixed", bias=False)
    for dtype in settings.dtypes:
        yield TrainingRun(
            networks=tuple(ResidualStack(branch, 2 * L, init=Alternating()) for L in settings.pick(HALF_DEPTHS)),
            data=ScaledPoint(INPUT, RATIO),
            optimizer=GradientFlow(RATE),
            iterations=ITERATIONS,
            measures=(EvenAndOdd(), LayerGaps(At((ITERATIONS,)))),
            dtype=dtype,
            labels={"dtype": dtype},
        )


def even_weights(rows: pl.DataFrame) -> Measured:
    """The largest distance of an even weight from 2L (C^{1/L} − 1) after training, over L = 10, 100, 1000."""
    return _over_precisions(only(rows, iteration=ITERATIONS), _largest_even_error)


def _largest_even_error(rows: pl.DataFrame) -> float:
    errors = []
    for half in (10, 100, 1000):
        own = only(rows, depth=2 * half)
        mean, spread = (float(only(own, quantity=q)["value"].item()) for q in ("even", "even.spread"))
        errors.append(abs(mean - theory.relu_limit_weight(half, ratio=RATIO)) + spread)
    return max(errors)


def odd_weights(rows: pl.DataFrame) -> Measured:
    """The largest distance that an odd weight ever moved."""
    return _over_precisions(only(rows, quantity="odd.moved"), lambda own: float(own["value"].to_numpy().max()))


def deep_gap(rows: pl.DataFrame) -> Measured:
    """The limit of the distance between successive layers as L grows, from a fit a + b L^(−r)."""
    return _over_precisions(only(rows, quantity="gap", iteration=ITERATIONS), _limit_of_gap)


def _limit_of_gap(rows: pl.DataFrame) -> float:
    return convergence_law(rows["depth"].to_numpy() / 2, rows["value"].to_numpy()).limit


def flow_over(formula: Callable[..., float]) -> Callable[[pl.DataFrame], Measured]:
    """The measure of dw/dt of the exact gradient over a formula for it; its interval is the range over depths and early times."""

    def measure(rows: pl.DataFrame) -> Measured:
        ratios = []
        for depth in sorted(only(rows, quantity="flow")["depth"].unique()):
            own = only(rows, depth=depth, dtype="float64")
            for t in EARLY:
                weight, flow = (only(own, quantity=q, iteration=t)["value"].item() for q in ("even", "flow"))
                ratios.append(flow / formula(weight, depth // 2, ratio=RATIO, x=INPUT))
        return Measured.spread(ratios, f"at L = 10 and t = 0; range over depths and the first {len(EARLY)} iterations")

    return measure


def _over_precisions(rows: pl.DataFrame, number: Callable[[pl.DataFrame], float]) -> Measured:
    """A number in each precision, the highest first."""
    precisions = sorted(rows["dtype"].unique(), reverse=True)
    return Measured.spread([number(only(rows, dtype=dtype)) for dtype in precisions], "range over precisions")


def _relu_claim(
    name: str, statement: str, *, measure: Callable[[pl.DataFrame], Measured], quantity: str, band: tuple[float, float]
) -> Claim:
    printed = name == "printed-flow"
    return Claim(
        f"marion2024.19.{name}",
        statement,
        "appendix D",
        quantity,
        measure,
        expected=band[0],
        tolerance=band[1],
        source="text" if printed else "derived",
        expected_ruling="not reproduced" if printed else "reproduced",
    )


RELU_CLAIMS = (
    _relu_claim(
        "even-weights",
        "Every even layer tends to w* = 2L (C^{1/L} − 1): 1.435, 1.391 and 1.387 at L = 10, 100 and 1000 for C = 2.",
        measure=even_weights,
        quantity="largest distance of an even weight from w* after training",
        band=(0.0, 1e-3),
    ),
    _relu_claim(
        "odd-weights",
        "Odd layers never move.",
        measure=odd_weights,
        quantity="largest distance of an odd weight from −1/(2L) over all of training",
        band=(0.0, 0.0),
    ),
    _relu_claim(
        "gap",
        "The distance between successive layers does not vanish with depth: it tends to 2 log C.",
        measure=deep_gap,
        quantity="limit of max over k of |w_{k+1} − w_k| after training as L grows, C = 2",
        band=(theory.relu_deep_weight(RATIO), 1e-3),
    ),
    _relu_claim(
        "printed-flow",
        "As printed: dw/dt = 2x (C − (1 + w/2L)^L) (1 + w/2L)^{L−1}.",
        measure=flow_over(theory.relu_flow_printed),
        quantity="−∂ℓ/∂w of the trained network over the printed right-hand side",
        band=(1.0, 1e-3),
    ),
    _relu_claim(
        "exact-flow",
        "With the factor x/(2L) of exact differentiation the flow is right.",
        measure=flow_over(theory.relu_flow_exact),
        quantity="−∂ℓ/∂w of the trained network over x/(2L) times the printed right-hand side",
        band=(1.0, 1e-3),
    ),
)


def _relu_panels(rows: pl.DataFrame) -> list[Panel]:
    """Even weights over training time, and the final distance against depth."""
    own = only(rows, dtype="float64")
    halves = [depth // 2 for depth in sorted(own["depth"].unique())]
    times = [_weight_curve(own, half) for half in halves if half in (10, 100, 1000)]
    limit = Curve([0.0, RATE * ITERATIONS], [theory.relu_deep_weight(RATIO)] * 2, label="2 log C", style="dashed")
    ends = only(own, quantity="gap").sort("depth")
    gaps = [theory.relu_final_gap(half, ratio=RATIO) for half in halves]
    return [
        Panel([*times, limit], "training time t", "weight of the even layers", "even layers"),
        Panel(
            [
                Curve(halves, gaps, label="w* + 1/(2L)", style="dashed"),
                Curve(halves, ends["value"].to_list(), label="trained", style="markers"),
            ],
            "L, half of the depth",
            "distance of successive layers",
            "after training",
            xscale="log",
        ),
    ]


def _weight_curve(rows: pl.DataFrame, half: int) -> Curve:
    own = only(rows, quantity="even", depth=2 * half).sort("iteration")
    return Curve([RATE * t for t in own["iteration"]], own["value"].to_list(), label=f"L = {half}")


RELU = Study(
    "relu-counterexample",
    title="With ReLU the weights do not stay smooth",
    text=(
        "A scalar ReLU network of depth 2L starts from weights (−1)^k/(2L), which are 1/L apart, and is trained on one pair"
        f" (x, Cx) with x = {INPUT:g} and C = {RATIO:g}. Every odd layer sees a negative pre-activation and never moves; all even"
        " layers move together to w* = 2L (C^{1/L} − 1). So layers end a constant apart, whatever the depth.\n\n"
        "The flow printed in appendix D lacks a factor x/(2L): the measured −∂ℓ/∂w is x/(2L) times the printed right-hand side at every"
        " depth and time. With the factor 2L of the flow (4) the quotient is x, so that the printed flow is right for x = 1 only. The"
        " factor changes the clock and not the end point."
    ),
    tasks=_relu_tasks,
    dtypes=("float64", "float32"),
    figures=(
        Figure(
            "relu-counterexample",
            "The ReLU counter-example",
            "Left: the weight of the even layers over training time. Right: the distance between successive layers after training"
            " falls to 2 log C and not to 0.",
            _relu_panels,
        ),
    ),
    claims=RELU_CLAIMS,
)


# ------------------------------------------------------------------------------------- Lemma 21: the Chernoff bound


@dataclass(frozen=True)
class ChernoffTails:
    """The lower tail of a binomial X, a sum of 1 × 1 matrices in [0, 1], and two bounds on it (Lemma 21; Tropp 2012).

    Rows, with t in percent as index: `tail`, P(X ≤ t E X) exactly; `bound.printed`, exp(−(1 − t²) μ/2); `bound.usual`,
    exp(−(1 − t)² μ/2), with μ = E X.

    Args:
        trials, probability: of X.
        percent: the t looked at, in percent.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    trials: int
    probability: float
    percent: tuple[int, ...] = tuple(range(5, 100, 5))
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Closed forms."""
        mean = self.trials * self.probability
        for percent in self.percent:
            t = percent / 100
            found = {
                "tail": theory.binomial_lower_tail(self.trials, self.probability, t=t),
                "bound.printed": theory.chernoff_printed(mean, t),
                "bound.usual": theory.chernoff_tropp(mean, t),
            }
            yield from ({"quantity": quantity, "index": percent, "value": value} for quantity, value in found.items())

    def cost(self) -> Cost:
        """Next to nothing."""
        return Cost(1.0, 1e6, 1e4)

    def probe(self, context: Context) -> float:
        """Next to nothing."""
        return 0.1


def _chernoff_tasks(settings: Settings) -> Iterator[Task]:
    for trials in (200, 500, 1000):
        yield ChernoffTails(trials, 0.1, labels={"mean": trials // 10})


def tail_over(bound: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the exact tail over a bound at t = 1/2, the value that Lemma 21 uses; its interval is the range over means."""

    def measure(rows: pl.DataFrame) -> Measured:
        half = only(rows, index=50).sort("mean", descending=True)
        pairs = zip(only(half, quantity="tail")["value"], only(half, quantity=bound)["value"], strict=True)
        return Measured.spread([tail / limit for tail, limit in pairs], "at mean 100; range over means 20, 50, 100")

    return measure


def _chernoff_panels(rows: pl.DataFrame) -> list[Panel]:
    """Tail and bounds against t at the largest mean."""
    own = only(rows, mean=max(rows["mean"])).sort("index")
    looks = {
        "tail": ("exact tail", "line"),
        "bound.printed": ("as printed", "dashed"),
        "bound.usual": ("usual form", "dotted"),
    }
    curves = []
    for quantity, (label, style) in looks.items():
        part = only(own, quantity=quantity)
        curves.append(Curve([i / 100 for i in part["index"]], part["value"].to_list(), label, style=style))  # type: ignore[arg-type]
    return [Panel(curves, "t", "P(X ≤ t E X), mean 100", yscale="log")]


def _chernoff_claim(name: str, statement: str, *, bound: str) -> Claim:
    printed = bound == "bound.printed"
    return Claim(
        f"marion2024.lemma21.{name}",
        statement,
        "Lemma 21 (proof); Prop. 5",
        "P(X ≤ E X / 2) of a binomial over the bound",
        tail_over(bound),
        expected=1.0,
        tolerance=0.0,
        source="text" if printed else "theorem",
        relation="at most",
        expected_ruling="not reproduced" if printed else "reproduced",
    )


CHERNOFF = Study(
    "chernoff",
    title="The Chernoff bound behind Lemma 21",
    text=(
        "The proof of Lemma 21 quotes a matrix Chernoff bound with the exponent −(1 − t²) μ/2. A binomial variable is the smallest case"
        " of it (1 × 1 matrices), and its tail is far above that. In the usual form the exponent is −(1 − t)² μ/2, which holds; at"
        " t = 1/2 this turns the constant 3/64 in the probability of Proposition 5 into 1/64. The scaling in n, m and q stays."
    ),
    tasks=_chernoff_tasks,
    figures=(
        Figure(
            "chernoff",
            "Two Chernoff bounds and the tail they bound",
            "The exact tail of a binomial lies under the usual bound and, except for small t, above the printed one.",
            _chernoff_panels,
        ),
    ),
    claims=(
        _chernoff_claim(
            "chernoff-as-printed", "As printed: P(λ_min ≤ t μ) ≤ exp(−(1 − t²) μ/2).", bound="bound.printed"
        ),
        _chernoff_claim(
            "chernoff-usual", "In its usual form: P(λ_min ≤ t μ) ≤ exp(−(1 − t)² μ/2).", bound="bound.usual"
        ),
    ),
)

STUDIES = (RELU, CHERNOFF)
