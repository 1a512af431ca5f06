"""Long training time: the PL condition, linear width, the double limit, rest (rows 14 to 17 of the checklist; Theorem 6)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from deeplimit import theory
from deeplimit.branches import Perceptron, Tanh
from deeplimit.claims import Claim, Measured
from deeplimit.data import GaussianPairs, SpherePairs
from deeplimit.draws import NamedDraw
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import At, Comparison, Drift, Every, Loss, Measure, PLRatio, StateDistance, WeightDistance
from deeplimit.measures.measure import Memory, Observation, View, per_layer_norm
from deeplimit.networks import LastCoordinates, Padding, ResidualStack
from deeplimit.papers.marion2024.common import STATE, by_iteration, only, worst_exponent
from deeplimit.papers.marion2024.finite_time import REPLICATES, guide, seconds_for, seed_band
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import GradientFlow, Step, checksum, draw_members

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.networks import Parameters
    from deeplimit.training import State
    from deeplimit.training.step import Batch

TANH = theory.ActivationConstants(hermite=-0.1484, degree=3, lipschitz=1.0, bound=1.0)
"""σ = tanh in Prop. 5; beyond the linear coefficient its lowest is the third."""

GELU = theory.ActivationConstants(hermite=0.2992, degree=2, lipschitz=1.1289, bound=1.0)
"""σ = GELU in Prop. 5. It is not bounded: the last number enters δ alone, which is not used here."""


def strict(depth: int, *, inputs: int, width: int) -> ResidualStack:
    """Model (3) as Theorem 6 assumes it: tanh, factors 1/√m and 1/√q, A and B trained, d′ = 1 and q = d + d′."""
    state = inputs + 1
    ends = {"embedding": Padding(inputs, state), "readout": LastCoordinates(state, 1)}
    return ResidualStack(Perceptron(state, width, Tanh()), depth, **ends)  # type: ignore[arg-type]


def strict_data(samples: int, *, inputs: int, target: float) -> SpherePairs:
    """Inputs uniform on the sphere of radius √q, and small targets that have nothing to do with them."""
    return SpherePairs(samples, inputs, 1, radius=math.sqrt(inputs + 1), target_scale=target)


def _claim(
    name: str, statement: str, *, quantity: str, measure: Callable[[pl.DataFrame], Measured], **others: Any
) -> Claim:
    """A one-sided claim of the theory: at most 1 unless `others` say otherwise."""
    bound: dict[str, Any] = {"expected": 1.0, "tolerance": 0.0, "source": "theorem", "relation": "at most"}
    return Claim(f"marion2024.{name}", statement, quantity=quantity, measure=measure, **(bound | others))


def _largest(values: Sequence[float], note: str) -> Measured:
    """The largest of values that must all stay below a bound; the interval is their range."""
    return Measured(max(values), min(values), max(values), len(values), f"largest over {note}; range over the same")


def _smallest(values: Sequence[float], note: str) -> Measured:
    """The smallest of values that must all stay above a bound; the interval is their range."""
    return Measured(min(values), min(values), max(values), len(values), f"smallest over {note}; range over the same")


def _half(samples: int) -> int:
    """d = n/2: it grows like n and stays below it, so that A and B alone cannot interpolate."""
    return samples // 2


def _scaled(samples: int) -> float:
    """n √n q at d = n/2: times μ, the constant c4 of Prop. 5."""
    return math.pow(samples, 1.5) * (_half(samples) + 1)


# ------------------------------------------------------------------------------- rows 14 and 15: the PL ratio in training

PL_RATE = 0.05
PL_DEPTH = 4
PL_TARGET = 0.1
PL_TIME = Tiered(quick=4.0, paper=8.0)
"""Flow time per sample: the ratio falls like 1/n."""


def _pl_iterations(flow_time: float) -> Callable[[int], int]:
    def iterations(samples: int) -> int:
        return round(flow_time * samples / PL_RATE)

    return iterations


def _training_mu(rows: pl.DataFrame, power: Callable[[int], float] = lambda n: 1.0) -> pl.DataFrame:
    """The least ratio of each run over its training, times a function of n."""
    import polars as pl

    own = only(rows, quantity="pl.min").sort("samples", "seed", "iteration")
    last = own.group_by("samples", "seed", maintain_order=True).last()
    return last.with_columns(
        pl.Series("value", [mu * power(n) for n, mu in zip(last["samples"], last["value"], strict=True)])
    )


def _least_constant(rows: pl.DataFrame) -> Measured:
    return _smallest(_training_mu(rows, _scaled)["value"].to_list(), "n and seeds")


def _loss_against_bound(rows: pl.DataFrame) -> Measured:
    """The largest ℓ(t) / (e^{−μt} ℓ(0)) over t > 0 of each run, with the run's own μ."""
    worst = []
    for row in _training_mu(rows).iter_rows(named=True):
        run = only(rows, quantity="loss", samples=row["samples"], seed=row["seed"]).sort("iteration")
        times, losses = (PL_RATE * run["iteration"]).to_list(), run["value"].to_list()
        bounds = [theory.loss_bound(t, mu=row["value"], initial_loss=losses[0]) for t in times]
        worst.append(max(loss / bound for loss, bound in zip(losses[1:], bounds[1:], strict=True)))
    return _largest(worst, "n and seeds of the largest over recorded times")


def _mu_exponent(power: Callable[[int], float]) -> Callable[[pl.DataFrame], Measured]:
    def measure(rows: pl.DataFrame) -> Measured:
        return exponent(_training_mu(rows, power), "samples", minimum=0)

    return measure


def _pl_panels(rows: pl.DataFrame) -> list[Panel]:
    """The ratio over time for every n, the loss with its bound for the extreme n, μ against n."""
    samples = sorted(only(rows, quantity="pl")["samples"].unique())
    ratio = [_one_run(only(rows, quantity="pl", samples=n), f"n = {n}") for n in samples]
    losses = [curve for n in (samples[0], samples[-1]) for curve in _loss_and_bound(rows, n)]
    mu = seed_band(_training_mu(rows), "samples", label="mean and range over seeds")
    return [
        Panel(ratio, "flow time t", "PL ratio", title="ratio, one seed", yscale="log"),
        Panel(losses, "flow time t", "ℓ(t) / ℓ(0)", title="loss and bound, one seed", yscale="log"),
        Panel([mu, guide(mu, -1.5)], "samples n", "μ", title="least ratio, m = 4n", xscale="log", yscale="log"),
    ]


