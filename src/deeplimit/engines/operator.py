"""The stack as a custom operator of PyTorch, `torch.ops.deeplimit.stack`, whose kernels are the extension built from native/.

    h_{k+1} = h_k + scale · (outer · V σ(inner · W h + b) + c),   or without V   h_{k+1} = h_k + scale · δ σ(W h + b)

Arguments: h `[n, q]`, W `[L, m, q]`, V `[L, q, m]`, b `[L, m]`, c `[L, q]`, delta `[L]` or `[]`, each with a leading axis E in an ensemble,
those from V on or None; the name of σ; the numbers (negative slope of a leaky σ, inner, outer, scale); and how many layers lie between two
states that are kept for the backward pass (1: all are, 0: none is). Results: h_L, and the states that were kept as one block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deeplimit import checks
from deeplimit.branches import GELU, Activation, Identity, LeakyReLU, ReLU, ShiftedSoftplus, SiLU, Tanh
from deeplimit.engines.engine import differentiable_gradient
from deeplimit.engines.extension import MISSING, PRECISIONS, empty, fresh, kernel

ACTIVATIONS: dict[type[Activation], str] = {
    Identity: "identity",
    Tanh: "tanh",
    GELU: "gelu",
    ReLU: "relu",
    LeakyReLU: "leaky_relu",
    SiLU: "silu",
    ShiftedSoftplus: "shifted_softplus",
}
"""The activations that the kernels know, in the order of `Activation` in native/stack.hpp, by their names for the operator."""

NAMES = list(ACTIVATIONS.values())
Shape = tuple[int, ...]
Parameters = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""W, V, b, c, delta."""


def described(activation: Activation) -> tuple[str, float]:
    """The name of an activation and its negative slope, 0 unless it is leaky: how the kernels know it.

    >>> described(LeakyReLU(0.2))
    ('leaky_relu', 0.2)
    """
    return ACTIVATIONS[type(activation)], activation.negative_slope if isinstance(activation, LeakyReLU) else 0.0


def activation_of(name: str, slope: float) -> Activation:
    """The activation that `described` names so."""
    kind = next(kind for kind, known in ACTIVATIONS.items() if known == name)
    return LeakyReLU(slope) if kind is LeakyReLU else kind()


# The kernels ---------------------------------------------------------------------------------------------------------


def _sizes(h: Tensor, parameters: Parameters) -> tuple[int, int, int, int, int]:
    """E, L, n, q, m.

    Raises:
        InputError: a tensor whose shape, precision or device does not go with those of h.
    """
    W, V, _, c, delta = parameters
    if h.dim() not in (2, 3) or W.dim() != h.dim() + 1:
        raise checks.InputError(
            f"stack: expected h [n, q] and W [L, m, q], or both with an axis E; found {[*h.shape]}, {[*W.shape]}"
        )
    lead, (n, q), (L, m) = tuple(h.shape[:-2]), h.shape[-2:], W.shape[-3:-1]
    shared = delta is not None and delta.dim() == len(lead)
    shapes = ((L, m, q), (L, q, m), (L, m), (L, q), () if shared else (L,))
    for name, shape, t in zip(("W", "V", "b", "c", "delta"), shapes, parameters, strict=True):
        _expect(name, t, shape=(*lead, *shape), like=h)
    if (delta if V is not None else c) is not None or (V is None and m != q):
        raise checks.InputError("stack: expected c only with V, delta and a square W only without it")
    return (lead[0] if lead else 1), L, n, q, m


def _expect(name: str, t: Tensor | None, *, shape: Shape, like: Tensor) -> None:
    if t is not None and (t.shape != shape or t.dtype != like.dtype or t.device != like.device):
        raise checks.InputError(
            f"stack: expected {name} {[*shape]} in {like.dtype} on {like.device}, "
            f"found {[*t.shape]} in {t.dtype} on {t.device}"
        )


def signed(t: Tensor) -> Tensor:
    """The numbers with their own signs."""
    return t.resolve_neg() if t.is_neg() else t


def dense(t: Tensor) -> Tensor:
    """The numbers as the kernels read them: row by row, and with their own signs."""
    return signed(t).contiguous()


def addresses(tensors: Iterable[Tensor | None]) -> Any:
    """Where the numbers lie; 0 for None."""
    return tuple(0 if t is None else t.data_ptr() for t in tensors)


def _kept_size(h: Tensor, sizes: tuple[int, int, int, int, int], interval: int) -> int:
    """Numbers in the block of states that are kept."""
    if h.dtype not in PRECISIONS:
        raise checks.InputError(f"stack: expected float32 or float64, found {h.dtype}")
    if sizes[1] < 1:
        raise checks.InputError("stack: expected at least one layer, found none")
    if interval < 0:
        raise checks.InputError(f"interval: expected a number of at least 0, found {interval}")
    count: int = kernel("kept_size", h)(sizes, interval)
    return count


@dataclass(frozen=True)
class _Prepared:
    """A call whose arguments fit each other, as the kernels take it.

    Args:
        state: h or p, dense.
        parameters: W, V, b, c, delta, dense or None.
        arguments: sizes, addresses of the parameters, whether δ is shared, the number of σ, numbers, interval, threads.
        kept_size: numbers in the block of states that are kept.
    """

    state: Tensor
    parameters: Parameters
    arguments: tuple[Any, ...]
    kept_size: int


