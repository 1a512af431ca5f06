"""The interface of a measure: what is seen of a network in training, and when."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import Network, Parameters, ResidualStack

Memory = dict[str, "Tensor"]
"""What a measure carries from iteration to iteration; it goes into checkpoints."""


class Schedule(ABC):
    """The iterations at which a measure is taken."""

    @abstractmethod
    def __contains__(self, iteration: int) -> bool:
        """Whether `iteration` is one of them."""

    def due(self, iteration: int, *, final: bool = False) -> bool:
        """Whether to measure now; `final` at the end of a run."""
        return iteration in self


SCHEDULE = checks.instance(Schedule, "a schedule such as Every(10)")
"""The check of a measure's `at`."""


@dataclass(frozen=True)
class Every(Schedule):
    """Iterations 0, `interval`, 2 · `interval`, …

    >>> 100 in Every(50), 120 in Every(50)
    (True, False)
    """

    interval: int

    def __post_init__(self) -> None:
        """Refuse an interval below 1."""
        checks.positive_int("interval", self.interval)

    def __contains__(self, iteration: int) -> bool:
        """Whether `interval` divides it."""
        return iteration % self.interval == 0


@dataclass(frozen=True)
class Geometric(Schedule):
    """Iteration 0, the integer parts of 10^(k / `per_decade`), k = 0, 1, …, and the end of the run: even on a logarithmic axis.

    >>> [t for t in range(30) if t in Geometric(4)]
    [0, 1, 3, 5, 10, 17]
    """

    per_decade: int

    def __post_init__(self) -> None:
        """Refuse less than one a decade."""
        checks.integer("per_decade", self.per_decade, 1, 1000)

    def __contains__(self, iteration: int) -> bool:
        """Whether it is one of them."""
        if iteration < 1:
            return iteration == 0
        # The integer part of one of the two neighbouring powers, whatever the rounding of the logarithm.
        k = round(self.per_decade * math.log10(iteration))
        return any(int(10 ** (j / self.per_decade)) == iteration for j in (k, k + 1))

    def due(self, iteration: int, *, final: bool = False) -> bool:
        """Also at the end, which no power need be."""
        return final or iteration in self


