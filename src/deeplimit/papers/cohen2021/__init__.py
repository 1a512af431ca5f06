"""Cohen, Cont, Rossier, Xu 2021: scaling properties of deep residual networks."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.cohen2021 import (
    cifar,
    denoising,
    embedding,
    exponents,
    grids,
    limits,
    optimisers,
    shuffle,
    verdicts,
)
from deeplimit.papers.cohen2021.discrepancies import DISCREPANCIES
from deeplimit.papers.cohen2021.scorecard import scorecard

paper = Paper(
    name="cohen2021",
    title="Scaling Properties of Deep Residual Networks",
    citation="A.-S. Cohen, R. Cont, A. Rossier, R. Xu. ICML 2021, arXiv 2105.12245. Theorems and experiments.",
    studies=(
        grids.STUDY,
        *exponents.STUDIES,
        optimisers.STUDY,
        embedding.STUDY,
        denoising.STUDY,
        verdicts.STUDY,
        shuffle.STUDY,
        cifar.STUDY,
        *limits.STUDIES,
    ),
    discrepancies=DISCREPANCIES,
    scorecard=scorecard,
)
