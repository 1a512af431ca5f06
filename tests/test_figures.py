from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from deeplimit.figures import Curve, Figure, HeatMap, Panel


def test_what_is_not_said_is_plain():
    curve, panel = Curve([1.0, 2.0], [3.0, 4.0]), Panel([], "L", "gap")
    assert (curve.label, curve.style, curve.shade, curve.low, curve.high) == ("", "line", None, None, None)
    assert (panel.xscale, panel.yscale, panel.title) == ("linear", "linear", "")


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Curve([], []), "label"),
        (Panel([], "x", "y"), "title"),
        (HeatMap([[1.0]], [1.0], ["a"], "x", "y", "z"), "title"),
        (Figure("id", "title", "caption", lambda rows: []), "title"),
    ],
)
def test_figures_are_values(thing, name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(thing, name, "other")
    assert dataclasses.replace(thing, **{name: "other"}) != thing
    assert dataclasses.replace(thing) == thing


def test_describing_a_figure_loads_nothing_that_draws():
    ask = "import deeplimit.figures, sys; print({'matplotlib', 'torch', 'polars'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
