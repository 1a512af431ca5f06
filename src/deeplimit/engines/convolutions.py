"""Stacks of residual layers of two convolutions with batch normalisation, over the whole depth.

    h_{k+1} = h_k + scale · N₂(V_{k+1} ∗ σ(N₁(W_{k+1} ∗ h_k + b) + c)),    k = 0 … L − 1

with 3 × 3 kernels, stride 1 and zero padding. N normalises each channel over the batch and the pixels, and is not there where θ has no
roles of it. This is the layer of the convolutional network of Marion et al. 2024, section 5.2.

The native engine computes the convolutions by F(2 × 2, 3 × 3) of Winograd's minimal filtering, sample by sample in the inner caches, with
the normalisations fused into what reads and writes the maps. Sums over the batch follow an order that does not depend on the number of
threads, so results are the same to the last bit on any number of them.

The channels may fall into groups, each of which meets its own kernels alone: E networks of C channels are one of E·C channels in E groups,
which on a GPU is one network's number of kernel launches instead of E times as many.

`convolution_stack` is a branch apart from those of `deeplimit.branches`: a sample's next state depends on the whole batch, and beside the
last state there are moments of the batch to be kept for evaluation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplimit import checks
from deeplimit.branches import Activation
from deeplimit.engines.engine import differentiable_gradient
from deeplimit.engines.extension import MISSING, PRECISIONS, empty, fresh, kernel
from deeplimit.engines.operator import ACTIVATIONS, NAMES, activation_of, addresses, dense, described, is_plain, signed

EPS: Final = 1e-5
"""What is added to a variance before its root is taken."""

CONVOLUTIONS = ("conv1", "conv2")
NORMS = ("norm1", "norm2")
NORM_ROLES = tuple(f"{norm}.{part}" for norm in NORMS for part in ("scale", "shift"))
ROLES = tuple(
    f"{module}.{part}"
    for pair in zip(CONVOLUTIONS, NORMS, strict=True)
    for module, parts in zip(pair, (("W", "b"), ("scale", "shift")), strict=True)
    for part in parts
)
"""All roles, in the order of the operator."""


def convolution_stack(
    h: Tensor,
    theta: Mapping[str, Tensor],
    *,
    activation: Activation,
    scale: float,
    engine: str = "auto",
    moments: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The last state, differentiable with respect to h and θ, and the moments of the batch.

    Args:
        h: the first state h_0, `[n, C, H, W]`, in any memory format; channels last is the fast one.
        theta: parameters by role: `conv1.W` and `conv2.W` `[L, C, C, 3, 3]`, or `[L, C, C/G, 3, 3]` where the channels fall into G groups;
            if there, `conv1.b` and `conv2.b` `[L, C]`; if there, all of `norm1.scale`, `norm1.shift`, `norm2.scale` and `norm2.shift`,
            `[L, C]` too.
        activation: σ.
        scale: the factor in front of the branch.
        engine: `auto`, `native` (without groups), `reference`, or `reference:bf16`: convolutions and activations in bfloat16, with states,
            parameters and moments in float32.
        moments: None in training, where the moments of the batch normalise; the running ones `[L, 2, 2, C]` in evaluation: of N₁ and
            N₂, mean and variance.

    Returns:
        h_L, channels last in memory; and in training with normalisation the moments of this batch `[L, 2, 2, C]`, with the unbiased
        variance and without a gradient, else None.

    Raises:
        InputError: roles, shapes or sizes that do not fit each other, or an engine that cannot run this.
    """
    checks.one_of("engine", engine, ("auto", "native", "reference", "reference:bf16"))
    groups = _groups(h, theta)
    _check(h, theta, moments, groups)
    tensors = [h, *theta.values(), *(() if moments is None else (moments,))]
    if not takes_native(engine, activation, tensors=tensors, groups=groups):
        with _precision(h, engine):
            return _reference(h, theta, activation=activation, scale=scale, moments=moments)
    folded = theta if moments is None else _folded(theta, moments)
    given = [folded.get(role) for role in ROLES]
    keeps = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (h, *given))
    name, slope = described(activation)
    call = (h, *given, name, [slope, scale, EPS], keeps)
    last, _, found = _apply(*call)
    return last, found if moments is None and NORM_ROLES[0] in theta else None


