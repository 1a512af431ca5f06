"""The verdict on the function of one network: do its blocks follow a flow, average, diffuse, or do nothing?

Let every update be u_k = m_k + ξ_k, m_k what blocks have in common (it changes slowly with k) and ξ_k what is a block's own (independent of
the other blocks'), and c = ‖m‖²/(‖m‖² + ‖ξ‖²). The moves of L blocks add up to about L²‖m‖² + L‖ξ‖²: what is common wins by depth, even
where c is small. So there are two questions, and the numbers of `deeplimit.diagnosis.function.passage` answer them one by one:

1. Is a block like its neighbour? `drift_share` estimates c from neighbours alone. Taking u_{k+1} for u_k errs by 2(1 − c)‖u‖², leaving
   block k out errs by ‖u‖²: a neighbour stands in for a block better than nothing does if and only if c > ½.
2. Where it is not: does what all blocks have in common move the stream further than what is their own? `drift` = (L − 1)c̄, estimated from
   the products of all pairs of blocks, is the ratio of the two squares; above 1, that is `variation` = 1/(1 + drift) below ½, it does.

Rules, in this order. From `identity` on, an interval must lie on one side of a threshold; where it does not, the verdict is `undecided` and
names it. The others go by the number itself.

    unstable    a state is not finite; or the stream grows by more than a quarter at the median block, and tenfold over the group
    undecided   fewer than 6 blocks; no residual stream (residual_share below 0.3); something else moves the stream between the blocks
                (gap above 0.1)
    identity    path_length below 0.1: the moves of all blocks, were they in one direction, would change the stream by less than a tenth
    undecided   one block makes more than half of Σ ‖u_k‖² (largest_share, by the number): the others' regime is not that of the function
    flow        drift_share above ½
    averaging   drift_share below ½ and variation below ½
    diffusion   drift_share below ½, variation above ½ and local_drift below 1: nothing in common, at a distance or nearby. A local drift
                with a variation near 1 is a path that turns back: undecided. So is a drift_share below −¼: blocks undo one another

The network is judged at the depth it has. With few blocks and a small c, what is common does not win yet, and would in a deeper copy.

Reference: Chizat 2025, arXiv 2509.10167 (independent blocks with a mean follow a mean ODE); Cohen et al. 2021 (ODE and SDE).
"""

from __future__ import annotations

import math

from deeplimit import checks
from deeplimit.claims import Measured
from deeplimit.diagnosis.report import FunctionLabel, Passage, Verdict
from deeplimit.regimes.verdict import FEWEST

GROWTH, EXPLODED = 1.25, 10.0
"""Growth of the stream over the median block, and over the group, above which it explodes."""

RESIDUAL, GAP = 0.3, 0.1
"""Least correlation of what leaves a block with what enters it, in a residual stream; largest move between blocks beside those in them."""

STILL = 0.1
"""Length of the path of the stream, in units of the stream, below which it does not move."""

ALIKE, DRIVEN, DOMINANT, UNDONE = 0.5, 0.5, 0.5, -0.25

EVIDENCE = (
    "drift_share",
    "variation",
    "local_drift",
    "path_length",
    "displacement",
    "growth",
    "largest_share",
    "residual_share",
    "gap",
    "halving_defect",
    "effective_depth",
    "normalised",
)

CHANGE = {
    "flow": "blocks that differ more from their neighbours, as without ties, with larger steps, or with noise in training",
    "averaging": "smoother weights over depth would make it a flow; fewer blocks, or blocks with less in common, a diffusion",
    "diffusion": "blocks with something in common (smoother weights over depth), or smaller steps 1/L in place of 1/√L together with it",
    "identity": "a larger multiplier of the branches, or longer training of what the blocks write",
    "unstable": "a smaller multiplier of the branches (1/√L or 1/L), or a norm before each of them",
}


def judge_passage(passage: Passage, depth: int) -> Verdict:
    """The verdict on the function of one network, from how a batch passes through it.

    Args:
        passage: what `pass_through` saw.
        depth: L, the number of blocks of the group.

    Returns:
        A label, the reason, what would change it, and the numbers it stands on; `undecided` where they do not decide.

    Raises:
        InputError: the passage is not one through that many blocks.
    """
    if len(passage.curves["stream_norm"]) != depth + 1:
        raise checks.InputError(
            f"depth: expected {len(passage.curves['stream_norm']) - 1} as in the passage, found {depth}"
        )
    evidence = {name: passage.numbers[name] for name in EVIDENCE if name in passage.numbers}
    label, reason, *change = _unusual(passage, depth) or _still(passage) or _regime(passage, depth)
    return Verdict(label, reason + _post_norm(passage), change[0] if change else CHANGE[label], evidence)


Ruling = tuple[FunctionLabel, str] | tuple[FunctionLabel, str, str]


