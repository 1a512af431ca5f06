"""CIFAR-10: Table 1, Figures 3 and 4 (rows 22 to 25 of the checklist)."""

from __future__ import annotations

from deeplimit.papers.marion2024.cifar.claims import CLAIMS
from deeplimit.papers.marion2024.cifar.figures import FIGURES
from deeplimit.papers.marion2024.cifar.runs import tasks
from deeplimit.study import Study, Tiered

STUDY = Study(
    "cifar",
    title="Convolutional networks on CIFAR-10",
    text=(
        "The residual network of section 5.2 with the recipe of the released code (batches of 64, momentum 0.9, weight decay 5e-4 on"
        " everything, a cosine over the epochs, crops and flips), with seeds. Smoothness is judged by statistics, and followed through"
        " training. The paper has 256 layers and 180 epochs: that is the full tier (`--tier full --device cuda`). The quick tier has 32"
        " layers and 600 updates on 9,600 images, the paper tier 32 layers, 5 epochs of all images, and two activations more; a network"
        " that has seen a thirtieth of the updates or less has other accuracies, and the cells of the table are judged at the full tier alone."
        " `deeplimit data fetch cifar-10` brings the files."
    ),
    replicates=Tiered(quick=2, paper=3, full=5),
    tasks=tasks,
    figures=FIGURES,
    claims=CLAIMS,
)