def _groups(h: Tensor, theta: Mapping[str, Tensor]) -> int:
    """How many groups the kernels leave of the channels; 1 where they do not divide them, which is refused later."""
    kernels = theta.get("conv1.W")
    inputs = kernels.shape[2] if kernels is not None and kernels.dim() == 5 else 0
    fits = h.dim() == 4 and inputs > 0 and h.shape[1] % inputs == 0
    return h.shape[1] // inputs if fits else 1


def _precision(h: Tensor, engine: str) -> contextlib.AbstractContextManager[object]:
    """The context of the variant of the reference.

    Raises:
        InputError: bfloat16 with states of another precision than float32, which would not be touched.
    """
    if not engine.endswith(":bf16"):
        return contextlib.nullcontext()
    if h.dtype != torch.float32:
        raise checks.InputError(f"engine: expected float32 with 'reference:bf16', found {h.dtype}")
    # Nothing is kept of the casts: what a recorded graph has cast must be cast again when it is replayed.
    return torch.autocast(h.device.type, torch.bfloat16, cache_enabled=False)


def takes_native(engine: str, activation: Activation, *, tensors: list[Tensor], groups: int = 1) -> bool:
    """Whether the native engine computes this; under a transform of torch.func and in forward mode only the reference can.

    Raises:
        InputError: it is asked for and cannot.
    """
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return False
    kinds = {(t.dtype, t.device.type) for t in tensors}
    known = type(activation) in ACTIVATIONS and kinds in ({(dtype, "cpu")} for dtype in PRECISIONS)
    able = known and groups == 1 and not MISSING and not torch.is_autocast_enabled("cpu")
    if engine == "native" and not able:
        found = ", ".join([*sorted(f"{dtype} on {device}" for dtype, device in kinds), f"{groups} groups"])
        why = MISSING or f"{type(activation).__name__}, {found}"
        raise checks.InputError(f"engine: expected one that runs this (reference does, or auto), found 'native': {why}")
    return able and not engine.startswith("reference")


def _folded(theta: Mapping[str, Tensor], moments: Tensor) -> dict[str, Tensor]:
    """Kernels and biases that do what a normalisation by given moments does."""
    folded = {}
    for i, (name, norm) in enumerate(zip(CONVOLUTIONS, NORMS, strict=True)):
        mean, variance = moments[:, i].unbind(1)
        factor = theta[f"{norm}.scale"] / (variance + EPS).sqrt()
        bias = theta.get(f"{name}.b")
        folded[f"{name}.W"] = theta[f"{name}.W"] * factor[:, :, None, None, None]
        folded[f"{name}.b"] = theta[f"{norm}.shift"] + factor * (-mean if bias is None else bias - mean)
    return folded


