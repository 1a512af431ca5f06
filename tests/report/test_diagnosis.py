"""The page of a diagnosis: well formed, complete, and without a request that leaves it."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from deeplimit.diagnosis import Finding, LeftOut, Report
from deeplimit.diagnosis.comparing import Comparison, Moved, Timeline, compare, over_time
from deeplimit.report.diagnosis import render
from tests.diagnosis import reports
from tests.report.test_page import Reader

HOSTILE = "<script>alert('x')</script>"


def net() -> Report:
    """A group with a batch and one without."""
    profiles = reports.group(seed=5).profiles
    first = replace(reports.group(batch=True, seed=6), profiles=(profiles[0], profiles[5], profiles[6], profiles[10]))
    second = replace(reports.group("layer3", 23, seed=2), left_out=(LeftOut(HOSTILE, "stands outside"),))
    return reports.report(first, second, notes=(f"read in float16 {HOSTILE}",))


def changed() -> Comparison:
    base = net()
    moved = {"attention.query": Moved((0.1,) * 11 + (0.0,), (1.0,) * 12, (0.1,) * 12, (1.0,) * 12)}
    return compare(base, reports.scaled(base, 3.0, block=7), moved=(moved, {}))


def trained() -> Timeline:
    return over_time({100 * t: reports.scaled(net(), 1.0 + t, block=4) for t in range(3)}, f"run {HOSTILE}")


@pytest.fixture(scope="module", params=["report", "comparison", "timeline"])
def page(request: pytest.FixtureRequest) -> str:
    pages: dict[str, Report | Comparison | Timeline] = {"report": net(), "comparison": changed(), "timeline": trained()}
    return render(pages[request.param])


def test_every_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "img"}
        href = attributes.get("href")
        assert href is None or re.match(r"#|data:image/png", href)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page
    assert page.count('<svg class="plot"') >= 2
    assert "no data" not in "".join(reader.texts)


def said(page: str) -> str:
    return " ".join(" ".join(Reader(page).texts).split())


def test_the_page_says_all_that_the_report_does() -> None:
    found = net()
    text = said(render(found))
    for group in found.groups:
        assert f"{group.name}: {group.depth} blocks" in text
        for verdict in (group.weights, group.function):
            assert verdict.label in text
            assert f"What would change it: {verdict.change}" in text
        reasons = [f.reason for f in group.findings] + [c.reason for c in group.consequences]
        assert all(reason in text for reason in (*reasons, *(row.reason for row in group.left_out)))
        assert all(profile.name in text for profile in group.profiles)
    assert "alert('x')" in text
    assert "1% of random orders" in text
    assert "drift share" in text


def test_findings_come_strongest_first_and_are_marked() -> None:
    findings = (Finding("dead", (3,), "layer", "is weak", 2.0), Finding("tied", (4, 5), "layer", "are equal", 9.0))
    group = replace(reports.group("layer3"), findings=findings)
    page = render(reports.report(group))
    text = said(page)
    assert text.index("are equal") < text.index("is weak")
    assert "Open marks: findings, in block 3 (dead), 4 (tied), 5 (tied)." in text
    plain = render(reports.report(replace(group, findings=())))
    assert "Open marks" not in plain
    assert page.count("<use") > plain.count("<use")


def test_curves_without_numbers_are_not_drawn() -> None:
    group = reports.group("layer3", batch=True)
    empty = replace(group.profiles[0], curves={"norm": (math.nan,) * 12, "increment": (1.0,) * 11}, order=None)
    passage = replace(group.passage, curves={"stream_norm": (math.inf,) * 13}) if group.passage else None
    page = render(reports.report(replace(group, profiles=(empty,), passage=passage, left_out=())))
    assert page.count('<svg class="plot"') == 1
    assert "undecided" in said(page)


def test_a_report_without_evidence_or_consequences_is_still_a_page() -> None:
    group = reports.group()
    bare = replace(
        group, profiles=(), findings=(), consequences=(), left_out=(), weights=replace(group.weights, evidence={})
    )
    text = said(render(reports.report(replace(bare, function=bare.weights), notes=())))
    assert "How it was decided" not in text
    assert text.count("None.") == 3


def test_a_comparison_names_both_networks_and_the_block_that_changed() -> None:
    base = net()
    text = said(render(compare(base, reports.scaled(base, 3.0, block=7))))
    assert "A: net.safetensors B: net.safetensors" in text
    assert "block |log(‖B‖/‖A‖)| most in block 7 1.10 attention.query" in text


def test_a_timeline_shows_the_verdict_at_every_step() -> None:
    text = said(render(trained()))
    assert "0 rough undecided 8 100 rough undecided 8 200 rough undecided 8" in text
    assert "Layer × time" in text


def test_a_curve_of_two_views_is_drawn_once() -> None:
    group = reports.group()
    raw = replace(group.profiles[0], curves={"norm": tuple(map(float, range(1, 13)))})
    views = (raw, replace(raw, view="invariant"), replace(raw, view="aligned", curves={"norm": (2.0,) * 12}))
    page = render(reports.report(replace(group, profiles=views)))
    assert page.count('<svg class="plot"') == 2


def test_numbers_of_a_batch_stand_once() -> None:
    group = reports.group(batch=True)
    assert group.passage is not None
    function = replace(group.function, evidence={"drift_share": group.passage.numbers["drift_share"]})
    text = said(render(reports.report(replace(group, function=function))))
    assert text.count("drift share") == 1
    assert text.count("halving defect") == 1


def test_names_of_a_stranger_do_not_break_the_page() -> None:
    group = reports.group()
    odd = [
        replace(group.profiles[i], name=name) for i, name in enumerate(("a$b_{c", "x" * 300, HOSTILE, "\x1b[2J\x00"))
    ]
    page = render(reports.report(replace(group, name=HOSTILE, profiles=tuple(odd))))
    assert Reader(page).open == []
    assert "<script" not in page
    assert page.count('<svg class="plot"') >= 3
