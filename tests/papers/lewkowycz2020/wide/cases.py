"""Claims of the studies of wide networks by name, and rows as their tasks yield them."""

from __future__ import annotations

from typing import Any

import polars as pl

from deeplimit.claims import judge
from deeplimit.papers.lewkowycz2020.wide import STUDIES

CLAIMS = {claim.id: claim for study in STUDIES for claim in study.claims}


def ruling(name: str, rows: pl.DataFrame, tier: str = "quick") -> str:
    return judge(CLAIMS[f"lewkowycz2020.8.{name}"], rows, tier=tier).ruling


def rows(quantity: str, value: float, seeds: int = 8, **columns: Any) -> pl.DataFrame:
    """One row per seed, a little apart."""
    return pl.DataFrame(
        [{"quantity": quantity, "seed": s, "value": value * (1 + s / 1000), **columns} for s in range(seeds)]
    )


def power_law(quantity: str, exponent: float, x: str = "width", **columns: Any) -> pl.DataFrame:
    """One power law in x per seed."""
    return pl.concat([rows(quantity, n**exponent, **{x: n}, **columns) for n in (64, 256, 1024)])
