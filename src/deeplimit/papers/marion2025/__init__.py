"""Marion, Fermanian, Biau, Vert 2025: scaling ResNets in the large-depth regime."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.marion2025 import accuracy, histograms, norms, paths, phase, weights
from deeplimit.papers.marion2025.discrepancies import DISCREPANCIES

paper = Paper(
    name="marion2025",
    title="Scaling ResNets in the large-depth regime",
    citation="P. Marion, A. Fermanian, G. Biau, J.-P. Vert. JMLR 26, 2025, arXiv 2206.06929.",
    studies=(
        *norms.STUDIES,
        *histograms.STUDIES,
        *paths.STUDIES,
        *phase.STUDIES,
        *weights.STUDIES,
        *accuracy.STUDIES,
    ),
    discrepancies=DISCREPANCIES,
)
