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
from deeplimit.draws import NamedDraw
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
    mu = seed_band(_training_mu(rows), "samples", label="least ratio, mean and range over seeds")
    return [
        Panel(ratio, "flow time t", "PL ratio", title="ratio in training (one seed)", yscale="log"),
        Panel(losses, "flow time t", "ℓ(t) / ℓ(0)", title="loss and its bound (one seed)", yscale="log"),
        Panel(
            [mu, guide(mu, -1.5), guide(mu, -1.0)],
            "samples n",
            "μ",
            title="m = 4n, d = n/2",
            xscale="log",
            yscale="log",
        ),
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
    against_n = [seed_band(_kernel_mu(rows, share), "samples", label=f"d/n = {share}") for share in SHARES]
    against_n += [guide(against_n[0], slope) for slope in (-1.0, -1.5)]
    against_m = [_over_width(only(rows, samples=64, share=share), share) for share in SHARES]
    return [
        Panel(against_n, "samples n", "μ at the start", title="m = 4n", xscale="log", yscale="log"),
        Panel(against_m, "m/n", "μ at the start", title="n = 64", xscale="log"),
    ]


def _over_width(rows: pl.DataFrame, share: str) -> Curve:
    curve = seed_band(rows, "index", label=f"d/n = {share}")
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

GROUP = 3
"""Seeds that must all succeed at a width."""

LADDER = tuple(2**k for k in range(7))
"""Widths tried in training."""

FINE_LADDER = tuple(sorted({round(2 ** (k / 4)) for k in range(49)}))
"""Widths tried in the limit of small targets."""


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


def _groups(seeds: Sequence[int]) -> Iterator[slice]:
    """The places of each group's seeds."""
    return (slice(start, start + GROUP) for start in range(0, len(seeds), GROUP))


@dataclass(frozen=True)
class TrainedWidth:
    """The smallest inner width m at which every seed of a group reaches a loss within a flow time, by bisection on `LADDER`.

    The bisection takes success to be monotone in m; what was seen at each width is kept in the rows. A width is trained once, all seeds
    as one ensemble, which a seed leaves when it reaches the loss or diverges.

    Rows: `width`, the smallest width of a group, with the group as index, where there is one; for each width tried, as index,
    `missed`, the number of seeds that did not reach the loss, and `passage`, the flow time at which a seed reached it.

    Args:
        samples, inputs: n and d.
        target: standard deviation of the targets.
        horizon: flow time allowed.
        seeds: cut into groups of `GROUP`.
        goal: the loss to reach.
        depth, rate: L and the learning rate.
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
    rate: float = 0.08
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Bisect for every group."""
        seen = self._resumed(context)

        def passages(width: int) -> list[float | None]:
            if width not in seen:
                seen[width] = self.passages(width, context)
                context.progress(len(seen) / (len(LADDER) + 1))
                if context.checkpoint is not None:
                    context.checkpoint.save({}, {"seen": list(seen.items())})
            return seen[width]

        for g, members in enumerate(_groups(self.seeds)):
            width = smallest(LADDER, lambda m: None not in passages(m)[members])  # noqa: B023 - used before it changes
            if width is not None:
                yield {"depth": self.depth, "quantity": "width", "index": g, "value": float(width)}
        for width, times in sorted(seen.items()):
            yield {"depth": self.depth, "quantity": "missed", "index": width, "value": float(times.count(None))}
            for seed, reached in zip(self.seeds, times, strict=True):
                if reached is not None:
                    yield {"depth": self.depth, "seed": seed, "quantity": "passage", "index": width, "value": reached}

    def passages(self, width: int, context: Context) -> list[float | None]:
        """The flow time at which each seed reaches the goal at a width, None for those that do not."""
        network = strict(self.depth, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=self.target)
        params, (x, y) = draw_members(network, data, seeds=self.seeds)
        step = Step(network, GradientFlow(self.rate), engine=context.engine)
        state = step.start({role: p.to(context.device) for role, p in params.items()})
        batch = (x.to(context.device), y.to(context.device))
        found: dict[int, float] = {}
        left = list(range(len(self.seeds)))
        while left and (now := state.iteration * self.rate) <= self.horizon:
            state, info = step(state, batch)
            reached = info.loss <= self.goal
            over = reached | ~info.loss.isfinite()
            if bool(over.any()):
                found |= {member: now for member, yes in zip(left, reached.tolist(), strict=True) if yes}
                left = [member for member, done in zip(left, over.tolist(), strict=True) if not done]
                state, batch = _kept(state, batch, members=~over)
        return [found.get(member) for member in range(len(self.seeds))]

    def cost(self) -> Cost:
        """About three widths for the whole time."""
        return Cost(3 * self.depth * len(self.seeds) * self.horizon / self.rate, 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From a fiftieth of the time at one width."""
        sample = dataclasses.replace(self, horizon=self.horizon / 50, goal=0.0)
        start = time.perf_counter()
        sample.passages(LADDER[len(LADDER) // 2], context)
        return 3 * 50 * (time.perf_counter() - start)

    def _resumed(self, context: Context) -> dict[int, list[float | None]]:
        saved = context.checkpoint.load() if context.checkpoint is not None else None
        return {} if saved is None else {int(width): times for width, times in saved[1]["seen"]}


def _kept(state: State, batch: Batch, *, members: Tensor) -> tuple[State, Batch]:
    """The ensemble with these members alone."""
    params = {role: p[members] for role, p in state.params.items()}
    smaller = dataclasses.replace(state, params=params, alive=state.alive[members])
    return smaller, (batch[0][members], batch[1][members])


@dataclass(frozen=True)
class LinearWidth:
    """The same in the limit of small targets, where the gradient flow is solved by the kernel K of `TangentKernel`.

    ℓ(t) = (1/n) Σ_i e^{−4 λ_i t/n} ⟨v_i, y⟩²,  λ_i and v_i the eigenpairs of K

    The parameters move in proportion to y and the kernel with them, so that this is the flow up to a relative error of the size of y:
    the regime of Theorem 6, which asks for small targets.

    Rows: `width`, with the group as index, where there is one; `rank`, n − d, the directions that A and B do not reach.

    Args:
        samples, inputs: n and d.
        horizon: flow time allowed.
        seeds: cut into groups of `GROUP`.
        goal: the loss to reach, relative to the first.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int
    inputs: int
    horizon: float
    seeds: tuple[int, ...]
    goal: float = 1e-4
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Bisect for every group."""
        yield {"quantity": "rank", "value": float(self.samples - self.inputs)}
        for g, members in enumerate(_groups(self.seeds)):
            seeds = self.seeds[members]
            width = smallest(FINE_LADDER, lambda m: max(self.decay(m, seeds)) <= self.goal)  # noqa: B023 - used before it changes
            context.progress((g + 1) * GROUP / (len(self.seeds) + GROUP))
            if width is not None:
                yield {"quantity": "width", "index": g, "value": float(width)}

    def decay(self, width: int, seeds: tuple[int, ...]) -> list[float]:
        """ℓ(t)/ℓ(0) of each seed at the horizon."""
        import torch

        network = strict(1, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        params, (x, y) = draw_members(network, data, seeds=seeds)
        rates, vectors = torch.linalg.eigh(tangent_kernel(network, params, x))
        shares = (vectors.mT @ y).squeeze(-1).square()
        left = shares * torch.exp(-4 / self.samples * self.horizon * rates.clamp_min(0))
        decays: list[float] = (left.sum(1) / shares.sum(1)).tolist()
        return decays

    def cost(self) -> Cost:
        """Six eigenvalue problems of size n for every seed, counted in layers of 16 samples."""
        return Cost(6 * len(self.seeds) * 20 * self.samples**3 / 16**3, 8e2 * self.samples**2, 1e4)

    def probe(self, context: Context) -> float:
        """From one group."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:GROUP]), context=context)


TRAINED_TIME = 1200.0
"""Flow time allowed in training."""

CLOCKS: dict[str, Callable[[int], float]] = {
    "10 n√n q": lambda n: 10 * math.pow(n, 1.5) * (_half(n) + 1),
    "400 n": lambda n: 400.0 * n,
}
"""Flow times allowed in the limit of small targets: the clock of Theorem 6, and one that μ ∼ 1/n suggests."""


def _width_tasks(settings: Settings) -> Iterator[Task]:
    """The limit of small targets at both clocks; at the paper tier training too."""
    seeds = settings.seeds()
    for n in settings.pick(Tiered(quick=(24, 32, 48, 64, 96, 128), paper=(24, 32, 48, 64, 96, 128, 192, 256))):
        for clock, horizon in CLOCKS.items():
            yield LinearWidth(n, _half(n), horizon(n), seeds, labels={"samples": n, "clock": clock})
    for n in settings.pick(Tiered(quick=(), paper=(12, 16, 24, 32, 48))):
        labels: dict[str, Label] = {"samples": n, "clock": "training"}
        yield TrainedWidth(n, _half(n), PL_TARGET, TRAINED_TIME, seeds, labels=labels)


def _width_exponent(clock: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in n of the smallest width, one curve per group of seeds."""

    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(only(rows, quantity="width", clock=clock), "samples", by="index", minimum=0)

    return measure


def _width_panels(rows: pl.DataFrame) -> list[Panel]:
    """The smallest width against n; where there was training, its widths and what was seen at each."""
    import polars as pl

    rank = only(rows, quantity="rank").select("samples", "value").unique().sort("samples")
    limits = [seed_band(only(rows, quantity="width", clock=clock), "samples", label=f"t = {clock}") for clock in CLOCKS]
    bound = Curve(rank["samples"].to_list(), rank["value"].to_list(), "n − d", style="dashed")
    widths = {"xlabel": "samples n", "ylabel": "smallest width m"}
    panels = [
        Panel([*limits, bound, guide(limits[0], 1.0)], **widths, title="small targets", xscale="log", yscale="log")  # type: ignore[arg-type]
    ]
    if "training" in rows["clock"].to_list():
        own = only(rows, clock="training")
        trained = seed_band(
            only(own, quantity="width"), "samples", label=f"t = {TRAINED_TIME:g}, y of scale {PL_TARGET}"
        )
        times = only(own, quantity="passage").group_by("samples", "index").agg(pl.col("value").median()).sort("index")
        curves = [_over_widths(only(times, samples=n), n) for n in sorted(times["samples"].unique())]
        panels += [
            Panel([trained, guide(trained, 1.0)], **widths, title="training", xscale="log", yscale="log"),  # type: ignore[arg-type]
            Panel(
                curves,
                "width m",
                "flow time to loss 1e-6",
                title="median of seeds that reach it",
                xscale="log",
                yscale="log",
            ),
        ]
    return panels


def _over_widths(rows: pl.DataFrame, samples: int) -> Curve:
    return Curve(rows["index"].to_list(), rows["value"].to_list(), f"n = {samples}")


def _width_claim(clock: str, name: str, *, quantity: str, tiers: tuple[str, ...]) -> Claim:
    return Claim(
        f"marion2024.15.{name}",
        "The smallest width at which every seed trains grows at most linearly with the number of samples.",
        "Prop. 5; Theorem 6",
        f"exponent in n of the smallest width m at which all {GROUP} seeds of a group reach {quantity}, d = n/2",
        _width_exponent(clock),
        expected=1.0,
        tolerance=0.0,
        source="theorem",
        relation="at most",
        tiers=tiers,
        minimum_sample=5,
    )


WIDTH = Study(
    "smallest-width",
    title="The smallest width that trains",
    text="",
    tasks=_width_tasks,
    replicates=5 * GROUP,
    figures=(
        Figure(
            "smallest-width",
            "The smallest width that trains",
            "",
            _width_panels,
        ),
    ),
    claims=(
        _width_claim(
            "10 n√n q",
            "smallest-width",
            quantity="1e-4 of the first loss by flow time 10 n√n q, in the limit of small targets",
            tiers=("quick", "paper"),
        ),
        _width_claim(
            "400 n",
            "smallest-width-short",
            quantity="1e-4 of the first loss by flow time 400 n, in the limit of small targets",
            tiers=("quick", "paper"),
        ),
        _width_claim(
            "training",
            "smallest-width-trained",
            quantity=f"loss 1e-6 by flow time {TRAINED_TIME:g} in training, targets of scale {PL_TARGET}",
            tiers=("paper",),
        ),
    ),
)

# ------------------------------------------------------------------------------------------- row 16: the double limit

NAMES = ("embedding", "readout", "Z")
"""A, B, and the layers."""


@dataclass(frozen=True)
class Settling(Measure):
    """How the parameters come to rest: ‖A − A′‖_F, ‖B − B′‖_F and max over k of ‖Z_k − Z′_k‖ between two listed times.

    The norm of a layer is ‖V_k‖_F + ‖W_k‖_F (Marion et al. 2024, section 2). Quantities, with NAME one of `embedding`, `readout`, `Z`:
    `moved.NAME`, from the start; `step.NAME`, from the listed time before; at the last listed time `rest.NAME`, from there to each
    earlier listed time, which is the index.

    Args:
        at: the iterations; 0 is one of them.
    """

    at: At

    def watch(self, view: View, memory: Memory) -> None:
        """Keep the parameters of the listed iterations."""
        if view.iteration in self.at:
            memory.update({f"{view.iteration}/{role}": view.params[role] for role in view.network.trainable})

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The distances; `memory` holds the listed iterations before this one."""
        import torch

        earlier = [t for t in self.at.iterations if t < view.iteration]
        kept = [
            self._distances(view, {role: memory[f"{t}/{role}"] for role in view.network.trainable}) for t in earlier
        ]
        for name in NAMES if earlier else ():
            yield Observation(f"moved.{name}", kept[0][name])
            yield Observation(f"step.{name}", kept[-1][name])
            if view.iteration == self.at.iterations[-1]:
                yield Observation(f"rest.{name}", torch.stack([distances[name] for distances in kept], 1), earlier)

    def _distances(self, view: View, others: Parameters) -> dict[str, Tensor]:
        """From the parameters now to others, by name, `[E]` each."""
        apart = {role: view.params[role] - other for role, other in others.items()}
        layers = sum(per_layer_norm(apart[role]) for role in view.network.layer_roles)
        ends = {name: apart[name].flatten(1).norm(dim=1) for name in NAMES if name in apart}
        return ends | {"Z": layers.amax(1)}  # type: ignore[union-attr]


DOUBLE_RATE = 0.05
DOUBLE_DEPTHS = (16, 32, 64, 128)
DOUBLE_INPUTS, DOUBLE_WIDTH = 6, 32
DOUBLE_TIME = {4: 32.0, 8: 512.0}
"""Flow time by n: d = 6 inputs are more than 4 samples, which A and B alone could interpolate, and fewer than 8."""


def _doublings(samples: int) -> At:
    """Iteration 0 and six doublings up to the end."""
    last = round(DOUBLE_TIME[samples] / DOUBLE_RATE)
    return At((0, *(last // 2**k for k in range(5, -1, -1))))


def _double_measures(samples: int) -> tuple[object, ...]:
    at = _doublings(samples)
    return (Loss(at, residuals=True), WeightDistance(at), StateDistance(at), Settling(at))


def _per_time(rows: pl.DataFrame, quantity: str, *, of: str = "depth") -> Iterator[list[float]]:
    """A quantity over the listed times after the first, for every n, depth and seed."""
    own = only(rows, quantity=quantity).sort("iteration")
    for part in own.partition_by("samples", of, "seed", maintain_order=True):
        yield part["value"].to_list()


def _remaining(rows: pl.DataFrame) -> Measured:
    """The last residual relative to the first."""
    runs = list(_per_time(rows, "residual"))
    return _largest([run[-1] / run[0] for run in runs], "largest over n, depths and seeds, range over them")


def _residual_steps(rows: pl.DataFrame) -> Measured:
    """The largest factor of a doubling."""
    runs = list(_per_time(rows, "residual"))
    worst = [max(b / a for a, b in zip(run, run[1:], strict=False)) for run in runs]
    return _largest(worst, "largest over n, depths, seeds and doublings; range over the first three")


def _last_step(rows: pl.DataFrame) -> Measured:
    """The last step relative to the one before, largest over A, B and the layers."""
    runs = [run for name in NAMES for run in _per_time(rows, f"step.{name}")]
    return _largest(
        [run[-1] / run[-2] for run in runs], "largest over n, depths, seeds, A, B and layers; range over them"
    )


def _depth_exponent(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in L of a distance to the deepest network, at every listed time: they are all in the interval."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, quantity=quantity)
        groups = [part for n in sorted(own["samples"].unique()) for part in by_iteration(only(own, samples=n))]
        return worst_exponent(groups, reference=max(DOUBLE_DEPTHS))

    return measure


def _double_panels(rows: pl.DataFrame) -> list[Panel]:
    """Distances over depth at several times, residuals and steps over time, at the largest n."""
    n = max(rows["samples"])
    own = only(rows, samples=n)
    late = [t for t in _doublings(n).iterations if t][-4:]
    by_time = [_time_curve(own, t) for t in late]
    residuals = [_flow_time(only(own, quantity="residual", depth=L), f"L = {L}") for L in DOUBLE_DEPTHS]
    steps = [_flow_time(only(own, quantity="step.Z", depth=L), f"L = {L}") for L in DOUBLE_DEPTHS]
    return [
        Panel(
            [*by_time, guide(by_time[-1], -1.0)],
            "depth L",
            "L² distance of V to the deepest",
            xscale="log",
            yscale="log",
        ),
        Panel(
            residuals,
            "flow time t",
            "max over i of ‖F(x_i) − y_i‖",
            title=f"residual, n = {n}",
            xscale="log",
            yscale="log",
        ),
        Panel(
            steps,
            "flow time t",
            "max over k of ‖Z_k(t) − Z_k(t/2)‖",
            title="step of a doubling",
            xscale="log",
            yscale="log",
        ),
    ]


def _time_curve(rows: pl.DataFrame, iteration: int) -> Curve:
    return seed_band(
        only(rows, quantity="distance.l2.V", iteration=iteration), "depth", label=f"t = {DOUBLE_RATE * iteration:g}"
    )


def _flow_time(rows: pl.DataFrame, label: str) -> Curve:
    """A quantity after the start against flow time."""
    import polars as pl

    curve = seed_band(rows.filter(pl.col("iteration") > 0), "iteration", label=label)
    return dataclasses.replace(curve, x=[DOUBLE_RATE * t for t in curve.x])


def _depth_claim(name: str, what: str, *, quantity: str) -> Claim:
    return Claim(
        f"marion2024.16.depth-{name}",
        f"{what} converge as depth and time grow, uniformly in time.",
        "Theorem 6",
        f"exponent in L of {quantity}, at each of six times that double; no rate is stated, and −1/2 would do",
        _depth_exponent(f"distance.{name}"),
        expected=-0.5,
        tolerance=0.0,
        source="theorem",
        relation="at most",
        minimum_sample=5,
    )


DOUBLE = Study(
    "double-limit",
    title="Depth and time to infinity together",
    text="",
    grid={"samples": Tiered(quick=(4,), paper=(4, 8)), "depth": DOUBLE_DEPTHS},
    lockstep=True,
    replicates=REPLICATES,
    network=lambda depth: strict(depth, inputs=DOUBLE_INPUTS, width=DOUBLE_WIDTH),
    data=lambda samples: strict_data(samples, inputs=DOUBLE_INPUTS, target=0.1),
    optimizer=GradientFlow(DOUBLE_RATE),
    iterations=lambda samples: _doublings(samples).iterations[-1],
    measures=_double_measures,
    figures=(
        Figure(
            "double-limit",
            "Depth and time together",
            "The distance to the deepest network falls like 1/L at every time, and saturates in time; the residuals tend to 0"
            " at the same pace at every depth; each doubling of the time moves the weights less.",
            _double_panels,
        ),
    ),
    claims=(
        Claim(
            "marion2024.16.interpolation",
            "The limit in depth and time interpolates the data.",
            "Theorem 6 (iv)",
            "max over i of ‖F(x_i) − y_i‖ at the last time, relative to the start, largest over depths",
            _remaining,
            expected=0.0,
            tolerance=1e-3,
            source="theorem",
            relation="at most",
        ),
        Claim(
            "marion2024.16.decreasing",
            "The residuals decrease with time, at every depth.",
            "Theorem 6",
            "largest factor by which max over i of ‖F(x_i) − y_i‖ changes when the time doubles",
            _residual_steps,
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
        Claim(
            "marion2024.16.time",
            "The parameters converge in time, uniformly in depth: steps of a doubling shrink.",
            "Theorem 6 (i), (ii)",
            "last step ‖θ(T) − θ(T/2)‖ of A, B or a layer relative to the one before (1 for a logarithmic drift)",
            _last_step,
            expected=0.5,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
        _depth_claim("l2.V", "The weights V", quantity="the L² distance of V to the deepest network"),
        _depth_claim("l2.W", "The weights W", quantity="the L² distance of W to the deepest network"),
        _depth_claim("states", "The hidden states", quantity="the largest distance of states to the deepest network's"),
    ),
)

# ------------------------------------------------------------------------------- row 17: rest, with Prop. 8's constants

REST_RATE = 0.1
SNAPSHOTS = 40


@dataclass(frozen=True)
class Rest:
    """Sizes of a run that comes to rest: n, d, m, the scale of the targets and the flow time."""

    samples: int
    inputs: int
    width: int
    target: float
    horizon: float

    @property
    def at(self) -> At:
        """Iterations at which parameters are kept, evenly spaced."""
        step = round(self.horizon / REST_RATE / SNAPSHOTS)
        return At(tuple(range(0, SNAPSHOTS * step + 1, step)))


RESTS = {
    "n = 4, y 1e-5": Rest(4, 6, 8, 1e-5, 60.0),
    "n = 4, y 1e-15": Rest(4, 6, 8, 1e-15, 60.0),
    "n = 8, y 1e-6": Rest(8, 6, 32, 1e-6, 4000.0),
}


Reach = Literal["ball", "printed"]


@dataclass(frozen=True)
class Suprema:
    """Bounds on the first derivatives of f for V = 0 at the start, |σ| ≤ 1 and |σ′| ≤ 1.

    With ‖V‖ ≤ v, ‖W‖ ≤ w, ‖h‖ ≤ e^{K_1} M_A M_X:  K_1 = sup ‖∂_1 f‖ ≤ v w/√(qm),  K_2 = sup ‖∂_2 f‖ ≤ max(1, v ‖h‖/√(qm)).

    Over the ball of radius M around the start, v = M and w = ‖W(0)‖_F + M. As printed (Prop. 7) the suprema are over all
    ‖V‖ + ‖W‖ ≤ M_Z = ‖W(0)‖_F + M, so that v ≤ M_Z and v w ≤ M_Z²/4.

    Args:
        case: sizes.
        start: ‖W(0)‖_F.
        reach: which of the two.
    """

    case: Rest
    start: float
    reach: Reach

    def ball(self, radius: float) -> theory.Ball:
        """The constants of Prop. 8 at radius M."""
        state = self.case.inputs + 1
        root, total = math.sqrt(state * self.case.width), self.start + radius
        v, product = (radius, radius * total) if self.reach == "ball" else (total, total**2 / 4)
        first = product / root
        height = math.exp(first) * (1 + radius) * math.sqrt(state)
        return theory.Ball(1 + radius, 1 + radius, math.sqrt(state), max(first, 1.0, v * height / root))

    def threshold(self, radius: float, loss: float) -> float:
        """μ of Prop. 8 at radius M and initial loss ℓ(0)."""
        return theory.pl_threshold(self.ball(radius), radius=radius, initial_loss=loss)

    def best(self, loss: float) -> float:
        """The least μ of Prop. 8 over all radii."""
        return min(self.threshold(radius, loss) for radius in RADII)

    def radius(self, loss: float, *, mu: float) -> float:
        """The smallest of `RADII` at which the measured μ is enough.

        Raises:
            LookupError: there is none.
        """
        enough = (radius for radius in RADII if self.threshold(radius, loss) <= mu)
        found = next(enough, None)
        if found is None:
            raise LookupError(f"mu = {mu:g} is below the threshold of Prop. 8 at every radius")
        return found


RADII = tuple(10 ** (k / 20) for k in range(-400, 1))
"""Radii M, a twentieth of a decade apart."""


@dataclass(frozen=True)
class Come:
    """What a run that came to rest left: its case, ‖W(0)‖_F, ℓ(0), the least PL ratio, and its rows."""

    case: Rest
    start: float
    loss: float
    mu: float
    rows: pl.DataFrame

    def suprema(self, reach: Reach) -> Suprema:
        """Bounds for this run."""
        return Suprema(self.case, self.start, reach)

    @property
    def radius(self) -> float:
        """M: the smallest that Prop. 8 gives for the measured μ, with suprema over the ball of that radius."""
        return self.suprema("ball").radius(self.loss, mu=self.mu)


def _rested(rows: pl.DataFrame) -> Iterator[Come]:
    """Every run."""
    for mu in _last(rows, "pl.min", "case", "seed").iter_rows(named=True):
        own = only(rows, case=mu["case"], seed=mu["seed"])
        start = only(own, iteration=0)
        norm, loss = (only(start, quantity=quantity)["value"].item() for quantity in ("norm.W", "loss"))
        yield Come(RESTS[mu["case"]], norm, loss, mu["value"], own)


def _condition(reach: Reach) -> Callable[[pl.DataFrame], Measured]:
    """The threshold of Prop. 8 at the best radius, relative to the measured μ."""

    def measure(rows: pl.DataFrame) -> Measured:
        runs = [run for run in _rested(rows) if reach == "ball" or run.case.target < 1e-10]
        if not runs:
            raise LookupError("no run with targets that small")
        return _largest(
            [run.suprema(reach).best(run.loss) / run.mu for run in runs], "largest over runs, range over them"
        )

    return measure


def _within(rows: pl.DataFrame) -> Measured:
    """The largest distance from the start, relative to M/2."""
    worst = []
    for run in _rested(rows):
        moved = [only(run.rows, quantity=f"moved.{name}")["value"].max() for name in NAMES]
        worst.append(max(moved) / (run.radius / 2))  # type: ignore[type-var, operator]
    return _largest(worst, "largest over runs, times, A, B and layers; range over runs")


def _rate(rows: pl.DataFrame) -> Measured:
    """The largest distance from the last parameters in the first half of the time, relative to (M/2) e^{−μt/2}."""
    return _largest(
        [max(ratio for _, ratio in _rest_ratios(run)) for run in _rested(rows)],
        "largest over runs, times up to half of the run, A, B and layers; range over runs. The parameters at the end of the run stand for the limit",
    )


def _rest_ratios(run: Come) -> Iterator[tuple[float, float]]:
    """Times and ratios."""
    radius = run.radius
    for name in NAMES:
        rest = only(run.rows, quantity=f"rest.{name}")
        for iteration, distance in zip(rest["index"], rest["value"], strict=True):
            time = REST_RATE * iteration
            if time <= run.case.horizon / 2:
                yield time, distance / theory.parameter_distance_bound(time, radius=radius, mu=run.mu)


def _rest_panels(rows: pl.DataFrame) -> list[Panel]:
    """Distances to the last parameters, with the bound; one panel per case, first seed."""
    return [_rest_panel(only(rows, case=case), case) for case in dict.fromkeys(rows["case"])]


def _rest_panel(rows: pl.DataFrame, case: str) -> Panel:
    """A, B and the layers of the first seed against time."""
    run = next(_rested(only(rows, seed=min(rows["seed"]))))
    labels = {"embedding": "A", "readout": "B", "Z": "layers"}
    curves = []
    for name in NAMES:
        rest = only(run.rows, quantity=f"rest.{name}").sort("index")
        curves.append(Curve([REST_RATE * t for t in rest["index"]], rest["value"].to_list(), labels[name]))
    radius, times = run.radius, curves[0].x
    bound = [theory.parameter_distance_bound(t, radius=radius, mu=run.mu) for t in times]
    curves.append(Curve(times, bound, "(M/2) e^{−μt/2}", style="dashed"))
    return Panel(curves, "flow time t", "distance to the end of the run", title=case, yscale="log")


REST = Study(
    "rest",
    title="The parameters come to rest",
    text="",
    grid={"case": Tiered(quick=dict(list(RESTS.items())[:2]), paper=RESTS)},
    replicates=REPLICATES,
    network=lambda case: strict(16, inputs=case.inputs, width=case.width),
    data=lambda case: strict_data(case.samples, inputs=case.inputs, target=case.target),
    optimizer=GradientFlow(REST_RATE),
    iterations=lambda case: case.at.iterations[-1],
    measures=lambda case: (Loss(case.at), PLRatio(case.at), Drift(At((0,))), Settling(case.at)),
    figures=(Figure("rest", "Distance to the limit", "", _rest_panels),),
    claims=(
        Claim(
            "marion2024.17.condition",
            "With small enough targets the condition of Prop. 8 holds.",
            "Prop. 8",
            "least threshold of Prop. 8 over radii M, relative to the least PL ratio; suprema over the ball of radius M",
            _condition("ball"),
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
        Claim(
            "marion2024.17.condition-as-printed",
            "So it does with the suprema as printed, over all weights of norm M_Z, for targets of scale 1e-15.",
            "Prop. 8; Prop. 7",
            "least threshold of Prop. 8 over radii M, relative to the least PL ratio; suprema over ‖V‖ + ‖W‖ ≤ M_Z",
            _condition("printed"),
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
        Claim(
            "marion2024.17.ball",
            "The parameters stay within M/2 of the initialisation.",
            "Prop. 8 (i)",
            "largest distance of A, B or a layer from its start, relative to M/2, M the smallest radius that Prop. 8 gives",
            _within,
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
        Claim(
            "marion2024.17.rate",
            "The parameters converge exponentially: ‖A_∞ − A(t)‖ ≤ (M/2) e^{−μt/2}, and so for B and the layers.",
            "Prop. 8 (iv)",
            "largest distance to the limit relative to (M/2) e^{−μt/2}, μ the least PL ratio of the run",
            _rate,
            expected=1.0,
            tolerance=0.0,
            source="theorem",
            relation="at most",
        ),
    ),
)

# ------------------------------------------------------------------- the conditions of Theorem 6 and the run of Figure 2


@dataclass(frozen=True)
class Conditions:
    """What Theorem 6 asks for, at the sizes and data of the run of Figure 2.

    Rows: `state`, q − (d + d′), at least 0; `width`, m/(c1 n), and `depth`, L/(c2 √(nq)), at least 1; for each seed `input`, the
    largest |‖x_i‖/√q − 1|, which is 0.

    Args:
        samples, state, width, depth: n, q = d = d′, m and L.
        seeds: draws of x.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    samples: int = 50
    state: int = STATE
    width: int = 64
    depth: int = 64
    seeds: tuple[int, ...] = (0,)
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Closed forms, and the norms of the drawn inputs."""
        root = math.sqrt(self.samples * self.state)
        yield {"quantity": "state", "value": float(self.state - (self.state + self.state))}
        yield {"quantity": "width", "value": self.width / (GELU.c1 * self.samples)}
        yield {"quantity": "depth", "value": self.depth / (GELU.c2 * root)}
        data = GaussianPairs(self.samples, self.state, self.state)
        for seed in self.seeds:
            x, _ = data.sample(NamedDraw().stream(seed))
            far = (x.norm(dim=1) / math.sqrt(self.state) - 1).abs().max().item()
            yield {"seed": seed, "quantity": "input", "value": far}

    def cost(self) -> Cost:
        """Next to nothing."""
        return Cost(1.0, 1e6, 1e4)

    def probe(self, context: Context) -> float:
        """Next to nothing."""
        return 1e-3


def _all_values(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return _smallest(
            only(rows, quantity=quantity)["value"].to_list(),
            "closed form" if quantity != "input" else "range over seeds",
        )

    return measure


def _condition_claim(
    name: str, statement: str, *, quantity: str, expected: float, relation: Literal["at least", "at most"]
) -> Claim:
    return Claim(
        f"marion2024.11.condition-{name}",
        f"The run of Figure 2 is an instance of Theorem 6: {statement}.",
        "section 5.1; Theorem 6; Fig. 2",
        quantity,
        _all_values(name),
        expected=expected,
        tolerance=0.0,
        source="theorem",
        relation=relation,
        expected_ruling="not reproduced",
    )


def _condition_tasks(settings: Settings) -> Iterator[Task]:
    yield Conditions(seeds=settings.seeds(0))


CONDITIONS = Study(
    "theorem-6-conditions",
    title="Theorem 6 and the run of Figure 2",
    text="",
    tasks=_condition_tasks,
    replicates=REPLICATES,
    claims=(
        _condition_claim(
            "state", "the states are wide enough", quantity="q − (d + d′)", expected=0.0, relation="at least"
        ),
        _condition_claim("width", "the layers are wide enough", quantity="m/(c1 n)", expected=1.0, relation="at least"),
        _condition_claim(
            "input", "all inputs have norm √q", quantity="largest |‖x_i‖/√q − 1|", expected=0.0, relation="at most"
        ),
    ),
)

STUDIES = (PL, KERNEL, WIDTH, DOUBLE, REST, CONDITIONS)