@dataclass(frozen=True)
class At(Schedule):
    """The listed iterations."""

    iterations: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is no iteration."""
        checks.each(checks.count)("iterations", self.iterations)

    def __contains__(self, iteration: int) -> bool:
        """Whether it is listed."""
        return iteration in self.iterations


@dataclass(frozen=True)
class Last(Schedule):
    """The end of the run, whenever that is.

    >>> Last().due(100), Last().due(100, final=True)
    (False, True)
    """

    def __contains__(self, iteration: int) -> bool:
        """No iteration is known to be the last."""
        return False

    def due(self, iteration: int, *, final: bool = False) -> bool:
        """Whether the run ends here."""
        return final


@dataclass(frozen=True)
class Observation:
    """Numbers of all members of an ensemble.

    Args:
        quantity: name of what was measured.
        values: `[E]`, or `[E, K]` with K values of `index`.
        index: what the second axis counts (layers, say); None for values `[E]`.
    """

    quantity: str
    values: Tensor
    index: Sequence[int] | None = None


@dataclass(frozen=True)
class View:
    """A network at one iteration, before its update; every tensor has the leading ensemble axis E.

    Args:
        network: the specification.
        params, grads: parameters and gradients of the loss by role (gradients of trainable roles).
        loss: `[E]`, that of the batch; not finite for members that have diverged.
        iteration: number of updates made so far.
        x, y: the batch, `[E, n, …]`: that of the next update.
        initial: the parameters at iteration 0.
        engine: name of the engine in use.
        batch_output: what the network said of the batch in training, `[E, n, d′]`.
        data: all x, y that are trained on, `[E, n, …]`; the batch itself where there are no mini-batches.
        criterion: the loss function, outputs and targets to `[E]`, a mean over samples.
        seeds: those of the members.
        final: whether this is the end of the run.
    """

    network: Network
    params: Parameters
    grads: Parameters
    loss: Tensor
    iteration: int
    x: Tensor
    y: Tensor
    initial: Parameters
    engine: str
    _: KW_ONLY
    batch_output: Tensor
    data: tuple[Tensor, Tensor]
    criterion: Callable[[Tensor, Tensor], Tensor]
    seeds: tuple[int, ...]
    final: bool = False

    @cached_property
    def states(self) -> Tensor:
        """The hidden states h_0 … h_L of a residual stack, `[L + 1, E, n, *state]`.

        Raises:
            InputError: the network is another one.
        """
        return self.stack.states(self.params, self.x, engine=self.engine)

    @cached_property
    def output(self) -> Tensor:
        """F(x) `[E, n, d′]` of a residual stack, from its states, which other measures may have asked for."""
        last = self.states[-1]
        return last if self.stack.readout is None else last @ self.params["readout"].mT

    @property
    def stack(self) -> ResidualStack:
        """The network, where it is a residual stack.

        Raises:
            InputError: it is another one.
        """
        from deeplimit.networks import as_stack

        return as_stack(self.network)

    @cached_property
    def gaps(self) -> Parameters:
        """The distances ‖Z_{k+1} − Z_k‖_F of successive layers by role, `[E, L − 1]`; one zero where there is a single layer."""
        return {role: _difference_norms(weights) for role, weights in self.weights.items()}

    @cached_property
    def largest_gap(self) -> Tensor:
        """Max over k of the sum over roles of `gaps`, `[E]`."""
        return sum(self.gaps.values()).amax(1)  # type: ignore[union-attr]

    @cached_property
    def pl_ratio(self) -> Tensor:
        """The Polyak–Łojasiewicz ratio (Σ ‖∂ℓ/∂θ‖²_F, that of layered roles times L) / ℓ, `[E]`."""
        layered = set(self.network.layer_roles)
        squares = {role: grad.reshape(len(grad), -1).norm(dim=1).square() for role, grad in self.grads.items()}
        speed: Tensor = sum((self.network.depth if role in layered else 1) * s for role, s in squares.items())
        return speed / self.loss

    @property
    def weights(self) -> Parameters:
        """The parameters that are stacked over depth, `[E, L, …]`."""
        return {role: self.params[role] for role in self.network.layer_roles}


class Measure(ABC):
    """An observation of one network. Subclasses are frozen dataclasses with a field `at`."""

    at: Schedule

    def watch(self, view: View, memory: Memory) -> None:
        """Take note of an iteration in `memory`; called at every one, after `observe`. Nothing, unless a measure accumulates over time."""

    @abstractmethod
    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The numbers at an iteration of `at`; `memory` holds the iterations before it."""


class Comparison(ABC):
    """An observation of the same network at several depths, which advance together. The deepest is the reference."""

    at: Schedule

    @abstractmethod
    def compare(self, view: View, reference: View) -> Iterator[Observation]:
        """The numbers for one depth against the deepest."""

    @staticmethod
    def pairs(views: Mapping[int, View]) -> Iterator[tuple[View, View]]:
        """Each shallower network beside the deepest."""
        deepest = max(views)
        return ((view, views[deepest]) for depth, view in views.items() if depth != deepest)


def per_layer_norm(weights: Tensor) -> Tensor:
    """The Frobenius norm of each layer's weights: `[E, L, …]` to `[E, L]`."""
    return weights.flatten(2).norm(dim=2) if weights.dim() > 2 else weights.abs()


def _difference_norms(weights: Tensor) -> Tensor:
    if weights.shape[1] == 1:
        return weights.new_zeros(weights.shape[0], 1)
    import torch

    from deeplimit.engines import fresh

    after = weights[:, 1:]
    return per_layer_norm(torch.sub(after, weights[:, :-1], out=fresh(after)))
