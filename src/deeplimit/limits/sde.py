"""The stochastic limit: one-matrix layers whose weights are the increments of a Brownian path (Itô).

dH = σ′(0) (dW^A H + dW^b) + σ′(0) (Ā H + b̄) ds + ½ σ″(0) Q(H) ds,   Q_i(h) = d/ds [(W^A h + W^b)_i]

The last term is the second order of σ, which squares of increments of size L^(−1/2) do not leave negligible; it vanishes for an odd σ.

Reference: Cohen et al. 2021, the case α = 0, β = 1 under hypothesis 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.limits.linear import noisy, one_matrix, trends
from deeplimit.limits.ode import Solution, first_state
from deeplimit.limits.weights import Weights, constants

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import ResidualStack

Map = Callable[["Tensor"], "Tensor"]
"""States `[…, n, d]` to states: one step of a scheme, or one layer."""

# Increments are read for this many steps at once.
_BLOCK = 256


def solve_sde(
    network: ResidualStack,
    weights: Weights,
    *,
    x: Tensor,
    steps: int,
    keep: int | None = None,
    correction: bool | Map = True,
) -> Solution:
    """Solve the SDE on the noise of the weights by the Euler–Maruyama scheme, vectorised over members and inputs.

    Entries of W^A do not commute (the fields h_j e_i have brackets), so that no scheme that sees W on a grid alone has a strong order
    above ½ (Clark and Cameron 1980): Milstein's would need Lévy areas, which a finer grid brings just as well. On common noise the
    mean square distance of a network of depth L from N steps is c (1/L − 1/N) to leading order; N = 8 L leaves 94 % of the error.

    Args:
        network: one-matrix layers with δ = 1 and scaling L⁰; its depth plays no part.
        weights: paths of `TrendAndNoise` by role with β = 1 and Hurst index ½, of shape `[d, d]` and `[d]`, or `[E, d, d]` and `[E, d]`.
        x: inputs `[n, d]`, or `[E, n, d]`.
        steps: N, a divisor of the noise's `finest`.
        keep: how many steps to keep states of; all of them unless given.
        correction: whether Q is there; a function h ↦ Q(h) for noise whose entries are not independent (`quadratic_variation`).

    Returns:
        The solution in float64. Q is quadratic in h, so that a path may blow up: its states are then infinite or NaN from there on.

    Raises:
        InputError: the branch, the scaling or the weights have another limit, or `keep` does not divide `steps`.
    """
    import torch

    every = _thinned(steps, keep)
    with torch.no_grad():
        h = first_state(network, trends(weights), x=x)
        states = trajectory(sde_maps(network, weights, steps=steps, correction=correction), h, keep=every)
        ends = constants(network, weights)
        outputs = states[-1] @ ends["readout"].to(states).mT if "readout" in ends else states[-1]
    return Solution(torch.arange(len(states), dtype=torch.float64) / (len(states) - 1), states, outputs)


def sde_maps(network: ResidualStack, weights: Weights, *, steps: int, correction: bool | Map = True) -> Iterator[Map]:
    """The steps of the scheme, one map of states after the other.

    h ↦ h + σ′(0) ((ΔW^A + Ā/N) h + ΔW^b + b̄/N) + ½ σ″(0) Q(h)/N

    Arguments and errors as in `solve_sde`.
    """
    import torch

    paths, activation = noisy(network, weights), one_matrix(network).activation
    _require_sde(network, weights)
    checks.positive_int("steps", steps)
    Q = correction if callable(correction) else _independent(network, weights)
    half = 0.5 * activation.curvature / steps if correction else 0.0
    for begin in range(0, steps, _BLOCK):
        s = torch.arange(begin, min(begin + _BLOCK, steps) + 1, dtype=torch.float64) / steps
        drive = {
            r: activation.slope * (p.increments(s) + p.trend.at(s[:-1]).double() / steps) for r, p in paths.items()
        }
        yield from (_step({role: d[j] for role, d in drive.items()}, Q=Q, half=half) for j in range(len(s) - 1))


def _step(drive: dict[str, Tensor], *, Q: Map, half: float) -> Map:
    def step(h: Tensor) -> Tensor:
        moved = h + h @ drive["A"].mT
        if "b" in drive:
            moved = moved + drive["b"].unsqueeze(-2)
        return moved + half * Q(h) if half else moved

    return step


def quadratic_variation(A: Tensor, b: Tensor) -> Map:
    """Q as a function of h, from the covariances of the noise: Q_i = Σ_jl h_j h_l A_ijl + b_i.

    Reference: Cohen et al. 2021, the drift of the SDE limit; W^A and W^b are independent.

    Args:
        A: `[d, d, d]`, entry (i, j, l) the covariance of W_ij and W_il at s = 1.
        b: `[d]`, the variances of W^b at s = 1.

    >>> import torch
    >>> Q = quadratic_variation(torch.eye(2).expand(2, 2, 2), torch.zeros(2))  # independent entries of variance 1: ‖h‖²
    >>> Q(torch.tensor([[3.0, 4.0]])).tolist()
    [[25.0, 25.0]]
    """
    import torch

    return lambda h: torch.einsum("...j,ijl,...l->...i", h, A.to(h), h) + b.to(h)


def trajectory(maps: Iterable[Map], h: Tensor, *, keep: int = 1) -> Tensor:
    """h and its images under one map after the other, every `keep`-th of them, `[K + 1, *h.shape]`."""
    import torch

    states = [h]
    for j, step in enumerate(maps, start=1):
        h = step(h)
        if j % keep == 0:
            states.append(h)
    return torch.stack(states)


def _thinned(steps: int, keep: int | None) -> int:
    """Every how many of `steps` steps are kept for `keep` of them to remain."""
    checks.positive_int("steps", steps)
    if keep is not None and steps % checks.positive_int("keep", keep):
        raise checks.InputError(f"keep: expected a divisor of the {steps} steps, found {keep}")
    return 1 if keep is None else steps // keep


def _independent(network: ResidualStack, weights: Weights) -> Map:
    """Q of independent entries: s_A² ‖h‖² + s_b² in every coordinate."""
    variances = {role: path.process.noise_std**2 for role, path in noisy(network, weights).items()}
    return lambda h: variances["A"] * h.square().sum(-1, keepdim=True) + variances.get("b", 0.0)


def _require_sde(network: ResidualStack, weights: Weights) -> None:
    for role, path in noisy(network, weights).items():
        found = (network.scaling.beta, path.process.beta, path.process.hurst)
        if found != (0.0, 1.0, 0.5):
            raise checks.InputError(
                f"weights {role}: expected α = 0, β = 1 and Hurst index ½, the case of the SDE; found {found}"
            )
