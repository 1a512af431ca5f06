"""The neural ODE of a stack and its fixed-grid reference solution.

dH/ds = f(H, Z(s)),  H(0) = A x,  F(x) = B H(1),  s in [0, 1]

Reference: Marion et al. 2024, equations (6) and (9); section 4.3 for a general branch f.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from deeplimit import checks
from deeplimit.limits.weights import Weights, constants, is_ensemble, read

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import ResidualStack

Node = TypeVar("Node")
Theta = Mapping[str, "Tensor"]
Field = Callable[["Tensor", Theta], "Tensor"]

# The classical Runge–Kutta method has order 4: halving the step leaves a 16th of the error, so the difference is 15/16 of the coarse error.
_ORDER = 4
# Weights are read for this many steps at once, so that a long solution does not hold those of its whole grid.
_BLOCK = 256


@dataclass(frozen=True)
class Solution:
    """A solution of the neural ODE on a uniform grid.

    Args:
        s: the grid `[N + 1]`.
        states: H on it, `[N + 1, n, *state]` or `[N + 1, E, n, *state]`.
        outputs: F = B H(1), `[n, d′]` or `[E, n, d′]`.
        error: estimate of the largest error of any entry of `states`, by step doubling; None where it was not asked for.
    """

    s: Tensor
    states: Tensor
    outputs: Tensor
    error: float | None = None

    def every(self, depth: int) -> Tensor:
        """The states at s = k/L, k = 0…L, to be held against the hidden states of a network of depth L.

        Raises:
            InputError: the grid has no point at k/L.
        """
        steps = len(self.s) - 1
        if steps % checks.positive_int("depth", depth):
            raise checks.InputError(f"depth: expected a divisor of the {steps} steps of the solution, found {depth}")
        return self.states[:: steps // depth]


def solve(
    network: ResidualStack, weights: Weights, *, x: Tensor, steps: int = 512, method: Literal["rk4", "euler"] = "rk4"
) -> Solution:
    """Solve the neural ODE of a network on the grid s = j/N.

    `rk4` is the classical Runge–Kutta method: error O(N⁻⁴) for smooth weights; weights that are piecewise linear keep that order where
    N is a multiple of the number of pieces. `euler` reads the weights at the right end of each step, (j + 1)/N: it is the residual
    network of depth N itself.

    Args:
        network: the network; its depth plays no part.
        weights: paths and tensors by role (`initial`, `trained`, `splined`).
        x: inputs `[n, d]`, or `[E, n, d]`.
        steps: N.
        method: `rk4` or `euler`.

    Returns:
        The solution in float64, not differentiable.

    Raises:
        InputError: the network has no neural ODE as its limit (β ≠ 1), or a role lacks its weights.

    >>> import torch
    >>> from deeplimit.branches import OneMatrix, Identity
    >>> from deeplimit.networks import ResidualStack
    >>> from deeplimit.processes import Constant
    >>> network = ResidualStack(OneMatrix(1, Identity(), bias=False), depth=8, init=Constant(1.0))
    >>> from deeplimit.limits import initial
    >>> solution = solve(network, initial(network), x=torch.ones(1, 1))  # dH/ds = H
    >>> f"{solution.outputs.item():.10f}"
    '2.7182818285'
    """
    import torch

    require_ode(network)
    checks.positive_int("steps", steps)
    checks.one_of("method", method, ("rk4", "euler"))
    trajectory = _rk4 if method == "rk4" else _euler
    with torch.no_grad():
        h = first_state(network, weights, x=x)
        states = torch.stack([h, *trajectory(network, weights, h=h, steps=steps)])
        ends = constants(network, weights)
        outputs = states[-1] @ ends["readout"].to(states).mT if "readout" in ends else states[-1]
    return Solution(torch.arange(steps + 1, dtype=torch.float64) / steps, states, outputs)


def solve_within(
    network: ResidualStack, weights: Weights, *, x: Tensor, tolerance: float = 1e-10, steps: int = 64, most: int = 2**15
) -> Solution:
    """Solve with as many steps as it takes: the grid is halved until the estimated error is at most `tolerance`.

    error of N steps ≈ max |H_N − H_{N/2}| / 15 over the common grid points (Richardson)

    Args:
        network: the network.
        weights: paths and tensors by role.
        x: inputs.
        tolerance: the largest error of any entry of any state.
        steps: number of steps to start with.
        most: number of steps not to be exceeded.

    Raises:
        InputError: the tolerance is not met with `most` steps.
    """
    checks.positive("tolerance", tolerance)
    solution = solve(network, weights, x=x, steps=steps)
    while 2 * steps <= most:
        coarse, steps = solution, 2 * steps
        solution = solve(network, weights, x=x, steps=steps)
        error = (solution.states[::2] - coarse.states).abs().max().item() / (2**_ORDER - 1)
        solution = dataclasses.replace(solution, error=error)
        if error <= tolerance:
            return solution
    raise checks.InputError(
        f"tolerance: expected one that {most} steps meet, found {tolerance} with an error of {solution.error}"
    )


def require_ode(network: ResidualStack) -> None:
    """Check that the network has a neural ODE as its limit.

    Raises:
        InputError: β is not 1.
    """
    if network.scaling.beta != 1.0:
        raise checks.InputError(
            f"scaling: expected β = 1, the one exponent with a neural ODE as its limit, found {network.scaling.beta}"
        )


def first_state(network: ResidualStack, weights: Weights, *, x: Tensor) -> Tensor:
    """H(0) = A x in float64, with the ensemble axis where the weights have one."""
    import torch

    nodes = read(network, weights, s=torch.ones(1, dtype=torch.float64))
    if is_ensemble(network, nodes):
        nodes = {role: tensor.transpose(0, 1) for role, tensor in nodes.items()}
    params = {role: tensor.to(x.device) for role, tensor in (nodes | constants(network, weights)).items()}
    return network.at_depth(1).embed(params, x.double())


def vector_field(network: ResidualStack, *, h: Tensor) -> Field:
    """The map f as a function of states like `h` and one layer's parameters, by member where `h` has an ensemble axis."""
    import torch

    from deeplimit.engines.engine import is_ensemble

    branch = network.branch
    return torch.vmap(branch.__call__) if is_ensemble(branch, h) else branch.__call__


