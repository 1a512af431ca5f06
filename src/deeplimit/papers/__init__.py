"""The papers that are reproduced: studies and claims, nothing else. None imports PyTorch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from deeplimit import checks
from deeplimit.study import Subject

#: Name on the command line -> module whose `paper` is the `Paper`.
PAPERS: dict[str, str] = {
    "cohen2021": "deeplimit.papers.cohen2021",
    "lewkowycz2020": "deeplimit.papers.lewkowycz2020",
    "marion2024": "deeplimit.papers.marion2024",
    "marion2025": "deeplimit.papers.marion2025",
    "reconciliation": "deeplimit.papers.reconciliation",
}


@dataclass(frozen=True)
class Paper(Subject):
    """A published paper with its studies, discrepancies and scorecard."""


def load(name: str) -> Paper:
    """The paper of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    module = importlib.import_module(PAPERS[checks.one_of("paper", name, PAPERS)])
    paper: Paper = module.paper
    return paper
