"""What may be done with a network of a given verdict: tie, interpolate, deepen, skip, prune."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deeplimit.diagnosis.report import Consequence, Finding, Passage, Verdict
from deeplimit.regimes.precheck import listed
from deeplimit.regimes.weights import said

HARMLESS = 0.1
"""Relative change of the group's output up to which skipping blocks is called harmless."""

LITTLE = 0.2
"""Effect of removing a block, beside the median block's, below which it does little."""

UNSEEN = "the batch did not pass through in finite numbers"

UNDECIDED = "the verdict on the weights is undecided"

ORDERED = ("smooth", "tied")


def consequences(
    weights: Verdict, function: Verdict, *, passage: Passage | None, findings: Sequence[Finding]
) -> tuple[Consequence, ...]:
    """Five questions and their answers."""
    return (
        _tie(weights),
        _interpolate(weights),
        _deepen(weights, function),
        _skip(passage),
        _prune(passage, findings),
    )


def _tie(weights: Verdict) -> Consequence:
    if weights.label == "tied":
        return Consequence("tie", "yes", "the blocks are equal already")
    if weights.label == "undecided":
        return Consequence("tie", "cannot tell", UNDECIDED)
    if weights.label == "smooth":
        return Consequence(
            "tie",
            "cannot tell",
            "neighbouring blocks are close: tie each with its neighbour, not all of them, and measure",
        )
    return Consequence("tie", "no", "each block has a part of its own that it does not share with its neighbours")


def _interpolate(weights: Verdict) -> Consequence:
    if weights.label == "undecided":
        return Consequence("interpolate", "cannot tell", UNDECIDED)
    if weights.label in ORDERED:
        return Consequence("interpolate", "yes", "weights between two neighbouring blocks are close to both of them")
    return Consequence(
        "interpolate",
        "no",
        "the mean of two neighbouring blocks is near neither: independent parts of their weights cancel",
    )


def _deepen(weights: Verdict, function: Verdict) -> Consequence:
    """By putting a block between each two, with weights between theirs, and halving all steps."""
    if weights.label not in ORDERED:
        answer = "cannot tell" if weights.label == "undecided" else "no"
        why = UNDECIDED if answer == "cannot tell" else "blocks in between would not be like any of the others"
        return Consequence("deepen", answer, why)  # type: ignore[arg-type]
    if function.label == "flow":
        return Consequence(
            "deepen",
            "yes",
            "weights and states change slowly with depth: a deeper copy is a finer step of the same flow",
        )
    if function.label == "undecided":
        return Consequence("deepen", "cannot tell", f"the weights allow it; of the function: {function.reason}")
    return Consequence("deepen", "no", f"the weights allow it, but the function is no flow: {function.reason}")


def _skip(passage: Passage | None) -> Consequence:
    """Every second block, the others doubled."""
    defect = None if passage is None else passage.numbers.get("halving_defect")
    if defect is None:
        return Consequence("skip", "cannot tell", "needs a module and a batch of inputs" if passage is None else UNSEEN)
    if not math.isfinite(defect.value):
        return Consequence("skip", "cannot tell", "what the blocks add is 0, or not finite")
    what = f"leaving out every second block and doubling the others changes the output by {said(defect)} of what the blocks add"
    if defect.high <= HARMLESS:
        return Consequence("skip", "yes", what)
    return Consequence("skip", "no" if defect.low > HARMLESS else "cannot tell", what)


def _prune(passage: Passage | None, findings: Sequence[Finding]) -> Consequence:
    dead: dict[str, list[int]] = {}
    for finding in (finding for finding in findings if finding.kind == "dead"):
        dead.setdefault(finding.where, []).extend(finding.blocks)
    if dead:  # a part of a block: another of the same block may do much
        where = (f"{part} of {listed('block', sorted(found))}" for part, found in dead.items())
        return Consequence("prune", "yes", f"dead: {', '.join(where)}")
    removal = None if passage is None else passage.curves.get("removal")
    if not removal or not all(map(math.isfinite, removal)):
        needs = "what a block does is seen only with a module and a batch of inputs"
        return Consequence("prune", "cannot tell", needs if passage is None else UNSEEN)
    middle = sorted(removal)[len(removal) // 2]
    if middle == 0:
        return Consequence("prune", "yes", "removing any one block changes nothing")
    idle = [block for block, effect in enumerate(removal) if effect < LITTLE * middle]
    if idle:
        return Consequence(
            "prune",
            "yes",
            f"removing block {', '.join(map(str, idle))} changes the output by less than a fifth of what others do",
        )
    return Consequence("prune", "no", "no block does much less than the others")
