"""Drawings: whatever the data, something is drawn, small, the same each time, with ids of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.figures import Curve, HeatMap, Matrix, Panel, Scale
from deeplimit.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAN, INF = math.nan, math.inf


def panel(*curves: Curve, log: bool = False) -> Panel:
    scale: Scale = "log" if log else "linear"
    return Panel(curves, "depth $L$", "gap", "a title", scale, scale)


def heat(values: Sequence[Sequence[float]], x: Sequence[float] = (1, 2), y: Sequence[str] = ("2", "4")) -> HeatMap:
    return HeatMap(values, x, y, "iteration", "depth", "distance")


STRANGE: dict[str, Panel | HeatMap | Matrix] = {
    "none": Panel([], "x", "y"),
    "empty": panel(Curve([], [])),
    "nan": panel(Curve([1, 2], [NAN, NAN])),
    "infinite": panel(Curve([1, INF, 3], [1, 2, -INF]), log=True),
    "negative-on-log": panel(Curve([-1, -2], [-1, 0]), log=True),
    "large": panel(Curve([1, 2], [1e199, -1e199])),
    "huge": panel(Curve([1, 2], [1e308, -1e308])),
    "tiny-on-log": panel(Curve([1, 2], [5e-324, 1.0]), log=True),
    "one-point": panel(Curve([2], [3.0], label="alone"), log=True),
    "constant": panel(Curve([1, 2, 4], [1.0, 1.0, 1.0])),
    "same-x": panel(Curve([2, 2], [1.0, 2.0]), log=True),
    "gaps": panel(Curve([1, 2, 3, 4], [1, NAN, 3, NAN], label="holes", low=[0, NAN, 2, 3], high=[2, 3, NAN, 5])),
    "odd-shades": panel(Curve([1, 2], [1, 2], shade=NAN), Curve([1, 2], [2, 3], shade=7.0)),
    "odd-range": Panel([Curve([1, 2], [1, 2], shade=0.5)], "x", "y", shade_label="t", shade_range=(INF, 0.0)),
    "odd-labels": Panel([Curve([1, 2], [1, 2], label="$5 & <b> \U0001f600 $x^{$")], "$\\nope$", "100 % $"),
    "heat-empty": heat([], x=(), y=()),
    "heat-nan": heat([[NAN, NAN], [NAN, 0.0]]),
    "heat-one": heat([[1.0]], x=(3,), y=("2",)),
    "heat-constant": heat([[1.0, 1.0], [1.0, 1.0]]),
    "heat-holes": heat([[1.0, NAN], [INF, 1e-3]]),
    "matrix": Matrix([[1.0, 0.001], [0.0, NAN]], ["a", "$b"], ["c", "d"], "verdict", "truth"),
    "matrix-texts": Matrix([[1.0], [0.2]], ["a"], ["c", "d"], "", "", texts=[["yes"], ["$no"]]),
    "matrix-empty": Matrix([], [], [], "verdict", "truth"),
    "heat-unordered": heat([[1.0, 2.0], [3.0, 4.0]], x=(2, 1)),
    "heat-numbers": HeatMap([[1.0, 2.0], [3.0, 4.0]], (1, 2), (0.5, 0.1), "H", "β", "ratio", limits=(0.1, 10.0)),
    "heat-line-nan": HeatMap([[1.0]], (1,), (2.0,), "H", "β", "ratio", lines=(Curve([1, 2], [NAN, 1], "contour"),)),
}
WITHOUT_DATA = {"none", "empty", "nan", "huge", "negative-on-log", "heat-empty", "heat-nan", "matrix-empty"}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_data_are_drawn_and_nothing_at_all_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    plain = plots._no_data

    def no_data(ax: Axes, reason: str = "") -> None:
        said.append(reason)
        plain(ax, reason)

    monkeypatch.setattr(plots, "_no_data", no_data)
    panels, whole, pdf = plots.draw(name, [STRANGE[name]])
    assert len(panels) == 1
    assert "<path" in whole
    assert pdf.startswith(b"%PDF")
    assert bool(said) == (name in WITHOUT_DATA)


def test_equal_figures_are_equal_bytes() -> None:
    curves = panel(
        Curve([2, 16, 64], [1, 0.2, 0.05], label="ours"), Curve([2, 64], [1, 0.05], style="markers"), log=True
    )
    first, second = (plots.draw("figure1", [curves, heat([[1, 2], [3, 4]])]) for _ in range(2))
    assert first == second
    other = plots.draw("figure1", [panel(Curve([2, 16, 64], [1, 0.2, 0.06])), heat([[1, 2], [3, 4]])])
    assert first[1] != other[1]
    assert first[2] != other[2]
    for text in (*first[0], first[1]):
        assert not re.search(r"20\d\d-\d\d-\d\d|dc:date|<metadata", text)


def test_drawings_in_one_page_share_no_id() -> None:
    one = panel(Curve([1, 2], [1, 2], label="ours"), Curve([1, 2], [1, 2], style="markers"))
    drawings = plots.draw("a", [one, one])[0] + plots.draw("b", [one])[0]
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in drawings]
    assert all(ids)
    assert len(set().union(*ids)) == sum(map(len, ids))
    for own, text in zip(ids, drawings, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) == set(own)


def test_an_inline_drawing_asks_for_nothing_and_rules_nothing() -> None:
    (text,) = plots.draw("a", [panel(Curve([1, 2], [1, 2]))])[0]
    assert text.startswith('<svg class="plot" role="img"')
    assert "http" not in text
    assert "<style" not in text


def test_a_long_curve_is_a_small_drawing() -> None:
    x = np.arange(80_001.0)
    assert len(plots.draw("a", [panel(Curve(x.tolist(), np.exp(-x / 1e4).tolist()))])[1]) < 80_000


def test_a_crowd_of_curves_becomes_pixels_but_a_few_do_not() -> None:
    many = panel(*(Curve(range(300), [float(i)] * 300, shade=i / 80) for i in range(80)))
    few = panel(*(Curve(range(300), [float(i)] * 300, shade=i / 8) for i in range(8)))
    assert "data:image/png" in plots.draw("a", [many])[1]
    assert "data:image" not in plots.draw("a", [few])[1]


def test_a_note_stands_in_the_files_and_not_in_the_page() -> None:
    plain, noted = plots.draw("a", [panel()]), plots.draw("a", [panel()], note="tier quick")
    assert noted[0] == plain[0]
    assert len(noted[1]) > len(plain[1])
    assert noted[2] != plain[2]


def test_cells_of_a_table_of_shares_say_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [plots._percent(x) for x in (0.0, NAN, 1.0, 0.5, 0.001, 0.999)] == ["", "", "100", "50", "0.1", "99.9"]
    with pytest.raises(InputError, match="expected x, y and band of one length"):
        plots.draw("a", [Matrix([[1.0, 0.0]], ["a"], ["b"], "", "", title="t")])


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"curve 'ours': expected x, y and band of one length, found \[2, 3\]"):
        plots.draw("a", [panel(Curve([1, 2], [1, 2, 3], label="ours"))])


def test_a_table_with_numbers_on_both_axes_stands_to_scale_under_its_lines() -> None:
    line = Curve([1.0, 3.0], [0.1, 0.4], "contour", style="dashed")
    table = HeatMap(
        [[1e-6, 1.0, 7.0], [2.0, 1.0, 1e6]], (1, 2, 3), (0.4, 0.1), "H", "β", "ratio", limits=(0.1, 10.0), lines=(line,)
    )
    with plots._style("a"):
        canvas = plots._canvas([table])
    ax = canvas.axes[0]
    (cells,) = ax.collections
    # Rows in increasing order of y, upwards; values beyond the limits keep the colour of the ends.
    assert np.ma.getdata(cells.get_array()).tolist() == [[2.0, 1.0, 1e6], [1e-6, 1.0, 7.0]]  # type: ignore[arg-type]
    assert cells.get_clim() == (0.1, 10.0)
    assert ax.get_ylim() == pytest.approx((-0.05, 0.55))
    assert ax.get_xlim() == pytest.approx((0.5, 3.5))
    (drawn,) = ax.get_lines()
    assert (list(drawn.get_xdata()), list(drawn.get_ydata())) == ([1.0, 3.0], [0.1, 0.4])  # type: ignore[arg-type]
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["contour"]


def test_a_table_of_categories_is_read_top_down_on_a_sequential_scale() -> None:
    with plots._style("a"):
        ax = plots._canvas([heat([[1.0, 2.0], [3.0, 4.0]])]).axes[0]
    (cells,) = ax.collections
    assert ax.get_ylim() == (1.5, -0.5)
    assert cells.get_clim() == (1.0, 4.0)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["2", "4"]
    assert not ax.get_lines()
