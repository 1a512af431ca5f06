"""The `triton` engine: the perceptron and both branches with one matrix on a GPU, each walk over the depth as one kernel.

On a GPU the `torch` engine launches several kernels a layer each way, which take longer to launch than to run. Here the loop over
layers is inside the kernel (triton_kernels.py): a block of samples keeps its states in registers from the first layer to the last. The
weight gradients are the batched products of the `torch` engine, in a second pass; the whole engine is that one with other walks
(docs/algorithms.md, algorithm 11).

So far the numbers were compared with the oracle in Triton's interpreter alone, and the kernels compiled for GPUs that were not there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from deeplimit import checks
from deeplimit.branches import Branch
from deeplimit.engines.extension import PRECISIONS
from deeplimit.engines.fused import Layers, TorchEngine
from deeplimit.engines.operator import ACTIVATIONS, dense, described
from deeplimit.engines.workspace import Workspace

ROWS = 16
"""Samples of a program: the fewest that the matrix units take, for the most programs at once."""
LARGEST = (512, 1 << 14)
"""Bytes of a row and of a whole weight matrix, with padding: it is one tile, of which 99 KiB of shared memory hold several."""
PRODUCTS = {"ieee": PRECISIONS, "tf32": (torch.float32,)}
"""How numbers are multiplied, as Triton names it -> the precisions that it is for."""


class TritonEngine(TorchEngine):
    """Kernels that hold the loop over layers, in float32 and float64 on CUDA; on the CPU only in Triton's interpreter, which is for tests.

    States, slopes, activations, costates and gradients of pre-activations of all layers are kept during the backward pass,
    3q + 3m numbers a sample and layer. No sum depends on the order in which programs run.

    Args:
        products: `ieee`, or `tf32`, in which factors have 10 bits of fraction: faster, for float32 alone.
    """

    name = "triton"
    on_cpu = False

    def __init__(self, products: str = "ieee") -> None:
        super().__init__()
        self.products = checks.one_of("products", products, tuple(PRODUCTS))

    def variant(self, text: str) -> TritonEngine:
        """`tf32` or `ieee`."""
        return TritonEngine(text)

    @property
    def missing(self) -> str:
        """No Triton, or nothing to run it on."""
        if importlib.util.find_spec("triton") is None:
            return f"triton is not installed; {checks.extra_command('triton')} installs it, on Linux"
        return "" if torch.cuda.is_available() or _interpreted() else "no GPU that PyTorch's cuda knows"

    @property
    def title(self) -> str:
        """The name with the kind of products, if it is not the usual one."""
        return self.name if self.products == "ieee" else f"{self.name}:{self.products}"

    def supports(self, branch: Branch, like: Tensor | None = None) -> bool:
        """What `torch` does, with the activations of the package and matrices of one tile; not while torch.compile traces."""
        if self.missing or torch.compiler.is_compiling():
            return False
        known = super().supports(branch) and type(branch.activation) in ACTIVATIONS  # type: ignore[attr-defined]
        if like is None:
            return known and _interpreted() and all(self._fits(branch, dtype) for dtype in PRECISIONS)
        here = like.device.type == ("cpu" if _interpreted() else "cuda") and like.numel() > 0
        return known and here and self._fits(branch, like.dtype)

    def forward(self, workspace: Workspace, layers: Layers, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States, slopes and activations, by one kernel."""
        depth, width = layers.W.shape[0], layers.W.shape[-2]
        H = workspace.take((depth + 1, *h.shape), h)
        S, A = (workspace.take((depth, *h.shape[:-1], width), h) for _ in range(2))
        H[0] = h
        sigma, leak = described(layers.activation)
        weights = (layers.W, layers.V, layers.b, layers.c, layers.gain)
        self._launch("forward", H, S, A, *weights, depth=depth, SIGMA=sigma, LEAK=leak)
        return H, S, A

    def backward(self, workspace: Workspace, layers: Layers, slopes: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Costates and gradients of the pre-activations, by one kernel; the slopes stay."""
        depth = len(slopes)
        P, G = workspace.take((depth + 1, *p.shape), p), workspace.take(tuple(slopes.shape), p)
        P[depth] = p
        self._launch("backward", P, G, slopes, layers.W, layers.V, layers.gain, depth=depth)
        return P, G

    def _fits(self, branch: Any, dtype: torch.dtype) -> bool:
        """Whether a matrix is one tile: q, m up to 64, or one up to 128 and the other up to 32; in float64, 64 and 32."""
        q, m = _padded(branch.state), _padded(getattr(branch, "width", branch.state))
        row, whole = (size * dtype.itemsize for size in (max(q, m), q * m))
        return dtype in PRODUCTS[self.products] and row <= LARGEST[0] and whole <= LARGEST[1]

    def _launch(self, kernel: str, *tensors: Tensor | None, **options: Any) -> None:
        """Run a kernel on tensors of which the first is `[L+1, (E,) n, q]` and the second `[L, (E,) n, m]`, on their device."""
        states, hidden = tensors[:2]
        assert states is not None
        assert hidden is not None
        samples, (q, m) = states.shape[-2], (states.shape[-1], hidden.shape[-1])
        members = states.shape[1] if states.dim() == 4 else 1
        sizes = {"q": q, "m": m, "Q": _padded(q), "M": _padded(m), "ROWS": ROWS, "PRECISION": self.products}
        given = [t if t is None else dense(t) for t in tensors]
        run = getattr(_kernels(), kernel)[-(-samples // ROWS), members]
        with torch.cuda.device_of(states):  # type: ignore[no-untyped-call]
            run(*given, samples=samples, **sizes, **options)


def _kernels() -> ModuleType:
    """The kernels, with Triton, which takes a second to import."""
    from deeplimit.engines import triton_kernels

    return triton_kernels


def _interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: decided for good when they are imported."""
    loaded = sys.modules.get("deeplimit.engines.triton_kernels")
    asked = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")
    return asked if loaded is None else asked and loaded.INTERPRETED


def _padded(size: int) -> int:
    """The power of two, 16 or more, that holds a size."""
    return max(16, 1 << (size - 1).bit_length())
