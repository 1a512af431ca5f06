"""How a stack is evaluated and differentiated. `reference` is the oracle; `select` chooses.

A new engine is one class with one row in `ENGINES`; branches name the kernel that a fast engine knows them by.
"""

from __future__ import annotations

import torch

from deeplimit import checks
from deeplimit.branches import Branch
from deeplimit.engines.engine import Engine
from deeplimit.engines.fused import TorchEngine
from deeplimit.engines.reference import ReferenceEngine

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (TorchEngine(), ReferenceEngine())}
"""The engines by name, the fastest first: `auto` takes the first that supports the branch."""


def select(name: str, branch: Branch) -> Engine:
    """The engine of that name, or with `auto` the fastest that can run the branch here.

    Under a transform of torch.func and in forward mode only the reference engine can run, whatever is asked for.

    Raises:
        InputError: no engine has that name, or it cannot run the branch.
    """
    checks.one_of("engine", name, ("auto", *ENGINES))
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0:
        return ENGINES["reference"]
    if name == "auto":
        return next(engine for engine in ENGINES.values() if engine.supports(branch))
    if not ENGINES[name].supports(branch):
        raise checks.InputError(
            f"engine: expected one that runs {type(branch).__name__} (reference does, or auto), found {name!r}"
        )
    return ENGINES[name]


__all__ = ["ENGINES", "Engine", "ReferenceEngine", "TorchEngine", "select"]
