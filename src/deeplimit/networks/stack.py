"""The deep residual network as a specification: everything about it but the numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.branches import Branch
from deeplimit.draws import Draw, NamedDraw, Stream
from deeplimit.networks.initialisation import ByRole, Initialisation, coerce
from deeplimit.networks.maps import LINEAR_MAP, LinearMap
from deeplimit.networks.network import Network, Parameters
from deeplimit.processes import Process
from deeplimit.scaling import DepthScaling

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.networks.module import StackModule
    from deeplimit.processes import Path


@dataclass(frozen=True)
class ResidualStack(Network):
    """The residual network h_0 = A x; h_{k+1} = h_k + L^(−β) f(h_k, θ_{k+1}), k = 0…L−1; F(x) = B h_L.

    Reference: Marion et al. 2024, equations (3) and (11). The object holds no numbers: `initialise` draws parameters, `__call__` evaluates
    the network at parameters, `module` gives an `nn.Module` for loops of your own. Parameters with a leading ensemble axis `[E, …]`
    (`ensemble`) run E networks at once, with the same results as E separate ones.

    The roles of the parameters are those of the branch, layered `[L, …]` or shared, `embedding` A `[q, d]` and `readout` B `[d′, q]`.

    Args:
        branch: f.
        depth: L.
        scaling: L ↦ L^(−β).
        init: a process for all roles, a mapping role -> process (roles left out as in the paper: V = 0, W tied), or an `Initialisation`.
        embedding: A; None for the identity.
        readout: B; None for the identity.

    >>> from deeplimit.branches import Perceptron
    >>> import torch
    >>> network = ResidualStack(Perceptron(state=4, width=8), depth=64)
    >>> theta = network.initialise(seed=0)
    >>> theta["W"].shape
    torch.Size([64, 8, 4])
    >>> x = torch.ones(3, 4)
    >>> bool((network(theta, x) == x).all())  # V = 0: the network starts at the identity
    True
    """

    branch: Branch
    depth: int
    scaling: DepthScaling = field(default_factory=DepthScaling)
    init: Initialisation | Process | Mapping[str, Process] | None = None
    embedding: LinearMap | None = None
    readout: LinearMap | None = None

    def __post_init__(self) -> None:
        """Refuse a depth that is not a positive integer, and parts of another kind."""
        checks.fields(
            self,
            branch=checks.instance(Branch, "a branch such as Perceptron(10, 40)"),
            depth=checks.positive_int,
            scaling=checks.instance(DepthScaling, "a scaling such as DepthScaling(1.0)"),
            embedding=LINEAR_MAP,
            readout=LINEAR_MAP,
        )
        _ = self.initialisation  # refuses what is none

    @property
    def initialisation(self) -> Initialisation:
        """`init` in its full form."""
        return coerce(self.init, self.branch)

    @property
    def layer_roles(self) -> tuple[str, ...]:
        """The roles that are stacked over depth."""
        return tuple(self.branch.shapes)

    @property
    def trainable(self) -> tuple[str, ...]:
        """The roles that training moves."""
        ends = (("embedding", self.embedding), ("readout", self.readout))
        return (
            *self.branch.shapes,
            *self.branch.shared_shapes,
            *(name for name, m in ends if m is not None and m.trainable),
        )

    def at_depth(self, depth: int) -> ResidualStack:
        """The same network with another depth."""
        return dataclasses.replace(self, depth=depth)

    def initialise(
        self, seed: int | Stream = 0, *, draw: Draw | None = None, dtype: torch.dtype | None = None
    ) -> Parameters:
        """Draw the parameters of one network on the CPU.

        Args:
            seed: the seed, or a stream that further draws of the same run will continue.
            draw: how the seed becomes a stream; `NamedDraw` unless given.
            dtype: precision of the result (float32 unless given); the numbers drawn do not depend on it.
        """
        import torch

        stream = seed if isinstance(seed, Stream) else (draw or NamedDraw()).stream(seed)
        params = self.initialisation.stacked(self.branch, self.depth, stream)
        params |= self.initialisation.shared(self.branch, self.depth, stream)
        params |= {name: m.matrix(stream.generator(name)) for name, m in self._ends()}
        return {role: tensor.to(dtype or torch.float32) for role, tensor in params.items()}

    def paths(self, seed: int | Stream = 0, *, draw: Draw | None = None) -> dict[str, Path]:
        """The initial weights as functions of depth, by role: what the network of infinite depth starts from.

        Raises:
            InputError: the initialisation is not given by processes.
        """
        stream = seed if isinstance(seed, Stream) else (draw or NamedDraw()).stream(seed)
        init = self.initialisation
        if not isinstance(init, ByRole):
            raise checks.InputError(f"paths: expected an initialisation by processes, found {type(init).__name__}")
        return init.paths(self.branch, stream)

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        """The output F(x) `[n, d′]`, or `[E, n, d′]` for an ensemble; differentiable.

        Args:
            params: parameters by role, all with a leading axis E for an ensemble.
            x: inputs `[n, d]` (shared by the ensemble) or `[E, n, d]`.
            engine: name of an engine, or `auto`.
        """
        from deeplimit.engines import select

        h = self.embed(params, x)
        last = select(engine, self.branch, like=h).final(self.branch, h, self._theta(params), self.scaling(self.depth))
        return last if self.readout is None else last @ params["readout"].mT

    def floats(self, samples: int) -> tuple[int, int]:
        """Those of all layers: weights, and per sample two states and what a hidden layer of these weights holds."""
        state = math.prod(self.branch.state_shape)
        weights = sum(math.prod(shape) for shape in self.branch.shapes.values())
        return self.depth * weights, self.depth * samples * (2 * state + 2 * weights // max(1, 2 * state))

    def probed(self) -> tuple[ResidualStack, float]:
        """The network cut to 256 layers: what a layer costs does not depend on how many there are."""
        shallow = min(self.depth, 256)
        return self.at_depth(shallow), self.depth / shallow

    def engine_title(self, engine: str, *, like: Tensor) -> str:
        """The title of the engine that evaluates the branch."""
        from deeplimit.engines import select

        return select(engine, self.branch, like=like).title

    def release(self, engine: str) -> None:
        """Give back what the engine keeps for the next call."""
        from deeplimit.engines import named, select

        (named(engine) or select(engine, self.branch)).release()

    def states(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        """All hidden states h_0 … h_L, `[L + 1, n, q]` or `[L + 1, E, n, q]`; not differentiable."""
        from deeplimit.engines import select

        h = self.embed(params, x)
        return select(engine, self.branch, like=h).states(self.branch, h, self._theta(params), self.scaling(self.depth))

    def embed(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The first state h_0 = A x, with the ensemble axis where the parameters have one.

        Raises:
            InputError: the parameters or the inputs do not have the shapes of this network.
        """
        role = self.layer_roles[0]
        ensemble = params[role].dim() > len(self.branch.shapes[role]) + 1
        checks.shape(
            f"parameter {role}", tuple(params[role].shape[int(ensemble) :]), (self.depth, *self.branch.shapes[role])
        )
        if self.embedding is not None:
            checks.shape("input x", tuple(x.shape), (*x.shape[:-1], params["embedding"].shape[-1]))
        h = x if self.embedding is None else x @ params["embedding"].mT
        if ensemble and h.dim() == len(self.branch.state_shape) + 1:
            h = h.expand(params[role].shape[0], *h.shape)
        expected = (*(params[role].shape[:1] if ensemble else ()), None, *self.branch.state_shape)
        checks.shape("state A x", tuple(h.shape), expected)
        return h

    def module(self, seed: int = 0, *, dtype: torch.dtype | None = None, engine: str = "auto") -> StackModule:
        """This network as an `nn.Module` with stacked parameters, for any PyTorch loop and optimiser."""
        from deeplimit.networks.module import StackModule

        return StackModule(self, self.initialise(seed, dtype=dtype), engine=engine)

    def _theta(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {role: params[role] for role in (*self.branch.shapes, *self.branch.shared_shapes)}

    def _ends(self) -> list[tuple[str, Any]]:
        return [(name, m) for name, m in (("embedding", self.embedding), ("readout", self.readout)) if m is not None]


def as_stack(network: Network) -> ResidualStack:
    """The network, where it is a residual stack.

    Raises:
        InputError: it is another one.
    """
    if not isinstance(network, ResidualStack):
        raise checks.InputError(f"network: expected a ResidualStack, found {type(network).__name__}")
    return network


def ensemble(members: list[Parameters]) -> Parameters:
    """Stack the parameters of E networks to one set with a leading axis E.

    Raises:
        InputError: there is no member, or the members' roles differ.
    """
    import torch

    if not members or any(set(m) != set(members[0]) for m in members):
        raise checks.InputError(f"ensemble: expected members with equal roles, found {[sorted(m) for m in members]}")
    return {role: torch.stack([m[role] for m in members]) for role in members[0]}


def member(params: Mapping[str, Tensor], index: int) -> Parameters:
    """The parameters of one network of an ensemble."""
    return {role: tensor[index] for role, tensor in params.items()}
