"""The studies of long training time by name, their rulings on rows, and a short run."""

from __future__ import annotations

import polars as pl

from deeplimit.claims import Claim, Ruling, judge
from deeplimit.measures import At, Loss, PLRatio
from deeplimit.papers.marion2024 import long_time
from deeplimit.papers.marion2024.long_time.strict import strict, strict_data
from deeplimit.study import Study
from deeplimit.training import GradientFlow, TrainingRun


def study(name: str) -> Study:
    return next(s for s in long_time.STUDIES if s.name == name)


def claim(name: str) -> Claim:
    return next(c for s in long_time.STUDIES for c in s.claims if c.id == f"marion2024.{name}")


def ruling(name: str, rows: pl.DataFrame, tier: str = "paper") -> Ruling:
    return judge(claim(name), rows, tier=tier).ruling


def run_of(samples: int, inputs: int, *, width: int, target: float, rate: float, iterations: int) -> TrainingRun:
    return TrainingRun(
        networks=(strict(3, inputs=inputs, width=width),),
        data=strict_data(samples, inputs=inputs, target=target),
        optimizer=GradientFlow(rate),
        iterations=iterations,
        measures=(Loss(At((0, iterations))), PLRatio(At((0,)))),
        seeds=(0, 1),
    )