def _unusual(passage: Passage, depth: int) -> Ruling | None:
    """What stands in the way of a regime."""
    norms, numbers = passage.curves["stream_norm"], passage.numbers
    broken = next((k for k, norm in enumerate(norms) if not math.isfinite(norm)), None)
    if broken is not None:
        where = "enters block 0" if broken == 0 else f"leaves block {broken - 1}"
        return "unstable", f"the state that {where} is not finite"
    if depth < FEWEST:
        return "undecided", f"{depth} blocks are too few: a regime of depth needs {FEWEST}", "a deeper network"
    share, gap, growth = numbers["residual_share"], numbers["gap"], numbers["growth"]
    if not share.value >= RESIDUAL:
        reason = f"blocks hand on something else than what they take (their correlation is {_said(share)}): there is no residual stream"
        return "undecided", f"{reason}, and the difference is no update", "blocks that add to what they take"
    if not gap.value <= GAP:
        reason = f"the stream moves between the blocks too, by {_said(gap)} of what it moves within them"
        return "undecided", reason, "a group that has all that adds to the stream"
    total = norms[-1] / norms[0] if norms[0] > 0 else math.inf
    if growth.value > GROWTH and total > EXPLODED:
        return "unstable", (
            f"the stream grows {_said(growth)}-fold at the median block and {total:.3g}-fold over {depth} blocks: states explode with depth"
        )
    return None


def _still(passage: Passage) -> Ruling | None:
    path, moved = passage.numbers["path_length"], passage.numbers["displacement"]
    if path.high < STILL:
        return "identity", (
            f"all blocks together move the stream by {_said(moved)} of its size (the moves of single blocks add up to {_said(path)}): "
            "the group hands on what it takes"
        )
    if not path.low > STILL:
        reason = (
            f"moves of single blocks add up to {_range(path)} of the stream: below {STILL:g} it would be the identity"
        )
        return "undecided", reason, "more inputs, or branches that do more"
    largest = passage.numbers["largest_share"]
    if largest.value > DOMINANT:
        who = f"{largest.note.split(';')[0]} makes {largest.value:.0%} of all movement"
        reason = f"{who} (mean over positions): what the other blocks do is not what the function is made of"
        return "undecided", reason, "a group without that block"
    return None


def _regime(passage: Passage, depth: int) -> Ruling:
    alike = passage.numbers["drift_share"]
    common = f"neighbouring updates have {_said(alike)} of their square in common"
    if alike.low > ALIKE:
        return "flow", f"{common}: each block goes on where the one before was heading, as steps of an ODE do"
    if not alike.high < ALIKE:
        return "undecided", f"{common}, {_range(alike)}: above {ALIKE} it is a flow", _more(alike)
    return _independent(passage, depth, common)


def _independent(passage: Passage, depth: int, common: str) -> Ruling:
    """Of blocks that are not like their neighbours: does what they have in common add up?"""
    alike, variation, near = (passage.numbers[name] for name in ("drift_share", "variation", "local_drift"))
    sums = f"squared moves add up to {_range(variation)} of the squared displacement"
    if variation.high < DRIVEN:
        return "averaging", (
            f"{common}, so that single blocks look independent, yet over {depth} blocks what they share moves the stream "
            f"further than what is their own ({sums}; 1/{depth} along a straight path, 1 for a diffusion): "
            "each contributes like one draw to an average"
        )
    if not variation.low > DRIVEN:
        return "undecided", f"{common}, and {sums}: below {DRIVEN} blocks average, above they diffuse", _more(variation)
    if alike.high < UNDONE:
        reason = f"neighbouring updates point against each other ({_range(alike)}): blocks undo one another"
        return "undecided", reason, "shorter steps"
    if not alike.low > UNDONE:
        reason = f"{common}, {_range(alike)}, which does not tell independent blocks from blocks that undo one another (below {UNDONE})"
        return "undecided", reason, _more(alike)
    if not near.high < 1:
        reason = f"{common}, and {sums}, yet blocks close by agree (local drift {_range(near)}): the path may turn back"
        return "undecided", reason, _more(near)
    return "diffusion", (
        f"{common} and over {depth} blocks nothing adds up either ({sums}, 1 for independent moves): the stream makes "
        "a random walk over depth"
    )


def _more(number: Measured) -> str:
    """What narrows an interval."""
    return (
        "more inputs: the interval is over them"
        if "inputs the wider" in number.note
        else "a deeper network: the interval is over its blocks"
    )


def _post_norm(passage: Passage) -> str:
    if passage.numbers.get("normalised", Measured(0, 0, 0)).value < 0.5:
        return ""
    return ". Blocks end in a norm: their updates hold what it takes back, which makes neighbours look less alike"


def _said(number: Measured) -> str:
    return f"{number.value:.2g}"


def _range(number: Measured) -> str:
    return f"{number.value:.2g} [{number.low:.2g}, {number.high:.2g}]"
