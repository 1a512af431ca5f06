"""The reproducibility variables of the paper: what a public index answers for it, and what our record answers for us.

The published answers are those of the reproducibility index of Coakley, Snelleman, Hoos and Gundersen, which classifies
papers with a language model and calls its answers estimates. Ours are self-assessed: read off the record of the runs, so
that an answer is *Yes* only where the machine wrote down what it takes (docs/scorecard.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplimit.report.document import ScoreRow

PUBLISHED = {
    "research type": "Experimental",
    "researcher affiliation": "Academia",
    "pseudocode": "No",
    "open source code": "Yes",
    "open datasets": "Yes",
    "dataset splits": "No",
    "hardware specification": "No",
    "software dependencies": "No",
    "experiment set-up": "Yes",
}
"""Variable -> answer of the index. The first two describe the paper, the other seven make its documentation score."""

NEEDED_OF_CPU = ("model", "cores", "memory_bytes")
NEEDED_OF_VERSIONS = ("deeplimit", "python", "torch", "numpy")
NEEDED_OF_RUN = ("id", "engine", "device", "threads", "date", "seconds")

Answer = tuple[str, str]
"""Our answer, and where it can be checked."""


def scorecard(record: Mapping[str, Any]) -> tuple[ScoreRow, ...]:
    """The nine variables: the index's answer, ours, and the evidence.

    Args:
        record: what `record.json` of an output directory holds: `request`, `computed_with`, `runs`.

    >>> rows = scorecard({"request": {"tier": "quick"}, "computed_with": [], "runs": []})
    >>> [row.ours for row in rows if row.variable == "hardware specification"]
    ['No: nothing is computed yet']
    """
    runs, machines = record["runs"], record["computed_with"]
    ours = {
        "research type": (
            "Reproduction",
            f"{len(runs)} runs at tier {record['request']['tier']}, judged claim by claim",
        ),
        "researcher affiliation": ("Not applicable", "software, not a publication"),
        "pseudocode": ("Yes", "docs/algorithms.md: numbered algorithms, executed against the code by the tests"),
        "open source code": _code(machines),
        "open datasets": _data(runs),
        "dataset splits": (
            "Yes",
            "synthetic: none is needed, all samples are trained on, and their number is in `runs/*/run.json`; CIFAR-10: as published",
        ),
        "hardware specification": _hardware(machines),
        "software dependencies": _software(machines),
        "experiment set-up": _setup(runs),
    }
    return tuple(ScoreRow(variable, answer, *ours[variable]) for variable, answer in PUBLISHED.items())


UNKNOWN = "not looked up"
"""In the place of an answer of the index."""


def partly_known(
    record: Mapping[str, Any], *, published: Mapping[str, str], evidence: Mapping[str, str]
) -> tuple[ScoreRow, ...]:
    """The nine variables of another paper, of which the index's answers are known in part.

    Args:
        record: as of `scorecard`.
        published: variable -> the index's answer; the others were not looked up.
        evidence: variable -> ours, where it is another than for synthetic data.
    """
    return tuple(
        dataclasses.replace(
            row,
            published=published.get(row.variable, UNKNOWN),
            evidence=evidence.get(row.variable, row.evidence),
        )
        for row in scorecard(record)
    )


def _answer(have: Sequence[bool], evidence: str) -> Answer:
    """*Yes* where all have it, *Partly* where some have."""
    if not have:
        return "No: nothing is computed yet", evidence
    if all(have):
        return "Yes", evidence
    return (f"Partly: {sum(have)} of {len(have)}" if any(have) else "No"), evidence


def _code(machines: Sequence[Mapping[str, Any]]) -> Answer:
    codes = [machine.get("code") or {} for machine in machines]
    commits = sorted({_commit(code) for code in codes})
    return _answer(
        ["sha256" in code for code in codes],
        "Apache-2.0; checksum of the source in `record.json`" + (f", {'; '.join(commits)}" if commits else ""),
    )


def _commit(code: Mapping[str, Any]) -> str:
    if "commit" not in code:
        return "no commit recorded"
    return f"commit {code['commit'][:12]}" + (" with edits" if code.get("edited") else "")


def _data(runs: Sequence[Mapping[str, Any]]) -> Answer:
    """Runs without seeds draw nothing."""
    drawn = [run for run in runs if run.get("seeds")]
    return _answer(
        [bool(run.get("data")) for run in drawn],
        "synthetic: `runs/*/run.json` has distribution and seeds, `record.json` the SHA-256 of what was drawn; CIFAR-10 from the original"
        " files, by checksum",
    )


def _hardware(machines: Sequence[Mapping[str, Any]]) -> Answer:
    cpus = [machine.get("cpu") or {} for machine in machines]
    found = sorted({_named(machine) for machine in machines})
    return _answer([all(cpu.get(name) for name in NEEDED_OF_CPU) for cpu in cpus], "; ".join(found) or "`record.json`")


def _named(machine: Mapping[str, Any]) -> str:
    """A machine in words: processor, cores, memory, graphics processors."""
    cpu = machine.get("cpu") or {}
    memory = f", {cpu['memory_bytes'] / 2**30:.0f} GiB" if cpu.get("memory_bytes") else ""
    graphics = "".join(f", {gpu['name']} (driver {gpu['driver_version']})" for gpu in machine.get("gpu") or ())
    return f"{cpu.get('model', 'unknown processor')}, {cpu.get('cores', '?')} cores{memory}{graphics}"


def _software(machines: Sequence[Mapping[str, Any]]) -> Answer:
    versions = [machine.get("versions") or {} for machine in machines]
    found = sorted({", ".join(f"{name} {v[name]}" for name in NEEDED_OF_VERSIONS if name in v) for v in versions})
    has = [all(v.get(name, "not installed") != "not installed" for name in NEEDED_OF_VERSIONS) for v in versions]
    return _answer(has, f"{'; '.join(found) or '`record.json`'}; `constraints.txt` pins all of them")


def _setup(runs: Sequence[Mapping[str, Any]]) -> Answer:
    return _answer(
        [all(run.get(name) is not None for name in NEEDED_OF_RUN) for run in runs],
        "`runs/*/run.json`: the whole specification and its hash, seeds, precision, engine, threads, command line",
    )
