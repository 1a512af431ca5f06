"""Claims of the studies of limits by name, rows that follow a power law, and a small task."""

from __future__ import annotations

from typing import Any

import polars as pl

from deeplimit.branches import Tanh
from deeplimit.claims import judge
from deeplimit.papers.cohen2021.limits import STUDIES
from deeplimit.papers.cohen2021.limits.convergence import DEPTHS, Convergence

CLAIMS = {claim.id: claim for study in STUDIES for claim in study.claims}


def ruling(name: str, rows: pl.DataFrame) -> str:
    return judge(CLAIMS[f"cohen2021.{name}"], rows, tier="quick").ruling


def power_laws(quantity: str, exponent: float, seeds: int = 5, **columns: object) -> pl.DataFrame:
    """One power law in depth per seed."""
    return pl.DataFrame(
        [
            {"quantity": quantity, "depth": L, "seed": seed, "value": (1.0 + seed) * L**exponent, **columns}
            for seed in range(seeds)
            for L in DEPTHS
        ]
    )


def tells_rates_apart(name: str, right: pl.DataFrame) -> None:
    """A claim agrees with these rows, denies a rate that is off by 0.4, and asks for 5 seeds."""
    assert ruling(name, right) == "reproduced"
    assert ruling(name, right.with_columns(pl.col("value") * pl.col("depth") ** 0.4)) == "not reproduced"
    assert ruling(name, right.filter(pl.col("seed") < 4)) == "undecided"


def small(activation=None, **fields) -> Convergence:
    facts: dict[str, Any] = {
        "alpha": 0.0,
        "beta": 1.0,
        "noise": 0.4,
        "limits": ("sde",),
        "seeds": (0, 1, 2),
        "paths": 6,
        "state": 2,
    }
    sizes: dict[str, Any] = {"depths": (8, 16, 32, 64), "steps": 512}
    return Convergence(activation or Tanh(), **{**facts, **sizes, **fields})
