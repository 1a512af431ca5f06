"""Running a network on a batch while seeing, and changing, the states that its blocks hand on."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor, nn

CACHES = ("past_key_values", "past_key_value", "layer_past")
"""Arguments that a block of a decoder writes to: calling it again would see its own keys."""


@dataclass(frozen=True)
class Call:
    """One call of one block.

    Args:
        block: the module.
        args, kwargs: what it was called with.
        output: what it returned.
        entry: place of the state among the arguments: a position or a name.
        leaving: place of the state in the output: None for the output itself, a position, a key or the name of a field.
    """

    block: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    entry: int | str
    leaving: int | str | None

    @property
    def before(self) -> Tensor:
        """The state that entered."""
        return self.args[self.entry] if isinstance(self.entry, int) else self.kwargs[self.entry]  # type: ignore[no-any-return]

    @property
    def after(self) -> Tensor:
        """The state that left."""
        state: Tensor = _parts(self.output)[self.leaving]
        return state

    def again(self, state: Tensor) -> Tensor:
        """The state that the same block makes of another one, everything else being equal; no hook of the block runs."""
        names = list(inspect.signature(self.block.forward).parameters)
        args = [None if name in CACHES else value for name, value in zip_longest(names[: len(self.args)], self.args)]
        kwargs = {name: None if name in CACHES else value for name, value in self.kwargs.items()}
        if isinstance(self.entry, int):
            args[self.entry] = state
        else:
            kwargs[self.entry] = state
        left: Tensor = _parts(self.block.forward(*args, **kwargs))[self.leaving]
        return left

    def replaced(self, state: Tensor) -> Any:
        """The output with another state in the place of its own."""
        if self.leaving is None:
            return state
        if isinstance(self.output, Mapping):
            changed: Any = copy.copy(self.output)
            changed[self.leaving] = state
            return changed
        if isinstance(self.output, tuple | list):
            items = [state if place == self.leaving else item for place, item in enumerate(self.output)]
            return type(self.output)(*items) if hasattr(self.output, "_fields") else type(self.output)(items)
        return dataclasses.replace(self.output, **{str(self.leaving): state})


Edit = Callable[[int, Call], "Tensor | None"]
"""Sees the call of block k; the state it returns goes on in the place of the block's own."""


def submodules(network: nn.Module, blocks: Sequence[str]) -> tuple[nn.Module, ...]:
    """The blocks of an unwrapped network; their paths may begin with those of wrappers.

    Raises:
        InputError: fewer than 2 blocks, one named twice, or one that is not there.
    """
    if len(blocks) < 2 or len(set(blocks)) < len(blocks):
        raise checks.InputError(f"blocks: expected at least 2 different ones, found {list(blocks)}")
    known = dict(network.named_modules())
    wrappers = {"module", "_orig_mod"}
    found = []
    for path in blocks:
        parts = path.split(".")
        while path not in known and parts and parts[0] in wrappers:
            parts = parts[1:]
            path = ".".join(parts)
        checks.one_of("block", path, known)
        found.append(known[path])
    return tuple(found)


@contextmanager
def observing(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients and compiled calls; all is as before afterwards, the state of random numbers too."""
    import torch

    modes = {part: (part.training, part._compiled_call_impl) for part in network.modules()}
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # it runs past the blocks' hooks
        for part in modes:
            part.training, part._compiled_call_impl = False, None  # a compiled call would trace the hooks
        with torch.no_grad(), torch.random.fork_rng(devices=sorted(devices, key=str)):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for part, mode in modes.items():
            part.training, part._compiled_call_impl = mode


def forward(network: nn.Module, blocks: Mapping[str, nn.Module], *, batch: Any, edit: Edit) -> Any:
    """One forward pass, in which `edit` is called at every block.

    Args:
        network: not wrapped.
        blocks: name -> block, in the order of depth.
        batch: a tensor, a tuple or list of positional arguments, or a mapping of keyword arguments.
        edit: see `Edit`.

    Raises:
        InputError: the network cannot run on the batch; a block was not called, was called more than once or in another order, or hands on
            no tensor of the shape it takes.
    """
    called: list[int] = []
    names = list(blocks)
    with ExitStack() as hooks:
        for k, block in enumerate(blocks.values()):
            hook = _hook(k, names=names, called=called, edit=edit)
            hooks.callback(block.register_forward_hook(hook, with_kwargs=True).remove)
        result = _run(network, batch)
    missing = [name for k, name in enumerate(names) if k not in called]
    if missing:
        raise checks.InputError(
            f"blocks: expected all to be called on this batch, found {', '.join(missing)} not called"
        )
    return result


def tensor_of(result: Any) -> Tensor | None:
    """The first tensor of real numbers with an axis of samples in what a network returned: not a loss."""
    import torch

    if isinstance(result, torch.Tensor):
        return result if result.is_floating_point() and result.dim() else None
    for part in _parts(result).values():
        found = tensor_of(part)
        if found is not None:
            return found
    return None


def _run(network: nn.Module, batch: Any) -> Any:
    try:
        if isinstance(batch, Mapping):
            return network(**batch)
        return network(*batch) if isinstance(batch, tuple | list) else network(batch)
    except checks.InputError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0] if said else 'no message'}"
        raise checks.InputError(
            f"batch: expected one that the network runs on, found that it raises {reason}"
        ) from error


def _hook(k: int, *, names: list[str], called: list[int], edit: Edit) -> Callable[..., Any]:
    def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if k in called:
            raise checks.InputError(
                f"{names[k]}: expected one call in a forward pass, found a second: steps of a recurrence that share their weights are no "
                "layers of a depth"
            )
        if k != len(called):
            raise checks.InputError(f"blocks: expected {names[len(called)]} to be called next, found {names[k]} called")
        called.append(k)
        call = _located(names[k], Call(block, args, kwargs, output, 0, None))
        state = edit(k, call)
        return None if state is None else call.replaced(state)

    return hook


def _located(name: str, call: Call) -> Call:
    """The same call with the places of the state: of the first argument that the output has a tensor of equal shape for."""
    entering: dict[int | str, Any] = dict(enumerate(call.args)) | dict(call.kwargs)
    places = sorted(
        entering, key=lambda place: place != "hidden_states"
    )  # what transformers call it; the others keep their order
    entries = {place: entering[place] for place in places if _is_state(entering[place])}
    leaving = {place: part for place, part in _parts(call.output).items() if _is_state(part)}
    for entry, before in entries.items():
        for place, after in leaving.items():
            if before.shape == after.shape:
                return dataclasses.replace(call, entry=entry, leaving=place)
    shapes = [[tuple(tensor.shape) for tensor in side.values()] for side in (entries, leaving)]
    raise checks.InputError(
        f"{name}: expected an output of the shape of an input, found inputs {shapes[0]}, outputs {shapes[1]}"
    )


def _is_state(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() >= 2


def _parts(value: Any) -> dict[Any, Any]:
    """Place -> what stands there."""
    import torch

    if isinstance(value, torch.Tensor):
        return {None: value}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return {}
