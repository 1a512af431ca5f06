"""Cohen, Cont, Rossier, Xu 2021: scaling properties of deep residual networks."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.cohen2021 import limits

paper = Paper(
    name="cohen2021",
    title="Scaling Properties of Deep Residual Networks",
    citation="A.-S. Cohen, R. Cont, A. Rossier, R. Xu. ICML 2021, arXiv 2105.12245.",
    studies=limits.STUDIES,
)