def _prepare(state: Tensor, call: tuple[Any, ...]) -> _Prepared:
    *given, name, numbers, interval = call
    parameters: Any = tuple(t if t is None else dense(t) for t in given)
    state, delta = dense(state), parameters[4]
    sizes = _sizes(state, parameters)
    if len(numbers) != 4:
        raise checks.InputError(f"numbers: expected 4, found {len(numbers)}")
    σ = NAMES.index(checks.one_of("activation", name, NAMES))
    shared = delta is not None and delta.dim() == state.dim() - 2
    options = (shared, σ, numbers, interval, torch.get_num_threads())
    size = _kept_size(state, sizes, interval)
    return _Prepared(state, parameters, (sizes, addresses(parameters), *options), size)


def _stack(h: Tensor, *call: Any) -> tuple[Tensor, Tensor]:
    ready = _prepare(h, call)
    last, kept = torch.empty_like(ready.state), empty((ready.kept_size,), h)
    kernel("forward", h)(addresses((ready.state, last, kept)), *ready.arguments)
    return last, kept


def _stack_backward(p: Tensor, kept: Tensor, *call: Any) -> list[Tensor]:
    ready, kept, interval = _prepare(p, call), kept.contiguous(), call[-1]
    if interval < 1:
        raise checks.InputError(f"interval: expected a number of at least 1 for a gradient, found {interval}")
    _expect("kept", kept, shape=(ready.kept_size,), like=p)  # another instruction set pads otherwise
    first, gradients = torch.empty_like(ready.state), tuple(None if t is None else fresh(t) for t in ready.parameters)
    kernel("backward", p)(addresses((ready.state, kept, first)), addresses(gradients), *ready.arguments)
    return [first, *(g for g in gradients if g is not None)]


# The operator --------------------------------------------------------------------------------------------------------


def stack(*call: Any) -> tuple[Tensor, Tensor]:
    """`torch.ops.deeplimit.stack`; on plain tensors without the dispatcher, whose hops cost as much as two layers each."""
    if not is_plain(call[0]):
        found: tuple[Tensor, Tensor] = torch.ops.deeplimit.stack(*call)
        return found
    keeps = call[-1] > 0  # states for a backward pass
    return _Stack.apply(*call) if keeps and torch.is_grad_enabled() else _stack(*call)


def is_plain(tensor: Tensor) -> bool:
    """Whether this is a tensor with numbers, and nothing is being traced."""
    return type(tensor) is Tensor and not torch.compiler.is_compiling() and not tensor.is_neg()


class _Stack(torch.autograd.Function):
    """The operator as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *call: Any) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            last, kept = (_stack if is_plain(call[0]) else torch.ops.deeplimit.stack)(*call)
        ctx.save_for_backward(kept, *call[:6])
        ctx.rest = call[6:]
        ctx.mark_non_differentiable(kept)
        ctx.set_materialize_grads(False)  # of `kept`: as many zeros as there are states
        return last, kept

    @staticmethod
    def backward(ctx: Any, p: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        kept, *inputs = ctx.saved_tensors
        if p is None:
            return (None,) * (len(inputs) + len(NOT_TENSORS))
        if torch.is_grad_enabled():
            name, numbers, _ = ctx.rest
            grads = differentiable_gradient(lambda *tensors: _defined(tensors, name, numbers), inputs, p=p)
            return (*grads, *NOT_TENSORS)
        pull = _stack_backward if is_plain(p) else torch.ops.deeplimit.stack_backward
        found = iter(pull(p, kept, *inputs[1:], *ctx.rest))
        return (*(None if t is None else next(found) for t in inputs), *NOT_TENSORS)


NOT_TENSORS = (None, None, None)
"""The gradients of activation, numbers and interval."""


def _defined(inputs: Any, name: str, numbers: list[float]) -> Tensor:
    """What the operator computes of h, W, V, b, c and delta, in plain PyTorch."""
    h, W, V, b, c, delta = inputs
    slope, inner, outer, scale = numbers
    activation = activation_of(name, slope)
    for k in range(W.shape[-3]):
        z = inner * (h @ W.select(-3, k).mT)
        f = activation(z if b is None else z + b.select(-2, k).unsqueeze(-2))
        if V is not None:
            f = outer * (f @ V.select(-3, k).mT)
            f = f if c is None else f + c.select(-2, k).unsqueeze(-2)
        elif delta is not None:
            f = (delta if delta.dim() == h.dim() - 2 else delta.select(-1, k))[..., None, None] * f
        h = h + scale * f
    final: Tensor = h
    return final


def _define() -> torch.library.Library:
    """Register the operator, its backward pass and its gradient."""
    parameters = (
        "Tensor W, Tensor? V, Tensor? b, Tensor? c, Tensor? delta, str activation, float[] numbers, int interval"
    )
    library = torch.library.Library("deeplimit", "DEF")
    library.define(f"stack(Tensor h, {parameters}) -> (Tensor, Tensor)")
    library.define(f"stack_backward(Tensor p, Tensor kept, {parameters}) -> Tensor[]")
    library.impl("stack", _stack, "CPU")
    library.impl("stack_backward", _stack_backward, "CPU")
    library.impl("stack", lambda *call: _Stack.apply(*call), "Autograd")
    torch.library.register_fake("deeplimit::stack", _fake, lib=library)
    torch.library.register_fake("deeplimit::stack_backward", _fake_backward, lib=library)
    return library


def _fake(h: Tensor, *call: Any) -> tuple[Tensor, Tensor]:
    """Shapes alone, for torch.compile."""
    sizes: Any = tuple(int(size) for size in _sizes(h, call[:5]))
    kept = h.new_empty(_kept_size(h, sizes, call[7]))
    return torch.empty_like(h, memory_format=torch.contiguous_format), kept


def _fake_backward(p: Tensor, kept: Tensor, *call: Any) -> list[Tensor]:
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (p, *call[:5]) if t is not None]


_LIBRARY = None if MISSING else _define()  # the operator lives as long as this object
