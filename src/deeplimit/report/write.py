"""The files of a report: every figure, the verdicts, the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deeplimit.records.writing import write_bytes, write_json, write_text
from deeplimit.report.verdicts import verdict_json

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.figures import Figure
    from deeplimit.report.document import Document
    from deeplimit.report.page import Plate
    from deeplimit.report.plots import AnyPanel


def write_report(out: Path, document: Document, rows: pl.DataFrame) -> Path:
    """Draw every figure and write the report; each file is written aside, then renamed.

    Args:
        out: the output directory; made when absent.
        document: all that is said.
        rows: the rows of all studies, long, with a column `study`; an empty frame gives figures without data.

    Returns:
        The path of `report.html`; beside it lie `verdicts.json` and `figures/<id>.svg` and `.pdf`.
    """
    from deeplimit.report.page import render

    names = file_names(document.figures)
    plates = [
        _plate(out / "figures" / name, study, figure=figure, rows=rows, tier=document.tier)
        for (study, figure), name in zip(document.figures, names, strict=True)
    ]
    write_json(out / "verdicts.json", verdict_json(document.verdicts))
    write_text(out / "report.html", render(document, plates))
    return out / "report.html"


def file_names(figures: Sequence[tuple[str, Figure]]) -> list[str]:
    """Names of files and ids, one per figure: its own id, after its study's name where two figures share one."""
    ids = [figure.id for _, figure in figures]
    names: list[str] = []
    for study, figure in figures:
        name = figure.id if ids.count(figure.id) == 1 else f"{study}-{figure.id}"
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "figure"
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def _plate(path: Path, study: str, *, figure: Figure, rows: pl.DataFrame, tier: str) -> Plate:
    """Draw one figure from the rows of its study and write its two files."""
    import polars as pl

    from deeplimit.report.page import Plate
    from deeplimit.report.plots import draw

    own = rows.filter(pl.col("study") == study) if "study" in rows.columns else rows
    panels, whole, pdf = draw(path.name, _panels(figure, own), note=f"tier {tier}")
    write_text(path.with_suffix(".svg"), whole)
    write_bytes(path.with_suffix(".pdf"), pdf)
    return Plate(study, figure, path.name, panels)


def _panels(figure: Figure, rows: pl.DataFrame) -> list[AnyPanel]:
    """The panels of a figure, or one that says which rows are missing."""
    import polars as pl

    from deeplimit.report.plots import NoData

    try:
        return list(figure.panels(rows))
    except (LookupError, pl.exceptions.ColumnNotFoundError) as missing:
        reason = str(missing.args[0]) if missing.args else ""
        return [NoData(reason.splitlines()[0] if reason else "")]
    except Exception as error:  # noqa: BLE001 - panels are anybody's code, and one that fails must not cost the report
        return [NoData(f"the figure failed: {type(error).__name__}: {error}")]
