"""How rough weights are as functions of depth: the Hurst index of a variogram that is pooled over all entries.

One path of 12 layers says next to nothing of its Hurst index (at H = ½ the estimate has standard deviation ¼); the mean of the variograms
of some hundred entries says it to two digits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.claims import Measured
from deeplimit.statistics.intervals import bootstrap
from deeplimit.statistics.rounding import doubles, in_range

if TYPE_CHECKING:
    from torch import Tensor


EQUAL = 2.0**-46
"""Variance over depth, beside the mean square, up to which layers are equal in float32: one unit of rounding, squared."""


def variogram(paths: Tensor, lags: tuple[int, ...] = (1, 2), *, order: int = 1) -> Tensor:
    """The mean square difference of each path at some lags, `[P, lags]`.

    v(m) = mean over k of (Δ_m^p A)_k²,  (Δ_m A)_k = A_{k+m} − A_k

    For fractional Brownian motion v(m) ∝ m^{2H} at every order p. Differences of order 2 and above do not see a linear trend.

    Args:
        paths: `[P, L]`.
        lags: m.
        order: p.

    Raises:
        InputError: a path is too short for a difference at the largest lag.
    """
    import torch

    checks.shape("paths", tuple(paths.shape), (None, None))
    checks.sizes()("lags", lags)
    checks.positive_int("order", order)
    longest = order * max(lags)
    if paths.shape[1] <= longest:
        raise checks.InputError(
            f"paths: expected more than {longest} layers for differences of order {order} at lag {max(lags)}, "
            f"found {paths.shape[1]}"
        )
    return torch.stack([_differences(paths.double(), lag, order).square().mean(1) for lag in lags], dim=1)


def hurst(paths: Tensor, lags: tuple[int, ...] = (1, 2, 4), *, order: int = 1, resamples: int = 400) -> Measured:
    """The Hurst index of weights over depth, pooled over entries: half the slope of log v(m) in log m, v averaged over all paths.

    H is the roughness of a path that has a limit as a function of depth: near 0 for white noise, H for fractional Brownian motion, and
    `order` for smooth weights, of which H ≥ 1 is all that is known.

    Args:
        paths: `[P, L]`: every entry of the weights of every run is a path.
        lags: m, at least two.
        order: of the differences; 2 does not see linear trends.
        resamples: of the bootstrap over paths.

    Returns:
        The estimate with its 95 % interval. Its value is not finite where the weights do not change over depth.

    Raises:
        InputError: fewer than 2 paths or lags, paths that are too short, or numbers that are not finite.

    >>> import torch
    >>> from deeplimit.processes import FractionalBrownianMotion
    >>> weights = FractionalBrownianMotion(0.3, finest=24).sample((500,), torch.Generator().manual_seed(1))(24)
    >>> estimate = hurst(weights.T)
    >>> abs(estimate.value - 0.3) < 0.02, estimate.low < 0.3 < estimate.high
    (True, True)
    """
    import torch

    if len(set(checks.sizes()("lags", lags))) < 2:
        raise checks.InputError(f"lags: expected at least 2 different lags, found {lags}")
    log_lags = torch.tensor([math.log(lag) for lag in lags], dtype=torch.float64)
    weights = (log_lags - log_lags.mean()) / (log_lags - log_lags.mean()).square().sum()

    def slope(table: Tensor) -> Tensor:
        return table.mean(0).log() @ weights / 2

    return bootstrap(variogram(in_range(_finite("paths", paths)), lags, order=order), slope, resamples=resamples)


def variation_ratio(weights: Tensor, *, shuffles: int = 400, seed: int = 0) -> tuple[float, float]:
    """Whether one network's weights vary less from layer to layer than they would in a random order.

    R = Σ_k ‖A_k − A_{k−1}‖² / Σ_k ‖A_k − mean‖² is near 2 for layers in a random order (von Neumann's ratio), and of order 1/L² for smooth
    weights. The null of exchangeable layers is sampled by permuting them.

    Args:
        weights: `[L, *shape]`, L ≥ 3.
        shuffles: permutations drawn.
        seed: of the permutations.

    Returns:
        R, and the p-value: the share of shuffles (the observed order counted as one) with a ratio as small. Of layers that are equal, R is
        0 and p the least there is.

    Raises:
        InputError: fewer than 3 layers, or numbers that are not finite.

    >>> import torch
    >>> ratio, p = variation_ratio(torch.linspace(0, 1, 12)[:, None])
    >>> ratio < 0.1, p < 0.01
    (True, True)
    """
    import torch

    checks.positive_int("shuffles", shuffles)
    checks.seed("seed", seed)
    if weights.dim() < 1 or len(weights) < 3:
        raise checks.InputError(f"weights: expected at least 3 layers, found shape {tuple(weights.shape)}")
    layers = in_range(_finite("weights", weights)).reshape(len(weights), -1)
    centred = layers - layers.mean(0)
    gram = centred @ centred.T  # every order of the layers has its increments in here
    squares = gram.diagonal()
    if squares.sum() <= EQUAL * layers.square().sum():
        return 0.0, 1 / (1 + shuffles)  # equal layers: no order is smoother
    distances = squares[:, None] + squares[None, :] - 2 * gram
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(layers), generator=generator) for _ in range(shuffles)])
    total = squares.sum()
    own = distances.diagonal(1).sum() / total
    null = distances[orders[:, :-1], orders[:, 1:]].sum(1) / total
    return float(own), float((1 + (null <= own * (1 + 1e-12)).sum()) / (1 + shuffles))


def _finite(name: str, numbers: Tensor) -> Tensor:
    """In float64, where all are numbers."""
    wide = doubles(numbers)
    broken = int((~wide.isfinite()).sum())
    if broken:
        raise checks.InputError(f"{name}: expected finite numbers, found {broken} of {wide.numel()} that are not")
    return wide


def _differences(paths: Tensor, lag: int, order: int) -> Tensor:
    for _ in range(order):
        paths = paths[:, lag:] - paths[:, :-lag]
    return paths
