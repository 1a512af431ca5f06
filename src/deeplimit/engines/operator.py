"""The stack as a custom operator of PyTorch, `torch.ops.deeplimit.stack`, whose kernels are the extension built from native/.

    h_{k+1} = h_k + scale · (outer · V σ(inner · W h + b) + c),   or without V   h_{k+1} = h_k + scale · δ σ(W h + b)

Arguments: h `[n, q]`, W `[L, m, q]`, V `[L, q, m]`, b `[L, m]`, c `[L, q]`, delta `[L]` or `[]`, each with a leading axis E in an ensemble,
those from V on or None; the name of σ; the numbers (negative slope of a leaky σ, inner, outer, scale); and how many layers lie between two
states that are kept for the backward pass (1: all are, 0: none is). Results: h_L, and the states that were kept as one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from deeplimit import checks
from deeplimit.branches import GELU, Activation, Identity, LeakyReLU, ReLU, ShiftedSoftplus, SiLU, Tanh

try:
    import deeplimit.engines._native as _native
except ImportError as error:  # installed without a compiler: the other engines serve
    MISSING = f"the extension was not built ({error})"
else:
    MISSING = ""

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
PRECISIONS = (torch.float32, torch.float64)

Shape = tuple[int, ...]
Parameters = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""W, V, b, c, delta."""

# Below this size, PyTorch's own allocation costs less than a call of the extension.
_LARGE = 1 << 20


def fresh(like: Tensor) -> Tensor:
    """A tensor of the shape, precision and device of another, with undefined content.

    A large one is a block that an earlier tensor gave back. Fresh pages of the system cost more than the arithmetic on them: a training
    step that makes its new parameters this way is up to twice as fast.
    """
    return empty(like.shape, like)


def empty(shape: Shape, like: Tensor) -> Tensor:
    """`fresh`, of another shape."""
    size = like.element_size()
    for length in shape:
        size *= length
    if MISSING or size < _LARGE or like.device.type != "cpu" or like.dtype not in PRECISIONS:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    return _native.empty32(list(shape)) if like.dtype == torch.float32 else _native.empty64(list(shape))


def blocks_in_use() -> tuple[int, int]:
    """Bytes of large tensors and working memory that the engine holds now, and the most since `reset_peak`."""
    return (0, 0) if MISSING else _native.memory()[:2]


def reset_peak() -> None:
    """Count the most bytes in use from here."""
    if not MISSING:
        _native.reset_peak()


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


def _dense(t: Tensor) -> Tensor:
    """The numbers as the kernels read them: row by row, and with their own signs."""
    return (t.resolve_neg() if t.is_neg() else t).contiguous()


def _addresses(tensors: tuple[Tensor | None, ...]) -> Any:
    return tuple(0 if t is None else t.data_ptr() for t in tensors)


def _kernel_options(h: Tensor, delta: Tensor | None, name: str) -> tuple[bool, int]:
    """Whether δ is shared by the layers, and the number of σ."""
    return delta is not None and delta.dim() == h.dim() - 2, NAMES.index(checks.one_of("activation", name, NAMES))


def _four(numbers: list[float]) -> list[float]:
    if len(numbers) != 4:
        raise checks.InputError(f"numbers: expected 4, found {len(numbers)}")
    return numbers


def _kept_size(h: Tensor, sizes: tuple[int, int, int, int, int], interval: int) -> int:
    """Numbers in the block of states that are kept."""
    if h.dtype not in PRECISIONS:
        raise checks.InputError(f"stack: expected float32 or float64, found {h.dtype}")
    if sizes[1] < 1:
        raise checks.InputError("stack: expected at least one layer, found none")
    if interval < 0:
        raise checks.InputError(f"interval: expected a number of at least 0, found {interval}")
    return (_native.kept_size32 if h.dtype == torch.float32 else _native.kept_size64)(sizes, interval)


