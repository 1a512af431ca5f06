"""One training step: (state, batch) -> (state, info)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit.training.losses import LossFunction, SquaredError
from deeplimit.training.optimizers import Optimizer, Slots

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks import Network, Parameters

Batch = tuple["Tensor", "Tensor"]
"""Inputs and targets, `[E, n, …]` each."""


@dataclass(frozen=True)
class State:
    """A point of training.

    Args:
        params: all parameters, `[E, …]`.
        slots: what the optimiser carries.
        alive: `[E]`, False for members that have diverged; these are frozen.
        iteration: number of updates made.
    """

    params: Parameters
    slots: Slots
    alive: Tensor
    iteration: int = 0


@dataclass(frozen=True)
class Info:
    """What a step saw before its update.

    Args:
        loss: `[E]`.
        grads: gradients by role.
        output: of the batch, `[E, n, d′]`.
        running: roles that are not trained but change with every batch, as they are after this one.
    """

    loss: Tensor
    grads: Parameters
    output: Tensor
    running: Parameters


@dataclass(frozen=True)
class Step:
    """Full-batch training step of one network specification.

    A member whose loss is not finite has diverged: it keeps the parameters it has, and the others go on.

    Args:
        network: the specification.
        optimizer: the update rule.
        loss: the loss.
        engine: name of the engine, or `auto`.
    """

    network: Network
    optimizer: Optimizer
    loss: LossFunction = field(default_factory=SquaredError)
    engine: str = "auto"

    def start(self, params: Parameters) -> State:
        """The state before the first step, from parameters `[E, …]`."""
        import torch

        some = next(iter(params.values()))
        trained = {role: params[role] for role in self.network.trainable}
        return State(params, self.optimizer.slots(trained), torch.ones(len(some), dtype=torch.bool, device=some.device))

    def evaluate(self, params: Parameters, batch: Batch) -> Info:
        """Losses and gradients at parameters `[E, …]`."""
        import torch

        leaves = {role: params[role].detach().requires_grad_() for role in self.network.trainable}
        output, running = self.network.in_training({**params, **leaves}, batch[0], engine=self.engine)
        loss = self.loss(output, batch[1])
        # Members do not interact: the gradient of the sum holds the gradient of each.
        grads = torch.autograd.grad(loss.sum(), list(leaves.values()))
        return Info(loss.detach(), dict(zip(leaves, grads, strict=True)), output.detach(), running)

    def update(self, state: State, info: Info) -> State:
        """The state after one step."""
        alive = state.alive & info.loss.isfinite()
        trained = {role: state.params[role] for role in self.network.trainable}
        moved, slots = self.optimizer.update(self.network, trained, info.grads, state.slots)
        moved |= info.running
        if not bool(alive.all()):
            moved = {role: _where(alive, p, state.params[role]) for role, p in moved.items()}
        return State({**state.params, **moved}, slots, alive, state.iteration + 1)

    def __call__(self, state: State, batch: Batch) -> tuple[State, Info]:
        """One step, and what it saw before its update."""
        info = self.evaluate(state.params, batch)
        return self.update(state, info), info


def _where(alive: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return new.where(alive.reshape(-1, *[1] * (new.dim() - 1)), old)
