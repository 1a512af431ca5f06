"""How the parameters of all layers of a network are drawn together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.branches import Branch, ModuleBranch
from deeplimit.processes import IID, Path, Process, Tied, Zero

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.draws import Stream


PROCESS = checks.instance(Process, "a process such as IID()")
"""The check of a field that takes one."""


class Initialisation(ABC):
    """Draws the layered parameters of a branch at any depth."""

    @abstractmethod
    def stacked(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """The parameters `[depth, *shape]` by role."""

    def shared(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """The parameters that all layers share, by role: 1 unless an initialisation says otherwise."""
        import torch

        return {role: torch.ones(shape) for role, shape in branch.shared_shapes.items()}


@dataclass(frozen=True)
class ByRole(Initialisation):
    """One process per role.

    Args:
        processes: process by role; `other` serves the layered roles that it does not name. A role that all layers share takes the first
            layer of its path, and is 1 where it is not named.
        other: None where every layered role must be named.
    """

    processes: Mapping[str, Process]
    other: Process | None = None

    def __post_init__(self) -> None:
        """Refuse what is no process."""
        for role, process in self.processes.items():
            PROCESS(f"init of {role}", process)
        checks.optional(PROCESS)("init of the other roles", self.other)

    def paths(self, branch: Branch, stream: Stream) -> dict[str, Path]:
        """One path per role, drawn in the order of the branch's roles.

        Raises:
            InputError: a role is named that the branch does not have, or one it has is not named.
        """
        for role in self.processes:
            checks.one_of("role", role, [*branch.shapes, *branch.shared_shapes])
        if self.other is None:
            for role in branch.shapes:
                checks.one_of("role without a process", role, self.processes)
        return {
            role: self.processes.get(role, self.other).sample(shape, stream.generator(role))  # type: ignore[union-attr]
            for role, shape in branch.shapes.items()
        }

    def stacked(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """The paths at `depth`."""
        return {role: path(depth) for role, path in self.paths(branch, stream).items()}

    def shared(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """1, or the first layer of the path at `depth`."""
        named = {role: shape for role, shape in branch.shared_shapes.items() if role in self.processes}
        drawn = {
            role: self.processes[role].sample(shape, stream.generator(role))(depth)[0] for role, shape in named.items()
        }
        return super().shared(branch, depth, stream) | drawn


@dataclass(frozen=True)
class OwnInitialisation(Initialisation):
    """The initialisation that a module of the user's brings along, tied over depth or independent per layer."""

    tied: bool = True

    def stacked(self, branch: Branch, depth: int, stream: Stream) -> dict[str, Tensor]:
        """Draw one layer, or `depth` layers, of a `ModuleBranch`.

        Raises:
            InputError: the branch is no module.
        """
        import torch

        if not isinstance(branch, ModuleBranch):
            raise checks.InputError(f"OwnInitialisation: expected a ModuleBranch, found {type(branch).__name__}")
        # Layers come from a generator of their own: however many they are, what the stream draws next is the same.
        seed = int(torch.randint(2**62, (), generator=stream.generator("layer")))
        generator = torch.Generator().manual_seed(seed)
        layers = [branch.layer(generator) for _ in range(1 if self.tied else depth)] * (depth if self.tied else 1)
        return {role: torch.stack([layer[role] for layer in layers]) for role in branch.shapes}


def standard(branch: Branch) -> Initialisation:
    """What a stack does when nothing is said: V = 0 and everything else tied; a module's own initialisation, tied.

    Reference: Marion et al. 2024, section 3 (initialisation); biases start at 0 and a δ per layer at 1.
    """
    from deeplimit.processes import Constant

    if isinstance(branch, ModuleBranch):
        return OwnInitialisation()
    fixed: dict[str, Process] = {"V": Zero(), "b": Zero(), "c": Zero(), "delta": Constant(1.0)}
    return ByRole({role: fixed[role] for role in branch.shapes if role in fixed}, other=Tied())


def coerce(init: Initialisation | Process | Mapping[str, Process] | None, branch: Branch) -> Initialisation:
    """Accept one process for all roles, or processes by role (the others as in `standard`)."""
    if init is None:
        return standard(branch)
    if isinstance(init, Initialisation):
        return init
    if isinstance(init, Process):
        return ByRole({}, other=init)
    checks.instance(Mapping, "a process such as IID(), or a mapping role -> process")("init", init)
    return ByRole(dict(init), other=None) if set(init) >= set(branch.shapes) else _completed(init, branch)


def _completed(init: Mapping[str, Process], branch: Branch) -> Initialisation:
    rest = standard(branch)
    if not isinstance(rest, ByRole):
        return ByRole(dict(init))
    return ByRole({**rest.processes, **init}, other=rest.other)


__all__ = ["IID", "ByRole", "Initialisation", "OwnInitialisation", "coerce", "standard"]
