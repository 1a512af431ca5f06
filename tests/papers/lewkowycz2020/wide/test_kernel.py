from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from tests.papers.lewkowycz2020.wide.cases import power_law, rows, ruling

RELU: dict[str, Any] = {"kind": "ReLU", "clock": 0.5, "iteration": 200}


@pytest.mark.parametrize(
    ("name", "quantity", "columns"),
    [
        ("kernel.exponent", "kernel.gap", {"layers": 2}),
        ("kernel.exponent-linear", "kernel.gap", {"layers": 2, "kind": "linear"}),
        ("degree.exponent", "kernel.gap", {"layers": 3, "clock": 0.3}),
        ("function.exponent-linear", "gap.steps.train", {"layers": 2, "kind": "linear"}),
        ("function.exponent-kinks", "gap.steps.train", {"layers": 2}),
    ],
)
def test_claims_on_exponents_tell_rates_apart(name, quantity, columns):
    assert ruling(name, power_law(quantity, -1.0, **{**RELU, **columns})) == "reproduced"
    assert ruling(name, power_law(quantity, -0.5, **{**RELU, **columns})) == "not reproduced"


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("kernel.within", "kernel.gap"),
        ("kernel.rotation", "rotation"),
        ("function.train", "gap.train"),
        ("function.test", "gap.test"),
    ],
)
def test_claims_on_distances_can_fail(name, quantity):
    assert ruling(name, rows(quantity, 1e-4, layers=2, width=4096, **RELU)) == "reproduced"
    assert ruling(name, rows(quantity, 0.2, layers=2, width=4096, **RELU)) == "not reproduced"
    with_few = rows(quantity, 1e-4, seeds=4, layers=2, width=4096, **RELU)
    assert ruling(name, with_few) == "undecided"


def test_the_widest_network_is_followed_for_longer():
    columns: dict[str, Any] = {**RELU, "layers": 2, "width": 16384, "clock": 1.5}
    near, far = (rows("kernel.gap", value, **columns) for value in (0.01, 0.3))
    assert ruling("kernel.longer", near) == "undecided"
    assert ruling("kernel.longer", near, "paper") == "reproduced"
    assert ruling("kernel.longer", far, "paper") == "not reproduced"


def test_the_claim_on_the_rate_of_three_layers_tells_degrees_apart():
    for rate, expected in ((4.0, "reproduced"), (2.0, "not reproduced")):
        found = pl.concat(
            [rows("kernel", math.exp(-rate * t), layers=3, width=8, clock=t) for t in (0.0, 0.05, 0.125, 0.3)]
        )
        assert ruling("degree.rate", found) == expected


def test_the_claims_on_kinks_can_fail():
    for where, right, wrong in (("train", -0.1, 0.1), ("test", 0.001, -0.2)):
        for value, expected in ((right, "reproduced"), (wrong, "not reproduced")):
            columns: dict[str, Any] = {
                "kind": "first steps",
                "clock": 0.025,
                "iteration": 10,
                "layers": 2,
                "width": 4096,
            }
            assert ruling(f"kinks.{where}", rows(f"diagonal.{where}", value / 64, **columns)) == expected
