"""A diagnosis on a terminal: what stands in 80 columns, strongest first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group as Lines
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deeplimit.claims import Measured
    from deeplimit.diagnosis.blocks.group import Group, LeftOut
    from deeplimit.diagnosis.report import Finding, GroupReport, Passage, Profile, Report, Verdict
    from deeplimit.regimes import Smoothness

BARS = "▁▂▃▄▅▆▇█"
SPARK = 10
"""Characters of a small curve in a table."""
ABSENT = "–"
SHOWN = 12
"""Things left out that are listed; of more, only the number is said."""


def words(text: str, style: str = "") -> Text:
    """Text as it is: names of a stranger's file neither are markup nor steer the terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else "�" for c in text), style)


def spark(values: Sequence[float], width: int = SPARK) -> str:
    """A curve as a row of bars from 0, or its least value where that is negative, to its largest.

    Where it is longer than `width`, each bar is the value of its stretch farthest from the middle of the curve, so that a single odd block
    is seen. What is not finite is `×`.

    >>> spark([1, 2, 4, 0, float("nan"), 8])
    '▂▃▅▁×█'
    """
    good = finite(values)
    count = min(width, len(values))
    if not good:
        return "×" * count
    middle, low = statistics.median(good), min([0.0, *good])
    span = (max(good) - low) or 1.0
    ends = [round(i * len(values) / count) for i in range(count + 1)]
    stretches = (values[a:b] for a, b in pairwise(ends))
    kept = (max(part, key=lambda v: abs(v - middle) if math.isfinite(v) else math.inf) for part in stretches)
    return "".join(BARS[round((v - low) / span * (len(BARS) - 1))] if math.isfinite(v) else "×" for v in kept)