def _stack(h: Tensor, *call: Any) -> tuple[Tensor, Tensor]:
    *given, name, numbers, interval = call
    parameters: Any = tuple(t if t is None else _dense(t) for t in given)
    h = _dense(h)
    sizes = _sizes(h, parameters)
    last, kept = torch.empty_like(h), empty((_kept_size(h, sizes, interval),), h)
    run = _native.forward32 if h.dtype == torch.float32 else _native.forward64
    options = (*_kernel_options(h, parameters[4], name), _four(numbers), interval, torch.get_num_threads())
    run(_addresses((h, last, kept)), sizes, _addresses(parameters), *options)
    return last, kept


def _stack_backward(p: Tensor, kept: Tensor, *call: Any) -> list[Tensor]:
    *given, name, numbers, interval = call
    parameters: Any = tuple(t if t is None else _dense(t) for t in given)
    p = _dense(p)
    sizes = _sizes(p, parameters)
    gradients = tuple(None if t is None else fresh(t) for t in parameters)
    first = torch.empty_like(p)
    run = _native.backward32 if p.dtype == torch.float32 else _native.backward64
    if interval < 1:
        raise checks.InputError(f"interval: expected a number of at least 1 for a gradient, found {interval}")
    kept = kept.contiguous()
    _expect("kept", kept, shape=(_kept_size(p, sizes, interval),), like=p)  # another instruction set pads otherwise
    options = (*_kernel_options(p, parameters[4], name), _four(numbers), interval, torch.get_num_threads())
    run(_addresses((p, kept, first)), _addresses(gradients), sizes, _addresses(parameters), *options)
    return [first, *(g for g in gradients if g is not None)]


# The operator --------------------------------------------------------------------------------------------------------


def stack(*call: Any) -> tuple[Tensor, Tensor]:
    """`torch.ops.deeplimit.stack`; on plain tensors without the dispatcher, whose hops cost as much as two layers each."""
    if not _is_plain(call[0]):
        found: tuple[Tensor, Tensor] = torch.ops.deeplimit.stack(*call)
        return found
    differentiate = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call[:6])
    return _Stack.apply(*call) if differentiate else _stack(*call)


def _is_plain(tensor: Tensor) -> bool:
    """Whether this is a tensor with numbers, and nothing is being traced."""
    return type(tensor) is Tensor and not torch.compiler.is_compiling() and not tensor.is_neg()


class _Stack(torch.autograd.Function):
    """The operator as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *call: Any) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            last, kept = (_stack if _is_plain(call[0]) else torch.ops.deeplimit.stack)(*call)
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
            return (*_differentiable(inputs, ctx.rest, p), *NOT_TENSORS)
        pull = _stack_backward if _is_plain(p) else torch.ops.deeplimit.stack_backward
        grads = iter(pull(p, kept, *inputs[1:], *ctx.rest))
        return (*(None if t is None else next(grads) for t in inputs), *NOT_TENSORS)


NOT_TENSORS = (None, None, None)
"""The gradients of activation, numbers and interval."""


def _differentiable(inputs: list[Tensor | None], rest: Any, p: Tensor) -> Iterator[Tensor | None]:
    """The gradients as differentiable functions, for `create_graph`: by autograd through the operator's definition."""
    inputs = [t if t is None else t.view_as(t) for t in inputs]  # nodes of their own: an input may depend on another
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(_defined(inputs, *rest[:2]), wanted, p, create_graph=True))
    return (next(found) if t is not None and t.requires_grad else None for t in inputs)


def _defined(inputs: Any, name: str, numbers: list[float]) -> Tensor:
    """What the operator computes of h, W, V, b, c and delta, in plain PyTorch."""
    h, W, V, b, c, delta = inputs
    slope, inner, outer, scale = numbers
    σ = next(kind for kind, known in ACTIVATIONS.items() if known == name)
    activation = LeakyReLU(slope) if σ is LeakyReLU else σ()
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
