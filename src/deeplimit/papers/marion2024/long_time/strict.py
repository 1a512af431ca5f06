"""The setting of Theorem 6 that the studies of long training time share, and the form of their claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deeplimit import theory
from deeplimit.branches import Perceptron, Tanh
from deeplimit.claims import Claim, Measured
from deeplimit.data import SpherePairs
from deeplimit.networks import LastCoordinates, Padding, ResidualStack

if TYPE_CHECKING:
    import polars as pl


TANH = theory.ActivationConstants(hermite=-0.1484, degree=3, lipschitz=1.0, bound=1.0)
"""σ = tanh in Prop. 5; beyond the linear coefficient its lowest is the third."""

GELU = theory.ActivationConstants(hermite=0.2992, degree=2, lipschitz=1.1289, bound=1.0)
"""σ = GELU in Prop. 5. It is not bounded: the last number enters δ alone, which is not used here."""


def strict(depth: int, *, inputs: int, width: int) -> ResidualStack:
    """Model (3) as Theorem 6 assumes it: tanh, factors 1/√m and 1/√q, A and B trained, d′ = 1 and q = d + d′."""
    state = inputs + 1
    ends = {"embedding": Padding(inputs, state), "readout": LastCoordinates(state, 1)}
    return ResidualStack(Perceptron(state, width, Tanh()), depth, **ends)  # type: ignore[arg-type]


def strict_data(samples: int, *, inputs: int, target: float) -> SpherePairs:
    """Inputs uniform on the sphere of radius √q, and small targets that have nothing to do with them."""
    return SpherePairs(samples, inputs, 1, radius=math.sqrt(inputs + 1), target_scale=target)


def claim(
    name: str, statement: str, *, quantity: str, measure: Callable[[pl.DataFrame], Measured], **others: Any
) -> Claim:
    """A one-sided claim of the theory: at most 1 unless `others` say otherwise."""
    bound: dict[str, Any] = {"expected": 1.0, "tolerance": 0.0, "source": "theorem", "relation": "at most"}
    return Claim(f"marion2024.{name}", statement, quantity=quantity, measure=measure, **(bound | others))


def largest_of(values: Sequence[float], note: str) -> Measured:
    """The largest of values that must all stay below a bound; the interval is their range."""
    return Measured(max(values), min(values), max(values), len(values), f"largest over {note}; range over the same")


def smallest_of(values: Sequence[float], note: str) -> Measured:
    """The smallest of values that must all stay above a bound; the interval is their range."""
    return Measured(min(values), min(values), max(values), len(values), f"smallest over {note}; range over the same")


def half(samples: int) -> int:
    """d = n/2: it grows like n and stays below it, so that A and B alone cannot interpolate."""
    return samples // 2


def scaled(samples: int) -> float:
    """n √n q at d = n/2: times μ, the constant c4 of Prop. 5."""
    return math.pow(samples, 1.5) * (half(samples) + 1)
