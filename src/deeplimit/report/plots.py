"""Figures drawn with matplotlib: one drawing per panel for the page, all panels side by side for the files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.mathtext import MathTextParser

from deeplimit.figures import HeatMap, Matrix, Panel
from deeplimit.report import svg
from deeplimit.report.axes import dress_linear, dress_log
from deeplimit.report.looks import DASHES, GUIDE, INK, MISSING, Look, diverging, heat, looks, shades
from deeplimit.report.points import Array, drawable, paired, spread_out, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from deeplimit.figures import Curve

    Host = Canvas | SubFigure

SIZE = (3.7, 2.75)  # inches of one panel
EMPTY = 0.9  # inches of height when there is nothing to show
DIRECT = 5  # at most as many curves are labelled at their ends
LONGEST = 24  # characters of a label that fits beside a panel
MANY_POINTS = 20_000  # panels with more are drawn as pixels, axes and text excepted
MANY_CELLS = 600  # tables with more are drawn as pixels: neighbouring vector cells show seams
STYLE: dict[Any, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 1.6,
    "ytick.minor.size": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "lines.linewidth": 1.2,
    "lines.markersize": 4.2,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 220,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class NoData:
    """A panel of which nothing can be drawn, and why."""

    reason: str = ""


AnyPanel = Panel | HeatMap | Matrix | NoData


def draw(name: str, panels: Sequence[AnyPanel], *, note: str = "") -> tuple[list[str], str, bytes]:
    """Draw a figure.

    Args:
        name: prefix of every id inside the drawings, unique in the page.
        panels: left to right; none at all are drawn as one panel without data.
        note: stands small in the lower right corner of the files, which travel without their caption.

    Returns:
        One SVG per panel to stand inside HTML, and the whole figure as text of an SVG file and bytes of a PDF file.
    """
    panels = list(panels) or [NoData()]
    single = draw_inline(name, panels)
    with _style(name):
        canvas = _canvas(panels)
        canvas.text(0.995, 0.005, note, ha="right", va="bottom", fontsize=6, color=GUIDE)
        whole = _svg(canvas, name)
        canvas.set_layout_engine("none")  # laid out once, for both files
        return single, svg.as_file(whole), _pdf(canvas)


def draw_inline(name: str, panels: Sequence[AnyPanel]) -> list[str]:
    """One SVG per panel to stand inside HTML; every id in them begins with `name`, unique in the page."""
    with _style(name):
        return [svg.inline(_svg(_canvas([panel]), f"{name}-{i}")) for i, panel in enumerate(panels)]


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """The style of the report; ids are hashed with `salt`, so that equal figures are equal bytes."""
    # The prefix keeps a figure called "none" from meaning no salt.
    with mpl.rc_context({**STYLE, "svg.hashsalt": f"deeplimit {salt}"}), warnings.catch_warnings():
        # A glyph that no font has, or a panel too small for its labels, is a blemish and not an error.
        warnings.simplefilter("ignore", UserWarning)
        yield


def _canvas(panels: Sequence[AnyPanel]) -> Canvas:
    """All panels side by side."""
    height = SIZE[1] if any(not isinstance(panel, NoData) for panel in panels) else EMPTY
    widths = [_width(panel) for panel in panels]
    canvas = Canvas(figsize=(sum(widths), height))
    hosts: Sequence[Host] = [canvas]
    if len(panels) > 1:
        hosts = list(np.ravel(np.asarray(canvas.subfigures(1, len(panels), width_ratios=widths))))
    for host, panel in zip(hosts, panels, strict=True):
        _panel(host, panel)
    return canvas


def _width(panel: AnyPanel) -> float:
    """Inches: those of a panel, or what the cells and names of a table take."""
    if not isinstance(panel, Matrix):
        return SIZE[0]
    longest = max((len(name) for name in panel.rows), default=0)
    texts = [len(text) for row in panel.texts or () for text in row]
    return max(SIZE[0], 0.3 + 0.045 * longest + len(panel.columns) * (0.1 + 0.045 * max(texts, default=5)))


def _svg(canvas: Canvas, prefix: str) -> str:
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return svg.tidy(buffer.getvalue(), prefix)


def _pdf(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return buffer.getvalue()


def _panel(host: Host, panel: AnyPanel) -> None:
    ax = host.add_subplot()
    if isinstance(panel, NoData):
        _no_data(ax, panel.reason)
        return
    ax.set_title(_text(panel.title))
    ax.set_xlabel(_text(panel.xlabel))
    ax.set_ylabel(_text(panel.ylabel))
    if isinstance(panel, HeatMap):
        _heat_map(host, ax, panel=panel)
    elif isinstance(panel, Matrix):
        _matrix(ax, panel)
    else:
        _curves(host, ax, panel=panel)


def _text(label: str) -> str:
    """A label that is sure to be drawn: dollars that do not enclose a formula are dollars."""
    try:
        MathTextParser("path").parse(label)
    except ValueError:
        return label.replace("$", r"\$")
    return label


def _no_data(ax: Axes, reason: str = "") -> None:
    """An empty panel that says so."""
    for spine in ax.spines.values():
        spine.set(visible=True, color=MISSING)
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.6, "no data", ha="center", va="center", color=GUIDE, fontsize=11, transform=ax.transAxes)
    ax.text(0.5, 0.3, _text(reason[:80]), ha="center", va="center", color=GUIDE, fontsize=7, transform=ax.transAxes)


# --- curves ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """A curve ready to be drawn."""

    curve: Curve
    x: Array
    y: Array
    look: Look

    @property
    def end(self) -> tuple[float, float]:
        """The last point."""
        last = int(np.flatnonzero(np.isfinite(self.x) & np.isfinite(self.y))[-1])
        return float(self.x[last]), float(self.y[last])


def _prepared(panel: Panel) -> list[_Drawn]:
    """The curves that have a point to draw, with colours and markers."""
    drawn: list[_Drawn] = []
    for curve, look in zip(panel.curves, looks(panel.curves), strict=True):
        x, y = drawable(curve.x, log=panel.xscale == "log"), drawable(curve.y, log=panel.yscale == "log")
        paired([x, y], curve.label)
        if np.any(np.isfinite(x) & np.isfinite(y)):
            drawn.append(_Drawn(curve, x, y, look))
    return drawn


def _curves(host: Host, ax: Axes, *, panel: Panel) -> None:
    """All curves of a panel with axes, colour bar and labels."""
    drawn = _prepared(panel)
    if not drawn:
        _no_data(ax)
        return
    ax.set(xscale=panel.xscale, yscale=panel.yscale)
    points = sum(len(thinned(item.x, item.y, log=panel.xscale == "log")) for item in drawn)
    for item in drawn:
        _band(ax, panel, item=item)
        _curve(ax, panel, item=item, crowd=len(drawn), pixels=points > MANY_POINTS)
    _dress(ax, panel, drawn=drawn)
    shaded = [item for item in drawn if item.curve.shade is not None]
    if shaded and panel.shade_label:
        _color_bar(host, ax, panel=panel)
        drawn = [_neutral(item) for item in drawn if item.curve.shade is None or item.curve.style == "markers"]
    _labels(host, ax, drawn=drawn)


def _curve(ax: Axes, panel: Panel, *, item: _Drawn, crowd: int, pixels: bool) -> None:
    kept = thinned(item.x, item.y, log=panel.xscale == "log")
    published = item.curve.style == "markers"
    guide = item.curve.style in ("dashed", "dotted")
    ax.plot(
        item.x[kept],
        item.y[kept],
        linestyle=item.look.dashes,
        color=item.look.color,
        linewidth=0.5 if crowd > 60 else (0.9 if guide else 1.2),
        marker=item.look.marker if published or _alone(item) else "",
        markerfacecolor="white" if published else item.look.color,
        markeredgewidth=0.9,
        rasterized=pixels,
        zorder=4 if published else (1.8 if guide else 2),
        clip_on=not published,
    )


def _alone(item: _Drawn) -> bool:
    """Whether no two neighbouring points can be joined, so that a line would not show."""
    good = np.isfinite(item.x) & np.isfinite(item.y)
    return not bool(np.any(good[1:] & good[:-1]))


def _band(ax: Axes, panel: Panel, *, item: _Drawn) -> None:
    """The band between low and high."""
    curve = item.curve
    if curve.low is None or curve.high is None:
        return
    low, high = (drawable(side, log=panel.yscale == "log") for side in (curve.low, curve.high))
    paired([item.x, low, high], curve.label)
    kept = thinned(item.x, item.y, log=panel.xscale == "log")
    ax.fill_between(item.x[kept], low[kept], high[kept], color=item.look.color, alpha=0.18, linewidth=0, zorder=1.5)


def _dress(ax: Axes, panel: Panel, *, drawn: Sequence[_Drawn]) -> None:
    """Limits are fixed by what is drawn, then ticks are set."""
    lines = [item for item in drawn if item.curve.style == "line"] or list(drawn)
    values = [float(v) for item in lines for v in item.x[np.isfinite(item.x)][:64]]
    if panel.xscale == "log":
        dress_log(ax.xaxis, ax.get_xlim(), values=values)
    else:
        dress_linear(ax.xaxis, ax.get_xlim(), whole=all(value.is_integer() for value in values))
    if panel.yscale == "log":
        dress_log(ax.yaxis, ax.get_ylim())
    else:
        dress_linear(ax.yaxis, ax.get_ylim())
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())


def _color_bar(host: Host, ax: Axes, *, panel: Panel) -> None:
    low, high = panel.shade_range
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        return
    bar = host.colorbar(ScalarMappable(Normalize(low, high), shades()), ax=ax, fraction=0.05, pad=0.03, aspect=28)
    bar.set_label(_text(panel.shade_label))
    bar.outline.set_visible(False)
    dress_linear(bar.ax.yaxis, (low, high))


def _labels(host: Host, ax: Axes, *, drawn: Sequence[_Drawn]) -> None:
    """Names at the ends of few curves; otherwise, and for markers, a legend."""
    named = _first_of_each_name(drawn)
    curves = [item for item in named if item.curve.style != "markers"]
    direct = len(curves) <= DIRECT and all(_ends_at_edge(ax, item) for item in curves)
    if direct:
        _direct_labels(ax, curves)
    listed = [item for item in named if item.curve.style == "markers" or not direct]
    if listed:
        handles = [_handle(item) for item in listed]
        crowded = len(listed) > DIRECT or any(len(item.curve.label) > LONGEST for item in listed)
        if crowded:
            longest = max(len(item.curve.label) for item in listed)
            columns = max(1, min(4, 60 // (longest + 6), len(handles)))
            host.legend(handles=handles, loc="outside lower center", ncols=columns)
        else:
            ax.legend(handles=handles, loc="best", handlelength=1.6, borderaxespad=0.3, labelspacing=0.3)


def _first_of_each_name(drawn: Sequence[_Drawn]) -> list[_Drawn]:
    """One curve per label: replicates share a name."""
    named: dict[str, _Drawn] = {}
    for item in drawn:
        if item.curve.label:
            named.setdefault(item.curve.label, item)
    return list(named.values())


def _ends_at_edge(ax: Axes, item: _Drawn) -> bool:
    """Whether a label at the right edge would be read as that of this curve."""
    across = float(ax.transAxes.inverted().transform(ax.transData.transform(item.end))[0])
    return across > 0.85 and len(item.curve.label) <= LONGEST


def _neutral(item: _Drawn) -> _Drawn:
    """A shaded curve as the legend shows it: the colour bar tells the shades."""
    return item if item.curve.shade is None else replace(item, look=replace(item.look, color=INK))


def _direct_labels(ax: Axes, curves: Sequence[_Drawn]) -> None:
    to_axes = ax.transAxes.inverted()
    heights = [float(to_axes.transform(ax.transData.transform(item.end))[1]) for item in curves]
    for item, height in zip(curves, spread_out(heights, 0.065), strict=True):
        ax.text(
            1.015,
            height,
            _text(item.curve.label),
            color=item.look.color,
            fontsize=8,
            va="center",
            transform=ax.transAxes,
        )


def _handle(item: _Drawn) -> Any:
    from matplotlib.lines import Line2D

    published = item.curve.style == "markers"
    return Line2D(
        [],
        [],
        label=_text(item.curve.label),
        color=item.look.color,
        linestyle=item.look.dashes,
        linewidth=1.2,
        marker=item.look.marker if published else "",
        markerfacecolor="white",
        markeredgewidth=0.9,
    )


# --- heat maps -------------------------------------------------------------------------------------------------------


def _heat_map(host: Host, ax: Axes, *, panel: HeatMap) -> None:
    """A table of positive values: categories top-down or numbers upwards, cells without a value grey."""
    table, x, y = _table(panel)
    good = table[np.isfinite(table)]
    if not good.size:
        _no_data(ax)
        return
    low, high = panel.limits or (float(good.min()), float(good.max()))
    norm = LogNorm(low, high) if high > low else LogNorm(low / 2, high * 2)
    cells = ax.pcolormesh(
        _edges(x),
        _edges(y),
        np.ma.masked_invalid(table),
        cmap=heat() if panel.limits is None else diverging(),
        norm=norm,
        rasterized=table.size > MANY_CELLS,
        edgecolors="face",
        linewidth=0.2,
    )
    _over_table(host, ax, panel=panel)
    _dress_table(ax, panel, x=x, y=y)
    bar = host.colorbar(
        cells, ax=ax, fraction=0.05, pad=0.03, aspect=28, extend="neither" if panel.limits is None else "both"
    )
    bar.set_label(_text(panel.label))
    bar.outline.set_visible(False)
    dress_log(bar.ax.yaxis, (float(norm.vmin or low), float(norm.vmax or high)))


def _named_rows(panel: HeatMap) -> list[str]:
    """The categories of a table; none where its rows stand at numbers."""
    names = [part for part in panel.y if isinstance(part, str)]
    return names if len(names) == len(panel.y) else []


def _table(panel: HeatMap) -> tuple[Array, Array, Array]:
    """The values as a table, and the positions of its columns and rows, both in increasing order."""
    x = drawable(panel.x, log=False)
    rows = [drawable(row, log=True) for row in panel.values]
    paired([x, *rows], panel.title)
    paired([np.empty(len(rows)), np.empty(len(panel.y))], panel.ylabel)
    y = np.arange(len(rows), dtype=np.float64) if _named_rows(panel) else drawable(panel.y, log=False)  # type: ignore[arg-type]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(x))
    across, up = _increasing(x), _increasing(y)
    return table[np.ix_(up, across)], x[across], y[up]


def _increasing(positions: Array) -> Any:
    """Places of the finite positions, in their order."""
    order = np.argsort(positions, kind="stable")
    return order[np.isfinite(positions[order])]


def _edges(x: Array) -> Array:
    """Edges of cells centred at x."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[x[0] - (x[1] - x[0]) / 2], middle, [x[-1] + (x[-1] - x[-2]) / 2]])


