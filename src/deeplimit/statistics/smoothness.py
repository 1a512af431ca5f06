"""How smooth trained weights are as functions of depth, in numbers for what papers judge by eye.

Reference: Marion et al. 2024, Table 1 (the column of smooth weights, by visual inspection), Figure 3 (an entry over the layers) and
Figure 4 (mean increments).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.statistics.roughness import variogram
from deeplimit.statistics.rounding import ROUNDING

if TYPE_CHECKING:
    from torch import Tensor

SMOOTH = 2.0
"""Roughness of weights that do not differ from layer to layer beyond rounding: that of a smooth path for differences of order 2."""


def smoothness(weights: Tensor) -> dict[str, Tensor]:
    """Four statistics of weights over depth.

        statistic   of one entry a_k, k = 1…L                              white noise   smooth
        increment   mean over k of ‖A_{k+1} − A_k‖_F, of the whole layer   order 1       order 1/L
        step        mean |a_{k+1} − a_k| / standard deviation over k       1.13          order 1/L
        lag         autocorrelation over k at lag 1                        −1/L          near 1
        roughness   local Hurst index: ½ log₂ v(2)/v(1), v(m) the mean     0             1½ to 2
                    square of second differences at lag m

    `step` and `lag` are means over entries, `roughness` pools the squares of all. `step` and `lag` see the largest features of a path,
    `roughness` its finest: a smooth trend with noise of a tenth of its size has a lag near 1 and a roughness near 0.

    Args:
        weights: `[E, L, *shape]`.

    Returns:
        Name -> `[E]`. Layers that are equal up to rounding count as smooth: step 0, lag 1, roughness 2. Runs with weights that are not
        finite have no numbers: NaN.

    Raises:
        InputError: fewer than 5 layers, which a second difference at lag 2 needs.

    >>> import torch
    >>> noise = torch.randn(1, 256, 400, generator=torch.Generator().manual_seed(0))
    >>> {name: round(value.item(), 1) for name, value in smoothness(noise).items()}
    {'increment': 28.3, 'step': 1.1, 'lag': -0.0, 'roughness': -0.0}
    >>> wave = torch.linspace(0, 6, 256).sin()[None, :, None]
    >>> {name: round(value.item(), 2) for name, value in smoothness(wave).items()}
    {'increment': 0.01, 'step': 0.02, 'lag': 1.0, 'roughness': 2.01}
    """
    import torch

    if weights.dim() < 2 or weights.shape[1] < 5:
        raise checks.InputError(f"weights: expected [runs, at least 5 layers, ...], found {tuple(weights.shape)}")
    paths = weights.double().reshape(*weights.shape[:2], -1)
    steps, centred = paths.diff(dim=1), paths - paths.mean(1, keepdim=True)
    variance = centred.square().mean(1)
    flat = variance <= ROUNDING * paths.square().mean(1)
    spread = variance.masked_fill(flat, 1.0)
    step = steps.abs().mean(1) / spread.sqrt()
    lag = (centred[:, 1:] * centred[:, :-1]).sum(1) / (spread * weights.shape[1])
    return {
        "increment": steps.norm(dim=2).mean(1),
        "step": step.masked_fill(flat, 0.0).mean(1),
        "lag": lag.masked_fill(flat, 1.0).mean(1),
        "roughness": torch.stack(
            [_roughness(own[:, ~still], like=weights) for own, still in zip(paths, flat, strict=True)]
        ),
    }


def _roughness(paths: Tensor, *, like: Tensor) -> Tensor:
    """Of one run, `[L, P]` to a scalar."""
    import torch

    near, far = variogram(paths.T, (1, 2), order=2).sum(0)
    if near == 0:  # NaN stays what it is
        return torch.full((), SMOOTH, dtype=torch.float64, device=like.device)
    index: Tensor = (far / near).log2() / 2
    return index
