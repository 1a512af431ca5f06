"""What a figure shows, as data: papers and studies describe it, the report draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from deeplimit import checks

if TYPE_CHECKING:
    import polars as pl

Scale = Literal["linear", "log"]
Style = Literal["line", "dashed", "dotted", "markers"]


@dataclass(frozen=True)
class Curve:
    """One curve: points (x, y), optionally with a band low…high.

    Args:
        label: name in the legend; empty for none.
        shade: position on the panel's sequential colour map in [0, 1] (training time, say); None takes the next categorical colour.
        style: `line`, `dashed`, `dotted` (theory, guides), or `markers` (published values drawn over our curves).
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    shade: float | None = None
    style: Style = "line"

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and what no drawing knows."""
        checks.fields(self, style=checks.among(get_args(Style)))
        columns = (self.x, self.y, *(band for band in (self.low, self.high) if band is not None))
        if len({len(column) for column in columns}) != 1:
            sizes = [len(column) for column in columns]
            raise checks.InputError(f"curve {self.label!r}: expected x, y and band of one length, found {sizes}")


@dataclass(frozen=True)
class Panel:
    """Axes with curves. `shade_label` and `shade_range` describe the colour bar of shaded curves."""

    curves: Sequence[Curve]
    xlabel: str
    ylabel: str
    title: str = ""
    xscale: Scale = "linear"
    yscale: Scale = "linear"
    shade_label: str = ""
    shade_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse what is no scale."""
        scale = checks.among(get_args(Scale))
        checks.fields(self, xscale=scale, yscale=scale)


@dataclass(frozen=True)
class HeatMap:
    """A table of positive values on a log colour scale: `values[i][j]` at y[i], x[j].

    Args:
        x: numbers.
        y: categories, drawn top-down, or numbers, drawn upwards to scale.
        limits: ends of a diverging colour scale, neutral at their geometric mean; values beyond have the colour of the end. Without them
            the scale is sequential, from the least to the largest value.
        lines: curves drawn over a table with numbers on both axes, in ink.
    """

    values: Sequence[Sequence[float]]
    x: Sequence[float]
    y: Sequence[str] | Sequence[float]
    xlabel: str
    ylabel: str
    label: str
    title: str = ""
    limits: tuple[float, float] | None = None
    lines: Sequence[Curve] = ()

    def __post_init__(self) -> None:
        """Refuse ends of a colour scale that it cannot have."""
        checks.optional(checks.each(checks.positive))("limits", self.limits)


@dataclass(frozen=True)
class Matrix:
    """A table of shares in [0, 1] with the numbers in its cells: `values[i][j]` in row i, column j. NaN is an empty cell.

    Args:
        values: the shares.
        columns, rows: names of columns and rows.
        texts: what stands in the cells in place of the shares in per cent.
    """

    values: Sequence[Sequence[float]]
    columns: Sequence[str]
    rows: Sequence[str]
    xlabel: str
    ylabel: str
    title: str = ""
    texts: Sequence[Sequence[str]] | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Args:
        id: short name, also the file name: `figure1-left`.
        title, caption: shown above and below; the caption says what to see, in our words.
        where: the paper's figure that it corresponds to, or empty.
        panels: rows of the study -> panels, left to right. Raises LookupError when the rows needed are absent.
    """

    id: str
    title: str
    caption: str
    panels: Callable[[pl.DataFrame], Sequence[Panel | HeatMap | Matrix]] = field(repr=False)
    where: str = ""