def _over_table(host: Host, ax: Axes, *, panel: HeatMap) -> None:
    """Curves in ink over the cells, named below the panel; what leaves the table is cut."""
    for curve in panel.lines:
        x, y = drawable(curve.x, log=False), drawable(curve.y, log=False)
        paired([x, y], curve.label)
        ax.plot(x, y, color=INK, linestyle=DASHES.get(curve.style, "-"), linewidth=1.2, label=_text(curve.label))
    if any(curve.label for curve in panel.lines):
        host.legend(loc="outside lower center", ncols=len(panel.lines))


def _dress_table(ax: Axes, panel: HeatMap, *, x: Array, y: Array) -> None:
    names = _named_rows(panel)
    if names:
        ticks = range(0, len(names), -(-len(names) // 14))
        ax.set_yticks(list(ticks), [_text(names[i]) for i in ticks])
        ax.set_ylim(len(names) - 0.5, -0.5)
    else:
        ax.set_ylim(*_edges(y)[[0, -1]])
        dress_linear(ax.yaxis, ax.get_ylim(), whole=bool(np.all(y == np.round(y))))
    ax.set_xlim(*_edges(x)[[0, -1]])
    ax.tick_params(axis="y", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    dress_linear(ax.xaxis, (float(x[0]), float(x[-1])), whole=bool(np.all(x == np.round(x))))


# --- tables of shares ------------------------------------------------------------------------------------------------


def _matrix(ax: Axes, panel: Matrix) -> None:
    """A table of shares with the numbers in its cells; empty cells grey."""
    rows = [drawable(row, log=False) for row in panel.values]
    paired([np.empty(len(panel.columns)), *rows], panel.title)
    paired([np.empty(len(rows)), np.empty(len(panel.rows))], panel.ylabel)
    if not rows:
        _no_data(ax)
        return
    table = np.array(rows)
    ax.imshow(np.ma.masked_invalid(table), cmap=heat(), vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    for (i, j), value in np.ndenumerate(table):
        text = panel.texts[i][j] if panel.texts is not None else _percent(value)
        ax.text(j, i, _text(text), ha="center", va="center", fontsize=7, color="white" if value > 0.5 else INK)
    ax.set_xticks(range(len(panel.columns)), [_text(name) for name in panel.columns], rotation=35, ha="right")
    ax.set_yticks(range(len(panel.rows)), [_text(name) for name in panel.rows])
    ax.tick_params(length=0, labelsize=7)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _percent(value: float) -> str:
    """A share in per cent; nothing for 0 and for an empty cell."""
    if not np.isfinite(value) or value == 0:
        return ""
    return f"{100 * value:.0f}" if 0.01 <= value <= 0.995 or value == 1 else f"{100 * value:.1f}"
