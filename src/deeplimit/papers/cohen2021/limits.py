"""Networks with given weights against the limits that theory names for them: rows 3, 4, 5 and 19, and the mean ODE.

Nothing is trained here. Weights follow hypothesis 1 (a smooth trend) or 2 (trend and Brownian noise); network and limit stand on one path.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.branches import GELU, Activation, OneMatrix, Perceptron, ShiftedSoftplus, Tanh
from deeplimit.claims import Claim, Measured
from deeplimit.draws import NamedDraw
from deeplimit.figures import Figure, Panel
from deeplimit.fits import exponent
from deeplimit.networks import Initialisation, ResidualStack
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import guide, seconds_for, seed_band
from deeplimit.processes import ContinuousPath, GaussianProcess, Path, TrendAndNoise, TrendAndNoisePath, Zero
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.scaling import DepthScaling
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.branches import Branch
    from deeplimit.draws import Stream
    from deeplimit.limits.sde import Map

Measure = Callable[["pl.DataFrame"], Measured]

SIZE = 0.4
"""Standard deviation of all entries, of trend and noise: the drift of the SDE is quadratic, and larger entries make paths blow up."""

LENGTH = 0.5
"""Length scale of the trend, a Gaussian process."""

BLOWN_UP = 1e3
"""A path on which network or limit exceeds this norm, or is not finite, counts as blown up."""

REPLICATES = 9
PATHS = Tiered(quick=8, paper=24)
DEPTHS = (16, 32, 64, 128, 256, 512, 1024)
STEPS = 8 * max(DEPTHS)
STOCHASTIC = frozenset({"sde", "uncorrected"})

# ------------------------------------------------------------------------------------------ networks against their limits


@dataclass(frozen=True)
class Convergence:
    """Networks h_{k+1} = h_k + L^(−α) σ(A_k h_k + b_k) at growing depth against limits on the same path of weights.

    A and b are `TrendAndNoise` with exponent β; the input is x = (1, …, 1)/√d. Rows by depth and seed, for every limit X of `limits`:
    `error.X`, the median over paths of sup over k of ‖h_k − H(k/L)‖; `mean.X`, its mean over the paths that did not blow up;
    `blown-up.X`, the share that did; `weak.X`, |E φ(h_L) − E φ(H(1))| with φ(h) = exp(−‖h‖²/2). With `derivatives` instead of states:
    `jacobian.X`, the median of sup over k of ‖∂h_k/∂h_0 − J(k/L)‖_F, and `gradient.X`, the same for ∂h_L/∂h_k and J(1) J(k/L)⁻¹.
    Without depth: `distance.limits`, the median sup distance between the two limits, where there are two.

    Args:
        activation: σ.
        alpha, beta: α and β.
        noise: standard deviation of the noise; 0 is hypothesis 1.
        limits: of `neural` (ODE), `linear` (the alternative ODE), `sde` and `uncorrected` (the SDE without its second-order drift).
        seeds: one set of paths each.
        paths: of weights and inputs, for each seed.
        depths: L, divisors of the largest.
        steps: of the reference solution of the SDE, a multiple of the largest depth.
        state: d.
        trend: standard deviation of the trend; 0 for none.
        derivatives: whether derivatives are compared in place of states.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    activation: Activation
    alpha: float
    beta: float
    noise: float
    limits: tuple[str, ...]
    seeds: tuple[int, ...]
    paths: int
    depths: tuple[int, ...] = DEPTHS
    steps: int = STEPS
    state: int = 5
    trend: float = SIZE
    derivatives: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Solve the limits, then hold each network against them."""
        import torch

        from deeplimit.limits import layer_maps

        weights, x = self._draw()
        with torch.no_grad():
            references = {limit: self._course(*self._maps(limit, weights, x=x)) for limit in self.limits}
            yield from self._distance(list(references.values()))
            for depth in self.depths:
                params = {role: path(depth).transpose(0, 1) for role, path in weights.items()}
                found = self._course(layer_maps(self._network(self.alpha, depth), params), x)
                for limit, reference in references.items():
                    yield from self._errors(found, reference, limit=limit)

    def cost(self) -> Cost:
        """Layers of networks and references; a step of Runge–Kutta is four, one with derivatives ten."""
        solved = sum(self.steps if limit in STOCHASTIC else 4 * max(self.depths) for limit in self.limits)
        members = len(self.seeds) * self.paths
        weights = 8.0 * members * self.state * (self.state + 1) * (3 * self._finest() + 2 * max(self.depths))
        return Cost((10.0 if self.derivatives else 1.0) * (sum(self.depths) + solved) * members, weights, 1e5)

    def probe(self, context: Context) -> float:
        """From the same at the smallest depth, with a sixteenth of the steps."""
        few = max(self.steps // 16 // self.depths[0], 1) * self.depths[0]
        return seconds_for(self, dataclasses.replace(self, depths=self.depths[:1], steps=few), context=context)

    def _finest(self) -> int:
        return self.steps if STOCHASTIC.intersection(self.limits) else max(self.depths)

    def _network(self, alpha: float, depth: int = 1) -> ResidualStack:
        return ResidualStack(OneMatrix(self.state, self.activation), depth, DepthScaling(alpha))

    def _draw(self) -> tuple[dict[str, TrendAndNoisePath], Tensor]:
        """The weights of all members, seed by seed, and the input of each `[E, 1, d]`."""
        import torch

        trend = GaussianProcess(LENGTH, self.trend) if self.trend else Zero()
        process = TrendAndNoise(trend, self.beta, self.noise, finest=self._finest())
        streams = [NamedDraw().stream(seed) for seed in self.seeds]
        weights = {
            role: _joined([process.sample((self.paths, *shape), stream.generator(role)) for stream in streams])
            for role, shape in self._network(self.alpha).branch.shapes.items()
        }
        shape = (len(self.seeds) * self.paths, 1, self.state)
        return weights, torch.full(shape, 1 / math.sqrt(self.state), dtype=torch.float64)

    def _maps(
        self, limit: str, weights: Mapping[str, TrendAndNoisePath], *, x: Tensor
    ) -> tuple[Iterator[Map], Tensor, int]:
        """The steps of a limit's solution, its first state, and every how many steps the deepest network has a layer."""
        from deeplimit.limits import linearised, ode_maps, sde_maps, trends

        if limit in STOCHASTIC:
            maps = sde_maps(self._network(self.alpha), weights, steps=self.steps, correction=limit == "sde")
            return maps, x, self.steps // max(self.depths)
        network = linearised(self._network(1.0)) if limit == "linear" else self._network(1.0)
        return *ode_maps(network, trends(weights), x=x, steps=max(self.depths)), 1

    def _course(self, maps: Iterator[Map], h: Tensor, keep: int = 1) -> dict[str, Tensor]:
        """What is compared, `[K + 1, E, numbers]` each."""
        from deeplimit.limits import gradient_factors, jacobians, trajectory

        if not self.derivatives:
            return {"error": trajectory(maps, h, keep=keep).flatten(2)}
        _, J = jacobians(maps, h, keep=keep)
        return {"jacobian": J.flatten(2), "gradient": gradient_factors(J).flatten(2)}

    def _distance(self, references: Sequence[Mapping[str, Tensor]]) -> Iterator[Row]:
        if len(references) == 2 and not self.derivatives:
            yield from self._medians(_sup(references[0]["error"], references[1]["error"]), quantity="distance.limits")

    def _errors(self, found: Mapping[str, Tensor], reference: Mapping[str, Tensor], *, limit: str) -> Iterator[Row]:
        for quantity, values in found.items():
            depth = len(values) - 1
            exact = reference[quantity][:: (len(reference[quantity]) - 1) // depth]
            yield from self._medians(_sup(values, exact), quantity=f"{quantity}.{limit}", depth=depth)
            if quantity == "error":
                yield from self._means(values, exact, limit=limit)

    def _means(self, values: Tensor, exact: Tensor, *, limit: str) -> Iterator[Row]:
        """What is no median: the mean error, the share blown up and the weak error."""
        import torch

        largest = torch.maximum(values.norm(dim=2).amax(0), exact.norm(dim=2).amax(0))
        fine = self._by_seed(largest <= BLOWN_UP)  # false for NaN
        errors, weak = self._by_seed(_sup(values, exact)), self._by_seed(_test(values[-1]) - _test(exact[-1]))
        for seed, kept, error, difference in zip(self.seeds, fine, errors, weak, strict=True):
            row: Row = {"depth": len(values) - 1, "seed": seed}
            yield row | {"quantity": f"blown-up.{limit}", "value": 1 - kept.double().mean().item()}
            if not kept.any():
                continue
            yield row | {"quantity": f"mean.{limit}", "value": error[kept].mean().item()}
            yield row | {"quantity": f"weak.{limit}", "value": abs(difference[kept].mean().item())}

    def _medians(self, errors: Tensor, **facts: object) -> Iterator[Row]:
        """The median over the paths of each seed."""
        for seed, values in zip(self.seeds, self._by_seed(errors), strict=True):
            yield {**facts, "seed": seed, "value": values.median().item()}

    def _by_seed(self, members: Tensor) -> Tensor:
        return members.reshape(len(self.seeds), self.paths)


class _Joined(ContinuousPath):
    """Several paths of stacked members as one, with the members on the axis after that of s."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = parts

    def at(self, s: Tensor) -> Tensor:
        import torch

        return torch.cat([part.at(s) for part in self._parts], dim=1)


def _joined(paths: Sequence[TrendAndNoisePath]) -> TrendAndNoisePath:
    noises = [path.noise for path in paths if path.noise is not None]
    trend = _Joined([path.trend for path in paths])
    return TrendAndNoisePath(paths[0].process, trend, noise=_Joined(noises) if noises else None)


def _sup(values: Tensor, exact: Tensor) -> Tensor:
    """sup over s of the distance of `[K, E, numbers]`, `[E]`; infinite where a path is not finite."""
    largest: Tensor = (values - exact).norm(dim=2).amax(0)
    return largest.nan_to_num(nan=math.inf, posinf=math.inf)


def _test(h: Tensor) -> Tensor:
    """The test function of the weak error, φ(h) = exp(−‖h‖²/2)."""
    return (-h.square().sum(-1) / 2).exp()


# -------------------------------------------------------------------------------------------- what claims and figures share

HYPOTHESES = {"H1": 0.0, "H2": SIZE}
"""Standard deviation of the noise."""


def in_depth(quantity: str, *, minimum: float = 16, reference: float | None = None, **columns: object) -> Measure:
    """The measure of the exponent in depth of a quantity, over the rows with these values of other columns."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(rows, quantity=quantity, **columns), minimum=minimum, reference=reference)

    return measure


def of_ratio(above: Mapping[str, object], below: Mapping[str, object]) -> Measure:
    """The measure of the ratio of two rows of each seed: the mean over seeds, with its 95 % t-interval."""

    def measure(rows: pl.DataFrame) -> Measured:
        import numpy as np
        from scipy.special import stdtrit

        upper, lower = (_by_seed(only(rows, **columns)) for columns in (above, below))
        ratios = np.array([upper[seed] / lower[seed] for seed in upper])
        mean, half = ratios.mean(), stdtrit(len(ratios) - 1, 0.975) * ratios.std(ddof=1) / math.sqrt(len(ratios))
        return Measured(float(mean), float(mean - half), float(mean + half), len(ratios), "95% t-interval over seeds")

    return measure


def largest(rows: pl.DataFrame, **columns: object) -> Measured:
    """The largest value of these rows, with their range."""
    own = only(rows, **columns)
    values = own["value"].to_list()
    return Measured(max(values), min(values), max(values), own["seed"].n_unique(), "the largest; range of all")


def _by_seed(rows: pl.DataFrame) -> dict[int, float]:
    return dict(zip(rows["seed"].to_list(), rows["value"].to_list(), strict=True))


def _panel(
    rows: pl.DataFrame, curves: Mapping[str, Mapping[str, object]], *, slopes: Sequence[float] = (), title: str = ""
) -> Panel:
    """Quantities against depth, mean and range over seeds, with a dotted guide through the start of each of the first curves."""
    drawn = [seed_band(only(rows, **columns), "depth", label=label) for label, columns in curves.items()]
    guides = [guide(curve, slope, factor=0.7) for curve, slope in zip(drawn, slopes, strict=False)]
    return Panel([*drawn, *guides], "depth L", "distance to the limit", title=title, xscale="log", yscale="log")


def _claim(name: str, statement: str, *, quantity: str, measure: Measure, band: tuple[float, float]) -> Claim:
    """A claim with the 5 seeds that an exponent needs."""
    return Claim(
        f"cohen2021.{name}",
        statement,
        "limit theorems",
        quantity,
        measure,
        expected=band[0],
        tolerance=band[1],
        source="derived",
        minimum_sample=5,
    )


def _at_most(claim: Claim) -> Claim:
    return dataclasses.replace(claim, relation="at most")


# ------------------------------------------------------------------------------------------------- row 3: the neural ODE


def _neural_tasks(settings: Settings) -> Iterator[Task]:
    for hypothesis, noise in HYPOTHESES.items():
        yield Convergence(
            Tanh(),
            alpha=1.0,
            beta=0.0,
            noise=noise,
            limits=("neural",),
            seeds=settings.seeds(0),
            paths=settings.pick(PATHS),
            labels={"hypothesis": hypothesis},
        )


def _neural_panels(rows: pl.DataFrame) -> list[Panel]:
    curves = {name: {"quantity": "error.neural", "hypothesis": name} for name in HYPOTHESES}
    return [_panel(rows, curves, slopes=(-1.0,))]


NEURAL = Study(
    "limit-neural-ode",
    title="α = 1, β = 0: the neural ODE, with and without noise",
    text=(
        "Layers of size 1 and δ = 1/L, tanh. The weights are a smooth trend, to which hypothesis 2 adds Brownian increments of size"
        " L^(−1/2); they average out at the rate of the Euler scheme itself."
    ),
    tasks=_neural_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "limit-neural-ode",
            "Distance to the neural ODE",
            "The distance falls like 1/L under both hypotheses.",
            _neural_panels,
        ),
    ),
    claims=tuple(
        _claim(
            f"3.neural-{name.lower()}",
            f"With α = 1 and β = 0 the hidden states tend to the neural ODE at rate 1/L under hypothesis {name[1]}.",
            quantity="exponent in L of the median of sup over k of ‖h_k − H(k/L)‖, L = 16…1024",
            measure=in_depth("error.neural", hypothesis=name),
            band=(-1.0, 0.1),
        )
        for name in HYPOTHESES
    ),
)

