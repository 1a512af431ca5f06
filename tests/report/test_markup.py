"""Texts of a report: escaped first, then set."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplimit.report.markup import paragraphs, rich


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Z_k", "Z<sub>k</sub>"),
        ("max_{k,t} x", "max<sub>k,t</sub> x"),
        ("2^14", "2<sup>14</sup>"),
        ("L^{-1/2}", "L<sup>−1/2</sup>"),
        ("‖Z‖_F^2", "‖Z‖<sub>F</sub><sup>2</sup>"),
        ("∂_1f", "∂<sub>1</sub>f"),
        ("7.0e-8", "7.0×10<sup>−8</sup>"),
        ("1e-12", "10<sup>−12</sup>"),
        ("[6.95, 7.15]e-8", "[6.95, 7.15]×10<sup>−8</sup>"),
        ("slope -1", "slope −1"),
        ("[-1.5, -∞]", "[−1.5, −∞]"),
        ("`weight_decay` < 1", "<code>weight_decay</code> &lt; 1"),
        ("`a_1 -1 2^3`", "<code>a_1 -1 2^3</code>"),
    ],
)
def test_what_is_set(text: str, html: str) -> None:
    assert rich(text) == html


@pytest.mark.parametrize(
    "text", ["weight_decay", "figure1-left", "2020-01-01", "a ` b", "v1.2e3x", "x_", "^", "0x1e5f"]
)
def test_what_is_left_alone(text: str) -> None:
    assert rich(text) == text


@given(st.text(alphabet="<>&\"'ab12_^{}`-e.‖ ", max_size=40))
def test_no_text_brings_a_tag_of_its_own(text: str) -> None:
    left = re.sub(r"</?(?:sub|sup|code)>|&(?:lt|gt|amp|#34|#39);", "", rich(text))
    assert not set(left) & set("<>\"'&")


def test_blank_lines_separate_paragraphs() -> None:
    assert paragraphs("a\nb\n\n\n<c>") == "<p>a\nb</p>\n<p>&lt;c&gt;</p>"
    assert paragraphs(" \n") == ""
