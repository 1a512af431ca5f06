"""How curves look: one colour per name, shades by position, published values like the line they belong to."""

from __future__ import annotations

import pytest

from deeplimit.figures import Curve
from deeplimit.report.looks import GUIDE, INK, MISSING, PALETTE, diverging, heat, looks, shades


def test_curves_of_one_name_share_a_colour_and_guides_are_neutral() -> None:
    curves = [
        Curve([1], [1], label="V"),
        Curve([1], [1], label="W"),
        Curve([1], [1], label="V"),
        Curve([1], [1], label="V, published", style="markers"),
        Curve([1], [1], label="published", style="markers"),
        Curve([1], [1], label="slope −1", style="dashed"),
        Curve([1], [1], shade=0.0),
    ]
    found = looks(curves)
    assert [look.color for look in found[:6]] == [PALETTE[0], PALETTE[1], PALETTE[0], PALETTE[0], INK, GUIDE]
    assert found[6].color == pytest.approx((0.267, 0.005, 0.329, 1.0), abs=1e-3)  # the dark end of viridis
    assert (found[3].marker, found[4].marker) == ("o", "s")
    again = looks([Curve([1], [1], label=str(i)) for i in range(len(PALETTE) + 1)])
    assert again[-1].color == again[0].color
    assert again[-1].dashes != again[0].dashes


def luminance(color: tuple[float, float, float, float]) -> float:
    return 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]


def test_colour_maps_stay_dark_enough_for_white_paper() -> None:
    assert luminance(shades()(1.0)) < 0.8
    assert luminance(heat()(0.0)) > 0.9 > 0.1 > luminance(heat()(1.0))  # a table may be light: it has no paper beneath
    assert heat().get_bad() == pytest.approx([int(MISSING[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0])


def test_many_lines_are_still_told_apart() -> None:
    found = looks([Curve([1], [1]) for _ in range(3 * len(PALETTE))])
    assert len({(look.color, str(look.dashes)) for look in found}) == len(found)


def test_a_diverging_scale_is_pale_in_the_middle_and_dark_at_both_ends() -> None:
    middle, low, high = (luminance(diverging()(place)) for place in (0.5, 0.0, 1.0))
    assert middle > 0.85
    assert 0.1 < min(low, high) < max(low, high) < 0.4  # ink still shows on the ends
    assert diverging().get_bad() == pytest.approx([int(MISSING[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0])
