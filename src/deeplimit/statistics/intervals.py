"""Intervals of statistics of weights, by resampling what is exchangeable in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.claims import Measured

if TYPE_CHECKING:
    from torch import Tensor


def bootstrap(
    sample: Tensor, statistic: Callable[[Tensor], Tensor], *, resamples: int = 400, level: float = 0.95, seed: int = 0
) -> Measured:
    """A number of a sample with its percentile bootstrap interval.

    Args:
        sample: `[P, …]`, P exchangeable things: entries of the weights (each a path over depth `[P, L]`), or runs.
        statistic: of a sample `[P, …]`, a scalar.
        resamples: how often P things are drawn with replacement.
        level: of the interval.
        seed: of the draws.

    Raises:
        InputError: fewer than 2 things to draw from.

    >>> import torch
    >>> from deeplimit.statistics.depth import quadratic_variation
    >>> from deeplimit.statistics.norms import Frobenius
    >>> paths = torch.randn(500, 24, generator=torch.Generator().manual_seed(0))
    >>> found = bootstrap(paths, lambda p: quadratic_variation(p.T[None], Frobenius()).squeeze() / p.numel())
    >>> found.low < 2 * 23 / 24 < found.high  # independent layers
    True
    """
    import torch

    checks.inside("level", level)
    checks.seed("seed", seed)
    if len(sample) < 2:
        raise checks.InputError(f"sample: expected at least 2 things to draw from, found {len(sample)}")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(sample), (checks.positive_int("resamples", resamples), len(sample)), generator=generator)
    values = torch.stack([statistic(sample[index]).double() for index in drawn])
    low, high = torch.quantile(values, torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    note = f"{level:.0%} percentile bootstrap, {resamples} resamples of {len(sample)}"
    return Measured(float(statistic(sample)), low, high, len(sample), note)


def statistic_intervals(weights: Tensor, *, resamples: int = 400, seed: int = 0) -> dict[str, Measured]:
    """Every statistic of `depth_statistics`, in the Frobenius norm, with its bootstrap interval.

    Runs are drawn where there are 5 or more, and the number is the mean over runs; entries of a layer otherwise, each a path over depth.
    Of a maximum over layers that are alike, intervals over entries lie too high: some layer gains in every resample.

    Args:
        weights: `[E, L, *shape]`.
        resamples, seed: of the bootstrap.

    Raises:
        InputError: fewer than 2 entries and fewer than 5 runs.

    >>> import torch
    >>> found = statistic_intervals(torch.randn(1, 32, 6, 6, generator=torch.Generator().manual_seed(0)), resamples=100)
    >>> found["sobolev"].low < found["sobolev"].value < found["sobolev"].high
    True
    """
    from deeplimit.statistics.depth import STATISTICS
    from deeplimit.statistics.norms import Frobenius

    norm, runs = Frobenius(), weights.double().flatten(2) if weights.dim() > 2 else weights.double()[..., None]
    by_runs = len(runs) >= 5
    sample = runs if by_runs else runs.permute(2, 0, 1)  # [E, L, P] or [P, E, L]

    def measured(name: str) -> Measured:
        statistic = STATISTICS[name]
        return bootstrap(
            sample,
            lambda drawn: statistic(drawn if by_runs else drawn.permute(1, 2, 0), norm).mean(),
            resamples=resamples,
            seed=seed,
        )

    return {name: measured(name) for name in STATISTICS}
