"""Statistics of weights over depth whose exponents in L tell regimes apart.

Reference: Cohen et al. 2021, section 4 and the released code. With A_k = L^(−β) Ā(k/L) for a Lipschitz Ā (hypothesis 1), or with Brownian
increments added to it (hypothesis 2), or A_k independent of size 1, or finitely many layers of size 1 and the rest small (sparse), the
slopes in log L are

    statistic              hypothesis 1   hypothesis 2      independent   sparse
    maximum                −β             −min(β, ½)        0             0
    increment              −1 − β         −½                0             0
    cumulative_sum         1 − β          max(1 − β, 0)     ½             0
    root_sum_of_squares    ½ − β          max(½ − β, 0)     ½             0
    quadratic_variation    −1 − 2β        0                 1             0
    sobolev                −β             ½                 1             ½
    detrended              1 − β          −                 ½             0

up to logarithms in the maxima. For β < ½ the increments scaled by L^β vanish under both hypotheses, at the rates L^(−1) and L^(β − ½):
only rates, or the quadratic variation, tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.statistics.norms import Frobenius, Norm

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 0.1
"""Half-width of the window of the local mean in `detrended`, as a share of the depth (released code)."""

_WHOLE = 10  # below this depth `detrended` takes off the straight line, as the released code does


def depth_statistics(weights: Tensor, norm: Norm | None = None) -> dict[str, Tensor]:
    """All statistics of `STATISTICS`.

    Args:
        weights: `[E, L, *shape]`, E runs of depth L.
        norm: of one layer; Frobenius unless given.

    Returns:
        Name -> `[E]`. With a single layer the increments are 0.

    Raises:
        InputError: there is no axis of runs and one of depth, or one is empty.

    >>> import torch
    >>> ramp = torch.arange(1.0, 5.0).reshape(1, 4, 1)
    >>> {name: round(value.item(), 3) for name, value in depth_statistics(ramp).items()}["quadratic_variation"]
    3.0
    """
    if weights.dim() < 2 or 0 in weights.shape[:2]:
        raise checks.InputError(f"weights: expected shape [runs, depth, ...], found {tuple(weights.shape)}")
    measure = norm or Frobenius()
    return {name: statistic(weights, measure) for name, statistic in STATISTICS.items()}


def maximum(weights: Tensor, norm: Norm) -> Tensor:
    """max_k ‖A_k‖."""
    return norm(weights).amax(1)


def increment(weights: Tensor, norm: Norm) -> Tensor:
    """max_k ‖A_k − A_{k−1}‖; the paper's scaled increments are L^β times it."""
    return _increments(weights, norm).amax(1)


def cumulative_sum(weights: Tensor, norm: Norm) -> Tensor:
    """‖Σ_k A_k‖."""
    return norm(weights.sum(1, keepdim=True)).squeeze(1)


def root_sum_of_squares(weights: Tensor, norm: Norm) -> Tensor:
    """(Σ_k ‖A_k‖²)^{1/2}."""
    root: Tensor = norm(weights).norm(dim=1)
    return root


def quadratic_variation(weights: Tensor, norm: Norm) -> Tensor:
    """Σ_k ‖A_k − A_{k−1}‖²."""
    return _increments(weights, norm).square().sum(1)


def sobolev(weights: Tensor, norm: Norm) -> Tensor:
    """The H¹ seminorm of the path through the weights: (L Σ_k ‖A_k − A_{k−1}‖²)^{1/2}."""
    seminorm: Tensor = (weights.shape[1] * quadratic_variation(weights, norm)).sqrt()
    return seminorm


def detrended(weights: Tensor, norm: Norm) -> Tensor:
    """max_k ‖W_k − local mean of W around k‖, W_k = Σ_{j<k} A_j, k = 0…L−1.

    The mean is over [k − w, k + w) with w = max(3, ⌊L/10⌋), over [0, 2k) and [2k − L, L) near the ends. Below 10 layers it is the
    distance from the straight line (k/L) W_L.
    """
    import torch

    depth = weights.shape[1]
    sums = weights.cumsum(1)
    path = torch.cat([torch.zeros_like(sums[:, :1]), sums[:, :-1]], dim=1)
    k = torch.arange(depth, device=weights.device)
    column = (1, -1, *[1] * (weights.dim() - 2))
    if depth < _WHOLE:
        return norm(path - (k / depth).to(weights).reshape(column) * sums[:, -1:]).amax(1)
    reach = torch.minimum(k, depth - k).clamp(1, max(3, int(WINDOW * depth)))
    integral = torch.cat([torch.zeros_like(path[:, :1]), path.cumsum(1)], dim=1)
    total = integral[:, k + reach] - integral[:, (k - reach).clamp_min(0)]
    count = k + reach - (k - reach).clamp_min(0)
    local_mean: Tensor = total / count.to(weights).reshape(column)
    return norm(path - local_mean).amax(1)


STATISTICS: dict[str, Callable[[Tensor, Norm], Tensor]] = {
    statistic.__name__: statistic
    for statistic in (
        maximum,
        increment,
        cumulative_sum,
        root_sum_of_squares,
        quadratic_variation,
        sobolev,
        detrended,
    )
}
"""Name -> statistic of weights `[E, L, *shape]` and a norm, `[E]`."""


def _increments(weights: Tensor, norm: Norm) -> Tensor:
    """‖A_k − A_{k−1}‖, `[E, L − 1]`; one zero where there is a single layer."""
    return norm(weights.diff(dim=1)) if weights.shape[1] > 1 else norm(weights) * 0
