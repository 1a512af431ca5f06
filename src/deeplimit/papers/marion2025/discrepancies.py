"""Where the text, the figures and the two versions of the released code disagree, and what was computed about it.

The repository's head is of 2022; a branch of April 2023 was made for the revision of the paper. What follows from the model in closed
form is said beside it.
"""

from __future__ import annotations

from deeplimit.report.document import Discrepancy

SMOOTH = Discrepancy(
    "What smooth weights are",
    paper_says="Weights that are values of a Gaussian process over depth.",
    code_says=(
        "Head (2022): increments of the process, normalised (kernel variance 0.01). Branch of 2023, which calls itself the correct"
        " implementation: values, bandwidth 0.1."
    ),
    computed=(
        "Both; values are the default. The critical exponent is β = 1 for either, since increments over 1/L of a smooth path, scaled to"
        " variance 1, are a smooth path too. The level at β = 1 differs: about 0.30 for values and 0.20 for increments."
    ),
    claim_ids=(
        "marion2025.15.level",
        "marion2025.15.level-increments",
        "marion2025.15.flat-output-values",
        "marion2025.15.flat-output-increments",
    ),
)

ENTRIES = Discrepancy(
    "Distribution of the entries",
    paper_says="Symmetric, sub-Gaussian, of variance 1/d.",
    code_says="Head (2022): uniform on ±√(3/fan-in). Branch of 2023: normal of variance 1/fan-in.",
    computed=(
        "Both for independent layers; normal is the default. Root mean squares at the initialisation are the same for every law of the"
        " entries with this variance, symmetric and independent; A and B do not matter at all where V and W are normal, because the law"
        " of either ratio is then invariant under rotations of h_0 and p_L."
    ),
    claim_ids=(
        "marion2025.13.explosion-output-gaussian",
        "marion2025.13.explosion-output-uniform",
        "marion2025.13.vanishing-output-uniform",
    ),
)

ITO = Discrepancy(
    "Whether e^{1/2} − 1 bounds the gradient's mean square from below",
    paper_says=(
        "At β = ½, e^{1/2} − 1 ≤ E ‖p_0 − p_L‖²/‖p_L‖² ≤ e⁴ − 1; the constants are quoted from memory and were not checked in the text."
    ),
    computed=(
        "For ReLU and Gaussian weights the mean square is exactly (1 + 1/(2L))^L − 1: below e^{1/2} − 1 at every finite depth, and tending"
        " to it. The difference at L = 1000 is 0.0002, below what 10⁴ runs can see."
    ),
    claim_ids=("marion2025.14.gradient-lower-bound", "marion2025.14.gradient-rms"),
)

LINE = Discrepancy(
    "Where the line of the phase diagram lies",
    paper_says="Identity and explosion meet at β = max(½, H) in the limit of large depth.",
    figure_says="At L = 1000 the change of colour lies lower, by 0.03 to 0.1.",
    computed=(
        "Both: the distance to the line falls as 1/log L, so that 10,000 layers are still far from the limit. At H = ½ it is"
        " −log(2 log 2)/(2 log L) by the exact law. Contours at three depths are extrapolated in 1/log L; the claims say what"
        " remains."
    ),
    claim_ids=tuple(f"marion2025.16.{name}" for name in ("contour-0.5", "contour-0.7", "limit-0.5", "limit-0.7")),
)

DISCREPANCIES: tuple[Discrepancy, ...] = (SMOOTH, ENTRIES, ITO, LINE)
