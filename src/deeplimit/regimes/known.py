"""Untrained networks whose limit is known, against which the verdict on the function is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.branches import OneMatrix, Perceptron
from deeplimit.networks import Parameters, ResidualStack, ensemble
from deeplimit.processes import IID, FractionalBrownianMotion, GaussianProcess, Process, Tied
from deeplimit.regimes.function import Draw, FunctionLabel
from deeplimit.regimes.observe import Runs, observe
from deeplimit.scaling import DepthScaling

if TYPE_CHECKING:
    from torch import Tensor

STATE, WIDTH, INPUTS = 10, 20, 6


@dataclass(frozen=True)
class KnownNetwork:
    """Networks of a known limit.

    Args:
        label, draw: what the verdict should be.
        build: (depth, seed) -> network and its parameters in float64; a seed is the same draw at every depth.
    """

    label: FunctionLabel
    draw: Draw
    build: Callable[[int, int], tuple[ResidualStack, Parameters]]

    def observe(self, depths: Sequence[int], *, seeds: Sequence[int]) -> dict[int, Runs]:
        """Runs of some seeds at some depths, on inputs that are the same for all; the inputs follow the first seed."""
        x = _normal(seeds[0], "x", INPUTS, STATE)
        found = {}
        for depth in depths:
            runs = [self.build(depth, seed) for seed in seeds]
            found[depth] = observe(runs[0][0], ensemble([params for _, params in runs]), x=x)
        return found


def _initialised(
    branch: OneMatrix | Perceptron, init: Process, beta: float
) -> Callable[..., tuple[ResidualStack, Parameters]]:
    """Networks as they are initialised."""

    def build(depth: int, seed: int) -> tuple[ResidualStack, Parameters]:
        import torch

        network = ResidualStack(branch, depth, scaling=DepthScaling(beta), init=init)
        return network, network.initialise(seed, dtype=torch.float64)

    return build


def _around_a_mean(depth: int, seed: int) -> tuple[ResidualStack, Parameters]:
    """Independent layers around one that is the same for all seeds, and 1/L before the branch."""
    params = {
        "A": 0.3 * (_normal(0, "A", STATE, STATE) + _normal(seed, "noise A", depth, STATE, STATE)),
        "b": _normal(0, "b", STATE) + 0.3 * _normal(seed, "noise b", depth, STATE),
    }
    return ResidualStack(OneMatrix(STATE), depth), params


def _halves(depth: int, seed: int) -> tuple[ResidualStack, Parameters]:
    """α = β = ½: layers of size L^(−½) around a mean, and L^(−½) before the branch."""
    noise = _normal(seed, "noise A", depth, STATE, STATE)
    params = {
        "A": 0.3 * depth**-0.5 * (_normal(0, "A", STATE, STATE) + noise),
        "b": depth**-0.5 * _normal(0, "b", STATE).expand(depth, STATE),
    }
    return ResidualStack(OneMatrix(STATE), depth, scaling=DepthScaling(0.5)), params


_TWO, _ONE = Perceptron(STATE, WIDTH), OneMatrix(STATE)

NETWORKS: Mapping[str, KnownNetwork] = {
    "equal layers, 1/L": KnownNetwork("neural ODE", "depends on the draw", _initialised(_TWO, Tied(), 1.0)),
    "smooth, 1/L": KnownNetwork("neural ODE", "depends on the draw", _initialised(_TWO, GaussianProcess(0.3), 1.0)),
    "rough path, 1/L": KnownNetwork(
        "neural ODE", "depends on the draw", _initialised(_ONE, FractionalBrownianMotion(0.3, std=0.3), 1.0)
    ),
    "around a mean, 1/L": KnownNetwork("mean ODE", "the same for every draw", _around_a_mean),
    "α = β = ½": KnownNetwork("linear ODE", "the same for every draw", _halves),
    "independent, 1/√L": KnownNetwork("SDE", "depends on the draw", _initialised(_TWO, IID(), 0.5)),
    "independent, 1/L": KnownNetwork("identity", "undecided", _initialised(_TWO, IID(), 1.0)),
    "equal layers, 1/√L": KnownNetwork("none", "undecided", _initialised(_TWO, Tied(), 0.5)),
}
"""Name -> networks."""


def _normal(seed: int, name: str, *shape: int) -> Tensor:
    import torch

    from deeplimit.draws import NamedDraw

    return torch.randn(*shape, generator=NamedDraw().stream(seed).generator(name), dtype=torch.float64)
