"""Long training time: the PL condition, linear width, the double limit, rest (rows 14, 15, 16 and 17 of the checklist; Theorem 6)."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from deeplimit import theory
from deeplimit.branches import Perceptron, Tanh
from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs, SpherePairs
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import At, Drift, Every, Loss, Measure, PLRatio, StateDistance, WeightDistance
from deeplimit.measures.measure import Memory, Observation, View, per_layer_norm
from deeplimit.networks import LastCoordinates, Padding, ResidualStack
from deeplimit.papers.marion2024.common import STATE, by_iteration, only, worst_exponent
from deeplimit.papers.marion2024.finite_time import REPLICATES, draw_members, guide, seconds_for, seed_band
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, Step

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters
    from deeplimit.training import Info, State
    from deeplimit.training.step import Batch

TANH = theory.ActivationConstants(hermite=-0.1484, degree=3, lipschitz=1.0, bound=1.0)
"""σ = tanh in Prop. 5: its lowest Hermite coefficient beyond the linear one is the third."""

GELU = theory.ActivationConstants(hermite=0.2992, degree=2, lipschitz=1.1289, bound=1.0)
"""σ = GELU, of the run of Figure 2. It is not bounded: the last number is made up, and enters δ alone, which is not used here."""


def strict(depth: int, *, inputs: int, width: int) -> ResidualStack:
    """Model (3) as Theorem 6 assumes it: tanh, factors 1/√m and 1/√q, A and B trained, q = d + d′ with d′ = 1."""
    state = inputs + 1
    ends = (Padding(inputs, state), LastCoordinates(state, 1))
    return ResidualStack(Perceptron(state, width, Tanh()), depth, embedding=ends[0], readout=ends[1])


def strict_data(samples: int, *, inputs: int, target: float) -> SpherePairs:
    """Inputs uniform on the sphere of radius √q, small targets that know nothing of them."""
    return SpherePairs(samples, inputs, 1, radius=math.sqrt(inputs + 1), target_scale=target)


def _largest(values: Sequence[float], note: str) -> Measured:
    """The largest of values that must all stay below a bound; the interval is their range."""
    return Measured(max(values), min(values), max(values), len(values), note)


def _smallest(values: Sequence[float], note: str) -> Measured:
    """The smallest of values that must all stay above a bound; the interval is their range."""
    return Measured(min(values), min(values), max(values), len(values), note)


def _last(rows: pl.DataFrame, quantity: str, *keys: str) -> pl.DataFrame:
    """A quantity at the last iteration of each run, one row for each value of the keys."""
    import polars as pl

    own = only(rows, quantity=quantity)
    return own.filter(pl.col("iteration") == pl.col("iteration").max().over(*keys)).sort(*keys)


# ------------------------------------------------------------------------------- rows 14 and 15: the PL ratio in training

PL_RATE = 0.05
PL_DEPTH = 4
PL_TARGET = 0.1


def _half(samples: int) -> int:
    """d = n/2: it grows like n, and stays below it, so that A and B alone cannot interpolate."""
    return samples // 2


def _per_sample(flow_time: float) -> Callable[[int], int]:
    """Iterations that come to this much flow time for each sample: the ratio falls like 1/n."""

    def iterations(samples: int) -> int:
        return round(flow_time * samples / PL_RATE)

    return iterations


def _training_mu(rows: pl.DataFrame, power: Callable[[int], float] = lambda n: 1.0) -> pl.DataFrame:
    """μ of each run, the least ratio over its training, times a function of n."""
    import polars as pl

    table = _last(rows, "pl.min", "samples", "seed")
    factors = [power(n) for n in table["samples"].to_list()]
    return table.with_columns(value=pl.col("value") * pl.Series(factors))


def _scaled(samples: int) -> float:
    """n √n q: times μ, the constant c4 of Prop. 5."""
    return math.pow(samples, 1.5) * (_half(samples) + 1)


def _least_constant(rows: pl.DataFrame) -> Measured:
    return _smallest(_training_mu(rows, _scaled)["value"].to_list(), "smallest over n and seeds, range over them")


def _loss_against_bound(rows: pl.DataFrame) -> Measured:
    """The largest ℓ(t) / (e^{−μt} ℓ(0)) over t > 0 of each run, with the run's own μ."""
    worst = []
    for mu, run in _runs(rows):
        times, losses = PL_RATE * run["iteration"].to_numpy(), run["value"].to_list()
        bounds = (theory.loss_bound(float(t), mu=mu, initial_loss=losses[0]) for t in times)
        worst.append(max(l / b for l, b in list(zip(losses, bounds, strict=True))[1:]))
    return _largest(worst, "largest over n, seeds and recorded times; range over n and seeds of the largest over time")


