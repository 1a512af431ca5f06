"""Wide networks trained with L2 by full-batch gradient descent, held against the flow at infinite width from their own start."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from deeplimit.draws import NamedDraw
from deeplimit.limits import HomogeneousFlow, InfiniteWidthFlow
from deeplimit.papers.lewkowycz2020.wide.chain import Chain
from deeplimit.papers.marion2024.finite_time import seconds_for
from deeplimit.records import Context, Cost, Label, Row
from deeplimit.training import checksum

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from deeplimit.draws import Stream

INPUTS, SAMPLES, TESTS = 6, 12, 6
"""d, and the numbers of points: x and y normal of variance 1, the targets without any relation to x."""


@dataclass(frozen=True)
class Problem:
    """The points and targets of every seed.

    Args:
        seeds: one data set each, the same for every network.
    """

    seeds: tuple[int, ...]

    @property
    def streams(self) -> list[Stream]:
        """Where the random numbers of each seed come from."""
        return [NamedDraw().stream(seed) for seed in self.seeds]

    @cached_property
    def points(self) -> Tensor:
        """Training points, then test points, `[E, 18, 6]`."""
        return self._normal("x", SAMPLES + TESTS, INPUTS)

    @cached_property
    def x(self) -> Tensor:
        """Training points `[E, 12, 6]`."""
        return self.points[:, :SAMPLES]

    @cached_property
    def y(self) -> Tensor:
        """Targets `[E, 12]`."""
        return self._normal("y", SAMPLES)

    def _normal(self, name: str, *shape: int) -> Tensor:
        import torch

        draws = [torch.randn(shape, generator=s.generator(name), dtype=torch.float64) for s in self.streams]
        return torch.stack(draws)


@dataclass(frozen=True)
class WideTraining:
    """A `Chain` on 12 points under ½ Σ (f − y)² + (λ/2) ‖θ‖², against `InfiniteWidthFlow` with its own Θ₀ and f₀.

    Rows by seed and iteration, with λt in the column `clock`: `kernel`, ‖Θ_t‖/‖Θ₀‖ over all 18 points; `kernel.gap`, its relative distance
    from (1 − ηλ)^(2(k−1) steps); `rotation`, 1 − ⟨Θ_t, Θ₀⟩/(‖Θ_t‖ ‖Θ₀‖). On the 12 points and on 6 others, as `.train` and `.test`:
    `size`, ‖f‖/‖y‖ per point; `size.flow`, the same at infinite width; `gap`, ‖f − f_flow‖/‖f_flow‖; `gap.steps`, the same distance from
    gradient descent with the same step at infinite width; `diagonal`, the mean over points of Θ_t(x, x)/(1 − ηλ)^(2(k−1) steps) − Θ₀(x, x)
    in units of the mean of Θ₀(x, x).

    By seed, with `halving` alone: `half-life`, the last time at which f·y/‖y‖² is half of the most that the flow from f = 0 reaches, and
    `half-life.flow`, the same of the flow from f₀.

    Args:
        chain: the network.
        weight_decay: λ.
        learning_rate: η.
        measured: iterations, increasing; the last is the number of updates.
        seeds: one network and one data set each.
        halving: whether half-lives are looked for instead.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    chain: Chain
    weight_decay: float
    learning_rate: float
    measured: tuple[int, ...]
    seeds: tuple[int, ...]
    halving: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Train, stopping where something is measured."""
        import torch

        problem = Problem(self.seeds)
        context.provenance["data"] = checksum((problem.points, problem.y))
        weights = self.chain.draw(problem.streams)
        kernel, values = self.chain.kernel(weights, problem.points), self.chain.signals(weights, problem.points).values
        flows = [self._flow(*member) for member in zip(kernel.numpy(), values.numpy(), problem.y.numpy(), strict=True)]
        rates = [problem.y.new_full((len(self.seeds),), rate) for rate in (self.learning_rate, self.weight_decay)]
        fits = []
        for iteration in range(self.measured[-1] + 1):
            if iteration in self.measured and not self.halving:
                context.progress(iteration / self.measured[-1])
                yield from self._kernel_rows(self.chain.kernel(weights, problem.points), kernel, iteration=iteration)
                values = self.chain.signals(weights, problem.points).values
                yield from self._function_rows(flows, values.numpy(), iteration=iteration)
            f = self.chain.step(weights, problem.x, y=problem.y, learning_rate=rates[0], weight_decay=rates[1])
            fits.append((f * problem.y).sum(1) / problem.y.square().sum(1))
        if self.halving:
            yield from self._half_lives(torch.stack(fits, dim=1).numpy(), flows)

    def cost(self) -> Cost:
        """Multiplications of every step."""
        sizes = self.chain.sizes
        weights = sum(a * b for a, b in itertools.pairwise(sizes)) * len(self.seeds)
        # The calls of a step cost as much as some 20,000 weights.
        return Cost((weights + 2e4) * self.measured[-1] / 16**2, 32.0 * weights, 1e5)

    def probe(self, context: Context) -> float:
        """From the first steps."""
        few = max(self.measured[-1] // 20, 2)
        return seconds_for(self, dataclasses.replace(self, measured=(0, few)), context=context)

    @property
    def law(self) -> HomogeneousFlow:
        """k and λ."""
        return HomogeneousFlow(self.chain.layers, self.weight_decay)

    def _flow(self, kernel: np.ndarray, values: np.ndarray, y: np.ndarray) -> InfiniteWidthFlow:
        own = kernel[:SAMPLES, :SAMPLES]
        return InfiniteWidthFlow(own, y, values[:SAMPLES], self.law, kernel[SAMPLES:, :SAMPLES], values[SAMPLES:])

    def _kernel_rows(self, now: Tensor, first: Tensor, *, iteration: int) -> Iterator[Row]:
        ratio = now.norm(dim=(1, 2)) / first.norm(dim=(1, 2))
        cosine = (now * first).sum((1, 2)) / (now.norm(dim=(1, 2)) * first.norm(dim=(1, 2)))
        law = float(self.law.kernel_after(iteration, self.learning_rate))
        diagonal = first.diagonal(dim1=1, dim2=2)
        moved = (now.diagonal(dim1=1, dim2=2) / law - diagonal) / diagonal.mean(1, keepdim=True)
        found = {
            "kernel": ratio,
            "kernel.gap": (ratio / law - 1).abs(),
            "rotation": (1 - cosine).clamp_min(0),
            "diagonal.train": moved[:, :SAMPLES].mean(1),
            "diagonal.test": moved[:, SAMPLES:].mean(1),
        }
        for quantity, values in found.items():
            yield from self._rows(quantity, values.tolist(), iteration=iteration)

    def _function_rows(self, flows: Sequence[InfiniteWidthFlow], f: np.ndarray, *, iteration: int) -> Iterator[Row]:
        import numpy as np

        targets = np.array([np.linalg.norm(flow.targets) / SAMPLES**0.5 for flow in flows])
        t = iteration * self.learning_rate
        steps = [flow.after(iteration, self.learning_rate) for flow in flows]
        for i, (where, own) in enumerate((("train", f[:, :SAMPLES]), ("test", f[:, SAMPLES:]))):
            exact = np.array([flow.test(t) if i else flow.train(t) for flow in flows])
            stepped = np.array([step[i] for step in steps])
            found = {
                "size": _norm(own) / targets / own.shape[1] ** 0.5,
                "size.flow": _norm(exact) / targets / own.shape[1] ** 0.5,
                "gap": _norm(own - exact) / _norm(exact),
                "gap.steps": _norm(own - stepped) / _norm(stepped),
            }
            for quantity, values in found.items():
                yield from self._rows(f"{quantity}.{where}", values.tolist(), iteration=iteration)

    def _half_lives(self, fits: np.ndarray, flows: Sequence[InfiniteWidthFlow]) -> Iterator[Row]:
        """Of networks whose fits `[E, steps]` are given, and of their flows."""
        import numpy as np

        times = self.learning_rate * np.arange(fits.shape[1])
        for seed, fit, flow in zip(self.seeds, fits, flows, strict=True):
            rest = dataclasses.replace(flow, start=np.zeros(SAMPLES))
            # What the random start overlaps with the targets is no part of what is learned and forgotten.
            level = _overlap(rest, times).max() / 2
            for quantity, values in (("half-life", fit), ("half-life.flow", _overlap(flow, times))):
                yield {"seed": seed, "quantity": quantity, "value": last_above(times, values, level=level)}

    def _rows(self, quantity: str, values: Sequence[float], *, iteration: int) -> Iterator[Row]:
        clock = self.learning_rate * self.weight_decay * iteration
        for seed, value in zip(self.seeds, values, strict=True):
            yield {"seed": seed, "iteration": iteration, "clock": clock, "quantity": quantity, "value": value}


def _norm(values: np.ndarray) -> np.ndarray:
    """Of every row."""
    import numpy as np

    norms: np.ndarray = np.linalg.norm(values, axis=1)
    return norms


def _overlap(flow: InfiniteWidthFlow, times: np.ndarray) -> np.ndarray:
    """f·y/‖y‖² on the training points."""
    found: np.ndarray = flow.train(times) @ flow.targets / (flow.targets @ flow.targets)
    return found


def last_above(times: np.ndarray, values: np.ndarray, *, level: float) -> float:
    """The last time at which a curve falls through a level, linear between its points; infinite where it ends above, 0 if always below.

    >>> import numpy as np
    >>> last_above(np.arange(5.0), np.array([0.0, 2.0, 4.0, 3.0, 1.0]), level=2.0)
    3.5
    """
    above = (values >= level).nonzero()[0]
    if not len(above):
        return 0.0
    i = int(above[-1])
    if i == len(values) - 1:
        return float("inf")
    share = (values[i] - level) / (values[i] - values[i + 1])
    return float(times[i] + share * (times[i + 1] - times[i]))
