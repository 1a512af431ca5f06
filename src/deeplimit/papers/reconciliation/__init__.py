"""Cohen et al. 2021 find that trained weights do not follow a neural ODE, Marion et al. 2024 that they do: what decides."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.reconciliation import known, roughness_map, walk, zoo

paper = Paper(
    name="reconciliation",
    title="Do trained weights follow a neural ODE?",
    citation="Between Cohen, Cont, Rossier, Xu (ICML 2021), Marion et al. (ICLR 2024) and Marion et al. (JMLR 2025).",
    studies=(*walk.STUDIES, *known.STUDIES, *roughness_map.STUDIES, *zoo.STUDIES),
)
