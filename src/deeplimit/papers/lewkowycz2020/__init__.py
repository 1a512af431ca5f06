"""Lewkowycz and Gur-Ari 2020: the training dynamics of deep networks with L2 regularisation."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.lewkowycz2020 import auto, budgets, cifar, clock, variants, wide
from deeplimit.papers.lewkowycz2020.discrepancies import DISCREPANCIES
from deeplimit.papers.lewkowycz2020.scorecard import scorecard

paper = Paper(
    name="lewkowycz2020",
    title="On the training dynamics of deep networks with L₂ regularization",
    citation="A. Lewkowycz, G. Gur-Ari. NeurIPS 2020, arXiv 2006.08643.",
    studies=(
        clock.STUDY,
        budgets.STUDY,
        auto.STUDY,
        variants.STUDY,
        cifar.SMALL_STUDY,
        cifar.WIDE_STUDY,
        *wide.STUDIES,
    ),
    discrepancies=DISCREPANCIES,
    scorecard=scorecard,
)
