"""Branches of the user's own: any callable f(h, θ), any `nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.branches.branch import Branch, Shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class FunctionBranch(Branch):
    """Any callable f(h, θ) as a branch.

    Args:
        function: maps states `[n, *state]` and a mapping role -> tensor to increments `[n, *state]`. A function defined with `def`
            in a file, so that its source can stand in the record.
        parameters: the shapes of one layer's parameters by role.
        state: shape of one sample's state.

    >>> def bilinear(h, theta):
    ...     return (h * h) @ theta["M"].mT
    >>> FunctionBranch(bilinear, {"M": (4, 4)}, (4,)).shapes
    {'M': (4, 4)}
    """

    function: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    parameters: Shapes
    state: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is no function, and what are no shapes."""
        checks.fields(self, function=checks.function, state=checks.sizes())
        checks.instance(Mapping, "a mapping role -> shape")("parameters", self.parameters)
        for role, shape in self.parameters.items():
            checks.sizes()(f"shape of {role}", shape)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """As given."""
        return self.state

    @property
    def shapes(self) -> Shapes:
        """As given."""
        return self.parameters

    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Evaluate the function."""
        return self.function(h, theta)


@dataclass(frozen=True)
class ModuleBranch(Branch):
    """Any `nn.Module` as a branch: f(h, θ) is the module called on h with the parameters θ.

    The parameters of L copies are stacked over depth and the module is called by `torch.func.functional_call`.

    Args:
        factory: a function without arguments that returns a fresh module; its parameters' names are the roles.
        state: shape of one sample's state.

    Raises:
        InputError: the module has buffers (running statistics would mix layers) or no parameters, or changes the shape of the state.
    """

    factory: Callable[[], nn.Module]
    state: tuple[int, ...]

    def __post_init__(self) -> None:
        """Build the module once, to read its parameters' names and shapes, and call it on one state."""
        checks.sizes()("state", self.state)
        template = self._first()
        buffers = [name for name, _ in template.named_buffers()]
        if buffers:
            raise checks.InputError(f"branch module: expected a module without buffers, found {', '.join(buffers)}")
        shapes = {name: tuple(p.shape) for name, p in template.named_parameters()}
        if not shapes:
            raise checks.InputError("branch module: expected a module with parameters, found none")
        self._try(template)
        object.__setattr__(self, "_template", template)
        object.__setattr__(self, "_shapes", shapes)

    def _first(self) -> nn.Module:
        """The first module that the factory builds."""
        from torch import nn

        wanted = "a function without arguments that returns a fresh module, such as its class"
        if isinstance(self.factory, nn.Module):
            name = type(self.factory).__name__
            raise checks.InputError(f"factory: expected {wanted} ({name}), found one that is built already ({name}())")
        checks.function("factory", self.factory)
        try:
            template = self.build(0)
        except TypeError as problem:  # it asks for arguments
            raise checks.InputError(f"factory: expected {wanted}, found {checks.one_line(problem)}") from problem
        if not isinstance(template, nn.Module):
            raise checks.InputError(f"factory: expected {wanted}, found one that returns {checks.brief(template)}")
        return template

    def _try(self, template: nn.Module) -> None:
        """Refuse a module that does not map states to increments of the same shape; the sum in a layer would broadcast."""
        import torch

        state = torch.zeros(2, *self.state, dtype=next(template.parameters()).dtype)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = tuple(template(state).shape)
        except Exception as problem:
            wanted = f"branch module: expected one that takes states of shape {self.state}"
            raise checks.InputError(f"{wanted}, found {checks.one_line(problem)}") from problem
        checks.shape("branch module: increments", found, tuple(state.shape))

    def build(self, seed: int) -> nn.Module:
        """A fresh module drawn with `seed`, on the CPU; the global generator is left as it was."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every device
            return self.factory()

    def layer(self, generator: torch.Generator) -> dict[str, Tensor]:
        """One layer's parameters as the module itself initialises them."""
        import torch

        seed = int(torch.randint(2**62, (), generator=generator))
        return {name: p.detach() for name, p in self.build(seed).named_parameters()}

    @property
    def state_shape(self) -> tuple[int, ...]:
        """As given."""
        return self.state

    @property
    def shapes(self) -> Shapes:
        """Shapes of the module's parameters, by name."""
        shapes: Shapes = self._shapes  # type: ignore[attr-defined]
        return dict(shapes)

    def __call__(self, h: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Call the module with the parameters θ."""
        import torch

        out: Tensor = torch.func.functional_call(self._template, dict(theta), (h,))  # type: ignore[attr-defined]
        return out
