"""The `torch` engine: the perceptron and both branches with one matrix, with a backward pass written by hand.

All are one layer, f(h) = γ · (V σ(W h + b) + c), V or W being the identity where there is one matrix. With p_k = ∂ℓ/∂h_k the backward
recursion (Marion et al. 2024, proof of Proposition 7 and section 4; docs/algorithms.md, algorithm 2) is

    g_k = γ_{k+1} V_{k+1}ᵀ p_{k+1} ⊙ σ′(z_k),   p_k = p_{k+1} + W_{k+1}ᵀ g_k

and the gradients of all layers' weights are batched products over the stacked p, g, σ(z) and h. So a layer costs three small matrix
products and one activation each way, written straight into stacked buffers: no graph, no allocation, no per-layer weight gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deeplimit.branches import Activation, Branch, OneMatrix, OuterMatrix, Perceptron
from deeplimit.engines.engine import Engine, Theta, differentiable_gradient, is_ensemble, layered
from deeplimit.engines.reference import ReferenceEngine
from deeplimit.engines.workspace import Workspace


@dataclass(frozen=True)
class Layers:
    """The layers of a stack in the common form, depth first; factors are folded into the weights.

    Shapes, with an axis E after L in an ensemble: W `[L, m, q]`, V `[L, q, m]`, b `[L, 1, m]`, c `[L, 1, q]`, gain `[L, 1, 1]`.
    """

    activation: Activation
    W: Tensor
    V: Tensor | None = None
    b: Tensor | None = None
    c: Tensor | None = None
    gain: Tensor | None = None


class TorchEngine(Engine):
    """Hand-written backward pass on stacked buffers; the buffers are kept between calls of the same sizes."""

    name = "torch"

    def __init__(self) -> None:
        self.workspace = Workspace()

    def supports(self, branch: Branch, like: Tensor | None = None) -> bool:
        """The perceptron and the branches with one matrix."""
        return type(branch) in (Perceptron, OneMatrix, OuterMatrix)  # a subclass may compute something else

    def final(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """The last state; its gradient is the hand-written one."""
        if isinstance(branch, OuterMatrix):
            branch, theta = branch.as_perceptron(theta)
        if is_ensemble(branch, h) and len(h) == 1:  # plain matrix products are quicker than batched ones of one member
            return self.final(branch, h[0], {role: t[0] for role, t in theta.items()}, scale).unsqueeze(0)
        roles = tuple(theta)
        last: Tensor = _Stack.apply((self, branch, scale, roles), h, *(theta[role] for role in roles))  # type: ignore[no-untyped-call]
        return last

    def release(self) -> None:
        """Free the buffers."""
        self.workspace.clear()

    def states(self, branch: Branch, h: Tensor, theta: Theta, scale: float) -> Tensor:
        """All states; the buffer is the caller's."""
        with torch.no_grad():
            return self.forward(Workspace(), _layers(branch, h, theta, scale), h)[0]

    def forward(self, workspace: Workspace, layers: Layers, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States H `[L+1, …, n, q]`, slopes σ′(z) and activations σ(z) `[L, …, n, m]`."""
        depth, width = layers.W.shape[0], layers.W.shape[-2]
        H = workspace.take((depth + 1, *h.shape), h)
        S = workspace.take((depth, *h.shape[:-1], width), h)
        A = workspace.take((depth, *h.shape[:-1], width), h)
        H[0] = h
        matmul, addmm = _products(h)
        states = H.unbind(0)
        activate = layers.activation.in_place
        for W, b, z, a, old, new, add in zip(
            layers.W.mT.unbind(0),
            _optional(layers.b, depth),
            S.unbind(0),
            A.unbind(0),
            states,
            states[1:],
            _increments(layers, addmm),
            strict=False,
        ):
            if b is None:
                matmul(old, W, out=z)
            else:
                addmm(b, old, W, out=z)
            activate(z, a)
            add(old, a, new)
        return H, S, A

    def backward(self, workspace: Workspace, layers: Layers, slopes: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """The costates P `[L+1, …, n, q]`, and the gradients g of the pre-activations, which overwrite the slopes."""
        depth = layers.W.shape[0]
        P = workspace.take((depth + 1, *p.shape), p)
        P[depth] = p
        matmul, addmm = _products(p)
        costates = P.unbind(0)
        outer, pull = (layers.gain, torch.mul) if layers.V is None else (layers.V, matmul)
        assert outer is not None
        backwards = (
            reversed(t) for t in (layers.W.unbind(0), outer.unbind(0), slopes.unbind(0), costates[1:], costates[:-1])
        )
        for W, V, g, new, old in zip(*backwards, strict=True):
            g.mul_(pull(new, V))
            addmm(new, g, W, out=old)
        return P, slopes


def _layers(branch: Branch, h: Tensor, theta: Theta, scale: float) -> Layers:
    """Bring a known branch into the common form."""
    if isinstance(branch, OuterMatrix):
        branch, theta = branch.as_perceptron(theta)
    stacked = layered(branch, theta, ensemble=is_ensemble(branch, h))
    bias = stacked["b"].unsqueeze(-2) if "b" in stacked else None
    if isinstance(branch, Perceptron):
        c = scale * stacked["c"].unsqueeze(-2) if "c" in stacked else None
        return Layers(
            branch.activation,
            _scaled(stacked["W"], branch.inner_factor),
            scale * branch.outer_factor * stacked["V"],
            bias,
            c,
        )
    assert isinstance(branch, OneMatrix)
    return Layers(branch.activation, stacked["A"], b=bias, gain=_gain(branch, stacked, theta, scale))


def _scaled(weights: Tensor, factor: float) -> Tensor:
    return weights if factor == 1.0 else factor * weights


def _gain(branch: OneMatrix, stacked: Theta, theta: Theta, scale: float) -> Tensor:
    """The factor in front of σ in each layer, scale · δ, as `[L, (E,) 1, 1]`."""
    A = stacked["A"]
    if branch.delta == "layer":
        return scale * stacked["delta"][..., None, None]
    if branch.delta == "shared":
        return (scale * theta["delta"][..., None, None]).expand(*A.shape[:-2], 1, 1)
    return A.new_full((1,) * A.dim(), scale).expand(*A.shape[:-2], 1, 1)


def _products(h: Tensor) -> tuple[Any, Any]:
    """The matrix products for one network or for an ensemble."""
    return (torch.bmm, torch.baddbmm) if h.dim() == 3 else (torch.mm, torch.addmm)


def _optional(tensor: Tensor | None, depth: int) -> Any:
    return (None,) * depth if tensor is None else tensor.unbind(0)


def _increments(layers: Layers, addmm: Any) -> Any:
    """For each layer the function (h, a, out) that writes h + γ (V a + c) to out."""
    if layers.V is None:
        assert layers.gain is not None
        return [lambda h, a, out, g=g: torch.addcmul(h, a, g, out=out) for g in layers.gain.unbind(0)]
    if layers.c is None:
        return [lambda h, a, out, V=V: addmm(h, a, V, out=out) for V in layers.V.mT.unbind(0)]
    pairs = zip(layers.V.mT.unbind(0), layers.c.unbind(0), strict=True)
    return [lambda h, a, out, V=V, c=c: addmm(h, a, V, out=out).add_(c) for V, c in pairs]


def _weight_gradients(
    branch: Branch, saved: tuple[Tensor, Tensor, Tensor, Tensor], theta: Theta, scale: float
) -> dict[str, Tensor]:
    """Gradients of all layers' parameters, depth first, from the stacked H, g, σ(z) and P: one batched product per matrix."""
    H, G, A, P = saved
    before, after = H[:-1], P[1:]
    if isinstance(branch, Perceptron):
        grads = {"V": scale * branch.outer_factor * (after.mT @ A), "W": branch.inner_factor * (G.mT @ before)}
        return grads | {"b": G.sum(-2), "c": scale * after.sum(-2)} if branch.bias else grads
    grads = {"A": G.mT @ before}
    if "b" in theta:
        grads["b"] = G.sum(-2)
    if "delta" in theta:
        delta = scale * (after * A).sum((-2, -1))
        grads["delta"] = delta if "delta" in branch.shapes else delta.sum(0)
    return grads


class _Stack(torch.autograd.Function):
    """The whole stack as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, call: tuple[TorchEngine, Branch, float, tuple[str, ...]], h: Tensor, *theta: Tensor
    ) -> Tensor:
        engine, branch, scale, roles = call
        layers = _layers(branch, h, dict(zip(roles, theta, strict=True)), scale)
        ctx.call, ctx.layers, ctx.buffers = call, layers, engine.forward(engine.workspace, layers, h)
        ctx.save_for_backward(h, *theta)
        last: Tensor = ctx.buffers[0][-1]
        return last.clone()

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor | None, ...]:
        engine, branch, scale, roles = ctx.call
        h, *tensors = ctx.saved_tensors
        theta = dict(zip(roles, tensors, strict=True))
        if torch.is_grad_enabled():
            reference = ReferenceEngine().final
            final = lambda h, *theta: reference(branch, h, dict(zip(roles, theta, strict=True)), scale)  # noqa: E731
            return (None, *differentiable_gradient(final, ctx.saved_tensors, p=p))
        # A second backward pass over a retained graph finds the buffers used up, and runs the stack again.
        H, S, A = ctx.buffers or engine.forward(engine.workspace, ctx.layers, h)
        ctx.buffers = None
        P, G = engine.backward(engine.workspace, ctx.layers, S, p)
        grads = _weight_gradients(branch, (H, G, A, P), theta, scale)
        if is_ensemble(branch, h):
            grads = {role: g.transpose(0, 1) if role in branch.shapes else g for role, g in grads.items()}
        first = P[0].clone()
        engine.workspace.give(H, G, A, P)
        return (None, first, *(grads[role] for role in roles))
