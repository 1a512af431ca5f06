from __future__ import annotations

import polars as pl
import pytest

from tests.papers.cohen2021.limits.cases import power_laws, ruling, tells_rates_apart


@pytest.mark.parametrize(
    ("name", "quantity", "rate", "columns"),
    [
        ("5.strong-gelu", "error.sde", 0.5, {"activation": "GELU"}),
        ("5.floor-gelu", "error.uncorrected", 0.0, {"activation": "GELU"}),
    ],
)
def test_claims_on_rates_tell_them_apart(name, quantity, rate, columns):
    tells_rates_apart(name, power_laws(quantity, -rate, **columns))


def test_the_claim_in_distribution_tells_rates_apart():
    # Distances to a finite reference are fitted against 1/(1/L − 1/512), whose points differ from L by little.
    tells_rates_apart("5.weak", power_laws("weak.sde", -1.0).filter(pl.col("depth") < 128))


def test_no_correction_means_none_and_one_that_blows_up_is_seen():
    rows = [{"quantity": "distance.limits", "activation": "tanh", "seed": s, "value": 0.0} for s in range(5)]
    assert ruling("5.no-correction-tanh", pl.DataFrame(rows)) == "reproduced"
    assert ruling("5.no-correction-tanh", pl.DataFrame([*rows, rows[0] | {"value": 1e-9}])) != "reproduced"
    shares = [{"quantity": "blown-up.sde", "seed": s, "depth": 16, "value": 0.01 * s} for s in range(5)]
    assert ruling("5.blown-up", pl.DataFrame(shares)) == "reproduced"
    assert ruling("5.blown-up", pl.DataFrame([*shares, shares[0] | {"value": 0.5}])) == "undecided"
