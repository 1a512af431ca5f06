"""The weights of a network of infinite depth: a path over s in [0, 1] for each layered role, a tensor for every other role.

They come from the initialisation (`initial`), from the trained weights of a finite network (`trained`) or from the training flow
(`splined`). Everything here is in float64: these are references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from deeplimit import checks
from deeplimit.processes import ContinuousPath, Path

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.draws import Draw
    from deeplimit.networks import Parameters, ResidualStack

Weights = Mapping[str, "Path | Tensor"]
"""By role: a path over s for a layered role, a tensor for the shared roles, `embedding` and `readout`."""

Placement = Literal["right", "left", "ends"]

# Where s = k/L is meant, s·L misses the integer by rounding; there the layer itself is wanted, to the last bit.
_SNAP = 1e-9


class PiecewiseLinear(ContinuousPath):
    """Straight lines in s through the weights of the layers k = 1…L, constant outside the first and the last.

    Layer k stands at s = k/L (`right`: where the network reads its initial path), at (k − 1)/L (`left`: where the Euler scheme with
    its usual left-hand evaluation reads it; the alignment of the released code of Marion et al. 2024), or at (k − 1)/(L − 1) (`ends`:
    the knots of equation (8) there). The three differ by O(1/L) for weights that are Lipschitz in depth.

    Args:
        layers: stacked weights `[L, *shape]`, depth first.
        placement: `right`, `left` or `ends`.

    Raises:
        InputError: no such placement.

    >>> import torch
    >>> path = PiecewiseLinear(torch.tensor([1.0, 3.0]), "right")
    >>> path.at(torch.tensor([0.0, 0.5, 0.75, 1.0])).tolist()
    [1.0, 1.0, 2.0, 3.0]
    """

    def __init__(self, layers: Tensor, placement: Placement = "right") -> None:
        checks.one_of("placement", placement, ("right", "left", "ends"))
        self._layers, self._placement = layers, placement

    def at(self, s: Tensor) -> Tensor:
        """The weights at s `[K]`, `[K, *shape]`."""
        import torch

        last = len(self._layers) - 1
        u = s.double() * (last if self._placement == "ends" else last + 1)
        u = (u - 1 if self._placement == "right" else u).clamp(0, last)
        u = torch.where((u - u.round()).abs() < _SNAP, u.round(), u)
        below, above = (self._layers[side.long().to(self._layers.device)] for side in (u.floor(), u.ceil()))
        share = (u - u.floor()).to(below).reshape(-1, *(1,) * (below.dim() - 1))
        return below + share * (above - below)


class Spline(ContinuousPath):
    """The cubic spline (not-a-knot) through weights on the uniform grid s = j/N, j = 0…N: fourth order for smooth weights.

    Args:
        nodes: weights on the grid `[N + 1, *shape]`, depth first.
    """

    def __init__(self, nodes: Tensor) -> None:
        import numpy as np
        from scipy.interpolate import CubicSpline

        values = nodes.detach().double().cpu().numpy()
        self._spline = CubicSpline(np.linspace(0.0, 1.0, len(values)), values)

    def at(self, s: Tensor) -> Tensor:
        """The weights at s `[K]`, `[K, *shape]`, in float64 on the CPU."""
        import torch

        return torch.from_numpy(self._spline(s.double().cpu().numpy()))


class _Together(ContinuousPath):
    def __init__(self, members: Sequence[Path]) -> None:
        self._members = members

    def at(self, s: Tensor) -> Tensor:
        import torch

        return torch.stack([member.at(s) for member in self._members], dim=1)


def initial(network: ResidualStack, seed: int = 0, *, draw: Draw | None = None) -> dict[str, Path | Tensor]:
    """The weights that the network of infinite depth starts from: what `network.initialise(seed)` reads at k/L.

    Args:
        network: the network; its depth plays no part.
        seed: the seed.
        draw: how the seed becomes a stream; `NamedDraw` unless given.

    Raises:
        InputError: the initialisation is not given by processes.
    """
    ends = network.at_depth(1).initialise(seed, draw=draw)
    return {role: t.double() for role, t in ends.items() if role not in network.layer_roles} | network.paths(
        seed, draw=draw
    )


def trained(
    network: ResidualStack, params: Mapping[str, Tensor], *, placement: Placement = "right"
) -> dict[str, Path | Tensor]:
    """The weights of a finite network as functions of s, piecewise linear through its layers.

    Args:
        network: the network.
        params: its parameters by role, layered ones `[L, …]` or `[E, L, …]` for an ensemble.
        placement: where layer k stands, see `PiecewiseLinear`.
    """
    return dict(params) | {
        role: PiecewiseLinear(nodes, placement) for role, nodes in _depth_first(network, params).items()
    }


def splined(network: ResidualStack, state: Mapping[str, Tensor]) -> dict[str, Path | Tensor]:
    """The weights of a state of the training flow, given on a grid over s, as smooth functions of s.

    Args:
        network: the network.
        state: layered roles on the grid s = j/(2M), `[2M + 1, …]` or `[E, 2M + 1, …]`.
    """
    return dict(state) | {role: Spline(nodes) for role, nodes in _depth_first(network, state).items()}


def together(members: Sequence[Weights]) -> dict[str, Path | Tensor]:
    """The weights of E networks as those of one ensemble: its paths give `[K, E, *shape]` at s `[K]`.

    Raises:
        InputError: there is no member, or the members' roles differ.
    """
    import torch

    if not members or any(set(m) != set(members[0]) for m in members):
        raise checks.InputError(f"together: expected members with equal roles, found {[sorted(m) for m in members]}")
    joined: dict[str, Path | Tensor] = {}
    for role in members[0]:
        values = [member[role] for member in members]
        paths, tensors = [v for v in values if isinstance(v, Path)], [v for v in values if not isinstance(v, Path)]
        if paths and tensors:
            raise checks.InputError(f"together: expected a path from every member for {role}, found a tensor from some")
        joined[role] = _Together(paths) if paths else torch.stack(tensors)
    return joined


def on_grid(network: ResidualStack, weights: Weights, *, intervals: int) -> Parameters:
    """Weights on the grid s = j/(2M), j = 0…2M: a state of the training flow.

    Args:
        network: the network.
        weights: its weights as functions of s.
        intervals: M, the number of intervals; each has its midpoint.

    Returns:
        Layered roles `[2M + 1, …]`, or `[E, 2M + 1, …]`; the other roles as they are; float64.
    """
    import torch

    s = torch.arange(2 * checks.positive_int("intervals", intervals) + 1, dtype=torch.float64) / (2 * intervals)
    return _stacked(network, weights, s)


def stack(network: ResidualStack, weights: Weights) -> Parameters:
    """The parameters of a finite network that reads the weights at s = k/L, k = 1…L; float64.

    Reference: Marion et al. 2024, section 1: V_k = V(k/L).
    """
    import torch

    s = torch.arange(1, network.depth + 1, dtype=torch.float64) / network.depth
    return _stacked(network, weights, s)


def read(network: ResidualStack, weights: Weights, *, s: Tensor) -> dict[str, Tensor]:
    """The layered weights at the positions s `[K]`, depth first: `[K, …]` or `[K, E, …]`, float64.

    Raises:
        InputError: a layered role is missing or is no path.
    """
    values = {}
    for role in network.layer_roles:
        path = _given(weights, role)
        if not isinstance(path, Path):
            raise checks.InputError(
                f"weights {role}: expected a path over s (`trained` makes one of layers), found a tensor"
            )
        values[role] = path.at(s).double()
    return values


def constants(network: ResidualStack, weights: Mapping[str, Path | Tensor]) -> dict[str, Tensor]:
    """The roles that are no function of s (shared roles, `embedding`, `readout`), in float64.

    Raises:
        InputError: one of them is missing or is a path.
    """
    values = {}
    ends = (("embedding", network.embedding), ("readout", network.readout))
    for role in (*network.branch.shared_shapes, *(name for name, end in ends if end is not None)):
        tensor = _given(weights, role)
        if isinstance(tensor, Path):
            raise checks.InputError(f"weights {role}: expected a tensor, found a path over s")
        values[role] = tensor.double()
    return values


def is_ensemble(network: ResidualStack, nodes: Mapping[str, Tensor]) -> bool:
    """Whether stacked weights carry an ensemble axis beside that of depth."""
    role = network.layer_roles[0]
    return nodes[role].dim() > len(network.branch.shapes[role]) + 1


def _given(weights: Mapping[str, Path | Tensor], role: str) -> Path | Tensor:
    if role not in weights:
        raise checks.InputError(f"weights: expected the role {role}, found {', '.join(weights) or 'none'}")
    return weights[role]


def _stacked(network: ResidualStack, weights: Weights, s: Tensor) -> Parameters:
    nodes = read(network, weights, s=s)
    if is_ensemble(network, nodes):
        nodes = {role: tensor.transpose(0, 1) for role, tensor in nodes.items()}
    return nodes | constants(network, weights)


def _depth_first(network: ResidualStack, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from deeplimit.engines.engine import layered

    return layered(network.branch, params, ensemble=is_ensemble(network, params))