def rk4_step(
    slope: Callable[[Tensor, Node], Tensor], y: Tensor, *, nodes: tuple[Node, Node, Node], step: float
) -> Tensor:
    """One step of the classical Runge–Kutta method.

    Args:
        slope: dy/ds as a function of y and of what stands at a node.
        y: where the step starts.
        nodes: what stands at its start, at its middle and at its end.
        step: its length, negative for a step backwards.
    """
    start, middle, end = nodes
    a = slope(y, start)
    b = slope(y + step / 2 * a, middle)
    c = slope(y + step / 2 * b, middle)
    d = slope(y + step * c, end)
    return y + step / 6 * (a + 2 * b + 2 * c + d)


def _rk4(network: ResidualStack, weights: Weights, *, h: Tensor, steps: int) -> Iterator[Tensor]:
    field = vector_field(network, h=h)
    nodes = _nodes(network, weights, like=h, points=2 * steps)
    end = next(nodes)
    for middle in nodes:
        start, end = end, next(nodes)
        h = rk4_step(field, h, nodes=(start, middle, end), step=1 / steps)
        yield h


def _euler(network: ResidualStack, weights: Weights, *, h: Tensor, steps: int) -> Iterator[Tensor]:
    field = vector_field(network, h=h)
    nodes = _nodes(network, weights, like=h, points=steps)
    next(nodes)
    for node in nodes:
        h = h + network.scaling(steps) * field(h, node)
        yield h


def _nodes(network: ResidualStack, weights: Weights, *, like: Tensor, points: int) -> Iterator[dict[str, Tensor]]:
    """What the branch needs at s = 0, 1/points, …, 1, one node after the other."""
    import torch

    shared = {
        role: tensor.to(like)
        for role, tensor in constants(network, weights).items()
        if role in network.branch.shared_shapes
    }
    for begin in range(0, points + 1, _BLOCK):
        s = torch.arange(begin, min(begin + _BLOCK, points + 1), dtype=torch.float64) / points
        block = {role: tensor.to(like) for role, tensor in read(network, weights, s=s).items()}
        for j in range(len(s)):
            yield {role: tensor[j] for role, tensor in block.items()} | shared
