from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.marion2024.long_time.conditions import Conditions
from deeplimit.records import Context, frame
from tests.papers.marion2024.long_time.cases import ruling, study


def test_the_run_of_figure_2_meets_no_condition():
    rows = frame(Conditions((0, 1)).run(Context()))
    names = [c.id.removeprefix("marion2024.") for c in study("theorem-6-conditions").claims]
    assert [ruling(name, rows, "quick") for name in names] == ["not reproduced"] * 4
    assert rows.filter(quantity="state")["value"].to_list() == [-16.0]


@pytest.mark.parametrize(("name", "value"), [("state", 0.0), ("width", 2.0), ("depth", 1.0), ("input", 0.0)])
def test_a_run_that_meets_them_would_be_an_instance(name, value):
    rows = pl.DataFrame({"quantity": [name], "value": [value]})
    assert ruling(f"11.condition-{name}", rows) == "reproduced"
