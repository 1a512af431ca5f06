"""Untrained networks whose limit is known, seen at several depths."""

from __future__ import annotations

import torch

from deeplimit.branches import OneMatrix, Perceptron
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID, FractionalBrownianMotion, Tied
from deeplimit.regimes import Runs, observe
from deeplimit.scaling import DepthScaling

DEPTHS = (16, 32, 64, 128, 256)
X = torch.randn(6, 10, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MATRIX, BIAS = 0.3 * normal(99, 10, 10), normal(98, 10)


def initialised(branch, init, beta):
    """Runs of networks as they are initialised, the same paths at every depth."""
    network = ResidualStack(branch, 8, scaling=DepthScaling(beta), init=init)
    return lambda depth: (
        network.at_depth(depth),
        [network.at_depth(depth).initialise(s, dtype=torch.float64) for s in range(6)],
    )


def around_a_mean(size):
    """Independent layers around a fixed one: A = M + noise, and 1/L before the branch."""

    def runs(depth):
        noise = [
            {"A": MATRIX + size * normal(s, depth, 10, 10), "b": BIAS + size * normal(s + 50, depth, 10)}
            for s in range(6)
        ]
        return ResidualStack(OneMatrix(10), depth), noise

    return runs


def halves(depth):
    """α = β = ½: the matrices are of size L^(−½) around a trend of that size."""
    runs = [
        {"A": depth**-0.5 * (MATRIX + 0.3 * normal(s, depth, 10, 10)), "b": depth**-0.5 * BIAS.expand(depth, 10)}
        for s in range(6)
    ]
    return ResidualStack(OneMatrix(10), depth, scaling=DepthScaling(0.5)), runs


NETWORKS = {
    "tied": initialised(Perceptron(10, 20), Tied(), 1.0),
    "diffusion": initialised(Perceptron(10, 20), IID(), 0.5),
    "identity": initialised(Perceptron(10, 20), IID(), 1.0),
    "exploding": initialised(Perceptron(10, 20), Tied(), 0.5),
    "rough path": initialised(OneMatrix(10), FractionalBrownianMotion(0.3, std=0.3), 1.0),
    "mean": around_a_mean(0.3),
    "linear": halves,
}


def seen(name: str, *, x: torch.Tensor | None = X) -> dict[int, Runs]:
    found = {}
    for depth in DEPTHS:
        network, runs = NETWORKS[name](depth)
        found[depth] = observe(network, {role: torch.stack([run[role] for run in runs]) for role in runs[0]}, x=x)
    return found
