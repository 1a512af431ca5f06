"""Marion, Fermanian, Biau, Vert 2025: scaling of residual networks in the large-depth regime."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.marion2025 import accuracy, weights

paper = Paper(
    name="marion2025",
    title="Scaling ResNets in the large-depth regime",
    citation="P. Marion, A. Fermanian, G. Biau, J.-P. Vert. JMLR 26, 2025, arXiv 2206.06929.",
    studies=(*weights.STUDIES, *accuracy.STUDIES),
)
