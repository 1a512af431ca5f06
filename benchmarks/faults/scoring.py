"""A diagnosis against what is known of the network: what counts as found, and what as a false alarm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy import stats

from benchmarks.faults.architectures import ARCHITECTURES, Architecture
from benchmarks.faults.harmless import COPIES, harmless
from benchmarks.faults.inject import FAULTS, Blocks, Patient, inject
from benchmarks.faults.training import STAGES, State, trained
from deeplimit.diagnosis import Report

PERMUTED = "units in another order"

ACCEPTED: dict[str, set[str]] = {
    "wrong multiplier": {"scale", "identity"},
    "rough block": {"rough", "scale", "foreign"},
    "dead block": {"dead", "identity"},
    "tied by mistake": {"tied"},
    "double scaling": {"scale", "identity"},
    "permuted layers": {"order", "rough", "foreign"},
    "block of another net": {"foreign", "rough", "order"},
}
"""Fault -> kinds of a finding that name it. The block must be one that has the fault; where all blocks have it, as in double scaling, the
verdict `identity` on the function counts too. Noise of a matrix's own size makes the matrix larger, and stands where no other block has
anything alike: hence three kinds for a rough block; so do blocks out of place and blocks of other networks on a smooth path."""


@dataclass(frozen=True)
class Case:
    """A network whose faults are known.

    Args:
        architecture, seed: of the trained network.
        kind: of the fault, or of the harmless copy.
        state: its weights.
        blocks: that have the fault; empty where there is none.
    """

    architecture: Architecture
    seed: int
    kind: str
    state: State
    blocks: Blocks = ()

    @property
    def needs_batch(self) -> bool:
        """Whether the verdict on the function counts: for a fault of all blocks, which no block shows beside the others, and for alarms."""
        return len(self.blocks) in (0, self.architecture.depth)


@dataclass(frozen=True)
class Outcome:
    """What a diagnosis said of a case.

    Args:
        architecture, seed, kind: of the case.
        depth: number of blocks.
        blocks: that have the fault.
        findings: kind and blocks of each.
        function: verdict on the function.
        weights: verdict on the weights.
    """

    architecture: str
    seed: int
    kind: str
    depth: int
    blocks: Blocks
    findings: tuple[tuple[str, Blocks], ...]
    function: str
    weights: str = ""

    @property
    def faulty(self) -> bool:
        """Whether there is a fault."""
        return bool(self.blocks)

    @property
    def everywhere(self) -> bool:
        """Whether all blocks have it."""
        return len(self.blocks) == self.depth

    @property
    def found(self) -> bool:
        """Whether a finding of a fitting kind names a block that has the fault."""
        named = any(kind in ACCEPTED[self.kind] and set(blocks) & set(self.blocks) for kind, blocks in self.findings)
        return named or (self.everywhere and self.function == "identity")

    @property
    def alarm(self) -> bool:
        """Whether anything is said that would count as a fault."""
        return bool(self.findings) or self.function == "identity"

    @property
    def blamed(self) -> set[int]:
        """Blocks that a finding names."""
        return {block for _, blocks in self.findings for block in blocks}


def outcome(case: Case, report: Report) -> Outcome:
    """A report in short; findings and verdict of the group that has the most blocks."""
    a = case.architecture
    group = max(report.groups, key=lambda group: group.depth)
    findings = tuple((finding.kind, finding.blocks) for finding in group.findings)
    return Outcome(
        a.name, case.seed, case.kind, a.depth, case.blocks, findings, group.function.label, group.weights.label
    )


def kinds(architecture: Architecture) -> list[str]:
    """The faults that a network can have: what has no multiplier cannot have it twice."""
    return [kind for kind in FAULTS if kind != "double scaling" or architecture.multiplier is not None]


def faulty(seeds: Sequence[int], *, cache: Path, draws: int = 2) -> Iterator[Case]:
    """Every architecture × seed × fault, drawn so many times."""
    for a in ARCHITECTURES.values():
        states = {seed: trained(a, seed, cache=cache)["end"] for seed in seeds}
        for place, seed in enumerate(seeds):
            patient = Patient(a, states[seed], states[seeds[(place + 1) % len(seeds)]])
            for number, kind in enumerate(kinds(a)):
                for draw in range(draws):
                    generator = torch.Generator().manual_seed(1000 * seed + 100 * draw + number)
                    state, blocks = inject(kind, patient, generator=generator)
                    yield Case(a, seed, kind, state, blocks)


def clean(seeds: Sequence[int], *, cache: Path) -> Iterator[Case]:
    """Every architecture × seed at every stage of training, and harmless copies of the trained one."""
    for a in ARCHITECTURES.values():
        for seed in seeds:
            states = trained(a, seed, cache=cache)
            yield from (Case(a, seed, stage, states[stage]) for stage in STAGES)
            for number, kind in enumerate([*COPIES, *[PERMUTED] * 4]):
                if kind != "rescaled" or a.normed:
                    generator = torch.Generator().manual_seed(1000 * seed + number)
                    yield Case(a, seed, kind, harmless(kind, a, states["end"], generator=generator))


def share(hits: Sequence[bool]) -> str:
    """k/n."""
    return f"{sum(hits)}/{len(hits)}" if hits else "—"


def interval(hits: Sequence[bool]) -> str:
    """A share with its 95 % interval (Wilson)."""
    if not hits:
        return "—"
    found = stats.binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return f"{sum(hits)}/{len(hits)} = {sum(hits) / len(hits):.3f} [{found.low:.3f}, {found.high:.3f}]"


def visible(outcome: Outcome) -> bool:
    """Whether weights must show the fault: of layers that start independent, a permutation shows only in what training made of them."""
    ordered = ARCHITECTURES[outcome.architecture].ordered
    return outcome.kind != "permuted layers" or ordered


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Found/injected and false alarms as Markdown, and the sums."""
    return [*table(outcomes), "", *sums(outcomes)]


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Architecture × fault, and false alarms."""
    yield "| network | " + " | ".join(FAULTS) + " | false alarms |"
    yield "| --- " * (len(FAULTS) + 2) + "|"
    for a in ARCHITECTURES.values():
        own = [o for o in outcomes if o.architecture == a.name]
        if own:
            cells = [share([o.found for o in own if o.kind == kind]) for kind in FAULTS]
            alarms = share([o.alarm for o in own if not o.faulty])
            yield f"| {a.title}, L = {a.depth} | " + " | ".join([*cells, alarms]) + " |"


def sums(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Recall and false alarms over all networks."""
    bad, good = [o for o in outcomes if o.faulty], [o for o in outcomes if not o.faulty]
    seen = [o for o in bad if visible(o)]
    blocks = [block in o.blamed for o in good for block in range(o.depth)]
    yield "| | |"
    yield "| --- | --- |"
    alone = [o for o in seen if not o.everywhere]
    yield f"| found, of all faults of single blocks that weights must show | {interval([o.found for o in alone])} |"
    yield f"| found, of all faults | {interval([o.found for o in bad])} |"
    for kind in FAULTS:
        yield f"| {kind} | {interval([o.found for o in seen if o.kind == kind])} |"
    yield f"| layers permuted that started independent | {interval([o.found for o in bad if not visible(o)])} |"
    yield f"| false alarms, of clean networks | {interval([o.alarm for o in good])} |"
    yield f"| blocks of clean networks that are blamed | {interval(blocks)} |"
    own = {(o.architecture, o.seed): o.weights for o in good if o.kind == "end"}
    copies = [o.weights == own[o.architecture, o.seed] for o in good if o.kind == PERMUTED]
    yield f"| copies with hidden units in another order: the same verdict on the weights | {interval(copies)} |"


def write(text: Sequence[str], page: Path) -> None:
    """Replace what stands between the two markers of the page."""
    begin, end = (f"<!-- faults: {word} -->" for word in ("begin", "end"))
    content = page.read_text(encoding="utf-8")
    before, after = content.split(begin)[0], content.split(end)[1]
    body = "\n".join(text).strip()
    page.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}", encoding="utf-8")
