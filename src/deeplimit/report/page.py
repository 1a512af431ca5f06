"""The page: what the template is given, in the order in which it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from deeplimit.claims import Ruling
from deeplimit.records.outputs import mark
from deeplimit.report import formats
from deeplimit.report.markup import paragraphs, rich
from deeplimit.report.strip import strip
from deeplimit.report.verdicts import common_prefix, undecided

if TYPE_CHECKING:
    from deeplimit.claims import Verdict
    from deeplimit.figures import Figure
    from deeplimit.report.document import Document

FEW = 4  # a list of more records than this is shown as a table
RULINGS: tuple[Ruling, ...] = get_args(Ruling)


@dataclass(frozen=True)
class Plate:
    """A drawn figure: its study, what it says, the name of its files, one inline SVG per panel."""

    study: str
    figure: Figure
    name: str
    panels: Sequence[str]


def render(document: Document, plates: Sequence[Plate]) -> str:
    """The report as one page of HTML that needs nothing from outside itself."""
    environment = environment_of_pages()
    environment.filters |= {"paragraphs": paragraphs, "duration": formats.duration, "words": _words}
    environment.tests |= {"nested": _is_nested, "tabular": _is_tabular}
    environment.filters |= {"columns": _columns, "numbered": lambda items: enumerate(items)}
    return environment.get_template("template.html").render(_view(document, plates))


def environment_of_pages() -> Environment:
    """How the templates of this folder are read: everything is escaped, and a name that is not there is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"rich": rich, "mark": lambda maker: Markup(mark(maker))}
    return environment


def _view(document: Document, plates: Sequence[Plate]) -> dict[str, Any]:
    prefix = common_prefix(document.verdicts)
    rows = [_row(verdict, prefix) for verdict in document.verdicts]
    return {
        "document": document,
        "summary": _summary(document),
        "counts": _counts(document.verdicts),
        "rows": rows,
        "row_of": {row["id"]: row for row in rows},
        "sections": _sections(document, plates),
        "several_studies": len(document.studies) > 1,
    }


# --- verdicts --------------------------------------------------------------------------------------------------------


def _row(verdict: Verdict, prefix: str) -> dict[str, Any]:
    """A verdict as the table shows it."""
    claim, found = verdict.claim, verdict.measured
    value, interval = formats.measured(found) if found else ("—", "")
    return {
        "id": claim.id,
        "short": claim.id.removeprefix(prefix),
        "claim": claim,
        "verdict": verdict,
        "kind": verdict.ruling.replace(" ", "-"),
        "expected": rich(formats.expected(claim)),
        "value": rich(value),
        "interval": rich(interval),
        "strip": strip(verdict),
        "remark": _remark(verdict),
    }


def _remark(verdict: Verdict) -> str:
    """Whether the ruling is the one that was expected, where that is not plain."""
    if verdict.ruling == "not reproduced" and verdict.as_expected:
        return "as expected: the printed statement is false"
    if verdict.as_expected is False:
        return f"expected: {verdict.claim.expected_ruling}"
    return ""


def _counts(verdicts: Sequence[Verdict]) -> list[tuple[str, str, int]]:
    """(ruling, its class, how many), in the order of good to unknown; rulings that did not occur are left out."""
    count = Counter(verdict.ruling for verdict in verdicts)
    return [(ruling, ruling.replace(" ", "-"), count[ruling]) for ruling in RULINGS if count[ruling]]


def _summary(document: Document) -> Markup:
    """One paragraph that says how it went, the undecided included."""
    verdicts = document.verdicts
    if not verdicts:
        return Markup("<p>No claim was judged. The sizes are those of tier <b>{}</b>.</p>").format(document.tier)
    count = Counter(verdict.ruling for verdict in verdicts)
    false = sum(v.ruling == "not reproduced" and bool(v.as_expected) for v in verdicts)
    surprising = [v for v in verdicts if v.as_expected is False]
    parts = [f"Of {_things(len(verdicts), 'claim')}, judged on sizes of tier {document.tier}, {_tally(count)}."]
    if false:
        parts.append(_false_as_printed(false, count["not reproduced"]))
    if surprising:
        parts.append(f"The verdict on {_things(len(surprising), 'claim')} is not the expected one.")
    if count["undecided"]:
        parts.append(f"Of the undecided, {', '.join(undecided(verdicts))}.")
    if count["undecided"] or count["unverifiable"]:
        parts.append("Undecided and unverifiable claims count neither for nor against.")
    return Markup("<p>{}</p>").format(" ".join(parts))


def _false_as_printed(part: int, whole: int) -> str:
    """How many of the failures were expected."""
    if part == whole:
        who = "That failure was" if whole == 1 else "Those failures were"
    else:
        who = f"Of those not reproduced, {part} {'was' if part == 1 else 'were'}"
    return f"{who} expected, because the statement as printed is false."


def _tally(count: Counter[Ruling]) -> str:
    """All four counts in words, zeros included."""
    first, *others = (f"{count[ruling]} {ruling}" for ruling in RULINGS)
    number, _, word = first.partition(" ")
    return f"{number} {'is' if number == '1' else 'are'} {word}, {', '.join(others[:-1])} and {others[-1]}"


def _things(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


# --- sections --------------------------------------------------------------------------------------------------------


def _sections(document: Document, plates: Sequence[Plate]) -> list[dict[str, Any]]:
    """Each study with its numbered figures; figures of studies that are not listed come last."""
    named = [name for name, *_ in document.studies]
    strangers = dict.fromkeys(plate.study for plate in plates if plate.study not in named)
    studies = [*document.studies, *((name, name, "", 0.0) for name in strangers)]
    number = 0
    sections = []
    for name, title, text, seconds in studies:
        own = [plate for plate in plates if plate.study == name]
        figures = [(number + i, plate) for i, plate in enumerate(own, start=1)]
        number += len(own)
        sections.append({"name": name, "title": title, "text": text, "seconds": seconds, "figures": figures})
    return sections


def _is_nested(value: object) -> bool:
    """Whether a value of the record has named parts, or is a list of such values."""
    return bool(value) and (isinstance(value, Mapping) or _is_list_of_mappings(value))


def _is_list_of_mappings(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _is_tabular(value: object) -> bool:
    """Whether a value of the record reads best as a table: many alike, or few without nested parts."""
    if not isinstance(value, (list, tuple)) or not _is_list_of_mappings(value):
        return False
    return len(value) > FEW or not any(_is_nested(part) for item in value for part in item.values())


def _columns(items: Sequence[Mapping[str, object]]) -> list[str]:
    """Every name that occurs in a list of mappings, in order of appearance."""
    return list(dict.fromkeys(name for item in items for name in item))


def _words(value: object) -> str:
    """A value of the record in words."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(inner)}" for key, inner in value.items()) or "—"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value)) or "—"
    return str(value)
