"""A network in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deeplimit import checks
from deeplimit.diagnosis.sources.reading import computable, listed
from deeplimit.diagnosis.sources.source import Source

if TYPE_CHECKING:
    from torch import Tensor, nn


class ModuleSource(Source):
    """The parameters and buffers of a module, by their names in its state dict.

    A weight that is computed from others (`torch.nn.utils.parametrizations`, `weight_norm`, `spectral_norm`) stands as what the forward
    pass uses, in place of what it is computed from. What `torch.compile` and `DistributedDataParallel` put around a module is taken off.

    Args:
        module: the network; its tensors are copied to the CPU one at a time, when they are read.
        title: how it is called; the name of its class where empty.

    Raises:
        InputError: it is no module, or its tensors hold no numbers (the device `meta`).

    >>> from torch import nn
    >>> dict(ModuleSource(nn.Sequential(nn.Linear(2, 3))).shapes)
    {'0.weight': (3, 2), '0.bias': (3,)}
    """

    def __init__(self, module: nn.Module, title: str = "") -> None:
        from torch import nn

        if not isinstance(module, nn.Module):
            raise checks.InputError(f"module: expected a torch.nn.Module, found {type(module).__name__}")
        self._module = unwrapped(module)
        self.title = title or type(self._module).__name__
        state = self._module.state_dict(keep_vars=True)
        self._computed = dict(_computed(self._module))
        made_from = tuple(name for _, _, hidden in self._computed.values() for name in hidden)
        self._stored = {name: value for name, value in state.items() if name not in made_from and _is_float(value)}
        _check_numbers(self.title, state)
        self._shapes = {name: tuple(value.shape) for name, value in self._stored.items()}
        self._shapes |= {name: tuple(self.read(name).shape) for name in self._computed}
        self.notes = tuple(_notes(self._stored))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    def read(self, name: str) -> Tensor:
        import torch

        if name in self._computed:
            owner, attribute, _ = self._computed[name]
            with torch.no_grad(), _Still(owner):
                return computable(_effective(owner, attribute).detach().cpu())
        checks.one_of(f"{self.title}: tensor", name, self._stored)
        return computable(self._stored[name].detach().cpu())

    @property
    def classes(self) -> Mapping[str, str]:
        return {path: type(module).__name__ for path, module in self._module.named_modules(remove_duplicate=False)}

    @property
    def config(self) -> Mapping[str, Any]:
        as_dict = getattr(getattr(self._module, "config", None), "to_dict", None)
        found = as_dict() if callable(as_dict) else {}
        return found if isinstance(found, Mapping) else {}

    @property
    def module(self) -> nn.Module:
        return self._module


def unwrapped(module: nn.Module) -> nn.Module:
    """The network itself, without what `torch.compile` and (distributed) data parallelism put around it."""
    from torch import nn

    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _is_float(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _check_numbers(title: str, state: Mapping[str, Any]) -> None:
    empty = [name for name, value in state.items() if getattr(value, "is_meta", False)]
    if empty:
        raise checks.InputError(f"{title}: expected tensors with numbers, found the device meta: {listed(empty)}")


def _notes(stored: Mapping[str, Tensor]) -> Iterator[str]:
    """Names that stand for the same numbers."""
    first: dict[int, str] = {}
    same = [
        f"{name} = {first[id(value)]}" for name, value in stored.items() if first.setdefault(id(value), name) != name
    ]
    if same:
        yield f"the same tensor under several names: {listed(same)}"


Computed = tuple[str, tuple["nn.Module", str, tuple[str, ...]]]


def _computed(module: nn.Module) -> Iterator[Computed]:
    """Name -> the submodule, the attribute, and the names that it is computed from."""
    for path, part in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for attribute, steps in getattr(part, "parametrizations", {}).items():
            hidden = tuple(f"{prefix}parametrizations.{attribute}.{name}" for name in steps.state_dict())
            yield prefix + attribute, (part, attribute, hidden)
        for hook in part._forward_pre_hooks.values():
            attribute = getattr(hook, "name", None)
            if isinstance(attribute, str) and callable(getattr(hook, "compute_weight", None)):
                endings = ("_g", "_v", "_orig", "_u")
                yield prefix + attribute, (part, attribute, tuple(f"{prefix}{attribute}{end}" for end in endings))


def _effective(owner: nn.Module, attribute: str) -> Tensor:
    """The weight that the forward pass uses."""
    for hook in owner._forward_pre_hooks.values():
        compute = getattr(hook, "compute_weight", None)
        if getattr(hook, "name", None) == attribute and callable(compute):
            iterates = hasattr(hook, "n_power_iterations")  # spectral_norm: it would change its estimate
            weight: Tensor = compute(owner, do_power_iteration=False) if iterates else compute(owner)
            return weight
    computed: Tensor = getattr(owner, attribute)
    return computed


class _Still:
    """Keeps parametrizations in evaluation, in which reading a weight changes nothing, and puts back what was."""

    def __init__(self, owner: nn.Module) -> None:
        steps = getattr(owner, "parametrizations", None)
        self._parts = list(steps.modules()) if steps is not None else []

    def __enter__(self) -> None:
        self._training = [part.training for part in self._parts]
        for part in self._parts:
            part.training = False

    def __exit__(self, *_: object) -> None:
        for part, training in zip(self._parts, self._training, strict=True):
            part.training = training