# -------------------------------------------------------------------------------------------- row 4: the alternative ODE

ALPHAS = (0.3, 0.5, 0.7, 0.8)
NOISE_ALONE = "noise alone"


def smooth_rate(alpha: float) -> float:
    """The rate of an odd activation without noise: pre-activations L^(−β) leave a cubic term of order L^(−2β), Euler's method 1/L.

    >>> [round(smooth_rate(alpha), 12) for alpha in (0.3, 0.5, 0.8)]
    [1.0, 1.0, 0.4]
    """
    return min(1.0, 2 * (1 - alpha))


def _alternative_tasks(settings: Settings) -> Iterator[Task]:
    cases = [(name, alpha, SIZE) for name in HYPOTHESES for alpha in ALPHAS]
    for hypothesis, alpha, trend in (*cases, (NOISE_ALONE, 0.8, 0.0)):
        yield Convergence(
            Tanh(),
            alpha=alpha,
            beta=1 - alpha,
            noise=HYPOTHESES.get(hypothesis, SIZE),
            limits=("linear", "neural") if hypothesis == "H1" else ("linear",),
            seeds=settings.seeds(0),
            paths=settings.pick(PATHS),
            trend=trend,
            labels={"hypothesis": hypothesis, "alpha": alpha},
        )


def _alternative_panels(rows: pl.DataFrame) -> list[Panel]:
    """The distance to the alternative ODE under each hypothesis, then that to the neural ODE."""

    def curves(limit: str, name: str) -> dict[str, dict[str, object]]:
        return {f"α = {a}": {"quantity": f"error.{limit}", "hypothesis": name, "alpha": a} for a in ALPHAS}

    return [
        _panel(rows, curves("linear", "H1"), slopes=[-smooth_rate(a) for a in ALPHAS], title="trend"),
        _panel(rows, curves("linear", "H2"), slopes=[-a for a in ALPHAS], title="trend and noise"),
        _panel(rows, curves("neural", "H1"), title="trend, to the neural ODE"),
    ]


