"""The multiplier of a residual branch as a function of depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deeplimit import checks


@dataclass(frozen=True)
class DepthScaling:
    """Multiply every residual branch by a power of the depth.

    h_{k+1} = h_k + L^(−β) · branch(h_k, θ_{k+1}),  k = 0 … L−1

    The exponent that gives a non-trivial limit depends on how the weights vary with k:

    - **β = 1**: weights Lipschitz in s = k/L (tied, Gaussian process with a smooth kernel, trained from there) make the
      stack an Euler scheme of step 1/L: the limit is a neural ODE (Marion et al. 2024, Prop. 2). Independent weights
      average out at this exponent, and the limit is the identity.
    - **β = ½**: independent centred weights add up like a random walk: the limit is an SDE. With Lipschitz weights the
      states may explode at this exponent.
    - Between the two, what happens is a matter of the roughness of k ↦ θ_k. Above 1 the stack tends to the identity;
      0 is no scaling.

    Args:
        beta: β, any finite number; kept as a float, so that 1 and 1.0 are the same scaling.

    Raises:
        InputError: β is not a finite number, or the depth is not an integer of at least 1.

    >>> DepthScaling()(64)
    0.015625
    >>> DepthScaling(beta=0.5)(64)
    0.125
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", float(checks.finite("beta", self.beta)))

    def __call__(self, depth: int) -> float:
        """The factor L^(−β) at depth L."""
        return math.pow(checks.positive_int("depth", depth), -self.beta)


@dataclass(frozen=True)
class MeanFieldScaling(DepthScaling):
    """Multiply every residual branch by L^(−β) / M, with M the inner width: layers and neurons average.

    Reference: Chizat 2025 (arXiv 2509.10167): the factor 1/(L M), with a learning rate that grows as L M. With V = 0 and independent W at
    the start the trained network tends to the ODE of the mean as L M grows, although its weights stay rough.

    Args:
        beta: β.
        width: M.

    >>> MeanFieldScaling(width=10)(8)
    0.0125
    """

    width: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_int("width", self.width)

    def __call__(self, depth: int) -> float:
        """The factor L^(−β) / M at depth L."""
        return super().__call__(depth) / self.width
