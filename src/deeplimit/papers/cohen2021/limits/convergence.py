"""The task of rows 3, 4, 5 and 19: networks against their limits on the same path of weights.

Weights follow hypothesis 1 (a smooth trend) or 2 (trend and Brownian noise).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.branches import Activation, OneMatrix
from deeplimit.draws import NamedDraw
from deeplimit.networks import ResidualStack
from deeplimit.papers.marion2024.finite_time import seconds_for
from deeplimit.processes import ContinuousPath, GaussianProcess, Path, TrendAndNoise, TrendAndNoisePath, Zero
from deeplimit.records import Context, Cost, Label, Row
from deeplimit.scaling import DepthScaling

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.limits.sde import Map

SIZE = 0.4
"""Standard deviation of all entries, of trend and noise: the drift of the SDE is quadratic, and larger entries make paths blow up."""

LENGTH = 0.5
"""Length scale of the trend, a Gaussian process."""

BLOWN_UP = 1e3
"""A path on which network or limit exceeds this norm, or is not finite, counts as blown up."""

DEPTHS = (16, 32, 64, 128, 256, 512, 1024)
STEPS = 8 * max(DEPTHS)
STOCHASTIC = frozenset({"sde", "uncorrected"})


@dataclass(frozen=True)
class Convergence:
    """Networks h_{k+1} = h_k + L^(−α) σ(A_k h_k + b_k) at growing depth against limits on the same path of weights.

    A and b are `TrendAndNoise` with exponent β; the input is x = (1, …, 1)/√d. Rows by depth and seed, for every limit X of `limits`:
    `error.X`, the median over paths of sup over k of ‖h_k − H(k/L)‖; `mean.X`, its mean over the paths that did not blow up;
    `blown-up.X`, the share that did; `weak.X`, |E φ(h_L) − E φ(H(1))| with φ(h) = exp(−‖h‖²/2). With `derivatives` instead of states:
    `jacobian.X`, the median of sup over k of ‖∂h_k/∂h_0 − J(k/L)‖_F, and `gradient.X`, the same for ∂h_L/∂h_k and J(1) J(k/L)⁻¹.
    Without depth: `distance.limits`, the median sup distance between the two limits, where there are two.

    Args:
        activation: σ.
        alpha, beta: α and β.
        noise: standard deviation of the noise; 0 is hypothesis 1.
        limits: of `neural` (ODE), `linear` (the alternative ODE), `sde` and `uncorrected` (the SDE without its second-order drift).
        seeds: one set of paths each.
        paths: of weights and inputs, for each seed.
        depths: L, divisors of the largest.
        steps: of the reference solution of the SDE, a multiple of the largest depth.
        state: d.
        trend: standard deviation of the trend; 0 for none.
        derivatives: whether derivatives are compared in place of states.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    activation: Activation
    alpha: float
    beta: float
    noise: float
    limits: tuple[str, ...]
    seeds: tuple[int, ...]
    paths: int
    depths: tuple[int, ...] = DEPTHS
    steps: int = STEPS
    state: int = 5
    trend: float = SIZE
    derivatives: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Solve the limits, then hold each network against them."""
        import torch

        from deeplimit.limits import layer_maps

        weights, x = self._draw()
        with torch.no_grad():
            references = {limit: self._course(*self._maps(limit, weights, x=x)) for limit in self.limits}
            yield from self._distance(list(references.values()))
            for depth in self.depths:
                params = {role: path(depth).transpose(0, 1) for role, path in weights.items()}
                found = self._course(layer_maps(self._network(self.alpha, depth), params), x)
                for limit, reference in references.items():
                    yield from self._errors(found, reference, limit=limit)

    def cost(self) -> Cost:
        """Layers of networks and references; a step of Runge–Kutta is four, one with derivatives ten."""
        solved = sum(self.steps if limit in STOCHASTIC else 4 * max(self.depths) for limit in self.limits)
        members = len(self.seeds) * self.paths
        weights = 8.0 * members * self.state * (self.state + 1) * (3 * self._finest() + 2 * max(self.depths))
        return Cost((10.0 if self.derivatives else 1.0) * (sum(self.depths) + solved) * members, weights, 1e5)

    def probe(self, context: Context) -> float:
        """From the same at the smallest depth, with a sixteenth of the steps."""
        few = max(self.steps // 16 // self.depths[0], 1) * self.depths[0]
        return seconds_for(self, dataclasses.replace(self, depths=self.depths[:1], steps=few), context=context)

    def _finest(self) -> int:
        return self.steps if STOCHASTIC.intersection(self.limits) else max(self.depths)

    def _network(self, alpha: float, depth: int = 1) -> ResidualStack:
        return ResidualStack(OneMatrix(self.state, self.activation), depth, DepthScaling(alpha))

    def _draw(self) -> tuple[dict[str, TrendAndNoisePath], Tensor]:
        """The weights of all members, seed by seed, and the input of each `[E, 1, d]`."""
        import torch

        trend = GaussianProcess(LENGTH, self.trend) if self.trend else Zero()
        process = TrendAndNoise(trend, self.beta, self.noise, finest=self._finest())
        streams = [NamedDraw().stream(seed) for seed in self.seeds]
        weights = {
            role: _joined([process.sample((self.paths, *shape), stream.generator(role)) for stream in streams])
            for role, shape in self._network(self.alpha).branch.shapes.items()
        }
        shape = (len(self.seeds) * self.paths, 1, self.state)
        return weights, torch.full(shape, 1 / math.sqrt(self.state), dtype=torch.float64)

    def _maps(
        self, limit: str, weights: Mapping[str, TrendAndNoisePath], *, x: Tensor
    ) -> tuple[Iterator[Map], Tensor, int]:
        """The steps of a limit's solution, its first state, and every how many steps the deepest network has a layer."""
        from deeplimit.limits import linearised, ode_maps, sde_maps, trends

        if limit in STOCHASTIC:
            maps = sde_maps(self._network(self.alpha), weights, steps=self.steps, correction=limit == "sde")
            return maps, x, self.steps // max(self.depths)
        network = linearised(self._network(1.0)) if limit == "linear" else self._network(1.0)
        return *ode_maps(network, trends(weights), x=x, steps=max(self.depths)), 1

    def _course(self, maps: Iterator[Map], h: Tensor, keep: int = 1) -> dict[str, Tensor]:
        """What is compared, `[K + 1, E, numbers]` each."""
        from deeplimit.limits import gradient_factors, jacobians, trajectory

        if not self.derivatives:
            return {"error": trajectory(maps, h, keep=keep).flatten(2)}
        _, J = jacobians(maps, h, keep=keep)
        return {"jacobian": J.flatten(2), "gradient": gradient_factors(J).flatten(2)}

    def _distance(self, references: Sequence[Mapping[str, Tensor]]) -> Iterator[Row]:
        if len(references) == 2 and not self.derivatives:
            yield from self._medians(_sup(references[0]["error"], references[1]["error"]), quantity="distance.limits")

    def _errors(self, found: Mapping[str, Tensor], reference: Mapping[str, Tensor], *, limit: str) -> Iterator[Row]:
        for quantity, values in found.items():
            depth = len(values) - 1
            exact = reference[quantity][:: (len(reference[quantity]) - 1) // depth]
            yield from self._medians(_sup(values, exact), quantity=f"{quantity}.{limit}", depth=depth)
            if quantity == "error":
                yield from self._means(values, exact, limit=limit)

    def _means(self, values: Tensor, exact: Tensor, *, limit: str) -> Iterator[Row]:
        """What is no median: the mean error, the share blown up and the weak error."""
        import torch

        largest = torch.maximum(values.norm(dim=2).amax(0), exact.norm(dim=2).amax(0))
        fine = self._by_seed(largest <= BLOWN_UP)  # false for NaN
        errors, weak = self._by_seed(_sup(values, exact)), self._by_seed(_test(values[-1]) - _test(exact[-1]))
        for seed, kept, error, difference in zip(self.seeds, fine, errors, weak, strict=True):
            row: Row = {"depth": len(values) - 1, "seed": seed}
            yield row | {"quantity": f"blown-up.{limit}", "value": 1 - kept.double().mean().item()}
            if not kept.any():
                continue
            yield row | {"quantity": f"mean.{limit}", "value": error[kept].mean().item()}
            yield row | {"quantity": f"weak.{limit}", "value": abs(difference[kept].mean().item())}

    def _medians(self, errors: Tensor, **facts: object) -> Iterator[Row]:
        """The median over the paths of each seed."""
        for seed, values in zip(self.seeds, self._by_seed(errors), strict=True):
            yield {**facts, "seed": seed, "value": values.median().item()}

    def _by_seed(self, members: Tensor) -> Tensor:
        return members.reshape(len(self.seeds), self.paths)


class _Joined(ContinuousPath):
    """Several paths of stacked members as one, with the members on the axis after that of s."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = parts

    def at(self, s: Tensor) -> Tensor:
        import torch

        return torch.cat([part.at(s) for part in self._parts], dim=1)


def _joined(paths: Sequence[TrendAndNoisePath]) -> TrendAndNoisePath:
    noises = [path.noise for path in paths if path.noise is not None]
    trend = _Joined([path.trend for path in paths])
    return TrendAndNoisePath(paths[0].process, trend, noise=_Joined(noises) if noises else None)


def _sup(values: Tensor, exact: Tensor) -> Tensor:
    """sup over s of the distance of `[K, E, numbers]`, `[E]`; infinite where a path is not finite."""
    largest: Tensor = (values - exact).norm(dim=2).amax(0)
    return largest.nan_to_num(nan=math.inf, posinf=math.inf)


def _test(h: Tensor) -> Tensor:
    """The test function of the weak error, φ(h) = exp(−‖h‖²/2)."""
    return (-h.square().sum(-1) / 2).exp()