def _alternative_claims() -> Iterator[Claim]:
    quantity = "exponent in L of the median sup distance to the alternative ODE, L = 16…1024"
    for alpha in ALPHAS:
        yield _claim(
            f"4.trend-{alpha}",
            f"Under hypothesis 1 with α = {alpha} the states tend to the alternative ODE, for tanh at rate min(1, 2β).",
            quantity=quantity.replace("L = 16", "L = 128"),
            measure=in_depth("error.linear", minimum=128, hypothesis="H1", alpha=alpha),
            band=(-smooth_rate(alpha), 0.1),
        )
        noise = _claim(
            f"4.noise-{alpha}",
            f"Under hypothesis 2 with α = {alpha} they do so at rate α.",
            quantity=quantity,
            measure=in_depth("error.linear", hypothesis="H2", alpha=alpha),
            band=(-alpha, 0.1),
        )
        # The trend's own L^(−2β) is slower than the noise for α > 2/3, and at α = 0.8 (0.4 against 0.8) it is what is seen.
        yield dataclasses.replace(noise, expected_ruling="reproduced" if alpha < 0.8 else "not reproduced")
    yield _claim(
        "4.noise-alone-0.8",
        "At α = 0.8 it is the trend, by the third order of tanh, that breaks the rate α: without a trend it holds.",
        quantity=quantity,
        measure=in_depth("error.linear", hypothesis=NOISE_ALONE, alpha=0.8),
        band=(-0.8, 0.1),
    )
    for alpha in (0.3, 0.5):
        yield _claim(
            f"4.plateau-{alpha}",
            f"With α = {alpha} the neural ODE is not the limit: the distance to it tends to that of the two ODEs.",
            quantity=f"distance to the neural ODE at L = {max(DEPTHS)} over the distance of the two ODEs; hypothesis 1",
            measure=of_ratio(
                {"quantity": "error.neural", "depth": max(DEPTHS), "hypothesis": "H1", "alpha": alpha},
                {"quantity": "distance.limits", "hypothesis": "H1", "alpha": alpha},
            ),
            band=(1.0, 0.1),
        )


