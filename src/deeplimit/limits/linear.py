"""The alternative ODE: what is left of a network whose pre-activations vanish with depth.

dH/ds = σ′(0) (Ā(s) H + b̄(s))

It is linear in H: layers of size L^(−β) with 0 < β ≤ 1 see the activation at 0 alone.

Reference: Cohen et al. 2021, the case α + β = 1 with α < 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.branches import Activation, OneMatrix
from deeplimit.limits.ode import Solution, solve
from deeplimit.limits.weights import Weights
from deeplimit.processes import TrendAndNoisePath
from deeplimit.scaling import DepthScaling

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import ResidualStack
    from deeplimit.processes import Path


def solve_linear(network: ResidualStack, weights: Weights, *, x: Tensor, steps: int = 512) -> Solution:
    """Solve the alternative ODE by the classical Runge–Kutta method, as `solve` does the neural ODE.

    Args:
        network: one-matrix layers with δ = 1; its scaling is L^(−α), its depth plays no part.
        weights: paths of `TrendAndNoise` by role, of which the noise plays no part.
        x: inputs `[n, d]`, or `[E, n, d]`.
        steps: number of steps.

    Raises:
        InputError: the branch is another one, σ has a kink at 0, or α + β = 1 with α < 1 does not hold.

    >>> import torch
    >>> from deeplimit.branches import GELU
    >>> from deeplimit.networks import ResidualStack
    >>> from deeplimit.processes import Constant, TrendAndNoise
    >>> init = TrendAndNoise(Constant(2.0), beta=0.5, noise_std=0.0)
    >>> network = ResidualStack(OneMatrix(1, GELU(), bias=False), 8, DepthScaling(0.5), init)
    >>> f"{solve_linear(network, network.paths(0), x=torch.ones(1, 1)).outputs.item():.8f}"  # dH/ds = ½ 2 H
    '2.71828183'
    """
    checks.positive_int("steps", steps)
    alpha = network.scaling.beta
    for role, path in noisy(network, weights).items():
        beta = path.process.beta
        if not (alpha < 1 and math.isclose(alpha + beta, 1.0)):
            raise checks.InputError(
                f"scaling: expected α + β = 1 and α < 1, found α = {alpha} and β = {beta} of {role}"
            )
    return solve(linearised(network), trends(weights), x=x, steps=steps)


def linearised(network: ResidualStack) -> ResidualStack:
    """The network with its activation replaced by the tangent at 0 and its scaling by 1/L: the alternative ODE is its neural ODE.

    Raises:
        InputError: the branch is not `OneMatrix` with δ = 1, or σ has a kink at 0.
    """
    branch = one_matrix(network)
    tangent = dataclasses.replace(branch, activation=_Tangent(branch.activation.slope))
    return dataclasses.replace(network, branch=tangent, scaling=DepthScaling())


def trends(weights: Weights) -> dict[str, Path | Tensor]:
    """The weights with every `TrendAndNoisePath` replaced by its trend."""
    return {role: w.trend if isinstance(w, TrendAndNoisePath) else w for role, w in weights.items()}


def noisy(network: ResidualStack, weights: Weights) -> Mapping[str, TrendAndNoisePath]:
    """The layered roles, which must all be paths of `TrendAndNoise`.

    Raises:
        InputError: one of them is not.
    """
    found = {}
    for role in network.layer_roles:
        path = weights.get(role)
        if not isinstance(path, TrendAndNoisePath):
            raise checks.InputError(f"weights {role}: expected a path of TrendAndNoise, found {type(path).__name__}")
        found[role] = path
    return found


def one_matrix(network: ResidualStack) -> OneMatrix:
    """The branch of a network whose limit is known by σ′(0) and σ″(0).

    Raises:
        InputError: it is not `OneMatrix` with δ = 1, or its σ has a kink at 0.
    """
    branch = network.branch
    if not isinstance(branch, OneMatrix) or branch.delta != "fixed":
        raise checks.InputError(f"branch: expected OneMatrix with a fixed δ, found {branch}")
    if math.isnan(branch.activation.slope):
        raise checks.InputError(f"activation: expected one that is smooth at 0, found {branch.activation}")
    return branch


@dataclass(frozen=True)
class _Tangent(Activation):
    """σ(z) = slope · z."""

    slope: float  # type: ignore[misc] # a class variable of activations that are not a family

    def __call__(self, z: Tensor) -> Tensor:
        return self.slope * z

    def in_place(self, z: Tensor, a: Tensor) -> None:
        a.copy_(z).mul_(self.slope)
        z.fill_(self.slope)
