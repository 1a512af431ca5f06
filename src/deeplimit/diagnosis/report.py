"""What a diagnosis says, as plain numbers and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from deeplimit.claims import Measured
from deeplimit.diagnosis.blocks.group import LeftOut, Part
from deeplimit.regimes import Smoothness
from deeplimit.regimes.verdict import plain

WeightsLabel = Literal["smooth", "rough", "no order", "tied", "mixed", "undecided"]
FunctionLabel = Literal["flow", "averaging", "diffusion", "identity", "unstable", "undecided"]
FORMAT = "deeplimit.diagnosis/1"
"""Name and version of what `Report.as_json` gives: the number grows when a member is taken away or changes its meaning."""

FindingKind = Literal["dead", "identity", "scale", "rough", "tied", "order", "foreign", "not finite"]
Question = Literal["tie", "interpolate", "skip", "deepen", "prune"]
Answer = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True)
class Profile:
    """Numbers of one role, or of the map that a pair of roles makes, over the depth of a group.

    Args:
        name: of the role or pair.
        part: of the block.
        view: `raw`: entries as stored; `aligned`: hidden units matched from block to block; `invariant`: nothing in it depends on the order
            of hidden units.
        shape: of one block's tensor.
        curves: name -> a number for each block: `norm` (Frobenius), `operator_norm` (largest singular value, of a kernel as a matrix
            `[out, in · taps]`), `participation` (number of directions that carry a matrix), `mean` (of a vector), `map_norm` (of a pair,
            on random inputs); or for each pair of neighbours: `increment`, `matched` (mean cosine of matched units).
        order: whether the order of the blocks matters, and how rough the path is; None where there are fewer than 3 blocks.
        numbers: name -> one number for the group: `carriers`, how many blocks carry the weights; `noise_share`, how much of their variance
            over depth is white noise.
    """

    name: str
    part: Part
    view: Literal["raw", "aligned", "invariant"]
    shape: tuple[int, ...]
    curves: Mapping[str, tuple[float, ...]]
    order: Smoothness | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """How a batch passes through a group.

    Args:
        inputs: number of samples.
        curves: name -> a number for each state (`stream_norm`, L + 1), for each block (`update_norm`, `update_ratio`, `gain`, `removal`,
            `tail`) or for each pair of neighbours (`alignment`).
        numbers: name -> one number for the whole group with its interval (`drift_share`, `variation`, `halving_defect`, `effective_depth`).
    """

    inputs: int
    curves: Mapping[str, tuple[float, ...]]
    numbers: Mapping[str, Measured]


@dataclass(frozen=True)
class Verdict:
    """A verdict on weights or on the function.

    Args:
        label: see `WeightsLabel`, `FunctionLabel`.
        reason: in words; for `undecided`, what is missing.
        change: what would change it.
        evidence: name -> number with interval.
    """

    label: str
    reason: str
    change: str
    evidence: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Something about single blocks that a person should look at.

    Args:
        kind: `dead`: adds nothing to the stream; `identity`: adds little beside its neighbours; `scale`: of another size than they;
            `rough`: noise on top; `tied`: equal to its neighbour; `order`: stands where another would fit better; `foreign`: shares no
            directions of the stream with the others; `not finite`.
        blocks: their numbers in the group.
        where: role, pair or part.
        reason: in words, with the numbers.
        strength: how far beyond what the other blocks do, in units of the threshold: at least 1.
    """

    kind: FindingKind
    blocks: tuple[int, ...]
    where: str
    reason: str
    strength: float


@dataclass(frozen=True)
class Consequence:
    """What may be done with the network.

    Args:
        question: `tie`, `interpolate`, `skip`, `deepen`, `prune`.
        answer: yes, no or cannot tell.
        reason: in words.
    """

    question: Question
    answer: Answer
    reason: str


@dataclass(frozen=True)
class GroupReport:
    """All about one group of blocks."""

    name: str
    blocks: tuple[str, ...]
    stream: int | None
    weights: Verdict
    function: Verdict
    profiles: tuple[Profile, ...]
    passage: Passage | None = None
    findings: tuple[Finding, ...] = ()
    consequences: tuple[Consequence, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)


@dataclass(frozen=True)
class Report:
    """The diagnosis of one network.

    Args:
        target: what was diagnosed.
        groups: deepest first.
        notes: what a reader should know of how it was read.
    """

    target: str
    groups: tuple[GroupReport, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists, numbers and text, after `diagnosis.schema.json`; numbers that JSON cannot hold as None."""
        return {"format": FORMAT, **plain(asdict(self))}