ALTERNATIVE = Study(
    "limit-alternative-ode",
    title="α + β = 1, 0 < α < 1: the alternative, linear ODE",
    text=(
        "δ = L^(−α) and layers of size L^(−β): pre-activations vanish, and σ is seen at 0 alone. Without noise the distance to the limit"
        " is that of the Euler scheme or of the third order of σ, L^(−min(1, 2β)) for tanh; Brownian noise adds L^(−α). Together they give"
        " min(α, 2β): the rate is α only up to α = 2/3, and below 0.7 without noise for α > 0.65."
    ),
    tasks=_alternative_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "limit-alternative-ode",
            "Distance to the alternative ODE",
            "Dotted: the rates min(1, 2β) of the trend and α of the noise. Right: the neural ODE of the same trend is not the limit.",
            _alternative_panels,
        ),
    ),
    claims=tuple(_alternative_claims()),
)

# --------------------------------------------------------------------------------------------------------- row 5: the SDE

ACTIVATIONS: dict[str, Activation] = {"tanh": Tanh(), "GELU": GELU(), "softplus": ShiftedSoftplus()}
"""Softplus is shifted to vanish at 0."""

WITH_AND_WITHOUT = ("sde", "uncorrected")


def _sde_tasks(settings: Settings) -> Iterator[Task]:
    for name, activation in ACTIVATIONS.items():
        yield Convergence(
            activation,
            alpha=0.0,
            beta=1.0,
            noise=SIZE,
            limits=WITH_AND_WITHOUT,
            seeds=settings.seeds(0),
            paths=settings.pick(PATHS),
            labels={"activation": name},
        )