def _one_run(rows: pl.DataFrame, label: str) -> Curve:
    """A quantity of the first seed against flow time."""
    own = only(rows, seed=min(rows["seed"])).sort("iteration")
    return Curve((PL_RATE * own["iteration"]).to_list(), own["value"].to_list(), label)


def _loss_and_bound(rows: pl.DataFrame, samples: int) -> Iterator[Curve]:
    """ℓ(t)/ℓ(0) of the first seed, and e^{−μt} with its μ."""
    own = only(rows, samples=samples)
    loss, mu = _one_run(only(own, quantity="loss"), f"n = {samples}"), _training_mu(own)["value"][0]
    yield dataclasses.replace(loss, y=[value / loss.y[0] for value in loss.y])
    bound = [theory.loss_bound(t, mu=mu, initial_loss=1.0) for t in loss.x]
    yield Curve(loss.x, bound, f"e^(−μt), n = {samples}", style="dashed")


PL = Study(
    "pl-condition",
    title="The PL ratio stays away from 0",
    text=(
        "The setting of Theorem 6 but for the size of its constants (c1 is about 1e7 for tanh): inputs on the sphere of radius √q,"
        " q = d + 1, targets of standard deviation 0.1, tanh, A and B trained along with the layers. d = n/2 grows like n and stays"
        " below it, since A and B alone interpolate where d ≥ n; m = 4n; depth 4 (tied layers start with a ratio that does not"
        " depend on depth); learning rate 0.05; flow time in proportion to n. The numerator of the ratio is −dℓ/dt along the flow,"
        " and μ is the least ratio of a run. It falls about like 1/n, where Prop. 5 asks for no more than 1/(n√n q). The fitted"
        " exponents depend on how d grows."
    ),
    grid={"samples": Tiered(quick=(12, 16, 24, 32), paper=(12, 16, 24, 32, 48))},
    replicates=REPLICATES,
    network=lambda samples: strict(PL_DEPTH, inputs=_half(samples), width=4 * samples),
    data=lambda samples: strict_data(samples, inputs=_half(samples), target=PL_TARGET),
    optimizer=GradientFlow(PL_RATE),
    iterations=Tiered(**{tier: _pl_iterations(flow_time) for tier, flow_time in PL_TIME.by_tier.items()}),
    measures=(Loss(Every(20)), PLRatio(Every(20))),
    figures=(
        Figure(
            "pl-ratio",
            "The PL ratio over training",
            "The ratio falls while the easy directions are learnt and then stays away from 0, the loss stays below e^(−μt) ℓ(0),"
            " and μ falls more slowly than n^(−3/2).",
            _pl_panels,
        ),
    ),
    claims=(
        _claim(
            "14.constant",
            "Along training the PL ratio stays above c4/(n√n q), even at widths far below c1 n.",
            where="Prop. 5; Theorem 6",
            quantity="least μ n√n q, against c4 of tanh",
            measure=_least_constant,
            expected=TANH.c4,
            relation="at least",
        ),
        _claim(
            "14.loss-bound",
            "The loss stays below e^(−μt) ℓ(0).",
            where="Prop. 8 (v); Theorem 6, equation (10)",
            quantity="largest ℓ(t) / (e^(−μt) ℓ(0)) over t > 0, μ the least ratio of the same run",
            measure=_loss_against_bound,
        ),
        _claim(
            "14.no-decay",
            "With d growing like n and m = 4n, μ n√n q does not decay as n grows.",
            where="Prop. 5",
            quantity="exponent in n of μ n√n q, μ the least ratio of a run",
            measure=_mu_exponent(_scaled),
            expected=0.0,
            relation="at least",
            minimum_sample=5,
        ),
        _claim(
            "15.exponent-training",
            "Linear width suffices: with m = 4n, μ decays no faster than n^(−3/2).",
            where="Prop. 5",
            quantity="exponent in n of μ, the least ratio of a run (Prop. 5 would allow another 1/q)",
            measure=_mu_exponent(lambda n: 1.0),
            expected=-1.5,
            relation="at least",
            minimum_sample=5,
        ),
    ),
)

# ---------------------------------------------------------------------- row 15: the PL constant at the initialisation


def tangent_kernel(network: ResidualStack, params: Parameters, *, x: Tensor) -> Tensor:
    """The kernel by which the loss decays where V = 0, `[E, n, n]`.

    K = 2 X Xᵀ + σ(H Wᵀ/√q) σ(H Wᵀ/√q)ᵀ / m,  H = X Aᵀ;   −dℓ/dt = (4/n²) rᵀ K r along the flow (4), r the residuals

    A and B give X Xᵀ each, the layers' V the second part whatever the depth, and W nothing, since its gradient has the factor V.
    Derived from equation (3) for `strict` networks.

    Args:
        network: a `strict` one.
        params: its initial parameters, `[E, …]`.
        x: `[E, n, d]`.
    """
    branch = network.branch
    assert isinstance(branch, Perceptron)
    features = branch.activation(branch.inner_factor * network.embed(params, x) @ params["W"][:, 0].mT)
    return 2 * x @ x.mT + features @ features.mT / branch.width


@dataclass(frozen=True)
class KernelConstant:
    """The largest μ with which the PL condition holds at the initialisation whatever the targets: μ = (4/n) λ_min(K).

    The least ratio (4/n) rᵀ K r / ‖r‖² over residuals r, K the `tangent_kernel`: what the proof of Prop. 5 bounds from below, on a ball so
    small that nothing moves in it.

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
        for width, seed in itertools.product(self.widths, self.seeds):
            network = strict(1, inputs=self.inputs, width=width)
            params, batch = draw_members(network, data, seeds=(seed,))
            context.provenance["data"] = checksum(batch, str(context.provenance.get("data", "")))
            least = torch.linalg.eigvalsh(tangent_kernel(network, params, x=batch[0]))[0, 0].item()
            # Below full rank the least eigenvalue is 0 up to rounding of either sign.
            yield {"seed": seed, "quantity": "mu", "index": width, "value": 4 / self.samples * max(least, 0.0)}

    def cost(self) -> Cost:
        """An eigenvalue problem of size n for each, counted in layers of 16 samples."""
        work = sum(self.samples**2 * (width + 10 * self.samples) for width in self.widths) / 16**3
        return Cost(len(self.seeds) * work, 8.0 * self.samples * (max(self.widths) + 4 * self.samples), 1e4)

    def probe(self, context: Context) -> float:
        """From one seed."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:1]), context=context)


