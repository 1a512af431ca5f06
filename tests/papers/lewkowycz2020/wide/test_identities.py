from __future__ import annotations

import pytest

from deeplimit.papers.lewkowycz2020.wide.chain import Chain
from deeplimit.papers.lewkowycz2020.wide.identities import INPUTS, Identities
from deeplimit.records import Context, frame
from tests.papers.lewkowycz2020.wide.cases import power_law, rows, ruling


def test_small_networks_obey_the_exact_equations_and_their_drift_falls_with_the_width():
    task = Identities((Chain(2, 8, INPUTS), Chain(2, 64, INPUTS), Chain(3, 8, INPUTS)), (0, 1), 64)
    found = frame(task.run(Context()))
    assert max(found.filter(quantity="euler")["value"].to_list()) < 1e-12
    assert max(found.filter(quantity="motion")["value"].to_list()) < 1e-6
    drift = [sum(found.filter(quantity="drift", layers=2, width=n)["value"].to_list()) for n in (8, 64)]
    assert drift[0] / drift[1] == pytest.approx(8, rel=0.6)
    assert task.cost().layer_steps > 0
    assert task.probe(Context()) > 0


def test_the_claims_on_exact_equations_can_fail():
    for name in ("euler", "motion"):
        assert ruling(f"exact.{name}", rows(name, 1e-12)) == "reproduced"
        assert ruling(f"exact.{name}", rows(name, 1e-2)) == "not reproduced"
    for power, expected in ((-1.0, "reproduced"), (-0.5, "not reproduced")):
        assert ruling("exact.drift", power_law("drift", power, layers=2)) == expected
