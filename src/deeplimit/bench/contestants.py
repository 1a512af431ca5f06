"""Who computes it: each engine, the loops that people write in PyTorch and JAX, and `torch.compile`.

A new contestant is one class and one row in `contestants`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.bench.cases import Case
from deeplimit.branches import GELU, Activation, Branch, OneMatrix, Perceptron, Tanh

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.engines import Engine

#: Standard deviation of all numbers: away from saturation and from zero.
SIZE = 0.3
#: Depths beyond which a contestant is timed at this depth in place of the case's. Its graph of a deeper stack takes gigabytes.
GRAPH_DEPTH = 1024
#: The same for the compiler: it unrolls the loop, and half a minute of compilation at this depth grows with the depth.
UNROLLED_DEPTH = 64
#: Asks XLA for one thread; read once, when JAX makes its first computation.
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "NPROC": "1"}

Activations = Mapping[type[Activation], Any]
"""A library's own function for each class of activation."""

INPUT = "input"
"""The name that gradients have the one of h_0 under."""


@dataclass(frozen=True)
class Problem:
    """A case with its numbers.

    Args:
        case: what it is.
        h: h_0 `[n, q]`, or `[E, n, q]` for an ensemble; a leaf that asks for its gradient, as the parameters do.
        theta: parameters by role, `[L, …]` or `[E, L, …]`, shared roles without L.
        p: the direction `[(E,) n, q]` in which the last state is differentiated.
    """

    case: Case
    h: Tensor
    theta: Mapping[str, Tensor]
    p: Tensor


def problem(case: Case) -> Problem:
    """Normal numbers for a case, always the same ones."""
    import torch

    generator = torch.Generator().manual_seed(0)
    lead = (case.members,) if case.members > 1 else ()
    shapes = {role: (*lead, case.depth, *shape) for role, shape in case.branch.shapes.items()}
    shapes |= {role: (*lead, *shape) for role, shape in case.branch.shared_shapes.items()}
    dtype = getattr(torch, case.dtype)

    def normal(shape: tuple[int, ...]) -> Tensor:
        return (SIZE * torch.randn(shape, generator=generator)).to(case.device, dtype)

    state = (*lead, case.samples, *case.branch.state_shape)
    theta = {role: normal(shape).requires_grad_() for role, shape in shapes.items()}
    return Problem(case, normal(state).requires_grad_(), theta, normal(state))


