from __future__ import annotations

import itertools
import math

import polars as pl
import pytest

from deeplimit.papers.marion2024.long_time.pl_condition import PL_RATE
from tests.papers.marion2024.long_time.cases import ruling


def mu_rows(slope: float) -> pl.DataFrame:
    """The least ratio of runs, falling with n like a power."""
    cells = itertools.product((12, 16, 24), range(5))
    return pl.DataFrame(
        [
            {"samples": n, "seed": seed, "iteration": 20, "quantity": "pl.min", "value": (1 + seed) * float(n) ** slope}
            for n, seed in cells
        ]
    )


@pytest.mark.parametrize(("slope", "expected"), [(-1.0, "reproduced"), (-3.0, "not reproduced")])
def test_a_constant_that_falls_too_fast_is_refused(slope, expected):
    assert ruling("15.exponent-training", mu_rows(slope)) == expected
    assert ruling("14.no-decay", mu_rows(slope)) == expected


def loss_rows(rate: float) -> pl.DataFrame:
    """A run whose least ratio is 1 and whose loss decays at a rate."""
    common = {"samples": 12, "seed": 0}
    losses = [
        common | {"iteration": t, "quantity": "loss", "value": math.exp(-rate * PL_RATE * t)} for t in (0, 20, 40)
    ]
    return pl.DataFrame([*losses, common | {"iteration": 40, "quantity": "pl.min", "value": 1.0}])


@pytest.mark.parametrize(("rate", "expected"), [(1.1, "reproduced"), (0.9, "not reproduced")])
def test_a_loss_above_its_bound_is_refused(rate, expected):
    assert ruling("14.loss-bound", loss_rows(rate)) == expected
