"""Marion, Fermanian, Biau, Vert 2025: scaling ResNets in the large-depth regime (Figures 1 to 7, at the initialisation)."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.marion2025 import histograms, norms, paths, phase
from deeplimit.papers.marion2025.discrepancies import DISCREPANCIES

paper = Paper(
    name="marion2025",
    title="Scaling ResNets in the large-depth regime",
    citation="P. Marion, A. Fermanian, G. Biau, J.-P. Vert. JMLR 26, 2025, arXiv 2206.06929. Figures 1 to 7.",
    studies=(
        *norms.STUDIES,
        *histograms.STUDIES,
        *paths.STUDIES,
        *phase.STUDIES,
    ),
    discrepancies=DISCREPANCIES,
)
