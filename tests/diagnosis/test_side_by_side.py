"""Comparisons and timelines on a terminal of 80 columns."""

from __future__ import annotations

from dataclasses import replace

from deeplimit.diagnosis import Finding
from deeplimit.diagnosis.comparing import Moved, compare, over_time
from deeplimit.diagnosis.side_by_side import comparison_text, timeline_text
from tests.diagnosis import reports
from tests.diagnosis.test_text import shown

BASE = reports.report(reports.group(batch=True), reports.group("layer3", 23, seed=3))


def test_what_changed_is_shown_within_80_columns():
    other = reports.scaled(BASE, 3.0, block=7)
    came = replace(other.groups[0], findings=(Finding("scale", (7,), "mlp.up", "is 3 times the others", 4.0),))
    came = replace(came, weights=replace(came.weights, label="mixed"))
    said = shown(comparison_text(compare(BASE, replace(other, groups=(came, other.groups[1])))))
    assert max(map(len, said.splitlines())) <= 80
    flat = " ".join(said.split())
    for part in (
        "A: net.safetensors",
        "weights rough mixed changed",
        "function undecided undecided the same",
        "block 7 1.1 ",
    ):
        assert part in flat
    assert "findings in B alone scale, block 7, mlp.up: is 3 times the others" in flat
    assert "findings in A alone dead, block 5" in flat


def test_weights_that_moved_are_shown_beside_their_role():
    moved = {"mlp.up": Moved((0.25,) * 12, (0.75,) * 12, (0.0,) * 12, (1.0,) * 12)}
    said = shown(comparison_text(compare(BASE, BASE, moved=(moved, {}))))
    row = next(line.split() for line in said.splitlines() if line.startswith("mlp.up "))
    assert row[-2:] == ["0.25", "0.75"]
    assert "no block changed" in said


def test_a_timeline_has_one_line_for_equal_verdicts_and_one_for_each_block():
    run = {100 * t: reports.scaled(BASE, 1.0 + t, block=4) for t in range(12)}
    smooth = replace(run[1100].groups[0], weights=replace(run[1100].groups[0].weights, label="smooth"))
    run[1100] = replace(run[1100], groups=(smooth, run[1100].groups[1]))
    said = shown(timeline_text(over_time(run, "run")))
    assert max(map(len, said.splitlines())) <= 80
    flat = [" ".join(line.split()) for line in said.splitlines()]
    assert "run: 12 checkpoints" in flat
    assert "0 – 1000 rough undecided 2" in flat
    assert "1100 smooth undecided 2" in flat
    assert "block 0 200 300 500 600 800 900 1100 over time" in flat
    row, _ = (line for line in flat if line.startswith("4 1 3 4 6 7 9 10 12 "))
    assert row.split()[-1][-1] == "█"