SHARES = {"1/2": 1 / 2, "3/4": 3 / 4}
"""d/n of the kernels."""

MIDDLE, PER_SAMPLE = 64, (1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 2, 4, 8)
"""The n at which the width varies, and m/n there."""


def _kernel_tasks(settings: Settings) -> Iterator[Task]:
    """m = 4n at growing n, and growing m at the middle n."""
    sizes = settings.pick(Tiered(quick=(16, 32, 64, 128, 256), paper=(16, 32, 64, 128, 256, 512, 1024)))
    for (share, part), n in itertools.product(SHARES.items(), sizes):
        factors = PER_SAMPLE if n == MIDDLE else (4,)
        widths = tuple(round(factor * n) for factor in factors)
        yield KernelConstant(n, round(part * n), widths, settings.seeds(0), labels={"samples": n, "share": share})


def _kernel_mu(rows: pl.DataFrame, share: str) -> pl.DataFrame:
    """μ at m = 4n."""
    import polars as pl

    return only(rows, quantity="mu", share=share).filter(pl.col("index") == 4 * pl.col("samples"))


def _kernel_exponent(*, times_state: bool) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in n of μ, or of μ q, at d = n/2."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        factor = pl.col("samples") // 2 + 1 if times_state else 1
        return exponent(_kernel_mu(rows, "1/2").with_columns(value=pl.col("value") * factor), "samples")

    return measure


def _kernel_panels(rows: pl.DataFrame) -> list[Panel]:
    """μ against n at m = 4n, and against m/n at the middle n."""
    against_n = [seed_band(_kernel_mu(rows, share), "samples", label=f"d/n = {share}") for share in SHARES]
    guides = [guide(against_n[0], slope) for slope in (-1.0, -1.5)]
    against_m = [
        seed_band(only(rows, samples=MIDDLE, share=share), "index", label=f"d/n = {share}") for share in SHARES
    ]
    against_m = [dataclasses.replace(curve, x=[m / MIDDLE for m in curve.x]) for curve in against_m]
    return [
        Panel([*against_n, *guides], "samples n", "μ at the start", title="m = 4n", xscale="log", yscale="log"),
        Panel(against_m, "m/n", "μ at the start", title=f"n = {MIDDLE}", xscale="log"),
    ]


def _kernel_claim(name: str, quantity: str, *, times_state: bool) -> Claim:
    return _claim(
        f"15.{name}",
        "Linear width suffices: with m = 4n the PL constant at the initialisation decays no faster than Prop. 5 says.",
        where="Prop. 5",
        quantity=f"exponent in n of {quantity} at the initialisation, m = 4n, d = n/2, q = d + 1",
        measure=_kernel_exponent(times_state=times_state),
        expected=-1.5,
        relation="at least",
        minimum_sample=5,
    )


KERNEL = Study(
    "pl-constant",
    title="The PL constant at the initialisation",
    text=(
        "At the initialisation the PL ratio is a quadratic form of the residuals, and the largest μ that serves all targets is 4/n"
        " times the least eigenvalue of its kernel. No training is needed, so that n can be large. With m = 4n the eigenvalue tends to"
        " a constant and μ to a multiple of 1/n: the exponents rise to −1 for μ, and to 0 for μ q. The n − d directions that A and B"
        " do not reach need as many features: μ is 0 for m < n − d, so that no width that grows more slowly than n would do."
    ),
    tasks=_kernel_tasks,
    replicates=9,
    figures=(
        Figure(
            "pl-constant",
            "The PL constant at the initialisation",
            "With m = 4n the constant falls like 1/n. At fixed n it is 0 until there are as many features as directions to fit.",
            _kernel_panels,
        ),
    ),
    claims=(
        _kernel_claim("exponent-start", "μ", times_state=False),
        _kernel_claim("exponent-start-times-state", "μ q", times_state=True),
    ),
)

# ---------------------------------------------------------------------------------------- row 15: the smallest width

GROUP = 3
"""Seeds that must all succeed at a width."""

LADDER = tuple(2**k for k in range(7))
FINE_LADDER = tuple(sorted({round(2 ** (k / 4)) for k in range(49)}))
"""Widths tried in training, and in the limit of small targets."""


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


