"""What a report says, as data: everything that `write_report` needs besides the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeplimit.claims import Verdict
    from deeplimit.figures import Figure


@dataclass(frozen=True)
class Discrepancy:
    """One point on which text, figure and code of a paper disagree, and what was computed about it.

    Args:
        topic: the point at issue, a short phrase.
        paper_says, figure_says, code_says: what each source says, in our words; empty where it is silent.
        computed: what the runs of this project gave.
        claim_ids: the claims that decide it; their verdicts are shown beside it.
    """

    topic: str
    paper_says: str = ""
    figure_says: str = ""
    code_says: str = ""
    computed: str = ""
    claim_ids: Sequence[str] = ()


@dataclass(frozen=True)
class ScoreRow:
    """One reproducibility variable: the answer of the publication, ours, and where ours can be checked."""

    variable: str
    published: str
    ours: str
    evidence: str


@dataclass(frozen=True)
class Document:
    """A report without its rows. Texts are plain; see `markup.rich` for the little markup they may carry.

    Args:
        title: headline of the report.
        citation: the work that is reproduced, or a subtitle.
        tier: the tier of sizes that was run.
        verdicts: in the order of the table.
        figures: (name of the study, figure); the figure is given the rows of that study only.
        discrepancies, scorecard: sections that are left out when empty.
        commands: (what it re-runs, command line).
        record: provenance, nested mappings of plain values.
        seconds: computing time of the whole report.
        studies: (name, title, text, seconds); figures of a study that is not listed are shown after the others.
    """

    title: str
    citation: str
    tier: str
    verdicts: Sequence[Verdict] = ()
    figures: Sequence[tuple[str, Figure]] = ()
    discrepancies: Sequence[Discrepancy] = ()
    scorecard: Sequence[ScoreRow] = ()
    commands: Sequence[tuple[str, str]] = ()
    record: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    studies: Sequence[tuple[str, str, str, float]] = ()