def number(value: float | None, digits: int = 3) -> str:
    """A number in few characters.

    >>> number(0.123456), number(12345.0), number(None), number(2.0), number(0.00001234)
    ('0.123', '1.23e4', '–', '2', '1.2e-5')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    if value and not 1e-3 <= abs(value) < 10_000:
        mantissa, _, power = f"{value:.{digits - 1 if abs(value) > 1 else 1}e}".partition("e")
        return f"{mantissa}e{int(power)}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def interval(found: Measured | None, digits: int = 2) -> str:
    """A number with its interval: `0.48 [0.41, 0.55]`."""
    if found is None:
        return ABSENT
    return f"{number(found.value, digits)} [{number(found.low, digits)}, {number(found.high, digits)}]"


def text(report: Report) -> Lines:
    """Everything that a diagnosis says, for a terminal."""
    parts: list[RenderableType] = [words(report.target, "bold")]
    parts += [words(f"note: {note}") for note in report.notes]
    for group in report.groups:
        parts += ["", *_group(group)]
    return Lines(*parts, "", words(LEGEND, "dim"))


def listing(groups: Sequence[Group]) -> Lines:
    """Groups, blocks, roles and pairs that were found, and what is left out."""
    parts: list[RenderableType] = []
    for group in groups:
        parts += [words(header(group), "bold"), words(_ends(group.blocks))]
        parts += [_roles(group), *_left_out(group.left_out), ""]
    return Lines(*parts[:-1])


def header(group: Group | GroupReport) -> str:
    """`encoder.layer: 12 blocks, stream of width 384`."""
    width = f", stream of width {group.stream}" if group.stream is not None else ""
    return f"{group.name}: {group.depth} blocks{width}"


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table with narrow gaps; the columns named in `right` hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="")
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=i > 0, overflow="fold")
    return table


def _ends(blocks: Sequence[str]) -> str:
    return ", ".join(blocks) if len(blocks) <= 3 else f"{blocks[0]}, {blocks[1]}, …, {blocks[-1]}"


def _roles(group: Group) -> Table:
    table = plain_table("role", "use", "shape", "tensor of a block")
    table.columns[-1].no_wrap = False
    for role in group.roles:
        tensor = role.suffix + (", transposed" if role.transposed else "") + (", part of it" if role.rows else "")
        table.add_row(words(role.name), role.use, " × ".join(map(str, role.shape)) or "one number", words(tensor))
    for pair in group.pairs:
        sign = "ᵀ" if pair.scores else " ·"
        product = f"{pair.first}{sign} {pair.second}" if pair.scores else f"{pair.second}{sign} {pair.first}"
        table.add_row(words(pair.name), "pair", "", words(product))
    return table


def _left_out(rows: Sequence[LeftOut]) -> Iterator[RenderableType]:
    if rows:
        yield words("left out" if len(rows) <= SHOWN else f"left out: {len(rows)}, of which the first {SHOWN}")
    for row in rows[:SHOWN]:
        yield _hanging(words(f"{row.name}: {row.reason}"))


def _hanging(line: Text) -> Padding:
    return Padding(line, (0, 0, 0, 2))


# One group -----------------------------------------------------------------------------------------------------------


def _group(group: GroupReport) -> Iterator[RenderableType]:
    yield words(header(group), "bold")
    yield _verdicts(group)
    yield ""
    yield _profiles(group.profiles)
    if group.passage is not None:
        yield ""
        yield _passage(group.passage)
    yield ""
    yield from _findings(group.findings)
    if group.consequences:
        yield ""
        yield _consequences(group)
    if group.left_out:
        yield ""
    yield from _left_out(group.left_out)


def _verdicts(group: GroupReport) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for title, verdict in (("weights", group.weights), ("function", group.function)):
        grid.add_row(title, words(verdict.label, "bold"), _reasons(verdict))
    return grid


def _reasons(verdict: Verdict) -> Text:
    said = words(verdict.reason)
    return said.append_text(words(f"\nwhat would change it: {verdict.change}", "dim")) if verdict.change else said


LEGEND = (
    "norm: median (least–most) over blocks; step: median norm of the difference of neighbours; ratio: squared steps against squared "
    "distances from the mean, near 2 in a random order; p: share of random orders with a ratio as small; roughness: 0 as white noise, 0.5 "
    "as a random walk, 1 and more smooth; invariant: what no permutation of hidden units changes; aligned: after hidden units "
    "are matched from block to block, which by itself brings neighbours nearer"
)


def _profiles(profiles: Sequence[Profile]) -> Table:
    right = ("step", "ratio", "p")
    table = plain_table("role", "norm", "over depth", *right, "roughness", "order", right=right)
    table.padding = (0, 0, 0, 0)
    table.columns[0].min_width = 10
    table.columns[1].no_wrap = False  # where it is narrow, the range stands below: nothing is cut
    part = ""
    for profile in sorted(profiles, key=lambda profile: _place(profile, profiles)):
        if profile.part != part:
            part = profile.part
            table.add_row(words(part, "italic"))
        table.add_row(*_profile(profile))
    return table


def _place(profile: Profile, profiles: Sequence[Profile]) -> int:
    """Where the part of a profile comes first."""
    return [other.part for other in profiles].index(profile.part)


def _profile(profile: Profile) -> list[Text | str]:
    norm, steps = finite(profile.curves.get("norm", ())), finite(profile.curves.get("increment", ()))
    size = f"{number(statistics.median(norm), 2)} ({number(min(norm), 2)}–{number(max(norm), 2)})" if norm else ABSENT
    name = profile.name.removeprefix(f"{profile.part}.") + ("" if profile.view == "raw" else f", {profile.view}")
    step = number(statistics.median(steps), 2) if steps else ABSENT
    return [words(f" {name}"), size, spark(profile.curves.get("norm", ())), step, *_order(profile.order)]


def finite(values: Sequence[float]) -> list[float]:
    """The values that are numbers."""
    return [value for value in values if math.isfinite(value)]


def course(order: Smoothness) -> str:
    """What the blocks are over depth, in a word or two: the label, or why there is none."""
    return {"zero": "all are 0", "not finite": "not finite"}.get(order.state, order.label)


def _order(order: Smoothness | None) -> list[str]:
    if order is None:
        return [ABSENT] * 3 + ["undecided"]
    found = order.roughness
    rough = f"{found.value:z.2f}±{(found.high - found.low) / 2:.2f}" if found else ABSENT
    return [number(order.ratio, 2), number(order.p_value, 2), rough, course(order)]


def _passage(passage: Passage) -> Lines:
    """What a batch shows: numbers with their intervals, then curves."""
    numbers = plain_table(f"with {passage.inputs} inputs", "value", right=("value",))
    for name, found in passage.numbers.items():
        numbers.add_row(words(said(name)), interval(found))
    curves = plain_table("over depth", "first", "median", "last", "", right=("first", "median", "last"))
    for name, curve in passage.curves.items():
        if curve:
            ends = (curve[0], statistics.median(curve), curve[-1])
            curves.add_row(words(said(name)), *(number(value) for value in ends), spark(curve, 24))
    return Lines(numbers, "", curves)


def said(name: str) -> str:
    """The name of a number in words."""
    return name.replace("_", " ")


def _findings(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    if not findings:
        yield "findings: none"
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in sorted(findings, key=lambda finding: -finding.strength):
        table.add_row(words(finding.kind, "bold"), blocks(finding.blocks), _where(finding))
    yield "findings, strongest first"
    yield Padding(table, (0, 0, 0, 2))


def blocks(numbers: Sequence[int]) -> str:
    """`block 3`, `blocks 3, 4`."""
    return f"block{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _where(finding: Finding) -> Text:
    return words(f"{finding.where}: {finding.reason} (strength {number(finding.strength, 2)})")


QUESTIONS = {
    "tie": "tie layers",
    "interpolate": "interpolate layers",
    "skip": "skip layers",
    "deepen": "deepen by interpolation",
    "prune": "prune blocks",
}
"""What a consequence is about, in words."""


def _consequences(group: GroupReport) -> Lines:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in group.consequences:
        grid.add_row(QUESTIONS[row.question], words(row.answer, "bold"), words(row.reason))
    return Lines("may one", Padding(grid, (0, 0, 0, 2)))
