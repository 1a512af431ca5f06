"""Drawings made small and safe to stand together."""

from __future__ import annotations

from deeplimit.report import svg

RAW = """<?xml version="1.0"?>
<!DOCTYPE svg>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" height="5pt" viewBox="0 0 10 5" version="1.1">
 <metadata><date>2024-01-01</date></metadata>
 <defs><style type="text/css">*{stroke-linejoin: round}</style></defs>
 <g id="unused"><path id="m1" d="M 0.123456 -0.000001
 L 1.999999 2.5"/></g>
 <use xlink:href="#m1" x="1.23456" clip-path="url(#c2)"/>
 <!-- a note --><clipPath id="c2"><rect width="1.23456"/></clipPath>
</svg>
"""


def test_ids_that_are_used_are_prefixed_and_the_others_dropped() -> None:
    text = svg.tidy(RAW, "fig-0")
    for part in ('id="fig-0-m1"', 'href="#fig-0-m1"', 'id="fig-0-c2"', "url(#fig-0-c2)"):
        assert part in text
    assert "unused" not in text


def test_coordinates_are_short_and_dates_and_style_sheets_are_gone() -> None:
    text = svg.tidy(RAW, "a")
    assert 'd="M 0.12 0 L 2 2.5"' in text
    assert 'x="1.23"' in text
    for gone in ("2024", "<style", "DOCTYPE", "a note", "<?xml"):
        assert gone not in text
    assert 'style="stroke-linejoin:round' in text


def test_a_file_has_a_size_and_an_inline_drawing_fills_its_box() -> None:
    tidied = svg.tidy(RAW, "a")
    assert svg.as_file(tidied).startswith('<?xml version="1.0" encoding="utf-8"?>\n<svg')
    assert 'width="10pt"' in svg.as_file(tidied)
    inline = svg.inline(tidied)
    assert inline.startswith('<svg class="plot" role="img"')
    assert 'viewBox="0 0 10 5"' in inline
    for gone in ("10pt", "xmlns", "xlink", "version"):
        assert gone not in inline
    assert svg.inline("no drawing") == "no drawing"