def _runs(rows: pl.DataFrame) -> Iterator[tuple[float, pl.DataFrame]]:
    """μ and the loss over time of every run."""
    for row in _training_mu(rows).iter_rows(named=True):
        own = only(rows, quantity="loss", samples=row["samples"], seed=row["seed"])
        yield row["value"], own.sort("iteration")


def _mu_exponent(power: Callable[[int], float] = lambda n: 1.0) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(_training_mu(rows, power), "samples", minimum=0)

    return measure


def _pl_panels(rows: pl.DataFrame) -> list[Panel]:
    """The ratio over time for every n, the loss with its bound for the extreme n, μ against n."""
    samples = sorted(only(rows, quantity="pl")["samples"].unique())
    ratio = [_one_run(only(rows, quantity="pl", samples=n), f"n = {n}") for n in samples]
    losses = [curve for n in (samples[0], samples[-1]) for curve in _loss_and_bound(rows, n)]
    mu = seed_band(_training_mu(rows), "samples", "least ratio, mean and range over seeds")
    return [
        Panel(ratio, "flow time t", "PL ratio", title="ratio in training (one seed)", yscale="log"),
        Panel(losses, "flow time t", "ℓ(t) / ℓ(0)", title="loss and its bound (one seed)", yscale="log"),
        Panel([mu, guide(mu, -1.5), guide(mu, -1.0)], "samples n", "μ", title="m = 4n, d = n/2", xscale="log", yscale="log"),
    ]


def _one_run(rows: pl.DataFrame, label: str) -> Curve:
    """A quantity of the first seed against flow time."""
    own = only(rows, seed=min(rows["seed"])).sort("iteration")
    return Curve([PL_RATE * t for t in own["iteration"]], own["value"].to_list(), label)


def _loss_and_bound(rows: pl.DataFrame, samples: int) -> Iterator[Curve]:
    """ℓ(t)/ℓ(0) of the first seed, and e^{−μt} with its μ."""
    own = only(rows, samples=samples)
    loss = _one_run(only(own, quantity="loss"), f"n = {samples}")
    mu = _training_mu(own)["value"][0]
    yield dataclasses.replace(loss, y=[value / loss.y[0] for value in loss.y])
    bound = [theory.loss_bound(t, mu=mu, initial_loss=1.0) for t in loss.x]
    yield Curve(loss.x, bound, f"bound, n = {samples}", style="dashed")


