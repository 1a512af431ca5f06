"""How long one layer takes, forward and all gradients: our engines beside what people write and use otherwise; and a training step.

A case (`cases.py`) says what is computed, a contestant (`contestants.py`) computes it, `steps.py` trains and measures it, `timing.py` times
calls and knows none of them, `running.py` brings them together, and `tables.py` prints what came of it. Nothing here loads PyTorch before
something is measured.
"""

from __future__ import annotations

from deeplimit.bench.cases import Case
from deeplimit.bench.report import Report, read
from deeplimit.bench.running import Options, bench
from deeplimit.bench.tables import Sheet, cases_sheet, machine_line, markdown, missing_lines, sheets

__all__ = [
    "Case",
    "Options",
    "Report",
    "Sheet",
    "bench",
    "cases_sheet",
    "machine_line",
    "markdown",
    "missing_lines",
    "read",
    "sheets",
]