@dataclass(frozen=True)
class Prepared:
    """A contestant at its place: `run` is timed, `read` makes of its result the gradients by role, that of h_0 as `input`."""

    run: Callable[[], Any]
    read: Callable[[Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Contestant(ABC):
    """One way of computing a case.

    Args:
        name: how the command line names it.
        title: how tables name it.
        threads: threads of PyTorch while it runs.
        deepest: the largest depth that it is asked for; in a deeper case it is timed at this depth, and marked.
    """

    name: str
    title: str
    threads: int = 1
    deepest: int | None = None

    def missing(self) -> str:
        """What is not installed here; empty where everything is."""
        return ""

    @abstractmethod
    def supports(self, case: Case) -> bool:
        """Whether it can compute the case."""

    def reaches(self, device: str) -> bool:
        """Whether there is such a device here; threads are those of the CPU."""
        import torch

        return device == "cpu" or (self.threads == 1 and torch.cuda.is_available())

    @abstractmethod
    def prepare(self, problem: Problem) -> Prepared:
        """Everything that is done once, before any timing."""

    def activation_bytes(self, case: Case) -> int | None:
        """The most memory that it holds in a case beyond the gradients, where it can say."""
        return None

    def asked(self, case: Case) -> Case:
        """The case, at the depth at which this contestant is timed."""
        return case if self.deepest is None else case.at_depth(min(case.depth, self.deepest))


def wait_for(device: str) -> None:
    """Until the device has done what it was told."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


class Autograd(Contestant):
    """A contestant that PyTorch differentiates."""

    @abstractmethod
    def network(self, problem: Problem) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        """The function (h_0, θ) -> h_L."""

    def prepare(self, problem: Problem) -> Prepared:
        """One call is one forward and one backward pass."""
        import torch

        network = self.network(problem)
        leaves = (*problem.theta.values(), problem.h)

        def run() -> tuple[Tensor, ...]:
            found = torch.autograd.grad(network(problem.h, problem.theta), leaves, problem.p)
            wait_for(problem.case.device)
            return found

        return Prepared(run, lambda found: dict(zip((*problem.theta, INPUT), found, strict=True)))


@dataclass(frozen=True)
class EngineRun(Autograd):
    """The engine of that name, called as a user calls it: through the network."""

    engine: str = "reference"

    def missing(self) -> str:
        """What the engine lacks here."""
        return _engine(self.engine).missing

    def supports(self, case: Case) -> bool:
        """What the engine supports; on the CPU not in an interpreter."""
        import torch

        if not self.reaches(case.device):
            return False
        like = torch.empty(1, dtype=getattr(torch, case.dtype), device=case.device)
        engine = _engine(self.engine)
        return (engine.on_cpu or case.device != "cpu") and engine.supports(case.branch, like)

    def activation_bytes(self, case: Case) -> int | None:
        """Measured, for an engine that takes its large tensors from a cache of its own; small ones do not count. None for no such."""
        import torch

        from deeplimit.engines import blocks_in_use, reset_peak

        torch.set_num_threads(self.threads)
        run = self.prepare(problem(case)).run
        run()
        reset_peak()
        found = run()
        in_use, peak = blocks_in_use()
        del found  # held until here: what is in use now are the gradients, not the activations
        return peak - in_use or None

    def network(self, problem: Problem) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        """The residual stack on this engine."""
        from deeplimit.networks import ResidualStack

        stack = ResidualStack(problem.case.branch, problem.case.depth)
        return lambda h, theta: stack(theta, h, engine=self.engine)


class PlainLoop(Autograd):
    """The loop over layers as one writes it in PyTorch, differentiated by autograd."""

    def supports(self, case: Case) -> bool:
        """The branches written out in `layer`, with an activation that both libraries have."""
        return self.reaches(case.device) and _written_out(case.branch)

    def network(self, problem: Problem) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        """The loop."""
        import torch

        activations: Activations = {GELU: torch.nn.functional.gelu, Tanh: torch.tanh}
        step = layer(problem.case, activations)
        roles, axis = tuple(problem.case.branch.shapes), int(problem.case.members > 1)

        def loop(h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
            for weights in zip(*(theta[role].unbind(axis) for role in roles), strict=True):
                h = step(h, {**theta, **dict(zip(roles, weights, strict=True))})
            return h

        return loop


class Compiled(PlainLoop):
    """The same loop, unrolled and compiled by `torch.compile`."""

    def missing(self) -> str:
        """A C++ compiler, which `torch.compile` calls on a CPU."""
        found = any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))
        return "" if found else "no C++ compiler"

    def network(self, problem: Problem) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        """The compiled loop; compilation happens in its first call, with the threads that are set then."""
        import torch

        torch.compiler.reset()  # it keeps a few variants of one function, and then silently compiles no more
        return torch.compile(super().network(problem), fullgraph=True, dynamic=False)


class Jax(Contestant):
    """The same layer under `jax.lax.scan`, its gradient compiled by `jax.jit`, on one thread."""

    def missing(self) -> str:
        """JAX, which is an extra."""
        return (
            ""
            if importlib.util.find_spec("jax")
            else f"jax is not installed; {checks.extra_command('bench')} installs it"
        )

    def supports(self, case: Case) -> bool:
        """What the plain loop supports, in JAX's default precision."""
        return _written_out(case.branch) and (case.dtype, case.device) == ("float32", "cpu")

    def prepare(self, problem: Problem) -> Prepared:
        """Move the numbers to JAX with depth as the first axis, which is what `scan` wants."""
        for name, value in ONE_THREAD.items():
            os.environ.setdefault(name, value)
        import jax
        import torch

        depth_axis = int(problem.case.members > 1)
        roles = tuple(problem.case.branch.shapes)

        def moved(tensor: Tensor, role: str = "") -> Any:
            numbers = tensor.detach().numpy()
            return jax.numpy.asarray(numbers.swapaxes(0, depth_axis) if role in roles else numbers)

        def read(found: Any) -> dict[str, Tensor]:
            grads = {role: torch.from_numpy(jax.device_get(g).copy()) for role, g in found[0].items()}
            grads |= {role: g.transpose(0, depth_axis) for role, g in grads.items() if role in roles}
            return {role: grads[role] for role in problem.theta} | {
                INPUT: torch.from_numpy(jax.device_get(found[1]).copy())
            }

        gradient = jax.jit(jax.grad(_scanned(problem.case), argnums=(0, 1)))
        theta = {role: moved(tensor, role) for role, tensor in problem.theta.items()}
        h, p = moved(problem.h), moved(problem.p)
        return Prepared(lambda: jax.block_until_ready(gradient(theta, h, p)), read)


def _engine(name: str) -> Engine:
    """The engine of a name, whatever its way of working."""
    from deeplimit.engines import ENGINES

    return ENGINES[name.partition(":")[0]]


def _scanned(case: Case) -> Callable[[dict[str, Any], Any, Any], Any]:
    """The function (θ, h_0, p) -> ⟨p, h_L⟩ in JAX."""
    import jax

    activations: Activations = {GELU: lambda z: jax.nn.gelu(z, approximate=False), Tanh: jax.numpy.tanh}
    step = layer(case, activations)

    def function(theta: dict[str, Any], h: Any, p: Any) -> Any:
        layers = {role: theta[role] for role in case.branch.shapes}
        last, _ = jax.lax.scan(lambda h, weights: (step(h, {**theta, **weights}), None), h, layers)
        return jax.numpy.vdot(p, last)

    return function


def _written_out(branch: Branch) -> bool:
    """Whether `layer` has the branch."""
    return isinstance(branch, Perceptron | OneMatrix) and type(branch.activation) in (GELU, Tanh)


Layer = Callable[[Any, Mapping[str, Any]], Any]
"""The function (h, weights of a layer) -> h + f(h)/L."""


def layer(case: Case, activations: Activations) -> Layer:
    """A layer of a case in PyTorch or JAX, which spell it the same but for the activations."""
    branch, scale = case.branch, 1 / case.depth
    if isinstance(branch, Perceptron):
        return _perceptron(branch, activations[type(branch.activation)], scale=scale)
    assert isinstance(branch, OneMatrix)
    return _one_matrix(branch, activations[type(branch.activation)], scale=scale)


def _perceptron(branch: Perceptron, sigma: Any, *, scale: float) -> Layer:
    inner, outer = branch.inner_factor, scale * branch.outer_factor

    def step(h: Any, w: Mapping[str, Any]) -> Any:
        z = h @ w["W"].mT * inner
        if branch.bias:
            return h + sigma(z + w["b"][..., None, :]) @ w["V"].mT * outer + scale * w["c"][..., None, :]
        return h + sigma(z) @ w["V"].mT * outer

    return step


def _one_matrix(branch: OneMatrix, sigma: Any, *, scale: float) -> Layer:
    def step(h: Any, w: Mapping[str, Any]) -> Any:
        z = h @ w["A"].mT
        a = sigma(z + w["b"][..., None, :] if branch.bias else z)
        return h + scale * (a if branch.delta == "fixed" else w["delta"][..., None, None] * a)

    return step


def contestants(threads: int) -> Sequence[Contestant]:
    """Every contestant, the engines first and the fastest of them before all: it is what the others are compared with.

    Args:
        threads: of those that use several; none does where this is 1.
    """
    from deeplimit.engines import ENGINES

    deepest = {"reference": GRAPH_DEPTH}
    fastest = next(name for name, engine in ENGINES.items() if engine.on_cpu and not engine.missing)
    many = f", {threads} threads"
    rows = (
        *(EngineRun(name, name, deepest=deepest.get(name), engine=name) for name in ENGINES),
        EngineRun("triton-tf32", "triton, tf32", engine="triton:tf32"),
        EngineRun("native-recompute", "native, recompute", engine="native:recompute"),
        EngineRun(f"{fastest}-threads", fastest + many, threads, engine=fastest),
        PlainLoop("plain", "plain loop", deepest=GRAPH_DEPTH),
        PlainLoop("plain-threads", "plain loop" + many, threads, deepest=GRAPH_DEPTH),
        Compiled("compile", "torch.compile", deepest=UNROLLED_DEPTH),
        Jax("jax", "JAX lax.scan"),
    )
    return [row for row in rows if threads > 1 or not row.name.endswith("-threads")]