def _sde_panels(rows: pl.DataFrame) -> list[Panel]:
    names = {"with the correction": "sde", "without": "uncorrected"}
    return [
        _panel(
            rows,
            {label: {"quantity": f"error.{limit}", "activation": name} for label, limit in names.items()},
            slopes=(-0.5,),
            title=name,
        )
        for name in ACTIVATIONS
    ]


def _sde_claims() -> Iterator[Claim]:
    for name, activation in ACTIVATIONS.items():
        yield _claim(
            f"5.strong-{name.lower()}",
            f"With {name} the hidden states tend to the SDE on common noise at rate 1/2.",
            quantity="exponent in L of the median of sup over k of ‖h_k − H(k/L)‖, L = 16…1024",
            measure=in_depth("error.sde", activation=name),
            band=(-0.5, 0.1),
        )
        if activation.curvature:
            yield _claim(
                f"5.floor-{name.lower()}",
                f"With {name} the SDE without ½ σ″(0) Q is not the limit: the distance to it does not fall.",
                quantity="exponent in L of the median sup distance to the SDE without the correction, L = 128…1024",
                measure=in_depth("error.uncorrected", minimum=128, activation=name),
                band=(0.0, 0.1),
            )
    yield _claim(
        "5.no-correction-tanh",
        "With tanh the correction is 0.",
        quantity="largest over seeds of the distance between the solutions with and without it",
        measure=lambda rows: largest(rows, quantity="distance.limits", activation="tanh"),
        band=(0.0, 0.0),
    )
    blown_up = _claim(
        "5.blown-up",
        "At this size of the entries next to no path blows up.",
        quantity="largest share of paths above norm 1000 or not finite, over activations, depths and seeds",
        measure=lambda rows: largest(rows, quantity="blown-up.sde"),
        band=(0.05, 0.0),
    )
    yield _at_most(blown_up)


SDE = Study(
    "limit-sde",
    title="α = 0, β = 1, with noise: the SDE and its second-order drift",
    text=(
        "Trend and noise of standard deviation 0.4 at d = 5. Network and SDE stand on the same Brownian path; the reference has 8192 steps."
        " The drift ½ σ″(0) Q is quadratic in the state: medians over paths are shown, and how many paths blew up is counted."
    ),
    tasks=_sde_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "limit-sde",
            "Distance to the SDE on common noise",
            "The strong error falls like L^(−1/2). Without ½ σ″(0) Q it does not fall where σ″(0) ≠ 0; for tanh the term is 0.",
            _sde_panels,
        ),
    ),
    claims=tuple(_sde_claims()),
)

# ---------------------------------------------------------------------------------------------------- row 5, in distribution

WEAK_PATHS = Tiered(quick=2000, paper=6000)
WEAK_DEPTHS = (8, 16, 32, 64)
WEAK_STEPS = 512


