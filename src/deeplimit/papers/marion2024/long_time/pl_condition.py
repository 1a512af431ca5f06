"""Rows 14 and 15 of the checklist: the PL ratio in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit import theory
from deeplimit.claims import Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent
from deeplimit.measures import Every, Loss, PLRatio
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import REPLICATES, guide, seed_band
from deeplimit.papers.marion2024.long_time.strict import (
    TANH,
    claim,
    half,
    largest_of,
    scaled,
    smallest_of,
    strict,
    strict_data,
)
from deeplimit.study import Study, Tiered
from deeplimit.training import GradientFlow

if TYPE_CHECKING:
    import polars as pl


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
    return smallest_of(_training_mu(rows, scaled)["value"].to_list(), "n and seeds")


def _loss_against_bound(rows: pl.DataFrame) -> Measured:
    """The largest ℓ(t) / (e^{−μt} ℓ(0)) over t > 0 of each run, with the run's own μ."""
    worst = []
    for row in _training_mu(rows).iter_rows(named=True):
        run = only(rows, quantity="loss", samples=row["samples"], seed=row["seed"]).sort("iteration")
        times, losses = (PL_RATE * run["iteration"]).to_list(), run["value"].to_list()
        bounds = [theory.loss_bound(t, mu=row["value"], initial_loss=losses[0]) for t in times]
        worst.append(max(loss / bound for loss, bound in zip(losses[1:], bounds[1:], strict=True)))
    return largest_of(worst, "n and seeds of the largest over recorded times")


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
        " and μ is the least ratio of a run. It falls no faster than 1/n, where Prop. 5 allows 1/(n√n q). The fitted"
        " exponents depend on how d grows."
    ),
    grid={"samples": Tiered(quick=(12, 16, 24, 32), paper=(12, 16, 24, 32, 48))},
    replicates=REPLICATES,
    network=lambda samples: strict(PL_DEPTH, inputs=half(samples), width=4 * samples),
    data=lambda samples: strict_data(samples, inputs=half(samples), target=PL_TARGET),
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
        claim(
            "14.constant",
            "Along training the PL ratio stays above c4/(n√n q), even at widths far below c1 n.",
            where="Prop. 5; Theorem 6",
            quantity="least μ n√n q, against c4 of tanh",
            measure=_least_constant,
            expected=TANH.c4,
            relation="at least",
        ),
        claim(
            "14.loss-bound",
            "The loss stays below e^(−μt) ℓ(0).",
            where="Prop. 8 (v); Theorem 6, equation (10)",
            quantity="largest ℓ(t) / (e^(−μt) ℓ(0)) over t > 0, μ the least ratio of the same run",
            measure=_loss_against_bound,
        ),
        claim(
            "14.no-decay",
            "With d growing like n and m = 4n, μ n√n q does not decay as n grows.",
            where="Prop. 5",
            quantity="exponent in n of μ n√n q, μ the least ratio of a run",
            measure=_mu_exponent(scaled),
            expected=0.0,
            relation="at least",
            minimum_sample=5,
        ),
        claim(
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
