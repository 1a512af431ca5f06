"""How a stack is evaluated and differentiated. `reference` is the oracle; `select` chooses.

A new engine is one class with one row in `ENGINES`; branches name the kernel that a fast engine knows them by.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deeplimit import checks
from deeplimit.branches import Branch
from deeplimit.engines.engine import Engine
from deeplimit.engines.extension import blocks_in_use, fresh, reset_peak
from deeplimit.engines.fused import TorchEngine
from deeplimit.engines.native import NativeEngine
from deeplimit.engines.reference import ReferenceEngine
from deeplimit.engines.triton import TritonEngine

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (NativeEngine(), TritonEngine(), TorchEngine(), ReferenceEngine())
}
"""The engines by name, the fastest first: `auto` takes the first that supports the branch."""

_WITH_WAYS = (NativeEngine, TritonEngine)


def named(name: str) -> Engine | None:
    """The engine of a name, which may say how: `native:store`, `native:recompute`, `native:recompute=64`, `triton:tf32`; None for `auto`.

    Raises:
        InputError: no engine has that name, it does not know this way, or it is not there.
    """
    kind, colon, way = name.partition(":")
    checks.one_of("engine", kind, ("auto", *ENGINES))
    if kind == "auto" and not colon:
        return None
    engine = ENGINES.get(kind)
    if colon and not isinstance(engine, _WITH_WAYS):
        raise checks.InputError(f"engine: expected a way of working with native or triton alone, found {name!r}")
    if engine is not None and engine.missing:
        raise checks.InputError(f"engine: expected one that is there, found {name!r}: {engine.missing}")
    return engine.variant(way) if colon and isinstance(engine, _WITH_WAYS) else engine


def select(name: str, branch: Branch, *, like: Tensor | None = None) -> Engine:
    """The engine of that name, or with `auto` the fastest that can run the branch here.

    Under a transform of torch.func and in forward mode only the reference engine can run, whatever is asked for.

    Args:
        name: `auto` or as `named` takes it.
        branch: f.
        like: states of the device and precision in question; None for float32 or float64 on the CPU.

    Raises:
        InputError: no engine has that name, or it cannot run the branch.
    """
    engine = named(name)
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return ENGINES["reference"]
    if engine is None:
        on_cpu = like is None or like.device.type == "cpu"
        own = (engine for engine in ENGINES.values() if engine.on_cpu or not on_cpu)
        return next(engine for engine in own if engine.supports(branch, like))
    if not engine.supports(branch, like):
        where = "" if like is None else f" on {like.dtype} of {like.device}"
        raise checks.InputError(
            f"engine: expected one that runs {type(branch).__name__}{where} (reference does, or auto), found {name!r}"
        )
    return engine


__all__ = [
    "ENGINES",
    "Engine",
    "NativeEngine",
    "ReferenceEngine",
    "TorchEngine",
    "TritonEngine",
    "blocks_in_use",
    "fresh",
    "named",
    "reset_peak",
    "select",
]
