"""Optimisers over stacked tensors: pure functions of parameters, gradients and slots, for a whole ensemble at once.

Tensors carry a leading ensemble axis E; a learning rate or a λ is a number, or a tuple with one number per member.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.records.identity import LATER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.networks import Network, Parameters

Slots = dict[str, "Tensor"]
"""What an optimiser carries from step to step, by name."""
Rate = float | tuple[float, ...]
"""One number for all members, or one for each."""
RATE = checks.by_member(checks.not_negative)


class Optimizer(ABC):
    """How gradients become an update."""

    learning_rate: Rate

    def slots(self, params: Parameters) -> Slots:
        """The slots before the first step; none unless the optimiser carries something."""
        return {}

    @abstractmethod
    def update(self, network: Network, params: Parameters, grads: Parameters, slots: Slots) -> tuple[Parameters, Slots]:
        """The trainable parameters and the slots after one step; the arguments are left as they were.

        Args:
            network: tells depth and layered roles.
            params, grads: trainable roles, `[E, …]`.
            slots: as `slots` or the last step gave them.
        """


@dataclass(frozen=True)
class CoordinateClip:
    """π: every coordinate clipped to [−bound, bound], bounded and 1-Lipschitz.

    Reference: Marion et al. 2024, equation (5) and the example below it.
    """

    bound: float

    def __post_init__(self) -> None:
        """Refuse a bound that is not positive."""
        checks.positive("bound", self.bound)

    def __call__(self, gradient: Tensor) -> Tensor:
        """Clip a tensor of any shape."""
        return gradient.clamp(-self.bound, self.bound)


@dataclass(frozen=True)
class NormClip:
    """π: each matrix projected on the Frobenius ball of radius `bound`, bounded and 1-Lipschitz."""

    bound: float

    def __post_init__(self) -> None:
        """Refuse a bound that is not positive."""
        checks.positive("bound", self.bound)

    def __call__(self, gradient: Tensor) -> Tensor:
        """Project each of the matrices `[B, …]`."""
        norms: Tensor = gradient.reshape(len(gradient), -1).norm(dim=1).clamp_min(self.bound)
        return gradient * (self.bound / norms).reshape(-1, *[1] * (gradient.dim() - 1))


@dataclass(frozen=True)
class GradientFlow(Optimizer):
    """Gradient descent as the discretised flow: θ ← θ + η π(−L ∂ℓ/∂θ), with the factor L on layered roles only.

    Reference: Marion et al. 2024, equations (4), and (5) with `clip` (docs/algorithms.md, algorithm 1). A step advances training time
    by η. The factor makes the speed of a layer independent of depth, since its gradient is O(1/L).

    Args:
        learning_rate: η.
        clip: π, any bounded Lipschitz operator on matrices stacked as `[B, …]`; None for the flow without clipping.
    """

    learning_rate: Rate
    clip: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        """Refuse a rate that is no number; one below 0 runs the flow backwards."""
        checks.fields(self, learning_rate=checks.by_member(checks.finite), clip=checks.optional(checks.function))

    def update(self, network: Network, params: Parameters, grads: Parameters, slots: Slots) -> tuple[Parameters, Slots]:
        """One explicit Euler step of the flow."""
        return {role: self._moved(network, role, params[role], grads[role]) for role in params}, slots

    def _moved(self, network: Network, role: str, value: Tensor, gradient: Tensor) -> Tensor:
        layered = role in network.layer_roles
        if self.clip is None:
            rate = scaled(self.learning_rate, gradient, factor=network.depth if layered else 1)
            return _minus(value, rate, gradient)
        velocity = -gradient * network.depth if layered else -gradient
        lead = 2 if layered else 1
        clipped = self.clip(velocity.reshape(-1, *velocity.shape[lead:])).reshape(velocity.shape)
        return value + scaled(self.learning_rate, gradient) * clipped


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with heavy-ball momentum and L2: g ← ∂ℓ/∂θ + λ θ, v ← μ v + g, θ ← θ − η v (PyTorch's convention).

    Args:
        learning_rate: η.
        momentum: μ.
        weight_decay: λ, in the convention (λ/2) ‖θ‖².
        layer_factor: multiply η by L for layered roles.
        decoupled: leave λ out of the gradient and shrink instead, θ ← (1 − η λ) θ before the step: the same without momentum.
    """

    learning_rate: Rate
    momentum: float = 0.0
    weight_decay: Rate = 0.0
    layer_factor: bool = False
    decoupled: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse rates below 0, and a momentum that never ends."""
        checks.fields(self, learning_rate=RATE, momentum=checks.below_one, weight_decay=RATE)

    def slots(self, params: Parameters) -> Slots:
        """Zero velocities, where there is momentum."""
        return {role: p.new_zeros(p.shape) for role, p in params.items()} if self.momentum else {}

    def update(self, network: Network, params: Parameters, grads: Parameters, slots: Slots) -> tuple[Parameters, Slots]:
        """One step."""
        if not self.decoupled:
            grads = {r: _coupled(self.weight_decay, g, params[r]) for r, g in grads.items()}
        velocity = {r: _minus(g, -self.momentum, slots[r]) for r, g in grads.items()} if self.momentum else grads
        moved = {}
        for r, p in params.items():
            rate = _rate(self, network, r, p)
            moved[r] = _minus(_shrunk(self.weight_decay, p, rate) if self.decoupled else p, rate, velocity[r])
        return moved, velocity if self.momentum else {}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, as PyTorch computes it.

    Args:
        learning_rate: η.
        betas: decay rates of the two moments.
        epsilon: added to the root of the second moment.
        weight_decay: λ: added to the gradient as λ θ, or where `decoupled` a shrinkage θ ← (1 − η λ) θ before the step (AdamW).
        layer_factor: multiply η by L for layered roles.
    """

    learning_rate: Rate
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: Rate = 0.0
    decoupled: bool = False
    layer_factor: bool = False

    def __post_init__(self) -> None:
        """Refuse rates below 0, and moments that never end."""
        checks.fields(self, learning_rate=RATE, epsilon=checks.not_negative, weight_decay=RATE)
        if len(checks.each(checks.below_one)("betas", self.betas)) != 2:
            raise checks.InputError(f"betas: expected two numbers, found {self.betas}")

    def slots(self, params: Parameters) -> Slots:
        """Zero moments and a count of steps."""
        import torch

        moments = {f"{kind}.{role}": p.new_zeros(p.shape) for kind in ("first", "second") for role, p in params.items()}
        return moments | {"steps": torch.zeros((), dtype=torch.int64)}

    def update(self, network: Network, params: Parameters, grads: Parameters, slots: Slots) -> tuple[Parameters, Slots]:
        """One step."""
        steps = slots["steps"] + 1
        after: Slots = {"steps": steps}
        moved = {}
        for role, p in params.items():
            g = grads[role] if self.decoupled else _coupled(self.weight_decay, grads[role], p)
            first, second = self._moments(g, slots[f"first.{role}"], slots[f"second.{role}"])
            after |= {f"first.{role}": first, f"second.{role}": second}
            rate = _rate(self, network, role, p)
            start = _shrunk(self.weight_decay, p, rate) if self.decoupled else p
            moved[role] = self._moved(start, first, second, rate=rate, steps=int(steps))
        return moved, after

    def _moments(self, g: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The running means of g and g²."""
        import torch

        from deeplimit.engines import fresh

        decay = self.betas[1]
        return (
            torch.lerp(first, g, 1 - self.betas[0], out=fresh(g)),
            torch.mul(second, decay, out=fresh(g)).addcmul_(g, g, value=1 - decay),
        )

    def _moved(self, start: Tensor, first: Tensor, second: Tensor, *, rate: float | Tensor, steps: int) -> Tensor:
        """`start` less rate · first / (√second + ε), with both moments corrected for their start at 0."""
        import torch

        from deeplimit.engines import fresh

        bias, square_bias = 1 - self.betas[0] ** steps, 1 - self.betas[1] ** steps
        spread = torch.sqrt(second, out=fresh(second)).mul_(square_bias**-0.5).add_(self.epsilon)
        return _minus(start, rate / bias, torch.div(first, spread, out=spread))


@dataclass(frozen=True)
class TorchOptimizer(Optimizer):
    """Any optimiser of `torch.optim` whose step needs no closure, for single runs.

    Args:
        name: the class in `torch.optim`, e.g. `RMSprop`.
        learning_rate: η.
        options: further keyword arguments of the class.
        layer_factor: multiply η by L for layered roles.
    """

    name: str
    learning_rate: float
    options: Mapping[str, Any] = field(default_factory=dict)
    layer_factor: bool = False

    def __post_init__(self) -> None:
        """Refuse a rate that is no number of its own."""
        checks.not_negative("learning_rate", self.learning_rate)

    def update(self, network: Network, params: Parameters, grads: Parameters, slots: Slots) -> tuple[Parameters, Slots]:
        """One step of a fresh optimiser object that is handed the state of the last one.

        Raises:
            InputError: more than one run, or no such optimiser.
        """
        members = next(iter(params.values())).shape[0]
        if members != 1:
            raise checks.InputError(f"TorchOptimizer: expected a single run, found an ensemble of {members}")
        leaves = {role: p.clone() for role, p in params.items()}
        for role, leaf in leaves.items():
            leaf.grad = grads[role]
        optimizer = self._build(network, leaves)
        for name, value in slots.items():
            role, key = name.rsplit("/", 1)
            optimizer.state[leaves[role]][key] = value.clone()
        optimizer.step()
        after = {
            f"{r}/{key}": v for r, leaf in leaves.items() for key, v in optimizer.state[leaf].items() if v is not None
        }
        return {role: leaf.detach() for role, leaf in leaves.items()}, after

    def _build(self, network: Network, leaves: Parameters) -> torch.optim.Optimizer:
        import torch

        # Left out: a base class, and what asks for a closure, sparse gradients or single matrices.
        others = ("Optimizer", "LBFGS", "SparseAdam", "Muon")
        known = [n for n in dir(torch.optim) if isinstance(getattr(torch.optim, n), type) and n not in others]
        kind = getattr(torch.optim, checks.one_of("optimizer", self.name, known))
        factor = {role: network.depth if self.layer_factor and role in network.layer_roles else 1 for role in leaves}
        groups = [{"params": [leaf], "lr": self.learning_rate * factor[role]} for role, leaf in leaves.items()]
        built: torch.optim.Optimizer = kind(groups, lr=self.learning_rate, **self.options)
        return built


def scaled(rate: Rate, like: Tensor, *, factor: float = 1.0) -> float | Tensor:
    """A learning rate or λ times `factor`: a number, or a tensor `[E, 1, …]` that broadcasts against `like`.

    Raises:
        InputError: a tuple that has not one number per member.
    """
    if not isinstance(rate, tuple):
        return factor * rate
    if len(rate) != like.shape[0]:
        raise checks.InputError(
            f"learning_rate, weight_decay: expected one number per member, {like.shape[0]}; found {len(rate)}"
        )
    return like.new_tensor(rate).mul(factor).reshape(-1, *[1] * (like.dim() - 1))


def _minus(start: Tensor, rate: float | Tensor, direction: Tensor) -> Tensor:
    """`start` − rate · direction, in one pass."""
    import torch

    from deeplimit.engines import fresh

    if isinstance(rate, torch.Tensor):
        return torch.addcmul(start, direction, rate, value=-1, out=fresh(start))
    return torch.sub(start, direction, alpha=rate, out=fresh(start))


def _coupled(weight_decay: Rate, gradient: Tensor, value: Tensor) -> Tensor:
    """The gradient with that of the penalty, ∂ℓ/∂θ + λ θ."""
    return _minus(gradient, scaled(weight_decay, value, factor=-1), value) if weight_decay else gradient


def _shrunk(weight_decay: Rate, value: Tensor, rate: float | Tensor) -> Tensor:
    """(1 − η λ) θ."""
    return (1 - rate * scaled(weight_decay, value)) * value if weight_decay else value


def _rate(optimizer: SGD | Adam, network: Network, role: str, like: Tensor) -> float | Tensor:
    layered = optimizer.layer_factor and role in network.layer_roles
    return scaled(optimizer.learning_rate, like, factor=network.depth if layered else 1)
