from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.cohen2021.limits.odes import smooth_rate
from tests.papers.cohen2021.limits.cases import power_laws, ruling, tells_rates_apart


def test_the_rate_of_the_trend_is_the_lesser_of_two():
    assert [smooth_rate(alpha) for alpha in (0.3, 0.5, 0.8)] == pytest.approx([1.0, 1.0, 0.4])


@pytest.mark.parametrize(
    ("name", "quantity", "rate", "columns"),
    [
        ("3.neural-h2", "error.neural", 1.0, {"hypothesis": "H2"}),
        ("4.trend-0.8", "error.linear", 0.4, {"hypothesis": "H1", "alpha": 0.8}),
        ("4.noise-0.3", "error.linear", 0.3, {"hypothesis": "H2", "alpha": 0.3}),
        ("4.noise-alone-0.8", "error.linear", 0.8, {"hypothesis": "noise alone", "alpha": 0.8}),
    ],
)
def test_claims_on_rates_tell_them_apart(name, quantity, rate, columns):
    tells_rates_apart(name, power_laws(quantity, -rate, **columns))


@pytest.mark.parametrize(("ratio", "expected"), [(1.02, "reproduced"), (0.3, "not reproduced")])
def test_a_plateau_is_the_distance_of_the_limits(ratio, expected):
    facts = {"hypothesis": "H1", "alpha": 0.5}
    rows = [
        {"quantity": quantity, "depth": depth, "seed": seed, "value": (1 + seed) * value * (1 + 1e-3 * seed), **facts}
        for seed in range(5)
        for quantity, depth, value in (("error.neural", 1024, ratio), ("distance.limits", None, 1.0))
    ]
    assert ruling("4.plateau-0.5", pl.DataFrame(rows)) == expected
