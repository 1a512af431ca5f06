from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.lewkowycz2020.wide.collapse import Collapse
from deeplimit.records import Context, frame
from tests.papers.lewkowycz2020.wide.cases import rows, ruling


def test_functions_vanish_above_the_threshold_and_stay_below_it():
    task = Collapse(32, (0.6, 1.5), 0.02, 500, (0, 1, 2))
    found = frame(task.run(Context()))
    below, above = (found.filter(share=share)["value"].to_list() for share in (0.6, 1.5))
    assert max(above) < 0.01
    assert min(below) > 0.1
    assert task.cost().layer_steps > 0
    assert task.probe(Context()) > 0


@pytest.mark.parametrize(("share", "claim"), [(1.2, "threshold.above"), (0.85, "threshold.below")])
def test_the_claims_on_the_threshold_can_fail(share, claim):
    def found(rest: float) -> str:
        return ruling(claim, rows("rest", rest, share=share))

    assert found(1e-4) == ("reproduced" if share > 1 else "not reproduced")
    assert found(0.3) == ("not reproduced" if share > 1 else "reproduced")


def test_the_claims_on_late_times_can_fail():
    def late(quantity: str, value: float) -> pl.DataFrame:
        return rows(quantity, value, width=256, iteration=2400)

    for name, quantity in (("kernel", "kernel.gap"), ("function", "size.train"), ("flow", "size.flow.train")):
        assert ruling(f"late.{name}", late(quantity, 0.01)) == "reproduced"
        assert ruling(f"late.{name}", late(quantity, 0.5)) == "not reproduced"
