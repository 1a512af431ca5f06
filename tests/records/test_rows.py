from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from deeplimit.checks import InputError
from deeplimit.records import RowCollector, frame
from deeplimit.records.rows import COLUMNS, schema


def test_columns_are_in_their_order_whatever_the_order_of_arrival():
    rows = frame([{"value": 1, "zeta": "z", "quantity": "a"}, {"index": 3, "alpha": 1, "quantity": "b", "value": 2.5}])
    assert rows.columns == [*COLUMNS, "alpha", "zeta"]
    assert rows["alpha"].to_list() == [None, 1]
    assert rows["zeta"].to_list() == ["z", None]
    assert rows["value"].to_list() == [1.0, 2.5]


def test_types_are_fixed_and_numbers_kept_bit_for_bit():
    values: list[float] = [0.1, float("nan"), math.inf, np.float64(1 / 3), float(np.float32(0.1)), 5e-324, -0.0]
    rows = frame({"quantity": "x", "value": value, "depth": np.int64(4)} for value in values)
    assert rows.schema == schema()
    assert [value.hex() for value in rows["value"]] == [value.hex() for value in values]


def test_no_rows_have_all_columns():
    assert frame(()).schema == schema()
    assert frame(()).height == 0


@pytest.mark.parametrize("row", [{"value": 1.0}, {"quantity": "loss"}, {}])
def test_a_row_without_quantity_or_value_is_refused(row):
    with pytest.raises(InputError, match="expected a quantity and a value"):
        RowCollector().add(row)


def test_a_depth_that_is_no_integer_is_refused():
    with pytest.raises(TypeError, match="Int64"):
        frame([{"quantity": "x", "value": 1.0, "depth": 1.5}])


def test_a_column_of_the_tasks_own_keeps_its_type():
    rows = frame([{"quantity": "x", "value": 1.0, "role": "V", "node": 0.5}])
    assert rows.schema["role"] == pl.String
    assert rows.schema["node"] == pl.Float64