def _weak_tasks(settings: Settings) -> Iterator[Task]:
    """One task a seed: the paths of several would fill the memory."""
    for seed in settings.seeds(0):
        yield Convergence(
            GELU(),
            alpha=0.0,
            beta=1.0,
            noise=0.6,
            limits=WITH_AND_WITHOUT,
            seeds=(seed,),
            paths=settings.pick(WEAK_PATHS),
            depths=WEAK_DEPTHS,
            steps=WEAK_STEPS,
            state=2,
        )


def _weak_panels(rows: pl.DataFrame) -> list[Panel]:
    names = {"weak": "weak.sde", "strong": "error.sde", "weak, no correction": "weak.uncorrected"}
    return [_panel(rows, {label: {"quantity": name} for label, name in names.items()}, slopes=(-1.0, -0.5))]


WEAK = Study(
    "limit-sde-weak",
    title="The SDE in distribution",
    text=(
        "GELU with d = 2 and noise of standard deviation 0.6, thousands of paths: the difference of the expectations of exp(−‖h‖²/2)"
        " between network and SDE, taken on common noise, which removes most of its variance."
    ),
    tasks=_weak_tasks,
    replicates=Tiered(quick=4, paper=9),
    figures=(
        Figure(
            "limit-sde-weak",
            "Weak and strong distance to the SDE",
            "Expectations converge faster than paths. Without the correction they do not converge.",
            _weak_panels,
        ),
    ),
    claims=(
        _claim(
            "5.weak",
            "In distribution the states tend to the SDE at rate 1.",
            quantity="exponent in 1/(1/L − 1/512) of |E φ(h_L) − E φ(H(1))| for GELU, L = 8…64",
            measure=in_depth("weak.sde", minimum=8, reference=WEAK_STEPS),
            band=(-1.0, 0.25),
        ),
    ),
)

# ---------------------------------------------------------------------------------------------------- row 19: backpropagation


@dataclass(frozen=True)
class Backward:
    """One case of row 19.

    Args:
        activation: a name of `ACTIVATIONS`.
        alpha: α; β is 1 − α.
        noise: standard deviation of the noise.
        limit: as in `Convergence`.
        rate: at which derivatives are expected to converge.
    """

    activation: str
    alpha: float
    noise: float
    limit: str
    rate: float


BACKWARD = {
    "neural ODE, H1": Backward("tanh", 1.0, 0.0, "neural", 1.0),
    "neural ODE, H2": Backward("tanh", 1.0, SIZE, "neural", 1.0),
    "alternative, H1": Backward("tanh", 0.5, 0.0, "linear", 1.0),
    "alternative, H2": Backward("tanh", 0.5, SIZE, "linear", 0.5),
    "SDE, tanh": Backward("tanh", 0.0, SIZE, "sde", 0.5),
    "SDE, GELU": Backward("GELU", 0.0, SIZE, "sde", 0.5),
}
DERIVATIVES = {"jacobian": "∂h_k/∂h_0", "gradient": "∂h_L/∂h_k"}
BACKWARD_DEPTHS = Tiered(quick=DEPTHS[:5], paper=DEPTHS[:6])


def _backward_tasks(settings: Settings) -> Iterator[Task]:
    depths = settings.pick(BACKWARD_DEPTHS)
    for name, case in BACKWARD.items():
        yield Convergence(
            ACTIVATIONS[case.activation],
            alpha=case.alpha,
            beta=1 - case.alpha,
            noise=case.noise,
            limits=(case.limit,),
            seeds=settings.seeds(0),
            paths=settings.pick(PATHS),
            depths=depths,
            steps=8 * max(depths),
            derivatives=True,
            labels={"case": name},
        )


def _backward_panels(rows: pl.DataFrame) -> list[Panel]:
    """One panel for each derivative, a curve per case."""
    panels = []
    for what, symbol in DERIVATIVES.items():
        curves = {name: {"quantity": f"{what}.{case.limit}", "case": name} for name, case in BACKWARD.items()}
        panels.append(_panel(rows, curves, slopes=[-case.rate for case in BACKWARD.values()], title=symbol))
    return panels


def _slug(case: str) -> str:
    return case.lower().replace(", ", "-").replace(" ", "-")


BACKPROPAGATION = Study(
    "limit-backward",
    title="The limits of backpropagation",
    text=(
        "Derivatives of the states of a network against those of its limit, which are integrated with it: ∂h_k/∂h_0 against J(k/L), and"
        " ∂h_L/∂h_k, which takes gradients back to layer k, against J(1) J(k/L)⁻¹. The alternative ODE has α = 1/2."
    ),
    tasks=_backward_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "limit-backward",
            "Distance of derivatives to their limit",
            "Derivatives converge at the rates of the states.",
            _backward_panels,
        ),
    ),
    claims=tuple(
        _claim(
            f"19.{what}-{_slug(name)}",
            f"Case {name}: {symbol} tends to its limit at the rate of the states, {case.rate:g}.",
            quantity=f"exponent in L of the median of sup over k of the distance of {symbol} (Frobenius) from L = 16 on",
            measure=in_depth(f"{what}.{case.limit}", case=name),
            band=(-case.rate, 0.1),
        )
        for what, symbol in DERIVATIVES.items()
        for name, case in BACKWARD.items()
    ),
)

