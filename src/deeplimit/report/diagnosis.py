"""A diagnosis as one page: verdicts on top, how they were decided, and curves over depth as small multiples.

A comparison and a timeline are pages of the same parts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deeplimit.diagnosis.comparing import Comparison, Timeline
from deeplimit.diagnosis.telling.text import QUESTIONS, blocks, course, finite, header, said
from deeplimit.figures import Curve, HeatMap, Panel
from deeplimit.regimes.verdict import ALONE
from deeplimit.regimes.weights import WHITE
from deeplimit.report import formats

if TYPE_CHECKING:
    from deeplimit.claims import Measured
    from deeplimit.diagnosis.comparing import GroupComparison, GroupTimeline, RoleChange
    from deeplimit.diagnosis.report import Finding, GroupReport, Passage, Profile, Report, Verdict
    from deeplimit.figures import Scale
    from deeplimit.report.plots import AnyPanel

TOGETHER = 5
"""Curves of one panel: as many as can be named at their ends."""

WIDE = 20
"""Largest over smallest value of a panel from which its axis is logarithmic."""

MOST = 8
"""Blocks that changed most, as listed."""

BETWEEN = ("increment", "alignment")
"""Curves with a number for each pair of neighbours."""

LONG = 40
"""Characters from which a cell of a table may break."""

FIRST = ("norm", "operator_norm", "increment")
"""Curves of a profile that are shown at once; others wait behind a fold."""

STREAM = ("stream_norm", "update_ratio", "alignment", "gain", "removal")

AXES = {
    "norm": r"norm $\|A_k\|$",
    "operator_norm": "operator norm",
    "participation": "directions that carry it",
    "map_norm": "size on random inputs",
    "matched": "cosine of matched units",
    "increment": r"step $\|A_k - A_{k-1}\|$",
    "stream_norm": "norm of the stream",
    "update_norm": "norm of the update",
    "update_ratio": "update over stream",
    "alignment": "cosine of successive updates",
    "gain": "gain of a layer",
    "branch_gain": "gain of a branch",
    "removal": "change when removed",
    "tail": "change without the rest",
}
"""Name of a curve -> label of its axis."""

HOW_ORDER = (
    f"The order of the blocks matters where fewer than {ALONE:.0%} of random orders of the same blocks have steps as small "
    f"(p < {ALONE:g}). The ratio is that of squared steps to squared distances from the mean: near 2 in a random order, near 0 for weights "
    "that change slowly. Where the order matters, weights are smooth if the whole interval of their roughness lies above "
    f"{1 - WHITE:g}, rough if it lies below, and undecided if it does neither; roughness is 0 for white noise, ½ for a random "
    "walk over depth, and 1 or more for smooth curves."
)


@dataclass(frozen=True)
class Card:
    """One verdict."""

    title: str
    label: str
    reason: str
    change: str


@dataclass(frozen=True)
class Part:
    """A piece of a page.

    Args:
        kind: which of the others are used: `verdicts` cards, `table`, `panels` of SVG beside each other in `columns`, or `more`, parts
            behind a fold.
    """

    kind: Literal["verdicts", "table", "panels", "more"]
    title: str = ""
    cards: Sequence[Card] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""
    panels: Sequence[str] = ()
    columns: int = 3
    caption: str = ""
    parts: Sequence[Part] = ()


@dataclass(frozen=True)
class Section:
    """A heading with its parts."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """All that the template is given."""

    kicker: str
    title: str
    sections: Sequence[Section]
    notes: Sequence[str] = ()


def render(found: Report | Comparison | Timeline) -> str:
    """A diagnosis, a comparison or a timeline as one page of HTML that needs nothing from outside itself."""
    from deeplimit.report.page import environment_of_pages

    environment = environment_of_pages()
    environment.tests["long"] = _is_long
    environment.tests["wordy"] = lambda part: any(map(_is_long, (cell for row in part.rows for cell in row)))
    return environment.get_template("diagnosis.html").render(page=_page(found))


def _is_long(cell: str) -> bool:
    return len(cell) > LONG


def _page(found: Report | Comparison | Timeline) -> Page:
    if isinstance(found, Comparison):
        sections = [_compared(group, f"g{i}") for i, group in enumerate(found.groups)]
        names = (f"A: {found.a}", f"B: {found.b}")
        return Page("Diagnosis", "Comparison of two networks", sections, names)
    if isinstance(found, Timeline):
        sections = [_over_time(found.steps, group, name=f"g{i}") for i, group in enumerate(found.groups)]
        return Page(f"Diagnosis over training time · {len(found.steps)} checkpoints", found.title, sections)
    sections = [Section(header(group), list(_group(group, f"g{i}"))) for i, group in enumerate(found.groups)]
    return Page("Diagnosis of a trained network", found.target, sections, found.notes)


# One network ---------------------------------------------------------------------------------------------------------


def _group(group: GroupReport, name: str) -> Iterator[Part]:
    yield Part("verdicts", cards=[_card("Weights", group.weights), _card("Function", group.function)])
    yield _findings("Findings, strongest first", group.findings)
    yield _table(
        "What may be done",
        ("may one", "answer", "because"),
        [(QUESTIONS[row.question], row.answer, row.reason) for row in group.consequences],
    )
    yield from _how(group)
    if group.passage is not None:
        yield from _passage(group.passage, group, name=f"{name}-p")
    yield from _profiles(group, name)
    if group.left_out:
        rows = [(row.name, row.reason) for row in group.left_out]
        yield _more(f"What was left out ({len(rows)})", [_table("Left out", ("name", "because"), rows)])


def _card(title: str, verdict: Verdict) -> Card:
    return Card(title, verdict.label, verdict.reason, verdict.change)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "") -> Part:
    kept = [i for i in range(len(header)) if not rows or any(row[i] for row in rows)]
    shown = [[row[i] for i in kept] for row in rows]
    return Part("table", title, header=[header[i] for i in kept], rows=shown, note=note)


def _findings(title: str, findings: Sequence[Finding]) -> Part:
    rows = [(f.kind, blocks(f.blocks), f.where, f.reason, formats.number(f.strength, 2)) for f in _strongest(findings)]
    return _table(title, ("kind", "blocks", "where", "what", "strength"), rows)


def _how(group: GroupReport) -> Iterator[Part]:
    """Evidence of both verdicts, and the order of the blocks role by role."""
    rows = [
        (which, said(name), *_measured(number))
        for which, verdict in (("weights", group.weights), ("function", group.function))
        for name, number in verdict.evidence.items()
    ]
    if rows:
        yield _table("How it was decided", ("verdict", "number", "value", "interval", "how"), rows)
    ordered = [_order(profile) for profile in group.profiles]
    head = ("role", "view", "order", "ratio", "p", "roughness", "interval")
    yield _table("Does the order of the blocks matter?", head, ordered, note=HOW_ORDER)


def _measured(number: Measured) -> tuple[str, str, str]:
    value, interval = formats.measured(number)
    return value, interval, number.note


def _order(profile: Profile) -> tuple[str, ...]:
    order = profile.order
    if order is None:
        return profile.name, profile.view, "undecided", "—", "—", "—", ""
    rough = formats.measured(order.roughness) if order.roughness else ("—", "")
    return (
        profile.name,
        profile.view,
        course(order),
        "—" if order.ratio is None else formats.number(order.ratio, 3),
        "—" if order.p_value is None else formats.number(order.p_value, 2),
        *rough,
    )


def _passage(passage: Passage, group: GroupReport, *, name: str) -> Iterator[Part]:
    """Numbers that are no evidence of the verdict, and curves."""
    others = [key for key in passage.numbers if key not in group.function.evidence]
    rows = [(said(key), *_measured(passage.numbers[key])) for key in others]
    if rows:
        yield _table(
            f"What a batch of {passage.inputs} inputs shows besides", ("number", "value", "interval", "how"), rows
        )
    findings = group.findings
    curves = {key: curve for key, curve in passage.curves.items() if any(map(math.isfinite, curve))}

    def panels(keys: Sequence[str]) -> list[AnyPanel]:
        return [_panel({"": curves[key]}, key, findings=findings) for key in keys]

    shown = [key for key in STREAM if key in curves]
    folded = [key for key in curves if key not in STREAM]
    if shown:
        yield _drawn(
            f"{name}0", f"The stream over depth, {passage.inputs} inputs", panels(shown), caption=_caption(findings)
        )
    if folded:
        yield _more("More curves of the stream", [_drawn(f"{name}1", "The stream over depth", panels(folded))])


def _more(title: str, parts: Sequence[Part]) -> Part:
    return Part("more", title, parts=parts)


def _caption(findings: Sequence[Finding]) -> str:
    """Which blocks the open marks are."""
    found = {block: finding.kind for finding in _strongest(findings)[::-1] for block in finding.blocks}
    said = ", ".join(f"{block} ({kind})" for block, kind in sorted(found.items()))
    return f"Open marks: findings, in block {said}." if found else ""


def _strongest(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.strength)


def _profiles(group: GroupReport, name: str) -> Iterator[Part]:
    """Small multiples: a row of panels for each part of the block, view and kind of tensor, with few curves in each."""
    rest: list[Part] = []
    known = {profile.name for profile in group.profiles}
    for i, (title, profiles) in enumerate(_families(_without_repeats(group.profiles))):
        roles = {profile.name for profile in profiles}
        seen = [finding for finding in group.findings if finding.where in roles or finding.where not in known]
        panels = {key: _panel(_named(profiles, key), key, findings=seen) for key in _keys(profiles)}
        at_once = [panel for key, panel in panels.items() if key in FIRST]
        folded = [panel for key, panel in panels.items() if key not in FIRST]
        if at_once:
            yield _drawn(f"{name}-{i}", title, at_once, caption=_caption(seen))
        if folded:
            rest.append(_drawn(f"{name}-{i}-more", title, folded))
    if rest:
        yield _more("More curves of the weights", rest)


def _without_repeats(profiles: Sequence[Profile]) -> list[Profile]:
    """Profiles without the curves that the raw view of the same role has too."""
    raw = {profile.name: profile.curves for profile in profiles if profile.view == "raw"}

    def own(profile: Profile) -> dict[str, tuple[float, ...]]:
        seen = {} if profile.view == "raw" else raw.get(profile.name, {})
        return {key: curve for key, curve in profile.curves.items() if seen.get(key) != curve}

    return [replace(profile, curves=own(profile)) for profile in profiles]


def _families(profiles: Sequence[Profile]) -> Iterator[tuple[str, list[Profile]]]:
    """Profiles that are drawn together, with a title."""
    found: dict[str, list[Profile]] = {}
    for profile in profiles:
        view = {"raw": "", "aligned": ", hidden units aligned", "invariant": ", as maps of the stream"}[profile.view]
        vectors = ", vectors" if len(profile.shape) < 2 and profile.part not in ("norm", "scale") else ""
        part = "MLP" if profile.part == "mlp" else profile.part.capitalize()
        found.setdefault(f"{part}{vectors}{view}", []).append(profile)
    for title, members in found.items():
        for i in range(0, len(members), TOGETHER):
            yield (f"{title}, continued" if i else title), members[i : i + TOGETHER]


def _keys(profiles: Sequence[Profile]) -> list[str]:
    """Names of the curves that some profile has numbers of."""
    named = (key for profile in profiles for key, curve in profile.curves.items() if any(map(math.isfinite, curve)))
    return sorted(dict.fromkeys(named), key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST))


def _named(profiles: Sequence[Profile], key: str) -> dict[str, Sequence[float]]:
    """Role -> curve."""
    return {profile.name: profile.curves[key] for profile in profiles if key in profile.curves}


def _panel(curves: Mapping[str, Sequence[float]], key: str, *, findings: Sequence[Finding] = ()) -> Panel:
    """Curves over block numbers, each with marks where there is a finding about it; what lies between two blocks stands at the second."""
    first = int(key in BETWEEN)
    short = {name: name.partition(".")[2] or name for name in curves}
    labels = short if len(set(short.values())) == len(curves) else {name: name for name in curves}
    labels = {name: _end(label) for name, label in labels.items()}
    lines, marks = [], []
    for name, curve in curves.items():
        lines.append(Curve(range(first, first + len(curve)), curve, labels[name]))
        about = [finding for finding in findings if name == finding.where or finding.where not in curves]
        here = sorted({k for finding in about for k in finding.blocks if first <= k < first + len(curve)})
        marks.append(Curve(here, [curve[k - first] for k in here], labels[name], style="markers"))
    return Panel([*lines, *marks], "block", AXES.get(key, said(key)), yscale=_scale(curves.values()))


def _end(name: str) -> str:
    """The end of a long name: what tells it from others."""
    return name if len(name) <= LONG else f"…{name[-LONG:]}"


def _scale(curves: Iterable[Sequence[float]]) -> Scale:
    """Log where all values are positive and the largest is far above the smallest."""
    values = finite([value for curve in curves for value in curve])
    return "log" if values and min(values) > 0 and max(values) > WIDE * min(values) else "linear"


def _drawn(name: str, title: str, panels: Sequence[AnyPanel], *, caption: str = "") -> Part:
    from deeplimit.report.plots import draw_inline

    columns = 1 if isinstance(panels[0], HeatMap) else 3
    return Part("panels", title, panels=draw_inline(name, panels), columns=columns, caption=caption)


# Two networks --------------------------------------------------------------------------------------------------------


def _compared(group: GroupComparison, name: str) -> Section:
    cards = [
        _card(f"{which} of {network}", verdict)
        for which, pair in (("Weights", group.weights), ("Function", group.function))
        for network, verdict in zip("AB", pair, strict=True)
    ]
    size = "‖B − A‖/‖A‖" if group.moved else "|log(‖B‖/‖A‖)|"
    rows = [
        (blocks((row.block,)), formats.number(row.size, 3), row.where) for row in group.changed[:MOST] if row.size > 0
    ]
    parts = [
        Part("verdicts", cards=cards),
        _table("Which blocks changed most", ("block", size, "most in"), rows),
        _findings("Findings in B alone", group.came),
        _findings("Findings in A alone", group.went),
    ]
    if group.moved:
        parts.append(_drawn(f"{name}-m", "How far the weights went, by block", [_moved(group)]))
    ratios = {_said_view(role): role.ratios["norm"] for role in group.roles if role.ratios.get("norm")}
    if ratios:
        table = _picture(
            list(ratios.values()), list(range(group.blocks)), list(ratios), xlabel="block", label="norm in B over A"
        )
        parts.append(_drawn(f"{name}-r", "Norms in B over those in A", [table]))
    return Section(f"{group.name}: {group.blocks} blocks", parts)


def _said_view(role: RoleChange) -> str:
    return _end(role.name if role.view == "raw" else f"{role.name}, {role.view}")


def _moved(group: GroupComparison) -> HeatMap:
    values = [[x if x > 0 else math.nan for x in far.distance] for far in group.moved.values()]
    return HeatMap(values, list(range(group.blocks)), list(map(_end, group.moved)), "block", "", "‖B − A‖/‖A‖")


def _picture(
    values: Sequence[Sequence[float]],
    x: Sequence[float],
    y: Sequence[str] | Sequence[float],
    *,
    xlabel: str,
    label: str,
) -> HeatMap:
    """Ratios as a picture that is neutral at 1."""
    logs = [abs(math.log(v)) for row in values for v in row if 0 < v < math.inf]
    reach = max(1.25, math.exp(max(logs, default=0.0)))
    return HeatMap(values, x, y, xlabel, "" if isinstance(y[0], str) else "block", label, limits=(1 / reach, reach))


# Over training time --------------------------------------------------------------------------------------------------


def _over_time(steps: Sequence[int], group: GroupTimeline, *, name: str) -> Section:
    """The picture of layer × time, verdicts at every step, and the middle block's curves over steps."""
    growth = [list(row) for row in zip(*group.growth(), strict=True)]
    picture = _picture(
        growth, steps, list(range(group.blocks)), xlabel="step", label="norm over that at the first step"
    )
    rows = zip(map(str, steps), group.weights, group.function, map(str, group.findings), strict=True)
    return Section(
        f"{group.name}: {group.blocks} blocks",
        [
            _drawn(f"{name}-t", "Layer × time", [picture], caption="Geometric mean over the roles of a block."),
            _table("Verdicts", ("step", "weights", "function", "findings"), list(rows)),
            *_medians(steps, group, name=name),
        ],
    )


