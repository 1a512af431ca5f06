"""The runs of the study."""

from __future__ import annotations

from deeplimit.papers.marion2024.cifar import STUDY
from deeplimit.training import TrainingRun


def runs(tier: str) -> list[TrainingRun]:
    return [task for task in STUDY.plan(tier) if isinstance(task, TrainingRun)]
