from __future__ import annotations

import pytest

from tests.papers.cohen2021.limits.cases import power_laws, tells_rates_apart


@pytest.mark.parametrize(
    ("name", "quantity", "rate", "columns"),
    [
        ("19.jacobian-sde-gelu", "jacobian.sde", 0.5, {"case": "SDE, GELU"}),
        ("19.gradient-alternative-h1", "gradient.linear", 1.0, {"case": "alternative, H1"}),
    ],
)
def test_claims_on_rates_tell_them_apart(name, quantity, rate, columns):
    tells_rates_apart(name, power_laws(quantity, -rate, **columns))
