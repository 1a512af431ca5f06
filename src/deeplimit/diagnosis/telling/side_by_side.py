"""Comparisons and timelines on a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group as Lines

from deeplimit.diagnosis.telling.text import ABSENT, blocks, finite, number, plain_table, spark, words

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from deeplimit.diagnosis.comparing import Comparison, GroupComparison, GroupTimeline, RoleChange, Timeline
    from deeplimit.diagnosis.report import Finding

MOST = 8
"""Blocks that changed most, and steps in a table, that are shown."""


def comparison_text(found: Comparison) -> Lines:
    """What changed from A to B, for a terminal."""
    parts: list[RenderableType] = [words(f"A: {found.a}", "bold"), words(f"B: {found.b}", "bold")]
    for group in found.groups:
        parts += ["", words(f"{group.name}: {group.blocks} blocks", "bold"), _labels(group), "", _ratios(group)]
        parts += ["", *_most_changed(group), *_findings("findings in B alone", group.came)]
        parts += _findings("findings in A alone", group.went)
    return Lines(*parts)


def _labels(group: GroupComparison) -> Table:
    table = plain_table("verdict", "A", "B", "")
    for name, (a, b) in (("weights", group.weights), ("function", group.function)):
        table.add_row(name, words(a.label), words(b.label), "the same" if a.label == b.label else "changed")
    return table


def _ratios(group: GroupComparison) -> Table:
    """B over A: the norm at the median block and over depth, and how far the weights went."""
    right = ("norm B/A", "step B/A", "moved", "cosine")
    table = plain_table("role", "norm B/A", "over depth", *right[1:], right=right)
    for role in group.roles:
        norm, step = role.ratios.get("norm", ()), role.ratios.get("increment", ())
        far = group.moved.get(role.name) if role.view == "raw" else None
        moved, cosine = (_middle(far.distance), _middle(far.cosine)) if far else (ABSENT, ABSENT)
        table.add_row(words(_name(role)), _middle(norm), spark(norm), _middle(step), moved, cosine)
    return table


def _name(role: RoleChange) -> str:
    return role.name if role.view == "raw" else f"{role.name}, {role.view}"


def _middle(values: Sequence[float]) -> str:
    good = finite(values)
    return number(statistics.median(good)) if good else ABSENT


def _most_changed(group: GroupComparison) -> Iterator[RenderableType]:
    changed = [change for change in group.changed if change.size > 0]
    if group.changed and not changed:
        yield "no block changed"
    elif changed:
        size = "‖B−A‖/‖A‖" if group.moved else "|log ‖B‖/‖A‖|"
        table = plain_table("most changed", size, "most in", right=(size,))
        for change in changed[:MOST]:
            table.add_row(blocks((change.block,)), number(change.size), words(change.where))
        yield table


def _findings(title: str, findings: Sequence[Finding]) -> Iterator[RenderableType]:
    if findings:
        yield ""
        yield title
    for finding in findings:
        yield words(f"  {finding.kind}, {blocks(finding.blocks)}, {finding.where}: {finding.reason}")


# Over training time --------------------------------------------------------------------------------------------------


def timeline_text(found: Timeline) -> Lines:
    """What became of the verdicts and norms over training, for a terminal."""
    parts: list[RenderableType] = [words(f"{found.title}: {len(found.steps)} checkpoints", "bold")]
    for group in found.groups:
        parts += ["", words(f"{group.name}: {group.blocks} blocks", "bold"), _verdicts(found.steps, group)]
        parts += ["", "norm of each block over that at the first step", _growth(found.steps, group)]
    return Lines(*parts)


def _verdicts(steps: Sequence[int], group: GroupTimeline) -> Table:
    """Equal verdicts that follow each other are one line."""
    table = plain_table("steps", "weights", "function", "findings", right=("findings",))
    rows = zip(steps, group.weights, group.function, group.findings, strict=True)
    for (weights, function, findings), same in groupby(rows, key=lambda row: row[1:]):
        first, *others = (row[0] for row in same)
        table.add_row(f"{first} – {others[-1]}" if others else str(first), weights, function, str(findings))
    return table


def _growth(steps: Sequence[int], group: GroupTimeline) -> Table:
    """Block × time: at most eight steps as numbers, all of them as a curve."""
    kept = (
        sorted({round(i * (len(steps) - 1) / (MOST - 1)) for i in range(MOST)})
        if len(steps) > MOST
        else range(len(steps))
    )
    growth = group.growth()
    names = [str(steps[t]) for t in kept]
    table = plain_table("block", *names, "over time", right=("block", *names))
    for block in range(group.blocks):
        curve = [row[block] for row in growth]
        table.add_row(str(block), *(number(curve[t], 2) for t in kept), spark(curve))
    return table