# --------------------------------------------------------------------------------------------------------- the mean ODE


@dataclass(frozen=True)
class Aligned(Initialisation):
    """Independent perceptrons whose field does not average to 0: W normal, V = (c Wᵀ + N)/√m with N normal, every layer anew.

    With the perceptron's own factors f(h) = (1/m) Σ_j (c w_j + n_j) σ(w_j · h/√q), of mean (c/√q) E[σ′(‖h‖ Z/√q)] h for a normal Z.

    Args:
        alignment: c.
    """

    alignment: float

    def stacked(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """V `[depth, q, m]` and W `[depth, m, q]` in float64."""
        import torch

        draws = {
            role: torch.randn(depth, *shape, generator=stream.generator(role), dtype=torch.float64)
            for role, shape in branch.shapes.items()
        }
        V = self.alignment * draws["W"].mT + draws["V"]
        return {"V": V / math.sqrt(V.shape[-1]), "W": draws["W"]}


@dataclass(frozen=True)
class MeanOde:
    """Networks with independent layers of several depths and widths against their mean ODE.

    With GELU, E[σ′(u Z)] = ½ for every u, and the mean ODE of `Aligned` layers is dH/ds = (c/(2√q)) H, solved by
    H(1) = exp(c/(2√q)) x. Rows by seed and depth with the columns `width` and `units` = L M: `gap`, max over inputs of ‖h_L − H(1)‖;
    `shortfall`, the mean over inputs of ⟨H(1) − h_L, H(1)⟩/‖H(1)‖, which the noise leaves unbiased. And once `sample.error`, of the mean
    ODE solved from a sample of layers: the root mean square error of H(1) in units of that of its standard errors.

    Args:
        shapes: pairs of depth L and width M.
        seeds: one network of each shape each.
        layers: of the sample.
        units: M of the layers of the sample.
        alignment: c/√q.
        state: q.
        inputs: how many points x, on the sphere of radius √q.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    shapes: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]
    layers: int
    units: int = 64
    alignment: float = 2.0
    state: int = 4
    inputs: int = 8
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Hold the sampled mean ODE against its closed form, then each network."""
        import torch

        from deeplimit.limits import solve_mean

        x = torch.randn(self.inputs, self.state, generator=NamedDraw().stream(0).generator("x"), dtype=torch.float64)
        x = math.sqrt(self.state) * x / x.norm(dim=1, keepdim=True)
        exact = math.exp(self.alignment / 2) * x
        sample = self._network(self.layers, self.units)
        mean = solve_mean(sample, sample.initialise(0, dtype=torch.float64), x=x, steps=8)
        errors = (mean.outputs - exact).square().mean() / mean.standard_error[-1].square().mean()
        yield {"quantity": "sample.error", "value": errors.sqrt().item()}
        for depth, width in self.shapes:
            network = self._network(depth, width)
            for seed in self.seeds:
                missing = exact - network(network.initialise(seed, dtype=torch.float64), x, engine=context.engine)
                facts: Row = {"depth": depth, "seed": seed, "width": width, "units": depth * width}
                yield facts | {"quantity": "gap", "value": missing.norm(dim=1).max().item()}
                radial = (missing * exact).sum(1) / exact.norm(dim=1)
                yield facts | {"quantity": "shortfall", "value": radial.mean().item()}

    def cost(self) -> Cost:
        """Units: of the networks, and of two passes over the sample at 4 stages of 8 steps."""
        sample, shapes = self.layers * self.units, [L * M for L, M in self.shapes]
        numbers = max(sample, *shapes) * 4 * (self.state + self.inputs)
        return Cost(64.0 * sample + len(self.seeds) * sum(shapes), 8.0 * numbers, 1e5)

    def probe(self, context: Context) -> float:
        """From the same with a smaller sample and one shape."""
        small = dataclasses.replace(self, shapes=self.shapes[:1], layers=max(8, self.layers // 64 // 8 * 8))
        return seconds_for(self, small, context=context)

    def _network(self, depth: int, width: int) -> ResidualStack:
        init = Aligned(self.alignment * math.sqrt(self.state))
        return ResidualStack(Perceptron(self.state, width, GELU()), depth, init=init)


NARROW = 4
"""M of the networks that grow in depth: noise prevails."""

WIDE = 2**13
"""M of the networks in which the error of the Euler scheme prevails."""

FIXED_DEPTH = 256
NARROW_DEPTHS = (FIXED_DEPTH, 1024, 4096)
WIDE_DEPTHS = (16, 32, 64)
WIDTHS = (1, NARROW, 16, 64)
SHAPES = tuple(
    dict.fromkeys(
        [
            *((depth, NARROW) for depth in NARROW_DEPTHS),
            *((depth, WIDE) for depth in WIDE_DEPTHS),
            *((FIXED_DEPTH, width) for width in WIDTHS),
        ]
    )
)


def _mean_tasks(settings: Settings) -> Iterator[Task]:
    yield MeanOde(SHAPES, settings.seeds(0), settings.pick(Tiered(quick=2**12, paper=2**14)))


def _mean_panels(rows: pl.DataFrame) -> list[Panel]:
    """The gap against L M where noise prevails, and the shortfall against L where it does not."""
    gaps, shortfall = only(rows, quantity="gap"), only(rows, quantity="shortfall", width=WIDE)
    families: dict[str, dict[str, int]] = {
        f"M = {NARROW}, L grows": {"width": NARROW},
        f"L = {FIXED_DEPTH}, M grows": {"depth": FIXED_DEPTH},
    }
    noise = [seed_band(only(gaps, **columns), "units", label=label) for label, columns in families.items()]
    euler = seed_band(shortfall, "depth", label=f"M = {WIDE}")
    return [
        Panel(
            [*noise, guide(noise[0], -0.5, factor=0.7)],
            "L M",
            "largest distance of h_L to H(1)",
            xscale="log",
            yscale="log",
        ),
        Panel(
            [euler, guide(euler, -1.0, factor=0.7)],
            "depth L",
            "what h_L lacks of H(1), along it",
            xscale="log",
            yscale="log",
        ),
    ]


def _mean_claims() -> Iterator[Claim]:
    def slope(x: str, quantity: str, **columns: object) -> Measure:
        return lambda rows: exponent(only(rows, quantity=quantity, **columns), x, minimum=1)

    gap = "exponent in L M of max over x of ‖h_L − H(1)‖"
    yield _claim(
        "mean-ode.depth",
        f"At width M = {NARROW} the distance to the mean ODE falls like 1/√(L M) as depth grows.",
        quantity=f"{gap}, L = {NARROW_DEPTHS[0]}…{NARROW_DEPTHS[-1]}",
        measure=slope("units", "gap", width=NARROW),
        band=(-0.5, 0.1),
    )
    yield _claim(
        "mean-ode.width",
        f"At depth L = {FIXED_DEPTH} it falls like 1/√(L M) as width grows.",
        quantity=f"{gap}, M = {WIDTHS[0]}…{WIDTHS[-1]}",
        measure=slope("units", "gap", depth=FIXED_DEPTH),
        band=(-0.5, 0.1),
    )
    yield _claim(
        "mean-ode.euler",
        "What the noise does not explain of it falls like 1/L.",
        quantity=f"exponent in L of what h_L lacks of H(1) along H(1), L = {WIDE_DEPTHS[0]}…{WIDE_DEPTHS[-1]}, M = {WIDE}",
        measure=slope("depth", "shortfall", width=WIDE),
        band=(-1.0, 0.1),
    )
    sample = _claim(
        "mean-ode.sample",
        "The mean ODE solved from a sample of layers is its closed form within the standard error that it states.",
        quantity="root mean square error of H(1) over the root mean square of its standard errors",
        measure=lambda rows: largest(rows, quantity="sample.error"),
        band=(2.0, 0.0),
    )
    yield _at_most(dataclasses.replace(sample, minimum_sample=1))


MEAN = Study(
    "limit-mean-ode",
    title="Independent layers and a deterministic limit: the mean ODE",
    text=(
        "Perceptrons whose layers are drawn independently, with scale 1/(L M): weights without any limit as functions of depth (Chizat"
        " 2025, arXiv 2509.10167). V has a part along Wᵀ, so that the field does not average to 0; with GELU the mean ODE then has a closed"
        " form, against which its solution from a sample of layers is checked too."
    ),
    tasks=_mean_tasks,
    replicates=31,
    figures=(
        Figure(
            "limit-mean-ode",
            "Distance to the mean ODE",
            "The noise falls like 1/√(L M) whether depth or width grows; what is left for wide networks is 1/L, the Euler scheme's.",
            _mean_panels,
        ),
    ),
    claims=tuple(_mean_claims()),
)

STUDIES = (NEURAL, ALTERNATIVE, SDE, WEAK, BACKPROPAGATION, MEAN)