PL = Study(
    "pl-condition",
    title="The PL ratio stays away from 0",
    text=(
        "The setting of Theorem 6 with nothing relaxed but its constants (c1 is about 1e7 for tanh): inputs on the sphere of radius"
        " √q, q = d + 1, targets of standard deviation 0.1, tanh, A and B trained with the layers. d = n/2 grows like n and stays"
        " below it: with d ≥ n the linear maps alone would interpolate. m = 4n, depth 4 (tied layers start with a ratio that does"
        f" not depend on depth), learning rate {PL_RATE}, a flow time in proportion to n. The numerator of the ratio is exactly −dℓ/dt along the"
        " flow, and μ is its least value over the training run. The measured μ falls like 1/n or slower, where Prop. 5 needs no"
        " more than 1/(n√n q); with d = n/2 that leaves a factor n√n."
    ),
    grid={"samples": Tiered(quick=(12, 16, 24, 32), paper=(12, 16, 24, 32, 48))},
    replicates=REPLICATES,
    network=lambda samples: strict(PL_DEPTH, inputs=_half(samples), width=4 * samples),
    data=lambda samples: strict_data(samples, inputs=_half(samples), target=PL_TARGET),
    optimizer=GradientFlow(PL_RATE),
    iterations=Tiered(quick=_per_sample(4.0), paper=_per_sample(12.0)),
    measures=(Loss(Every(20)), PLRatio(Every(20))),
    figures=(
        Figure(
            "pl-ratio",
            "The PL ratio over training",
            "The ratio falls as the easy directions are learnt and then stays away from 0; the loss stays below e^{−μt} ℓ(0); μ falls"
            " more slowly in n than n^{−3/2}.",
            _pl_panels,
        ),
    ),
    claims=(
        Claim(
            "marion2024.14.constant",
            "Along training the PL ratio stays above c4/(n√n q).",
            "Prop. 5; Theorem 6",
            "least over n and seeds of μ n√n q, against c4 of tanh (at these widths, far below c1 n)",
            _least_constant,
            expected=TANH.c4,
            tolerance=0.0,
            source="theorem",
            relation="at least",
        ),
        Claim(
            "marion2024.14.loss-bound",
            "The loss stays below e^{−μt} ℓ(0).",
            "Theorem 6, equation (10); Prop. 8 (v)",
            "largest ℓ(t) / (e^{−μt} ℓ(0)) over t > 0, μ the least ratio of the same run",
            _loss_against_bound,
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
        Claim(
            "marion2024.14.no-decay",
            "With d growing like n and m = 4n, μ n√n q does not decay as n grows.",
            "Prop. 5",
            "exponent in n of μ n√n q, μ the least ratio over training",
            _mu_exponent(_scaled),
            expected=0.0,
            tolerance=0.0,
            source="theorem",
            relation="at least",
            minimum_sample=5,
        ),
        Claim(
            "marion2024.15.exponent-training",
            "Linear width suffices: with m = 4n the constant μ decays no faster than n^{−3/2}.",
            "Prop. 5",
            "exponent in n of μ, the least ratio over training (the proposition itself allows a further 1/q)",
            _mu_exponent(),
            expected=-1.5,
            tolerance=0.0,
            source="theorem",
            relation="at least",
            minimum_sample=5,
        ),
    ),
)

# ------------------------------------------------------------------------------- row 15: the PL constant at the start


@dataclass(frozen=True)
class TangentKernel:
    """The largest μ with which the PL condition holds at the initialisation, whatever the targets.

    μ = (4/n) λ_min(K),  K = 2 X Xᵀ + σ(X Aᵀ Wᵀ/√q) σ(X Aᵀ Wᵀ/√q)ᵀ / m

    At V = 0 and d′ = 1 the gradients of A, B and the L copies of V are linear in the residuals r with these kernels, that of W is 0, and
    the ratio of Definition 1 is (4/n) rᵀ K r / ‖r‖². Its minimum over r is what the proof of Prop. 5 bounds from below, at radius 0.

    Rows: `mu` with m as index, for every seed.

    Args:
        samples, inputs: n and d.
        widths: m.
        seeds: draws of W and x.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int
    inputs: int
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """One least eigenvalue per width and seed."""
        import torch

        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        for width in self.widths:
            network = strict(1, inputs=self.inputs, width=width)
            for seed in self.seeds:
                params, (x, _) = draw_members(network, data, seeds=(seed,))
                kernel = tangent_kernel(network, params, x)[0]
                least = torch.linalg.eigvalsh(kernel)[0].item()
                yield {"seed": seed, "quantity": "mu", "index": width, "value": 4 / self.samples * least}

    def cost(self) -> Cost:
        """Products and an eigenvalue problem of size n, counted in layers of 16 samples."""
        work = sum(self.samples**2 * (width + 10 * self.samples) for width in self.widths) / 16**3
        return Cost(len(self.seeds) * work, 8.0 * self.samples * (max(self.widths) + 4 * self.samples), 1e4)

    def probe(self, context: Context) -> float:
        """From one seed."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:1]), context=context)


def tangent_kernel(network: ResidualStack, params: Parameters, x: Tensor) -> Tensor:
    """The kernel K of `TangentKernel`, `[E, n, n]`, at V = 0."""
    first = network.embed(params, x)
    assert isinstance(network.branch, Perceptron)
    features = network.branch.activation(network.branch.inner_factor * first @ params["W"][:, 0].mT)
    return 2 * x @ x.mT + features @ features.mT / network.branch.width


SHARES = {"1/2": 1 / 2, "3/4": 3 / 4}
"""d/n of the kernels."""

PER_SAMPLE = (1 / 2, 3 / 4, 1, 3 / 2, 2, 4, 8)
"""m/n at one n."""


def _kernel_tasks(settings: Settings) -> Iterator[Task]:
    """m = 4n at growing n, and growing m at the middle n."""
    sizes = settings.pick(Tiered(quick=(16, 32, 64, 128), paper=(16, 32, 64, 128, 256, 512)))
    for label, share in SHARES.items():
        for n in sizes:
            factors = PER_SAMPLE if n == 64 else (4,)
            widths = tuple(round(factor * n) for factor in factors)
            yield TangentKernel(n, round(share * n), widths, settings.seeds(0), labels={"samples": n, "share": label})


def _kernel_mu(rows: pl.DataFrame, share: str) -> pl.DataFrame:
    """μ at m = 4n."""
    import polars as pl

    return only(rows, quantity="mu", share=share).filter(pl.col("index") == 4 * pl.col("samples"))


def _kernel_exponent(power: Callable[[pl.Expr], pl.Expr]) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in n of μ times a function of d, d = n/2."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        table = _kernel_mu(rows, "1/2").with_columns(value=pl.col("value") * power(pl.col("samples") / 2))
        return exponent(table, "samples")

    return measure


def _kernel_panels(rows: pl.DataFrame) -> list[Panel]:
    """μ against n at m = 4n, and against m/n at n = 64."""
    against_n = [seed_band(_kernel_mu(rows, share), "samples", f"d/n = {share}") for share in SHARES]
    against_n += [guide(against_n[0], slope) for slope in (-1.0, -1.5)]
    against_m = [_over_width(only(rows, samples=64, share=share), share) for share in SHARES]
    return [
        Panel(against_n, "samples n", "μ at the start", title="m = 4n", xscale="log", yscale="log"),
        Panel(against_m, "m/n", "μ at the start", title="n = 64", xscale="log"),
    ]


def _over_width(rows: pl.DataFrame, share: str) -> Curve:
    curve = seed_band(rows, "index", f"d/n = {share}")
    return dataclasses.replace(curve, x=[m / 64 for m in curve.x])


def _kernel_claim(name: str, quantity: str, *, power: Callable[[pl.Expr], pl.Expr]) -> Claim:
    return Claim(
        f"marion2024.15.exponent-{name}",
        "Linear width suffices: with m = 4n the PL constant at the initialisation decays as Prop. 5 allows, or more slowly.",
        "Prop. 5",
        f"exponent in n of {quantity}, m = 4n, d = n/2, q = d + 1",
        _kernel_exponent(power),
        expected=-1.5,
        tolerance=0.0,
        source="theorem",
        relation="at least",
        minimum_sample=5,
    )


KERNEL = Study(
    "pl-constant",
    title="The PL constant at the initialisation",
    text=(
        "At the initialisation the PL ratio is a quadratic form in the residuals, and the largest μ that serves all targets is 4/n"
        " times the least eigenvalue of its kernel: what Prop. 5 bounds from below, on a ball that its constants make so small that"
        " nothing moves in it. It costs no training, so that n can be large. With m in proportion to n the eigenvalue tends to a"
        " constant and μ to a multiple of 1/n: exponent −1 of μ, and 0 of μ q. The directions that A and B do not reach, n − d of"
        " them, need as many features: μ = 0 up to m = n − d, and it grows quickly after."
    ),
    tasks=_kernel_tasks,
    replicates=9,
    figures=(
        Figure(
            "pl-constant",
            "The PL constant at the initialisation",
            "With m = 4n the constant falls like 1/n; at fixed n it is 0 as long as there are fewer features than directions to fit.",
            _kernel_panels,
        ),
    ),
    claims=(
        _kernel_claim("start", "μ at the start", power=lambda d: 0 * d + 1),
        _kernel_claim("start-times-state", "μ q at the start", power=lambda d: d + 1),
    ),
)

# ----------------------------------------------------------------------------------- row 15: the smallest width

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""The widths tried, each at most twice the one before."""

GROUP = 3
"""Seeds that must all succeed at a width."""


@dataclass(frozen=True)
class SmallestWidth:
    """The smallest inner width m at which every seed of a group reaches a loss within a flow time, by bisection on `LADDER`.

    The bisection takes success to be monotone in m; what was seen at each width is kept in the rows. A seed's training ends when it
    reaches the loss.

    Rows: `passage`, the flow time at which a seed reached the loss, with m as index, for seeds that did; `missed`, the number of
    seeds that did not, with m as index; `width`, the smallest width of a group, with the group as index, where there is one.

    Args:
        samples, inputs: n and d.
        target: standard deviation of the targets.
        horizon: flow time allowed.
        seeds: cut into groups of `GROUP`.
        goal: the loss to reach.
        depth, rate: L and the learning rate.
        dtype: precision.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int
    inputs: int
    target: float
    horizon: float
    seeds: tuple[int, ...]
    goal: float = 1e-6
    depth: int = 4
    rate: float = 0.1
    dtype: str = "float64"
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Bisect for every group; a width is trained once for all groups."""
        seen = self._resumed(context)

        def passages(width: int) -> list[float | None]:
            if width not in seen:
                seen[width] = self.passages(width, context)
                context.progress(min(0.99, len(seen) / 6))
                if context.checkpoint is not None:
                    context.checkpoint.save({}, {"seen": [[m, times] for m, times in seen.items()]})
            return seen[width]

        for g, start in enumerate(range(0, len(self.seeds), GROUP)):
            members = slice(start, start + GROUP)
            width = smallest(LADDER, lambda m, members=members: None not in passages(m)[members])  # type: ignore[misc]
            if width is not None:
                yield {"depth": self.depth, "quantity": "width", "index": g, "value": float(width)}
        for width, times in sorted(seen.items()):
            yield {"depth": self.depth, "quantity": "missed", "index": width, "value": float(times.count(None))}
            for seed, when in zip(self.seeds, times, strict=True):
                if when is not None:
                    yield {"depth": self.depth, "seed": seed, "quantity": "passage", "index": width, "value": when}

    def passages(self, width: int, context: Context) -> list[float | None]:
        """The flow time at which each seed reaches the goal at a width, None for those that do not."""
        import torch

        network = strict(self.depth, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=self.target)
        params, batch = draw_members(network, data, seeds=self.seeds)
        step = Step(network, GradientFlow(self.rate), engine=context.engine)
        dtype = getattr(torch, self.dtype)
        state = step.start({role: p.to(context.device, dtype) for role, p in params.items()})
        batch = (batch[0].to(context.device, dtype), batch[1].to(context.device, dtype))
        found: dict[int, float] = {}
        left = list(range(len(self.seeds)))
        while left and state.iteration * self.rate <= self.horizon:
            now = state.iteration * self.rate
            state, info = step(state, batch)
            over = (info.loss <= self.goal) | ~info.loss.isfinite()
            if bool(over.any()):
                found |= {left[e]: now for e in (info.loss <= self.goal).nonzero()[:, 0].tolist()}
                left = [member for member, done in zip(left, over.tolist(), strict=True) if not done]
                state, batch = _kept(state, batch, ~over)
        return [found.get(member) for member in range(len(self.seeds))]

    def cost(self) -> Cost:
        """About five widths for the whole time, of which half end early."""
        iterations = self.horizon / self.rate
        return Cost(3.0 * self.depth * len(self.seeds) * iterations, 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From a fiftieth of the time at one width."""
        sample = dataclasses.replace(self, horizon=self.horizon / 50, goal=0.0)
        start = time.perf_counter()
        sample.passages(12, context)
        return 3 * 50 * (time.perf_counter() - start)

    def _resumed(self, context: Context) -> dict[int, list[float | None]]:
        saved = context.checkpoint.load() if context.checkpoint is not None else None
        return {} if saved is None else {int(m): list(times) for m, times in saved[1]["seen"]}


def smallest(ladder: Sequence[int], passed: Callable[[int], bool]) -> int | None:
    """The first of increasing numbers that passes, by bisection; None where the last one does not.

    >>> smallest((1, 2, 4, 8), lambda m: m > 2)
    4
    """
    low, high = 0, len(ladder)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passed(ladder[middle]) else (middle + 1, high)
    return ladder[low] if low < len(ladder) else None


def _kept(state: State, batch: Batch, members: Tensor) -> tuple[State, Batch]:
    """The ensemble with these members alone."""
    params = {role: p[members] for role, p in state.params.items()}
    smaller = dataclasses.replace(state, params=params, alive=state.alive[members])
    return smaller, (batch[0][members], batch[1][members])
