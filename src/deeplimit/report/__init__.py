"""Rows to figures to one page: `write_report(out, document, rows)`.

Light to import: matplotlib and jinja2 come in when a report is written.
"""

from __future__ import annotations

from deeplimit.report.document import Discrepancy, Document, ScoreRow
from deeplimit.report.verdicts import VERDICTS_SCHEMA, common_prefix, undecided, verdict_json
from deeplimit.report.write import write_report

__all__ = [
    "VERDICTS_SCHEMA",
    "Discrepancy",
    "Document",
    "ScoreRow",
    "common_prefix",
    "undecided",
    "verdict_json",
    "write_report",
]
