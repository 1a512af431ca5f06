"""How each curve of a panel looks: colour, dashes, marker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap

if TYPE_CHECKING:
    from deeplimit.figures import Curve

INK, GUIDE, MISSING = "#1c1c1c", "#6a6a6a", "#d9d9d9"
# Okabe and Ito (2008), without their yellow, which vanishes on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288")
MARKERS = ("o", "s", "^", "D", "v")
ROUNDS = ("-", (0, (6, 1.5, 1, 1.5)), (0, (3, 1)))  # dashes of lines, changed each time the palette starts again
DASHES = {"dashed": (0, (5, 2.5)), "dotted": (0, (1, 1.8)), "markers": "none"}


@dataclass(frozen=True)
class Look:
    """Colour, dashes and marker of a curve."""

    color: Any
    dashes: Any
    marker: str


def shades() -> Colormap:
    """Viridis without its last tenth, which vanishes on white."""
    return ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.9, 256)), name="shades")


def heat() -> Colormap:
    """Magma from light to dark, ends cut, cells without a value grey."""
    colors = ListedColormap(mpl.colormaps["magma_r"](np.linspace(0.02, 0.92, 256)), name="heat")
    return colors.with_extremes(bad=MISSING)


def diverging() -> Colormap:
    """Blue to red with a pale middle, ends cut so that ink shows on them, cells without a value grey."""
    colors = ListedColormap(mpl.colormaps["RdBu_r"](np.linspace(0.08, 0.92, 256)), name="diverging")
    return colors.with_extremes(bad=MISSING)


def looks(curves: Sequence[Curve]) -> list[Look]:
    """A look per curve.

    A shaded curve takes its shade, a line the next colour of the palette (the same for lines of one label, which are
    replicates). Markers and guides take the colour of the line whose label begins their own ("V" and "V, published"),
    else they are neutral.
    """
    places = _places(curves)
    points = [i for i, curve in enumerate(curves) if curve.style == "markers" and curve.shade is None]
    found = []
    for i, curve in enumerate(curves):
        place = places[_name(i, curve)] if _is_categorical(curve) else None
        dashes = DASHES.get(curve.style) or ROUNDS[(place or 0) // len(PALETTE) % len(ROUNDS)]
        marker = MARKERS[points.index(i) % len(MARKERS)] if i in points else MARKERS[0]
        found.append(Look(_color(curve, place, places=places), dashes, marker))
    return found


def _is_categorical(curve: Curve) -> bool:
    """Whether the curve takes a colour of the palette."""
    return curve.style == "line" and curve.shade is None


def _name(i: int, curve: Curve) -> str:
    """The label of a curve; one of its own where it has none."""
    return curve.label or f"\0{i}"


def _places(curves: Sequence[Curve]) -> dict[str, int]:
    """Places in the palette of the lines, by name, in the order of their first appearance."""
    names = dict.fromkeys(_name(i, curve) for i, curve in enumerate(curves) if _is_categorical(curve))
    return {name: place for place, name in enumerate(names)}


def _color(curve: Curve, place: int | None, *, places: dict[str, int]) -> Any:
    if curve.shade is not None:
        return shades()(float(np.clip(np.nan_to_num(curve.shade), 0, 1)))
    if place is None:
        family = [label for label in places if curve.label.startswith(label)]
        if not family:
            return INK if curve.style == "markers" else GUIDE
        place = places[max(family, key=len)]
    return PALETTE[place % len(PALETTE)]
