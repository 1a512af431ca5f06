"""The mean ODE: what networks with rough, even independent, layers tend to when width or depth average over their weights.

dH/ds = E over θ ~ μ_s of f(H, θ)

A network h_{k+1} = h_k + (1/L) f(h_k, θ_k) whose θ_k are independent draws from μ_{k/L} is an Euler scheme for it with noise. With f a
mean over M units of a perceptron the distance between the two is of order 1/L + √d/√(L M): weights without any limit as functions of
depth, and yet a deterministic limit of the states.

Reference: Chizat 2025, arXiv 2509.10167.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.limits.ode import Solution, require_ode, rk4_step
from deeplimit.limits.sde import Map, trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import ResidualStack


@dataclass(frozen=True)
class MeanSolution(Solution):
    """A solution of the mean ODE.

    Args:
        standard_error: of every entry of `states`, because μ is known by a sample.
    """

    standard_error: Tensor = field(kw_only=True)


def solve_mean(
    network: ResidualStack,
    params: Mapping[str, Tensor],
    *,
    x: Tensor,
    steps: int = 64,
    blocks: int = 1,
    groups: int = 8,
) -> MeanSolution:
    """Solve the mean ODE of a cloud of layers by the Runge–Kutta method.

    μ_s is the empirical law of all layers in the same block of depth as s: E f(h, θ) ≈ mean over these layers of f(h, θ_k). For layers
    that are identically distributed one block is right, and `network.at_depth(K).initialise(seed)` with a large K is a large sample of
    μ; the layers of trained networks need blocks, as their law varies with s. The cloud is split into groups of every g-th layer, and
    the spread of the groups' solutions gives the standard error of the solution of all.

    Args:
        network: its branch is f, its scaling 1/L; its depth plays no part.
        params: stacked layers `[K, …]` by role, in the order of depth (several networks: merged so that blocks hold all their layers),
            with the ends of the network; K a multiple of `blocks` times `groups`.
        x: inputs `[n, d]`.
        steps: of the solution, a multiple of `blocks`.
        blocks: parts of [0, 1] in which μ_s does not vary.
        groups: number of groups, at least 2.

    Raises:
        InputError: β ≠ 1, or sizes that do not divide.
    """
    import torch

    require_ode(network)
    if checks.positive_int("groups", groups) < 2:
        raise checks.InputError(f"groups: expected at least 2 for a standard error, found {groups}")
    depth = len(params[network.layer_roles[0]])
    _multiple("layers", depth, of=checks.positive_int("blocks", blocks) * groups)
    _multiple("steps", checks.positive_int("steps", steps), of=blocks)
    layers = {
        role: params[role].double().reshape(blocks, depth // blocks, *shape)
        for role, shape in network.branch.shapes.items()
    }
    shared = {role: params[role].double() for role in network.branch.shared_shapes}

    def solved(first: int, every: int) -> Tensor:
        own = {role: stack[:, first::every] for role, stack in layers.items()}
        return trajectory(_maps(network, own, shared=shared, steps=steps), h)

    with torch.no_grad():
        h = network.at_depth(depth).embed(params, x.to(params[network.layer_roles[0]])).double()
        states = solved(0, 1)
        spread = torch.stack([solved(group, groups) for group in range(groups)]).std(0)
        outputs = states[-1] if network.readout is None else states[-1] @ params["readout"].double().mT
    grid = torch.arange(steps + 1, dtype=torch.float64) / steps
    return MeanSolution(grid, states, outputs, standard_error=spread / groups**0.5)


def _maps(
    network: ResidualStack, layers: Mapping[str, Tensor], *, shared: Mapping[str, Tensor], steps: int
) -> Iterator[Map]:
    """The steps of the solution; within a block the field does not depend on s."""
    import torch

    over_layers = dict.fromkeys(layers, 0) | dict.fromkeys(shared)
    each = torch.vmap(network.branch.__call__, in_dims=(None, over_layers))
    blocks = len(layers[network.layer_roles[0]])
    for block in range(blocks):
        theta = {role: stack[block] for role, stack in layers.items()} | dict(shared)

        def step(h: Tensor, theta: dict[str, Tensor] = theta) -> Tensor:
            return rk4_step(lambda y, node: each(y, node).mean(0), h, nodes=(theta, theta, theta), step=1 / steps)

        yield from [step] * (steps // blocks)


def _multiple(name: str, value: int, *, of: int) -> None:
    if value % of:
        raise checks.InputError(f"{name}: expected a multiple of {of}, found {value}")
