"""Which engines are there, and which of them `auto` takes for what kind of branch, and why: what `deeplimit engines` prints."""

from __future__ import annotations

from dataclasses import dataclass

from deeplimit.branches import Branch, Convolution, FunctionBranch, OneMatrix, Perceptron
from deeplimit.engines import ENGINES, select
from deeplimit.engines.extension import MISSING

if not MISSING:
    from deeplimit.engines import _native

KINDS: dict[str, Branch] = {
    "perceptron": Perceptron(2, 2),
    "one matrix": OneMatrix(2),
    "convolution": Convolution(1, (3, 3)),
    "a branch of one's own": FunctionBranch(lambda h, theta: h @ theta["M"], {"M": (2, 2)}, (2,)),
}
"""A branch of each kind that the choice tells apart, in float32 or float64 on the CPU."""


@dataclass(frozen=True)
class EngineStatus:
    """An engine, and why it cannot run here; empty where it can."""

    name: str
    missing: str


@dataclass(frozen=True)
class InstructionSetStatus:
    """An instruction set that the native engine was compiled for."""

    name: str
    available: bool
    in_use: bool


@dataclass(frozen=True)
class Choice:
    """The engine that `auto` takes for a kind of branch."""

    branch: str
    engine: str
    why: str


@dataclass(frozen=True)
class Listing:
    """All of it; engines and instruction sets the fastest first."""

    engines: tuple[EngineStatus, ...]
    instruction_sets: tuple[InstructionSetStatus, ...]
    auto: tuple[Choice, ...]


def listing() -> Listing:
    """The engines as they are on this machine.

    >>> [choice.engine for choice in listing().auto if choice.branch == "convolution"]
    ['reference']
    """
    engines = tuple(EngineStatus(engine.name, engine.missing) for engine in ENGINES.values())
    return Listing(engines, _instruction_sets(), tuple(_choice(kind, branch) for kind, branch in KINDS.items()))


def _instruction_sets() -> tuple[InstructionSetStatus, ...]:
    if ENGINES["native"].missing:
        return ()
    used = _native.instruction_set()
    return tuple(InstructionSetStatus(name, here, name == used) for name, here in _native.instruction_sets())


def _choice(kind: str, branch: Branch) -> Choice:
    """The choice, explained by the faster engines that were passed over."""
    chosen = select("auto", branch).name
    names = [name for name, engine in ENGINES.items() if engine.on_cpu]
    passed = names[: names.index(chosen)]
    absent = [name for name in passed if ENGINES[name].missing]
    reasons = [f"{name} is not there" for name in absent]
    reasons += [f"{name} does not know this branch" for name in passed if name not in absent]
    return Choice(kind, chosen, ", ".join(reasons) or "the fastest there is")
