"""What the tests run over, as tables: a new branch, activation or process is one row here, and every test of the oracle sees it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor, nn

from deeplimit.branches import (
    GELU,
    Activation,
    Branch,
    Convolution,
    FunctionBranch,
    Identity,
    LeakyReLU,
    ModuleBranch,
    OneMatrix,
    OuterMatrix,
    Perceptron,
    ReLU,
    ShiftedSoftplus,
    SiLU,
    Tanh,
)
from deeplimit.processes import (
    IID,
    Constant,
    FractionalBrownianMotion,
    FractionalNoise,
    Function,
    GaussianProcess,
    Normal,
    Process,
    Tied,
    TrendAndNoise,
    Uniform,
    Zero,
)

ACTIVATIONS: dict[str, Activation] = {
    "identity": Identity(),
    "tanh": Tanh(),
    "gelu": GELU(),
    "relu": ReLU(),
    "leaky": LeakyReLU(0.1),
    "silu": SiLU(),
    "softplus": ShiftedSoftplus(),
}

BRANCHES: dict[str, Callable[[int, int, Activation], Branch]] = {
    "perceptron": lambda d, m, σ: Perceptron(d, m, σ),
    "perceptron-bias": lambda d, m, σ: Perceptron(d, m, σ, bias=True),
    "perceptron-released": lambda d, m, σ: Perceptron(d, m, σ, normalised=False),
    "perceptron-released-bias": lambda d, m, σ: Perceptron(d, m, σ, normalised=False, bias=True),
    "one-matrix": lambda d, m, σ: OneMatrix(d, σ),
    "one-matrix-no-bias": lambda d, m, σ: OneMatrix(d, σ, bias=False),
    "one-matrix-shared": lambda d, m, σ: OneMatrix(d, σ, "shared"),
    "one-matrix-shared-no-bias": lambda d, m, σ: OneMatrix(d, σ, "shared", bias=False),
    "one-matrix-layer": lambda d, m, σ: OneMatrix(d, σ, "layer"),
    "one-matrix-layer-no-bias": lambda d, m, σ: OneMatrix(d, σ, "layer", bias=False),
    "outer-matrix": lambda d, m, σ: OuterMatrix(d, σ),
    "outer-matrix-bias": lambda d, m, σ: OuterMatrix(d, σ, bias=True),
    "convolution": lambda d, m, σ: Convolution(d, (2, m), activation=σ),
    "convolution-released": lambda d, m, σ: Convolution(d, (m, 2), 1, activation=σ, normalised=False),
}
"""Branches with an activation, from the size d of the state, an inner width m and σ."""


def bilinear(h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
    return theta["gain"] * (h.tanh() * (h @ theta["M"].mT))


def two_layers(d: int, m: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(d, m), nn.Tanh(), nn.Linear(m, d))


OWN_BRANCHES: dict[str, Callable[[int, int], Branch]] = {
    "function": lambda d, m: FunctionBranch(bilinear, {"M": (d, d), "gain": ()}, (d,)),
    "module": lambda d, m: ModuleBranch(two_layers(d, m), (d,)),
}
"""Branches of a user, from d and m."""


def ramp(s: Tensor) -> Tensor:
    return (1 + s)[:, None, None].expand(-1, 4, 3)


PROCESSES: dict[str, Process] = {
    "iid": IID(),
    "iid-uniform": IID(Uniform(0.5)),
    "tied": Tied(),
    "tied-transposed": Tied(Normal(2.0, transposed=True)),
    "zero": Zero(),
    "constant": Constant(1.5),
    "gaussian": GaussianProcess(0.3),
    "function": Function(ramp),
    "fractional": FractionalBrownianMotion(0.3, finest=720),
    "fractional-noise": FractionalNoise(0.7, finest=720),
    "trend-and-noise": TrendAndNoise(GaussianProcess(0.3), 0.5, 0.4, finest=720),
}
"""Processes that give weights of shape (4, 3)."""

MEMBERS: tuple[int | None, ...] = (None, 1, 3)
"""Sizes of the ensemble axis; None where there is none."""


@dataclass(frozen=True)
class Case:
    """A branch of any size."""

    name: str
    build: Callable[[int, int], Branch]

    def __repr__(self) -> str:
        return self.name


def _with(row: str, activation: str) -> Case:
    return Case(f"{row}-{activation}", lambda d, m: BRANCHES[row](d, m, ACTIVATIONS[activation]))


CASES = [
    *(_with(row, activation) for row, activation in product(BRANCHES, ACTIVATIONS)),
    *(Case(name, build) for name, build in OWN_BRANCHES.items()),
]


@dataclass(frozen=True)
class Problem:
    """A stack with its numbers and a direction p in which its last state is differentiated.

    The numbers are float64 and exact in float32, so that both precisions work on the same input.
    """

    branch: Branch
    h: Tensor
    theta: dict[str, Tensor]
    p: Tensor
    scale: float

    def to(self, dtype: torch.dtype) -> Problem:
        theta = {role: t.to(dtype) for role, t in self.theta.items()}
        return dataclasses.replace(self, h=self.h.to(dtype), theta=theta, p=self.p.to(dtype))


def problem(branch: Branch, samples: int, depth: int, *, members: int | None = None, seed: int = 0) -> Problem:
    """Normal numbers; drawn again while a pre-activation comes within 1e-5 of the kink of σ, where σ has one."""
    lead = () if members is None else (members,)
    shapes = {role: (*lead, depth, *shape) for role, shape in branch.shapes.items()}
    shapes |= {role: (*lead, *shape) for role, shape in branch.shared_shapes.items()}
    generator = torch.Generator().manual_seed(seed)
    for _ in range(100):
        h, p = (normal((*lead, samples, *branch.state_shape), generator) for _ in range(2))
        theta = {role: normal(shape, generator) for role, shape in shapes.items()}
        found = Problem(branch, h, theta, p, 1 / depth)
        if distance_from_kink(found) > 1e-5:
            return found
    raise AssertionError("no input keeps clear of the kink")


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).double()


@dataclass(frozen=True)
class Watched(Activation):
    """An activation that remembers how close to 0 it was evaluated."""

    activation: Activation
    nearest: list[float] = field(default_factory=list)

    def __call__(self, z: Tensor) -> Tensor:
        self.nearest.append(float(z.abs().min()))
        return self.activation(z)

    def in_place(self, z: Tensor, a: Tensor) -> None:
        raise NotImplementedError


def distance_from_kink(problem: Problem) -> float:
    """The least |z| of all pre-activations; infinite for smooth activations."""
    activation = getattr(problem.branch, "activation", None)
    if activation is None or not math.isnan(activation.slope):
        return math.inf
    watched = Watched(activation)
    plain(dataclasses.replace(problem.branch, activation=watched), problem.h, problem.theta, problem.scale)  # type: ignore[type-var]
    return min(watched.nearest)


def plain(branch: Branch, h: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
    """The oracle: h ← h + scale · f(h, θ_k), layer by layer and member by member. Nothing of an engine is in it."""
    if h.dim() == len(branch.state_shape) + 2:
        return torch.stack(
            [plain(branch, h[e], {role: t[e] for role, t in theta.items()}, scale) for e in range(len(h))]
        )
    shared = {role: theta[role] for role in branch.shared_shapes}
    for k in range(len(theta[next(iter(branch.shapes))])):
        h = h + scale * branch(h, {role: theta[role][k] for role in branch.shapes} | shared)
    return h


Final = Callable[[Branch, Tensor, Mapping[str, Tensor], float], Tensor]


def gradients(final: Final, problem: Problem) -> dict[str, Tensor]:
    """The last state, and the gradient of ⟨p, h_L⟩ by role and for the first state."""
    h = problem.h.clone().requires_grad_()
    theta = {role: t.clone().requires_grad_() for role, t in problem.theta.items()}
    last = final(problem.branch, h, theta, problem.scale)
    found = torch.autograd.grad(last, [h, *theta.values()], problem.p)
    return {"last": last.detach(), "h": found[0], **dict(zip(theta, found[1:], strict=True))}


def error(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest over roles of max|g − g*| / max|g*|: each tensor relative to its own largest entry."""
    assert found.keys() == expected.keys()
    return max(relative(found[role], expected[role]) for role in expected)


def joint_error(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """max|g − g*| / max|g*| of the last state and all gradients, taken together as one vector.

    A tensor of few entries (a shared δ, say) may be a sum that nearly cancels: in float32 every order of summation, PyTorch's own too, is
    then far off relative to that sum.
    """
    assert found.keys() == expected.keys()
    together, known = (torch.cat([g[role].double().flatten() for role in expected]) for g in (found, expected))
    return relative(together, known)


def relative(found: Tensor, expected: Tensor) -> float:
    """max|found − expected| / max|expected|; 0 where both are 0."""
    assert found.shape == expected.shape
    found, expected = found.detach().double(), expected.detach().double()
    difference = float((found - expected).abs().max())
    return difference / float(expected.abs().max()) if difference else 0.0
