"""Marion, Wu, Sander, Biau 2024: implicit regularization of deep residual networks towards neural ODEs."""

from __future__ import annotations

from deeplimit.papers import Paper
from deeplimit.papers.marion2024 import (
    cifar,
    counterexamples,
    figure1_left,
    figure1_right,
    figure2,
    finite_time,
    generalisations,
    long_time,
    training_limit,
)
from deeplimit.papers.marion2024.discrepancies import DISCREPANCIES
from deeplimit.papers.marion2024.scorecard import scorecard

paper = Paper(
    name="marion2024",
    title="Implicit regularization of deep residual networks towards neural ODEs",
    citation="P. Marion, Y.-H. Wu, M. E. Sander, G. Biau. ICLR 2024, arXiv 2309.01213v3. Sections 1 to 5 and appendices A to E.",
    studies=(
        *figure1_left.STUDIES,
        *figure1_right.STUDIES,
        *figure2.STUDIES,
        *finite_time.STUDIES,
        *training_limit.STUDIES,
        *generalisations.STUDIES,
        *counterexamples.STUDIES,
        *long_time.STUDIES,
        cifar.STUDY,
    ),
    discrepancies=DISCREPANCIES,
    scorecard=scorecard,
)
