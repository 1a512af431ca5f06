"""Rows as a long table: fixed columns first, in a fixed order, then the others by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from deeplimit.checks import InputError

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.records.tasks import Row

#: Number of the layout of row files; part of every run's id.
ROW_FORMAT = 1
INTEGERS = ("depth", "seed", "iteration", "index")
COLUMNS = ("depth", "seed", "iteration", "quantity", "index", "value")


class RowCollector:
    """Rows as they arrive, kept by column: a long run leaves millions of them."""

    def __init__(self) -> None:
        """An empty table."""
        self.columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
        self.height = 0

    def add(self, row: Row) -> None:
        """Append one row; a column that it lacks is null.

        Raises:
            InputError: the row lacks its quantity or its value.
        """
        if "quantity" not in row or "value" not in row:
            raise InputError(f"row: expected a quantity and a value, found {dict(row)!r}")
        for name in row.keys() - self.columns.keys():
            self.columns[name] = [None] * self.height
        for name, column in self.columns.items():
            column.append(row.get(name))
        self.height += 1

    def frame(self) -> pl.DataFrame:
        """The table, columns in their fixed order whatever the order of arrival."""
        import polars as pl

        kinds = schema()
        names = [*COLUMNS, *sorted(self.columns.keys() - set(COLUMNS))]
        series = [pl.Series(name, self.columns[name], dtype=kinds.get(name), strict=name in kinds) for name in names]
        return pl.DataFrame(series)


def schema() -> dict[str, type[pl.DataType]]:
    """Types of the fixed columns."""
    import polars as pl

    kinds: dict[str, type[pl.DataType]] = dict.fromkeys(INTEGERS, pl.Int64)
    return {name: kinds.get(name, pl.String if name == "quantity" else pl.Float64) for name in COLUMNS}


def frame(rows: Iterable[Row]) -> pl.DataFrame:
    """Rows as a table.

    >>> frame([{"quantity": "loss", "value": 0.5, "depth": 4}]).columns
    ['depth', 'seed', 'iteration', 'quantity', 'index', 'value']
    """
    collector = RowCollector()
    for row in rows:
        collector.add(row)
    return collector.frame()