def _medians(steps: Sequence[int], group: GroupTimeline, *, name: str) -> Iterator[Part]:
    """Curve by curve the median over depth against time, few roles in a panel."""
    by_curve: dict[str, dict[str, list[float]]] = {}
    for full, rows in group.curves.items():
        role, _, key = full.rpartition(".")
        if rows == group.curves.get(f"{role.partition(' (')[0]}.{key}") and "(" in role:
            continue  # the raw view of the role has the same
        middles = [statistics.median(finite(row)) if finite(row) else math.nan for row in rows]
        by_curve.setdefault(key, {})[role] = middles
    rest: list[Part] = []
    for i, (key, roles) in enumerate(by_curve.items()):
        panels = [_lines(steps, key, roles=some) for some in _few(roles)]
        part = _drawn(f"{name}-c{i}", f"{said(key).capitalize()}, median over depth", panels)
        if key in (*FIRST, *STREAM):
            yield part
        else:
            rest.append(part)
    if rest:
        yield _more("More curves", rest)


def _few(roles: Mapping[str, list[float]]) -> Iterator[dict[str, list[float]]]:
    names = list(roles)
    for i in range(0, len(names), TOGETHER):
        yield {name: roles[name] for name in names[i : i + TOGETHER]}


def _lines(steps: Sequence[int], key: str, *, roles: Mapping[str, list[float]]) -> Panel:
    curves = [Curve(steps, values, "" if role == "passage" else _end(role)) for role, values in roles.items()]
    return Panel(curves, "step", AXES.get(key, said(key)), yscale=_scale(roles.values()))
