"""What the studies of this paper share: the model at its initialisation, the two ratios, and intervals over runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from deeplimit.branches import Perceptron, ReLU
from deeplimit.claims import Claim, Measured
from deeplimit.fits import half_width
from deeplimit.networks import ResidualStack
from deeplimit.scaling import DepthScaling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

WIDTH = 40
"""d of all figures but the histograms, where it is 100 (released code)."""

INPUTS = 64
"""Size of x, uniform on [0, 1]^64 (released code)."""

AXES = {
    "output": r"$\Vert h_L - h_0 \Vert \;/\; \Vert h_0 \Vert$",
    "gradient": r"$\Vert p_0 - p_L \Vert \;/\; \Vert p_L \Vert$",
}
"""The two ratios as names of axes."""

BLOCKS = 20
"""Runs are cut into so many blocks, whose statistics give an interval."""


def network(depth: int, beta: float, *, width: int = WIDTH) -> ResidualStack:
    """Model res-3 between h_0 and h_L: h_{k+1} = h_k + L^(−β) V_{k+1} ReLU(W_{k+1} h_k)."""
    return ResidualStack(Perceptron(width, width, ReLU(), normalised=False), depth, DepthScaling(beta))


def output_ratio(stack: ResidualStack, theta: Mapping[str, Tensor], *, h: Tensor, engine: str = "auto") -> Tensor:
    """‖h_L − h_0‖/‖h_0‖ for each state of h `[E, n, d]`, `[E, n]`."""
    ratio: Tensor = (stack(theta, h, engine=engine) - h).norm(dim=-1) / h.norm(dim=-1)
    return ratio


def both_ratios(
    stack: ResidualStack, theta: Mapping[str, Tensor], *, h: Tensor, readout: Tensor, engine: str = "auto"
) -> tuple[Tensor, Tensor]:
    """‖h_L − h_0‖/‖h_0‖ and ‖p_0 − p_L‖/‖p_L‖ with p_k = ∂ℓ/∂h_k, `[E, n]` each.

    The output B h_L is one number, so that every p_k is the derivative of ℓ in it times that of B h_L: the ratio is the same for every
    loss, and the output itself serves as loss here. Where gradients explode the squared loss would leave the range of floats first.

    Args:
        stack: of `network`.
        theta: V and W, `[E, L, d, d]`.
        h: h_0, `[E, n, d]`.
        readout: B, `[E, 1, d]`.
    """
    import torch

    h = h.detach().requires_grad_()
    last = stack(theta, h, engine=engine)
    (first,) = torch.autograd.grad((last * readout).sum(), h)
    outputs = (last.detach() - h.detach()).norm(dim=-1) / h.detach().norm(dim=-1)
    gradients = (first - readout).norm(dim=-1) / readout.norm(dim=-1)
    return outputs, gradients


def log_ratio(ratio: Tensor) -> Tensor:
    """log10 of ratios; one that left the range of floats, infinite or undefined, counts as the largest float."""
    import torch

    largest = torch.finfo(ratio.dtype).max
    logs: Tensor = ratio.double().nan_to_num(nan=largest, posinf=largest).clamp_min(1e-300).log10()
    return logs


# ------------------------------------------------------------------------------------------------------------ intervals

Statistic = Callable[["NDArray[np.float64]"], float]


def over_blocks(values: Any, statistic: Statistic, *, note: str) -> Measured:
    """A statistic of independent runs, with a 95 % t-interval over blocks of runs.

    T(x) ± t_{K−1} s/√K, s the standard deviation of the statistic over K = 20 blocks of successive runs

    Args:
        values: one number per run, at least two per block.
        statistic: numbers -> number.
        note: what is measured, in words.

    Raises:
        LookupError: too few runs.
    """
    import numpy as np

    runs = np.asarray(values, dtype=np.float64)
    if len(runs) < 2 * BLOCKS:
        raise LookupError(f"an interval over blocks needs at least {2 * BLOCKS} runs, found {len(runs)}")
    parts = np.array([statistic(block) for block in np.array_split(runs, BLOCKS)])
    value, half = statistic(runs), half_width(parts)
    return Measured(
        value, value - half, value + half, len(runs), f"{note}; 95 % t-interval over {BLOCKS} blocks of runs"
    )


def over_runs(values: Any, note: str) -> Measured:
    """The mean of independent numbers with a 95 % t-interval.

    Raises:
        LookupError: fewer than two numbers.
    """
    import numpy as np

    runs = np.asarray(values, dtype=np.float64)
    if len(runs) < 2:
        raise LookupError(f"an interval needs at least 2 runs, found {len(runs)}")
    value, half = float(runs.mean()), half_width(runs)
    return Measured(value, value - half, value + half, len(runs), f"{note}; 95 % t-interval over {len(runs)} of them")


def root_mean_square(values: NDArray[np.float64]) -> float:
    """The root of the mean square."""
    return math.sqrt(float((values**2).mean()))


def claim(name: str, statement: str, **others: Any) -> Claim:
    """A claim of this paper."""
    return Claim(f"marion2025.{name}", statement, **others)
