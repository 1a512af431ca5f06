"""What a terminal shows of a diagnosis: everything, within its width, and nothing that steers it."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from deeplimit.claims import Measured
from deeplimit.diagnosis import Finding, Group, LeftOut, Pair, Role
from deeplimit.diagnosis.telling.text import blocks, finite, header, interval, listing, number, spark, text
from tests.diagnosis import reports


def shown(part: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("weights", reports.WEIGHTS)
@pytest.mark.parametrize("width", [80, 140])
def test_everything_stands_within_the_width(weights, width):
    found = reports.report(
        reports.group(weights=weights, batch=True, seed=6),
        reports.group("layer3", 23, seed=3),
        reports.group("layer4", 48, seed=2),
    )
    lines = shown(text(found), width).splitlines()
    assert max(map(len, lines)) <= width
    said = " ".join(" ".join(lines).split())
    for part in (
        "net.safetensors",
        "note: read in float16",
        "layer3: 23 blocks",
        weights,
        "what would change it",
        "pooler",
    ):
        assert part in said
    for name in ("query", "output.bias", "up, aligned", "scores, invariant", "no order", "drift share", "update ratio"):
        assert width == 80 or name in said
    assert "prune blocks" in said
    assert "cannot tell" in said


def test_no_verdict_on_a_role_is_cut_where_it_is_narrow():
    (profile, *_) = reports.group(weights="rough").profiles
    norms = tuple(0.0361 + k / 1000 for k in range(len(profile.curves["norm"])))
    odd = replace(profile, name="mlp.a_long_name.gain", curves={**profile.curves, "norm": norms}, order=None)
    lines = shown(text(reports.report(replace(reports.group(weights="rough"), profiles=(odd, profile))))).splitlines()
    assert any(line.rstrip().endswith("undecided") and "–" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_findings_come_strongest_first():
    group = replace(
        reports.group(),
        findings=(Finding("dead", (3,), "mlp", "adds nothing", 2.0), Finding("tied", (4, 5), "all", "are equal", 9.0)),
    )
    said = shown(text(reports.report(group)))
    assert said.index("blocks 4, 5") < said.index("block 3 ")
    assert "findings: none" in shown(text(reports.report(replace(group, findings=()))))


def test_numbers_of_a_profile_are_those_of_its_curves():
    group = reports.group()
    curves = {"norm": (1.0, 2.0, math.nan, 4.0), "increment": (0.5, 0.25, 0.75)}
    profile = replace(group.profiles[0], curves=curves, order=None)
    line = next(
        row for row in shown(text(reports.report(replace(group, profiles=(profile,))))).splitlines() if "query" in row
    )
    assert line.split() == ["query", "2", "(1–4)", "▃▅×█", "0.5", "–", "–", "–", "undecided"]


def test_names_of_a_stranger_neither_are_markup_nor_steer_the_terminal():
    hostile = replace(reports.group(), name="[red]\x1b[2Jx", left_out=(LeftOut("[/bold]\x07\x9b1m", "[link=x]"),))
    said = shown(text(reports.report(hostile)))
    assert "[red]�[2Jx" in said
    assert "[/bold]��1m: [link=x]" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)


def test_a_listing_names_blocks_roles_pairs_and_what_is_left_out():
    roles = (
        Role("mlp.up", "mlp", "reads", "c_fc.weight", (8, 4), transposed=True),
        Role("attention.query", "attention", "reads", "c_attn.weight", (4, 4), rows=((0, 4),)),
        Role("scale", "scale", "scale", "gamma", ()),
    )
    pairs = (
        Pair("mlp", "mlp", "mlp.up", "mlp.down"),
        Pair("attention.scores", "attention", "query", "key", scores=True),
    )
    left = tuple(LeftOut(f"wte.{i}", "stands outside") for i in range(20))
    group = Group("h", ("h.0", "h.1", "h.2", "h.3"), roles, pairs, 4, left)
    said = shown(listing([group]))
    for part in (
        "h: 4 blocks, stream of width 4",
        "h.0, h.1, …, h.3",
        "c_fc.weight, transposed",
        "8 × 4",
        "mlp.down · mlp.up",
    ):
        assert part in said
    for part in ("queryᵀ key", "one number", "left out: 20, of which the first 12", "wte.11: stands outside"):
        assert part in said
    assert "wte.12" not in said


def test_a_spark_keeps_what_is_odd():
    assert spark([1.0] * 48) == "█" * 10
    assert spark([1.0] * 20 + [0.0] + [1.0] * 27).count("▁") == 1
    assert spark([]) == ""
    assert spark([0.0, 0.0]) == "▁▁"
    assert spark([math.nan] * 3) == "×××"
    assert spark([-1.0, 0.0, 1.0]) == "▁▅█"
    assert spark([5.0]) == "█"
    assert spark([-5.0]) == "▁"
    assert "×" in spark([1.0] * 30 + [math.inf] + [1.0] * 9)


def test_numbers_are_short():
    assert [number(x) for x in (math.nan, math.inf, -math.inf, 0.0, 9999.0, 1e-30, -12345.0)] == [
        "–", "∞", "-∞", "0", "9999", "1.0e-30", "-1.23e4"
    ]  # fmt: skip
    assert interval(Measured(0.4821, 0.41, 0.5512)) == "0.48 [0.41, 0.55]"
    assert interval(None) == "–"
    assert (blocks((3,)), blocks((3, 4))) == ("block 3", "blocks 3, 4")
    assert header(replace(reports.group(depth=3), stream=None)) == "encoder.layer: 3 blocks"
    assert finite([1.0, math.nan, math.inf]) == [1.0]