def _groups(seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [seeds[start : start + GROUP] for start in range(0, len(seeds), GROUP)]


@dataclass(frozen=True)
class LinearWidth:
    """The smallest inner width m at which every seed of a group reaches a loss in time, in the limit of small targets, by bisection.

    ℓ(t) = (1/n) Σ_i e^{−4 λ_i t/n} ⟨v_i, y⟩²,  λ_i and v_i the eigenpairs of the `tangent_kernel`

    Parameters move in proportion to y and the kernel with them, so that this is gradient flow up to a relative error of the size of y: the
    regime of Theorem 6, which asks for small targets.

    Rows: `rank`, n − d, the number of directions that A and B do not reach; `width`, the smallest one of `FINE_LADDER`, with the group as
    index, where there is one.

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
        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        drawn = draw_members(strict(1, inputs=self.inputs, width=1), data, seeds=self.seeds)
        context.provenance["data"] = checksum(drawn[1])
        yield {"quantity": "rank", "value": float(self.samples - self.inputs)}
        for index, group in enumerate(_groups(self.seeds)):
            width = smallest(FINE_LADDER, partial(self._passed, seeds=group))
            context.progress((index + 1) * GROUP / (len(self.seeds) + GROUP))
            if width is not None:
                yield {"quantity": "width", "index": index, "value": float(width)}

    def _passed(self, width: int, seeds: tuple[int, ...]) -> bool:
        return max(self.decay(width, seeds)) <= self.goal

    def decay(self, width: int, seeds: tuple[int, ...]) -> list[float]:
        """ℓ(t)/ℓ(0) of each seed at the horizon."""
        import torch

        network = strict(1, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=1.0)
        params, (x, y) = draw_members(network, data, seeds=seeds)
        eigenvalues, vectors = torch.linalg.eigh(tangent_kernel(network, params, x=x))
        shares = (vectors.mT @ y).squeeze(-1).square()
        left = shares * torch.exp(-4 / self.samples * self.horizon * eigenvalues.clamp_min(0))
        decays: list[float] = (left.sum(1) / shares.sum(1)).tolist()
        return decays

    def cost(self) -> Cost:
        """Six eigenvalue problems of size n for every seed, counted in layers of 16 samples."""
        return Cost(6 * len(self.seeds) * 20 * self.samples**3 / 16**3, 8e2 * self.samples**2, 1e4)

    def probe(self, context: Context) -> float:
        """From one group."""
        return seconds_for(self, dataclasses.replace(self, seeds=self.seeds[:GROUP]), context=context)


@dataclass(frozen=True)
class TrainedWidth:
    """The smallest inner width m at which every seed of a group reaches a loss in training, by bisection on `LADDER`.

    The bisection takes success to be monotone in m; what was seen at each width is kept in the rows. A width is trained once, all seeds
    as one ensemble, which a seed leaves when it reaches the loss or diverges.

    Rows: `width`, with the group as index, where there is one; for each width tried, as index, `missed`, the number of seeds that did not
    reach the loss, and `passage`, the flow time at which a seed did.

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
        for index, group in enumerate(_groups(self.seeds)):
            width = smallest(LADDER, partial(self._passed, group=group, seen=seen, context=context))
            if width is not None:
                yield {"depth": self.depth, "quantity": "width", "index": index, "value": float(width)}
        for width, times in sorted(seen.items()):
            missed = float(len(self.seeds) - len(times))
            yield {"depth": self.depth, "quantity": "missed", "index": width, "value": missed}
            for seed, reached in sorted(times.items()):
                yield {"depth": self.depth, "seed": seed, "quantity": "passage", "index": width, "value": reached}

    def passages(self, width: int, context: Context) -> dict[int, float]:
        """Seed -> the flow time at which it reaches the goal at a width; seeds that do not are absent."""
        network = strict(self.depth, inputs=self.inputs, width=width)
        data = strict_data(self.samples, inputs=self.inputs, target=self.target)
        params, batch = draw_members(network, data, seeds=self.seeds, device=context.device)
        context.provenance["data"] = checksum(batch)
        step = Step(network, GradientFlow(self.rate), engine=context.engine)
        state = step.start(params)
        found: dict[int, float] = {}
        left = list(self.seeds)
        while left and (now := state.iteration * self.rate) <= self.horizon:
            state, info = step(state, batch)
            reached = info.loss <= self.goal
            stays = ~reached & info.loss.isfinite()
            if not bool(stays.all()):
                found |= {seed: now for seed, yes in zip(left, reached.tolist(), strict=True) if yes}
                left = list(itertools.compress(left, stays.tolist()))
                state, batch = _kept(state, batch, members=stays)
        return found

    def cost(self) -> Cost:
        """About three widths for the whole time."""
        return Cost(3 * self.depth * len(self.seeds) * self.horizon / self.rate, 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From a fiftieth of the time at one width."""
        sample = dataclasses.replace(self, horizon=self.horizon / 50, goal=0.0)
        start = time.perf_counter()
        sample.passages(LADDER[len(LADDER) // 2], context)
        return 3 * 50 * (time.perf_counter() - start)

    def _passed(
        self, width: int, *, group: tuple[int, ...], seen: dict[int, dict[int, float]], context: Context
    ) -> bool:
        """Whether all of a group reach the goal at a width, which is trained where it was not yet."""
        if width not in seen:
            seen[width] = self.passages(width, context)
            context.progress(len(seen) / (len(LADDER) + 1))
            if context.checkpoint is not None:
                context.checkpoint.save({}, {"seen": [[m, list(times.items())] for m, times in seen.items()]})
        return seen[width].keys() >= set(group)

    def _resumed(self, context: Context) -> dict[int, dict[int, float]]:
        saved = context.checkpoint.load() if context.checkpoint is not None else None
        return {} if saved is None else {m: dict(times) for m, times in saved[1]["seen"]}


def _kept(state: State, batch: Batch, *, members: Tensor) -> tuple[State, Batch]:
    """The ensemble with these members alone."""
    params = {role: p[members] for role, p in state.params.items()}
    smaller = dataclasses.replace(state, params=params, alive=state.alive[members])
    return smaller, (batch[0][members], batch[1][members])


TRAINED_TIME = 1200.0
"""Flow time allowed in training."""

CLOCKS: dict[str, Callable[[int], float]] = {"10 n√n q": lambda n: 10 * _scaled(n), "400 n": lambda n: 400.0 * n}
"""Flow times allowed in the limit of small targets: the clock of Theorem 6, and the one that μ ∼ 1/n suggests."""


def _width_tasks(settings: Settings) -> Iterator[Task]:
    """The limit of small targets at both clocks, and at the paper tier training."""
    seeds = settings.seeds()
    sizes = settings.pick(Tiered(quick=(16, 24, 32, 48, 64, 96, 128), paper=(16, 24, 32, 48, 64, 96, 128, 192, 256)))
    for n, (clock, horizon) in itertools.product(sizes, CLOCKS.items()):
        yield LinearWidth(n, _half(n), horizon(n), seeds, labels={"samples": n, "clock": clock})
    for n in settings.pick(Tiered(quick=(), paper=(12, 16, 24, 32, 48))):
        labels: dict[str, Label] = {"samples": n, "clock": "training"}
        yield TrainedWidth(n, _half(n), PL_TARGET, TRAINED_TIME, seeds, labels=labels)


def _width_exponent(clock: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in n of the smallest width, one curve per group of seeds."""

    def measure(rows: pl.DataFrame) -> Measured:
        fit = exponent(only(rows, quantity="width", clock=clock), "samples", by="index", minimum=0)
        return dataclasses.replace(fit, note=f"{fit.note} (groups of {GROUP} seeds)")

    return measure


def _width_panels(rows: pl.DataFrame) -> list[Panel]:
    """The smallest width against n in the limit of small targets; where there was training, that too and the times it took."""
    rank = only(rows, quantity="rank").unique(["samples"]).sort("samples")
    curves = [seed_band(only(rows, quantity="width", clock=clock), "samples", label=f"t = {clock}") for clock in CLOCKS]
    curves += [
        Curve(rank["samples"].to_list(), rank["value"].to_list(), "n − d", style="dashed"),
        guide(curves[0], 1.0),
    ]
    panels = [_width_panel(curves, "small targets")]
    if "training" in rows["clock"].to_list():
        own = only(rows, clock="training")
        trained = seed_band(
            only(own, quantity="width"), "samples", label=f"t = {TRAINED_TIME:g}, y of scale {PL_TARGET}"
        )
        panels += [
            _width_panel([trained, guide(trained, 1.0)], "training"),
            _passage_panel(only(own, quantity="passage")),
        ]
    return panels


def _width_panel(curves: list[Curve], title: str) -> Panel:
    return Panel(curves, "samples n", "smallest width m", title=title, xscale="log", yscale="log")


def _passage_panel(rows: pl.DataFrame) -> Panel:
    """The median time to the loss against the width."""
    import polars as pl

    medians = rows.group_by("samples", "index").agg(pl.col("value").median()).sort("samples", "index")
    parts = [(n, only(medians, samples=n)) for n in medians["samples"].unique(maintain_order=True)]
    curves = [Curve(part["index"].to_list(), part["value"].to_list(), f"n = {n}") for n, part in parts]
    return Panel(
        curves, "width m", "flow time to loss 1e-6", title="median of seeds that reach it", xscale="log", yscale="log"
    )


def _width_claim(name: str, clock: str, *, reach: str, tiers: tuple[str, ...] = ("quick", "paper")) -> Claim:
    return _claim(
        f"15.{name}",
        "Linear width suffices: the smallest width at which every seed trains grows at most linearly with n.",
        where="Prop. 5; Theorem 6",
        quantity=f"exponent in n of the smallest width m at which all {GROUP} seeds of a group reach {reach}, d = n/2",
        measure=_width_exponent(clock),
        tiers=tiers,
        minimum_sample=5,
    )


WIDTH = Study(
    "smallest-width",
    title="The smallest width that trains",
    text=(
        "For each n the smallest inner width m is found by bisection at which all three seeds of a group train; five groups give five"
        " curves m(n), and the interval of the exponent is the t-interval over them. Theorem 6 speaks of the time n√n q, so that this"
        " is the clock by which linear width must suffice. In the limit of small targets the flow is solved exactly, and n can be"
        " large: m(n) stays above n − d, the number of directions that A and B leave to the layers. By the shorter clock 400 n, which"
        " μ ∼ 1/n suggests, it is nearly linear. By a clock that does not grow with n no theorem holds: at a rate μ ∼ 1/n the width"
        " must make up for ever less time. In training with targets of scale 0.1 (paper tier) A, B and W move enough to speed all this"
        " up: flow time 1200 is ample, a handful of neurons per layer suffices, and m(n) hardly depends on n."
    ),
    tasks=_width_tasks,
    replicates=5 * GROUP,
    figures=(
        Figure(
            "smallest-width",
            "The smallest width that trains",
            "In the limit of small targets the smallest width grows like n − d or more slowly; with targets that are not small training"
            " gets by with far less.",
            _width_panels,
        ),
    ),
    claims=(
        _width_claim(
            "smallest-width",
            "10 n√n q",
            reach="1e-4 of the first loss by flow time 10 n√n q, in the limit of small targets",
        ),
        _width_claim(
            "smallest-width-short",
            "400 n",
            reach="1e-4 of the first loss by flow time 400 n, in the limit of small targets",
        ),
        _width_claim(
            "smallest-width-trained",
            "training",
            reach=f"loss 1e-6 by flow time {TRAINED_TIME:g} in training, targets of scale {PL_TARGET}",
            tiers=("paper",),
        ),
    ),
)

# ------------------------------------------------------------------------------------------- row 16: the double limit

NAMES = {"embedding": "A", "readout": "B", "Z": "layers"}


@dataclass(frozen=True)
class Settling(Measure):
    """How parameters come to rest: ‖A − A′‖_F, ‖B − B′‖_F and max over k of ‖Z_k − Z′_k‖ between two listed times.

    The norm of a layer is ‖V_k‖_F + ‖W_k‖_F (Marion et al. 2024, section 2). Quantities, NAME being `embedding`, `readout` or `Z`:
    `moved.NAME`, from the first listed time; `step.NAME`, from the one before; at the last one `rest.NAME`, from there to each earlier
    listed time, which is the index.

    Args:
        at: the iterations, in order.
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
        apart = [_apart(view, {role: memory[f"{t}/{role}"] for role in view.network.trainable}) for t in earlier]
        for name in NAMES if earlier else ():
            yield Observation(f"moved.{name}", apart[0][name])
            yield Observation(f"step.{name}", apart[-1][name])
            if view.iteration == self.at.iterations[-1]:
                yield Observation(f"rest.{name}", torch.stack([distances[name] for distances in apart], 1), earlier)


def _apart(view: View, others: Parameters) -> dict[str, Tensor]:
    """Distances of the parameters now from others, by name, `[E]` each."""
    import torch

    differences = {role: view.params[role] - other for role, other in others.items()}
    layers = torch.stack([per_layer_norm(differences[role]) for role in view.network.layer_roles]).sum(0)
    ends = {name: difference.flatten(1).norm(dim=1) for name, difference in differences.items() if name in NAMES}
    return ends | {"Z": layers.amax(1)}


DOUBLE_RATE = 0.05
DOUBLE_DEPTHS = (16, 32, 64, 128)
DOUBLE_INPUTS, DOUBLE_WIDTH, DOUBLE_TARGET = 6, 32, 0.3
DOUBLE_TIME = {4: 24.0, 8: 256.0}
"""Flow time by n: the 6 inputs are more than 4 samples, which A and B alone could interpolate, and fewer than 8."""

AT_REST = 1e-10
"""What is below this part of its first value is at rest: rounding, in the end."""


def _doublings(samples: int) -> At:
    """Iteration 0, and six that double up to the end."""
    last = round(DOUBLE_TIME[samples] / DOUBLE_RATE)
    return At((0, *(last // 2**k for k in range(5, -1, -1))))


def _double_measures(samples: int) -> tuple[Measure | Comparison, ...]:
    at = _doublings(samples)
    return (Loss(at, residuals=True), WeightDistance(at), StateDistance(at), Settling(at))


def _runs(rows: pl.DataFrame, quantity: str) -> list[list[float]]:
    """A quantity over the listed times, for every n, depth and seed."""
    own = only(rows, quantity=quantity).sort("iteration")
    return [part["value"].to_list() for part in own.partition_by("samples", "depth", "seed", maintain_order=True)]


def _last_factor(run: list[float]) -> float:
    """The factor of the last doubling; 0 where the run was at rest before."""
    return run[-1] / run[-2] if run[-2] > AT_REST * run[0] else 0.0


def _remaining(rows: pl.DataFrame) -> Measured:
    return _largest([run[-1] / run[0] for run in _runs(rows, "residual")], "n, depths and seeds")


def _residual_factor(rows: pl.DataFrame) -> Measured:
    return _largest([_last_factor(run) for run in _runs(rows, "residual")], "n, depths and seeds")


def _step_factor(rows: pl.DataFrame) -> Measured:
    factors = [_last_factor(run) for name in NAMES for run in _runs(rows, f"step.{name}")]
    return _largest(factors, "A, B, layers, n, depths and seeds")


def _depth_exponent(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The exponent in L of the distance to the deepest network, fitted at every listed time and every n."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(rows, quantity=quantity)
        groups = [part for n in sorted(own["samples"].unique()) for part in by_iteration(only(own, samples=n))]
        return worst_exponent(groups, reference=max(DOUBLE_DEPTHS))

    return measure


def _double_panels(rows: pl.DataFrame) -> list[Panel]:
    """Distances over depth at several times, residuals and steps over time, at the largest n."""
    n = max(rows["samples"])
    own, times = only(rows, samples=n), _doublings(n).iterations[-4:]
    distances = [_distance_curve(own, t) for t in times]
    residuals, steps = (
        [_in_time(only(own, quantity=quantity, depth=L), f"L = {L}") for L in DOUBLE_DEPTHS]
        for quantity in ("residual", "step.Z")
    )
    ylabels = ("L² distance of V to the deepest", "max over i of ‖F(x_i) − y_i‖", "max over k of ‖Z_k(t) − Z_k(t/2)‖")
    return [
        Panel(
            [*distances, guide(distances[-1], -1.0)],
            "depth L",
            ylabels[0],
            title=f"n = {n}",
            xscale="log",
            yscale="log",
        ),
        Panel(residuals, "flow time t", ylabels[1], title="residuals", xscale="log", yscale="log"),
        Panel(steps, "flow time t", ylabels[2], title="steps of doubled times", xscale="log", yscale="log"),
    ]


def _distance_curve(rows: pl.DataFrame, iteration: int) -> Curve:
    own = only(rows, quantity="distance.l2.V", iteration=iteration)
    return seed_band(own, "depth", label=f"t = {DOUBLE_RATE * iteration:g}")


def _in_time(rows: pl.DataFrame, label: str) -> Curve:
    """The mean over seeds against flow time, after the start."""
    import polars as pl

    curve = seed_band(rows.filter(pl.col("iteration") > 0), "iteration", label=label)
    return Curve([DOUBLE_RATE * t for t in curve.x], curve.y, label)


def _depth_claim(name: str, what: str, *, quantity: str) -> Claim:
    return _claim(
        f"16.depth-{name}",
        f"{what} converge as the depth grows, uniformly in time.",
        where="Theorem 6; Prop. 15",
        quantity=f"exponent in L of {quantity}, at six times that double; the theorem states no rate: −1/2 would do",
        measure=_depth_exponent(f"distance.{name}"),
        expected=-0.5,
        minimum_sample=5,
    )


DOUBLE = Study(
    "double-limit",
    title="Depth and time to infinity together",
    text=(
        "Networks of depth 16 to 128 from the same draw advance together in the setting of Theorem 6 (d = 6, q = 7, m = 32, targets of"
        " scale 0.3), and are looked at at times that double. Four samples are fewer than inputs and train fast; eight (paper tier) are"
        " more, so that the layers have to do the rest. At each time the distance to the deepest network falls like 1/L, with a constant"
        " that stops growing; at each depth the residuals vanish and the parameters come to rest. The largest residual of a run can rise"
        " at first, while the loss falls, which is why the claim on it is about the last doubling."
    ),
    grid={"samples": Tiered(quick=(4,), paper=(4, 8)), "depth": DOUBLE_DEPTHS},
    lockstep=True,
    replicates=REPLICATES,
    network=lambda depth: strict(depth, inputs=DOUBLE_INPUTS, width=DOUBLE_WIDTH),
    data=lambda samples: strict_data(samples, inputs=DOUBLE_INPUTS, target=DOUBLE_TARGET),
    optimizer=GradientFlow(DOUBLE_RATE),
    iterations=lambda samples: _doublings(samples).iterations[-1],
    measures=_double_measures,
    figures=(
        Figure(
            "double-limit",
            "Depth and time together",
            "The distance to the deepest network falls like 1/L at every time; residuals and steps vanish at the same pace at every depth.",
            _double_panels,
        ),
    ),
    claims=(
        _claim(
            "16.interpolation",
            "The limit in depth and time interpolates the data.",
            where="Theorem 6 (iv)",
            quantity="max over i of ‖F(x_i) − y_i‖ at the last time relative to the start, at every depth",
            measure=_remaining,
            expected=0.0,
            tolerance=1e-3,
        ),
        _claim(
            "16.residuals",
            "The residuals still decrease at the last time, at every depth.",
            where="Theorem 6 (iv)",
            quantity="factor by which max over i of ‖F(x_i) − y_i‖ changes in the last doubling of the time",
            measure=_residual_factor,
            expected=0.5,
        ),
        _claim(
            "16.time",
            "The parameters converge in time, uniformly in depth: the steps of doubled times shrink.",
            where="Theorem 6 (i), (ii)",
            quantity="‖θ(T) − θ(T/2)‖ relative to ‖θ(T/2) − θ(T/4)‖, of A, B and the layers (1 for a drift like log t)",
            measure=_step_factor,
            expected=0.5,
        ),
        _depth_claim("l2.V", "The weights V", quantity="the L² distance of V to the deepest network"),
        _depth_claim("l2.W", "The weights W", quantity="the L² distance of W to the deepest network"),
        _depth_claim(
            "states", "The hidden states", quantity="the largest distance of states to those of the deepest network"
        ),
    ),
)

# ----------------------------------------------------------------------- row 17: rest, with the constants of Prop. 8

SNAPSHOTS = 40
RADII = tuple(10 ** (k / 20) for k in range(-400, 1))
"""Radii M that Prop. 8 is tried with, a twentieth of a decade apart."""

ABOVE_ROUNDING = 1e-26
"""The PL ratio and the distances are read while the loss is above this part of the first one."""

Reach = Literal["ball", "printed"]


@dataclass(frozen=True)
class Rest:
    """A run that comes to rest: n, d, m, the scale of the targets, the flow time and the learning rate."""

    samples: int
    inputs: int
    width: int
    target: float
    horizon: float
    rate: float

    @property
    def every(self) -> int:
        """Iterations between two kept sets of parameters, a multiple of 10."""
        return 10 * round(self.horizon / self.rate / SNAPSHOTS / 10)

    @property
    def at(self) -> At:
        """Iterations at which parameters are kept."""
        return At(tuple(range(0, SNAPSHOTS * self.every + 1, self.every)))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Loss and ratio ten times as often as the parameters."""
        often = Every(self.every // 10)
        return (Loss(often), PLRatio(often), Drift(At((0,))), Settling(self.at))


RESTS = {
    "n = 4, y 1e-5": Rest(4, 6, 8, 1e-5, 60.0, 0.05),
    "n = 4, y 1e-15": Rest(4, 6, 8, 1e-15, 60.0, 0.05),
    "n = 8, y 1e-6": Rest(8, 6, 32, 1e-6, 4000.0, 0.1),
}
PRINTED_CASE = "n = 4, y 1e-15"


@dataclass(frozen=True)
class Suprema:
    """Bounds on the first derivatives of f where V = 0 at the start, |σ| ≤ 1 and |σ′| ≤ 1.

    With ‖V‖ ≤ v, ‖W‖ ≤ w and ‖h‖ ≤ e^{K₁} M_A M_X:  ‖∂₁f‖ ≤ K₁ = v w/√(qm),  ‖∂₂f‖ ≤ K₂ = max(1, v ‖h‖/√(qm)),  K = max(K₁, K₂)

    Over the ball of radius M around the start, which the proof of Prop. 8 does not leave, v = M and w = ‖W(0)‖_F + M. As printed (Prop. 7)
    the suprema are over all ‖V‖ + ‖W‖ ≤ M_Z = ‖W(0)‖_F + M, so that v ≤ M_Z and v w ≤ M_Z²/4, and e^K is larger by many orders.

    Args:
        case: sizes.
        start: ‖W(0)‖_F.
        reach: over the ball, or as printed.
    """

    case: Rest
    start: float
    reach: Reach

    def ball(self, radius: float) -> theory.Ball:
        """The constants of Prop. 8 at radius M."""
        state, total = self.case.inputs + 1, self.start + radius
        v, product = (radius, radius * total) if self.reach == "ball" else (total, total**2 / 4)
        first = product / math.sqrt(state * self.case.width)
        height = math.exp(first) * (1 + radius) * math.sqrt(state)
        largest = max(first, 1.0, v * height / math.sqrt(state * self.case.width))
        return theory.Ball(1 + radius, 1 + radius, math.sqrt(state), largest)

    def threshold(self, radius: float, loss: float) -> float:
        """The μ of Prop. 8 at radius M and initial loss ℓ(0)."""
        return theory.pl_threshold(self.ball(radius), radius=radius, initial_loss=loss)


@dataclass(frozen=True)
class Rested:
    """What a run left: its case, ‖W(0)‖_F, ℓ(0), the least PL ratio, the last time above rounding, and its rows."""

    case: Rest
    start: float
    loss: float
    mu: float
    until: float
    rows: pl.DataFrame

    def least_threshold(self, reach: Reach) -> float:
        """The least μ of Prop. 8 over all radii."""
        suprema = Suprema(self.case, self.start, reach)
        return min(suprema.threshold(radius, self.loss) for radius in RADII)

    @property
    def radius(self) -> float:
        """M: the smallest radius whose threshold the measured μ reaches, with suprema over the ball.

        Raises:
            LookupError: there is none.
        """
        suprema = Suprema(self.case, self.start, "ball")
        for radius in RADII:
            if suprema.threshold(radius, self.loss) <= self.mu:
                return radius
        raise LookupError(f"the measured ratio {self.mu:g} is below the threshold of Prop. 8 at every radius")

    def bound(self, when: float) -> float:
        """(M/2) e^{−μt/2}."""
        return theory.parameter_distance_bound(when, radius=self.radius, mu=self.mu)


def _rested(rows: pl.DataFrame) -> Iterator[Rested]:
    """Every run."""
    import polars as pl

    for own in only(rows, quantity="norm.W").iter_rows(named=True):
        run, case = only(rows, case=own["case"], seed=own["seed"]), RESTS[own["case"]]
        losses = only(run, quantity="loss").sort("iteration")
        first = losses["value"][0]
        above = losses.filter(pl.col("value") > ABOVE_ROUNDING * first)["iteration"]
        ratios = only(run, quantity="pl").filter(pl.col("iteration").is_in(above.to_list()))
        yield Rested(case, own["value"], first, min(ratios["value"]), case.rate * max(above), run)


def _condition(reach: Reach) -> Callable[[pl.DataFrame], Measured]:
    """The least threshold of Prop. 8 relative to the measured μ."""

    def measure(rows: pl.DataFrame) -> Measured:
        chosen = rows if reach == "ball" else only(rows, case=PRINTED_CASE)
        return _largest([run.least_threshold(reach) / run.mu for run in _rested(chosen)], "cases and seeds")

    return measure


def _way(rows: pl.DataFrame) -> Measured:
    """The longest way from the start, relative to M/2."""
    ways = [
        max(max(only(run.rows, quantity=f"moved.{name}")["value"]) for name in NAMES) / run.bound(0.0)
        for run in _rested(rows)
    ]
    return _largest(ways, "cases and seeds of the largest over times, A, B and layers")


def _rate(rows: pl.DataFrame) -> Measured:
    """The largest distance to the end of the run relative to (M/2) e^{−μt/2}, in the first half of the time."""
    worst = [max(max(_relative_distances(run, name)) for name in NAMES) for run in _rested(rows)]
    return _largest(
        worst,
        "cases and seeds of the largest over times up to half of the run (whose end stands for the limit), A, B and layers",
    )


def _relative_distances(run: Rested, name: str) -> Iterator[float]:
    """Distances to the end of the run relative to the bound."""
    rest = only(run.rows, quantity=f"rest.{name}")
    for iteration, distance in zip(rest["index"], rest["value"], strict=True):
        when = run.case.rate * iteration
        if 0 < when <= min(run.until, run.case.horizon / 2):
            yield distance / run.bound(when)


def _rest_panels(rows: pl.DataFrame) -> list[Panel]:
    """A, B and the layers against time with the bound, one panel per case, first seed."""
    return [_rest_panel(only(rows, case=case), case) for case in rows["case"].unique(maintain_order=True)]


def _rest_panel(rows: pl.DataFrame, case: str) -> Panel:
    run = next(_rested(only(rows, seed=min(rows["seed"]))))
    curves = []
    for name, label in NAMES.items():
        rest = only(run.rows, quantity=f"rest.{name}").sort("index")
        kept = rest.filter(rest["index"] * run.case.rate <= run.until)
        curves.append(Curve((run.case.rate * kept["index"]).to_list(), kept["value"].to_list(), label))
    bound = [run.bound(when) for when in curves[0].x]
    curves.append(Curve(curves[0].x, bound, "(M/2) e^(−μt/2)", style="dashed"))
    return Panel(curves, "flow time t", "distance to the end of the run", title=case, yscale="log")


REST = Study(
    "rest",
    title="The parameters come to rest",
    text=(
        "Prop. 8 with its own constants. Targets are so small that the least PL ratio of a run, μ, is above the threshold that the"
        " proposition derives from the radius M, ℓ(0) and suprema K of derivatives; M is the smallest radius for which it is. With the"
        " suprema taken over the ball of radius M, which the proof does not leave, K is 1 and targets of scale 1e-5 do. As printed they"
        " are taken over all weights of norm M_Z: then e^K is so large that targets of 1e-15 are needed, even with m = 8."
        " Four samples in six dimensions; at the paper tier also eight, more than A and B can fit."
    ),
    grid={"case": Tiered(quick=dict(itertools.islice(RESTS.items(), 2)), paper=RESTS)},
    replicates=REPLICATES,
    network=lambda case: strict(8, inputs=case.inputs, width=case.width),
    data=lambda case: strict_data(case.samples, inputs=case.inputs, target=case.target),
    optimizer=lambda case: GradientFlow(case.rate),
    iterations=lambda case: case.at.iterations[-1],
    measures=lambda case: case.measures,
    figures=(
        Figure(
            "rest",
            "Distance to the limit",
            "Embedding, read-out and layers approach their limits at the rate of the bound or faster, well below it.",
            _rest_panels,
        ),
    ),
    claims=(
        _claim(
            "17.condition",
            "With small enough targets the condition of Prop. 8 holds.",
            where="Prop. 8",
            quantity="least threshold over radii M, suprema over the ball of radius M, relative to the least PL ratio",
            measure=_condition("ball"),
        ),
        _claim(
            "17.condition-as-printed",
            "So it does with the suprema as printed, over all weights of norm M_Z, for targets of scale 1e-15.",
            where="Prop. 8; Prop. 7",
            quantity="least threshold over radii M, suprema over ‖V‖ + ‖W‖ ≤ M_Z, relative to the least PL ratio",
            measure=_condition("printed"),
        ),
        _claim(
            "17.ball",
            "No parameter moves by more than M/2.",
            where="Prop. 8 (i)",
            quantity="largest distance of A, B or a layer from its start relative to M/2, M the smallest radius that Prop. 8 gives",
            measure=_way,
        ),
        _claim(
            "17.rate",
            "The parameters converge exponentially: ‖A_∞ − A(t)‖ ≤ (M/2) e^(−μt/2), and so do B and the layers.",
            where="Prop. 8 (iv)",
            quantity="largest distance to the limit relative to (M/2) e^(−μt/2), μ the least PL ratio of the run",
            measure=_rate,
        ),
    ),
)

# -------------------------------------------------------------- the conditions of Theorem 6 and the run of Figure 2


@dataclass(frozen=True)
class Conditions:
    """What Theorem 6 asks for, at the sizes and data of the run of Figure 2.

    Rows: `state`, q − (d + d′), to be at least 0; `width`, m/(c1 n), and `depth`, L/(c2 √(nq)), to be at least 1; for each seed `input`,
    the largest |‖x_i‖/√q − 1|, to be 0.

    Args:
        samples, state, width, depth: n, q = d = d′, m and L.
        seeds: draws of the inputs.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    seeds: tuple[int, ...]
    samples: int = 50
    state: int = STATE
    width: int = 64
    depth: int = 64
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Closed forms, and the norms of the drawn inputs."""
        yield {"quantity": "state", "value": float(self.state - (self.state + self.state))}
        yield {"quantity": "width", "value": self.width / (GELU.c1 * self.samples)}
        yield {"quantity": "depth", "value": self.depth / (GELU.c2 * math.sqrt(self.samples * self.state))}
        for seed in self.seeds:
            x, _ = GaussianPairs(self.samples, self.state, self.state).sample(NamedDraw().stream(seed))
            far = (x.norm(dim=1) / math.sqrt(self.state) - 1).abs().max().item()
            yield {"seed": seed, "quantity": "input", "value": far}

    def cost(self) -> Cost:
        """Next to nothing."""
        return Cost(1.0, 1e6, 1e4)

    def probe(self, context: Context) -> float:
        """Next to nothing."""
        return 1e-3


def _condition_tasks(settings: Settings) -> Iterator[Task]:
    yield Conditions(settings.seeds(0))


def _condition_claim(name: str, statement: str, *, quantity: str, **others: Any) -> Claim:
    def measure(rows: pl.DataFrame) -> Measured:
        return _smallest(
            only(rows, quantity=name)["value"].to_list(),
            "draws of the inputs" if name == "input" else "one closed form",
        )

    return _claim(
        f"11.condition-{name}",
        f"The run of Figure 2 is an instance of Theorem 6: {statement}.",
        where="section 5.1; Theorem 6; Prop. 5",
        quantity=quantity,
        measure=measure,
        expected_ruling="not reproduced",
        **others,
    )


CONDITIONS = Study(
    "theorem-6-conditions",
    title="Theorem 6 and the run of Figure 2",
    text=(
        "The run of Figure 2 is offered as an illustration of Theorem 6, with the remark that its width is large enough. It does not meet"
        " the conditions: q = d = d′ is below d + d′; the inputs are Gaussian, not of norm √q; m = 64 is far below c1 n, with c1 near 1e7,"
        " and L = 64 below c2 √(nq); the targets are of size √q, and GELU is not bounded. That its loss tends to 0 all the same says that"
        " the conditions are far from necessary."
    ),
    tasks=_condition_tasks,
    replicates=REPLICATES,
    claims=(
        _condition_claim(
            "state", "its states are wide enough", quantity="q − (d + d′)", expected=0.0, relation="at least"
        ),
        _condition_claim("width", "its layers are wide enough", quantity="m/(c1 n), c1 of GELU", relation="at least"),
        _condition_claim("depth", "it is deep enough", quantity="L/(c2 √(nq)), c2 of GELU", relation="at least"),
        _condition_claim("input", "its inputs have norm √q", quantity="largest |‖x_i‖/√q − 1|", expected=0.0),
    ),
)

STUDIES = (PL, KERNEL, WIDTH, DOUBLE, REST, CONDITIONS)