def _check(h: Tensor, theta: Mapping[str, Tensor], moments: Tensor | None, groups: int = 1) -> None:
    """Roles, shapes and sizes."""
    _check_roles(theta)
    if h.dim() != 4:
        raise checks.InputError(f"h: expected shape [n, C, H, W], found {[*h.shape]}")
    L, C, normalised = len(theta["conv1.W"]), h.shape[1], NORM_ROLES[0] in theta
    for role, t in theta.items():
        checks.shape(role, tuple(t.shape), (L, C, C // groups, 3, 3) if role.endswith("W") else (L, C))
    if L < 1 or h.numel() == 0:
        raise checks.InputError(f"stack: expected a layer and a pixel at least, found L = {L} and h {[*h.shape]}")
    if normalised and moments is None and h.numel() == C:
        raise checks.InputError("h: expected more than one pixel in the batch to normalise by, found one")
    if moments is not None:
        checks.shape("moments (none without normalisation)", tuple(moments.shape), (L if normalised else 0, 2, 2, C))


def _check_roles(theta: Mapping[str, Tensor]) -> None:
    """Known roles, no kernel missing, all of the normalisation or nothing of it."""
    for role in theta:
        checks.one_of("role", role, ROLES)
    needed = [f"{name}.W" for name in CONVOLUTIONS]
    needed += NORM_ROLES if any(role in theta for role in NORM_ROLES) else ()
    missing = [role for role in needed if role not in theta]
    if missing:
        raise checks.InputError(f"roles: expected {', '.join(missing)} too, found {', '.join(theta) or 'none'}")


def _reference(
    h: Tensor, theta: Mapping[str, Tensor], *, activation: Activation, scale: float, moments: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The formula, layer by layer, in PyTorch."""
    normalised, found, groups = "norm1.scale" in theta, [], _groups(h, theta)
    h = _channels_last(h)
    # The gradient of unbind is one stack; that of t[k] is as large as t, for every k.
    roles = [_channels_last(t) if role.endswith("W") else t for role, t in theta.items()]
    layers = zip(*(t.unbind() for t in roles), strict=True)
    for k, own in enumerate(layers):
        layer = dict(zip(theta, own, strict=True))
        f = h
        for i in range(2):
            kernels, bias = layer[f"{CONVOLUTIONS[i]}.W"], layer.get(f"{CONVOLUTIONS[i]}.b")
            f = F.conv2d(f, kernels, bias, padding=1, groups=groups)
            if normalised:
                γ, β = layer[f"{NORMS[i]}.scale"], layer[f"{NORMS[i]}.shift"]
                # With momentum 1 the running moments become those of the batch.
                mean, variance = f.new_zeros(2, f.shape[1], dtype=γ.dtype) if moments is None else moments[k, i]
                f = F.batch_norm(f, mean, variance, γ, β, training=moments is None, momentum=1.0, eps=EPS)
                found += [mean, variance]
            if i == 0:
                f = activation(f)
        h = h + scale * f
    if not normalised or moments is not None:
        return h, None
    return h, torch.stack(found).view(-1, 2, 2, h.shape[1])


def _channels_last(t: Tensor) -> Tensor:
    """The numbers of `[…, C, H, W]` with the channels of a pixel side by side in memory, in words that vmap knows."""
    return t.movedim(-3, -1).contiguous().movedim(-1, -3)


# The operator --------------------------------------------------------------------------------------------------------
#
# Its arguments: h, the parameters in the order of ROLES, the name of σ, [slope of leaky ReLU, scale, ε], and whether to keep the maps of
# all layers for a backward pass. It returns h_L, what is kept, and the moments.


def _sizes(state: Tensor, call: tuple[Any, ...]) -> tuple[int, ...]:
    """L, n, C, H, W.

    Raises:
        InputError: arguments that do not fit each other.
    """
    *given, name, numbers, _ = call
    theta = {role: t for role, t in zip(ROLES, given, strict=True) if t is not None}
    _check(state, theta, None)
    for role, t in theta.items():
        if t.dtype != state.dtype or t.device != state.device or t.dtype not in PRECISIONS:
            found = f"{t.dtype} on {t.device} with {state.dtype} on {state.device}"
            raise checks.InputError(f"{role}: expected float32 or float64 as the state has, found {found}")
    checks.one_of("activation", name, NAMES)
    if len(numbers) != 3:
        raise checks.InputError(f"numbers: expected 3, found {len(numbers)}")
    return len(given[0]), *state.shape


def _kept_size(state: Tensor, sizes: tuple[int, ...], keeps: bool) -> int:
    """Numbers in the block of maps that are kept."""
    size: int = kernel("convolution_size", state)(sizes, keeps)
    return size


def _prepare(state: Tensor, call: tuple[Any, ...]) -> tuple[Tensor, list[Tensor | None], tuple[Any, ...]]:
    """The state and the parameters as the kernels read them, and the arguments: sizes, parameters, number of σ, numbers."""
    *given, name, numbers, _ = call
    sizes = _sizes(state, call)
    state = signed(state).contiguous(memory_format=torch.channels_last)
    parameters = [t if t is None else dense(t) for t in given]
    return state, parameters, (sizes, addresses(parameters), NAMES.index(name), numbers)


def _convolve(h: Tensor, *call: Any) -> tuple[Tensor, Tensor, Tensor]:
    h, _parameters, arguments = _prepare(h, call)
    sizes, keeps = arguments[0], call[-1]
    last, kept = torch.empty_like(h), empty((_kept_size(h, sizes, keeps),), h)
    moments = h.new_empty(_moments_shape(sizes, call))
    kernel("convolve", h)(addresses((h, last, kept, moments)), *arguments, keeps, torch.get_num_threads())
    return last, kept if keeps else kept.new_empty(0), moments


def _moments_shape(sizes: tuple[int, ...], call: tuple[Any, ...]) -> tuple[int, ...]:
    """Nothing without normalisation."""
    normalised = call[ROLES.index(NORM_ROLES[0])] is not None
    return (sizes[0] if normalised else 0, 2, 2, sizes[2])


def _convolve_backward(p: Tensor, kept: Tensor, *call: Any) -> list[Tensor]:
    p, parameters, arguments = _prepare(p, call)
    size = _kept_size(p, arguments[0], True)
    if kept.shape != (size,) or kept.dtype != p.dtype:  # another instruction set pads otherwise
        raise checks.InputError(f"kept: expected [{size}] in {p.dtype}, found {[*kept.shape]} in {kept.dtype}")
    kept = kept.contiguous()
    first, gradients = torch.empty_like(p), [t if t is None else fresh(t) for t in parameters]
    states = addresses((p, kept, first))
    kernel("convolve_backward", p)(states, addresses(gradients), *arguments, torch.get_num_threads())
    return [first, *(g for g in gradients if g is not None)]


def _apply(*call: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.ops.deeplimit.convolve`; on plain tensors without the dispatcher."""
    if not is_plain(call[0]):
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.deeplimit.convolve(*call)
        return found
    return _Convolve.apply(*call) if call[-1] else _convolve(*call)


class _Convolve(torch.autograd.Function):
    """The operator as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *call: Any) -> tuple[Tensor, Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            last, kept, moments = (_convolve if is_plain(call[0]) else torch.ops.deeplimit.convolve)(*call)
        ctx.save_for_backward(kept, *call[:-3])
        ctx.rest = call[-3:]
        ctx.mark_non_differentiable(kept, moments)
        ctx.set_materialize_grads(False)
        return last, kept, moments

    @staticmethod
    def backward(ctx: Any, p: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        kept, *inputs = ctx.saved_tensors
        if p is None:
            return (None,) * (len(inputs) + 3)
        if torch.is_grad_enabled():
            grads = differentiable_gradient(lambda *t: _defined(t, *ctx.rest[:2]), inputs, p=p)
            return (*grads, None, None, None)
        pull = _convolve_backward if is_plain(p) else torch.ops.deeplimit.convolve_backward
        found = iter(pull(p, kept, *inputs[1:], *ctx.rest))
        return (*(None if t is None else next(found) for t in inputs), None, None, None)


def _defined(inputs: Any, name: str, numbers: list[float]) -> Tensor:
    """What the operator computes, in plain PyTorch."""
    h, *given = inputs
    theta = {role: t for role, t in zip(ROLES, given, strict=True) if t is not None}
    activation = activation_of(name, numbers[0])
    return _reference(h, theta, activation=activation, scale=numbers[1], moments=None)[0]


def _fake(h: Tensor, *call: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes alone, for torch.compile."""
    sizes = tuple(int(size) for size in _sizes(h, call))
    kept = h.new_empty(_kept_size(h, sizes, True) if call[-1] else 0)
    return torch.empty_like(h, memory_format=torch.channels_last), kept, h.new_empty(_moments_shape(sizes, call))


def _fake_backward(p: Tensor, kept: Tensor, *call: Any) -> list[Tensor]:
    first = torch.empty_like(p, memory_format=torch.channels_last)
    return [first, *(torch.empty_like(t, memory_format=torch.contiguous_format) for t in call[:-3] if t is not None)]


def _define() -> torch.library.Library:
    """Register the operator, its backward pass and its gradient."""
    parameters = ", ".join(f"Tensor{'' if role.endswith('W') else '?'} {role.replace('.', '_')}" for role in ROLES)
    rest = f"{parameters}, str activation, float[] numbers, bool keeps"
    library = torch.library.Library("deeplimit", "FRAGMENT")
    library.define(f"convolve(Tensor h, {rest}) -> (Tensor, Tensor, Tensor)")
    library.define(f"convolve_backward(Tensor p, Tensor kept, {rest}) -> Tensor[]")
    library.impl("convolve", _convolve, "CPU")
    library.impl("convolve_backward", _convolve_backward, "CPU")
    library.impl("convolve", lambda *call: _Convolve.apply(*call), "Autograd")
    torch.library.register_fake("deeplimit::convolve", _fake, lib=library)
    torch.library.register_fake("deeplimit::convolve_backward", _fake_backward, lib=library)
    return library


_LIBRARY = None if MISSING else _define()  # the operator lives as long as this object
