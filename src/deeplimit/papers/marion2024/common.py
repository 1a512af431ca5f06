"""What the studies of this paper share: the two models, the authors' draws, and selections of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from deeplimit.branches import Perceptron
from deeplimit.claims import Measured
from deeplimit.draws import SequentialDraw
from deeplimit.fits import exponent
from deeplimit.networks import ResidualStack
from deeplimit.processes import Normal, Tied, Zero
from deeplimit.training import SquaredError

if TYPE_CHECKING:
    import polars as pl

STATE = 16
"""d = q = d′ of all synthetic runs (section 5.1)."""

AUTHORS_DRAW = SequentialDraw()
"""The released scripts draw everything from one generator: W, then x, then y."""

RELEASED_LOSS = SquaredError(per_entry=True)
"""The released scripts average the loss over samples and coordinates; the paper sums over coordinates."""

PRINTED_LOSS = SquaredError()


def released(depth: int, width: int) -> ResidualStack:
    """The network of the released scripts: equation (3) without the factors 1/√m and 1/√q."""
    return _network(depth, width, normalised=False)


def printed(depth: int, width: int) -> ResidualStack:
    """The network of equation (3), with the same numbers drawn."""
    return _network(depth, width, normalised=True)


def _network(depth: int, width: int, *, normalised: bool) -> ResidualStack:
    branch = Perceptron(STATE, width, normalised=normalised)
    return ResidualStack(branch, depth, init={"V": Zero(), "W": Tied(Normal(transposed=True))})


def only(rows: pl.DataFrame, **columns: object) -> pl.DataFrame:
    """The rows with these values.

    Raises:
        LookupError: there is none.
    """
    import polars as pl

    absent = [name for name in columns if name not in rows.columns]
    kept = rows.head(0) if absent else rows.filter(*(pl.col(name) == value for name, value in columns.items()))
    if kept.is_empty():
        raise LookupError("no rows with " + ", ".join(f"{name} = {value}" for name, value in columns.items()))
    return kept


def worst_exponent(groups: Iterable[pl.DataFrame], *, reference: float | None = None, minimum: float = 16) -> Measured:
    """The exponent in depth over several groups of rows: the value of the last group, an interval that holds those of all."""
    fits = [exponent(group, reference=reference, minimum=minimum) for group in groups]
    if not fits:
        raise LookupError("no groups of rows")
    last = fits[-1]
    note = f"{last.note}; the interval holds those of {len(fits)} fits" if len(fits) > 1 else last.note
    return Measured(last.value, min(f.low for f in fits), max(f.high for f in fits), min(f.sample for f in fits), note)


def by_iteration(rows: pl.DataFrame, *, first: int = 1) -> list[pl.DataFrame]:
    """The rows of each iteration from `first` on, in order."""
    import polars as pl

    later = rows.filter(pl.col("iteration") >= first)
    return (
        later.partition_by("iteration", maintain_order=False)
        if later.is_empty()
        else [later.filter(pl.col("iteration") == t) for t in sorted(later["iteration"].unique())]
    )


def per_precision(rows: pl.DataFrame, note: str = "") -> Measured:
    """A deterministic number: float64's value, with the range over precisions as interval.

    Raises:
        LookupError: no rows, or more than one value for a precision.
    """
    values = dict(zip(rows["dtype"], rows["value"], strict=True))
    if len(values) != len(rows) or not values:
        raise LookupError(f"expected one value for each precision, found {len(rows)} rows")
    ordered = [values[name] for name in sorted(values, reverse=True)]
    return Measured.spread(ordered, note or "range over precisions " + ", ".join(sorted(values, reverse=True)))


def in_released_precision(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in float32, the precision of the released scripts.

    Where a published value is near float32's rounding, it is compared in float32: float64 is closer to the truth, and further from
    the figure.
    """
    return only(rows, dtype="float32")


def cells(table: Mapping[int, Mapping[int, float]], depths: Iterable[int]) -> dict[tuple[int, int], float]:
    """A published table {iteration: {depth: value}} as {(iteration, depth): value}, for some depths."""
    chosen = set(depths)
    return {(t, L): value for t, row in table.items() for L, value in row.items() if L in chosen}
