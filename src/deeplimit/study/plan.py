"""From studies to runs, and from complete runs back to the rows of each study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.claims import Lack
from deeplimit.records import Label, Store, Task, frame
from deeplimit.records.identity import Reading
from deeplimit.records.rows import COLUMNS
from deeplimit.study.description import Study
from deeplimit.study.stale import Kept
from deeplimit.study.subject import Request
from deeplimit.sweeps import Execution, Expectation, Job, capped, expect, fitted, probe

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Entry:
    """A run as one study sees it: the same run may serve others under other labels."""

    study: str
    id: str
    labels: Mapping[str, Label]


@dataclass(frozen=True)
class Plan:
    """The runs of some studies: every study's entries, and each run once."""

    entries: tuple[Entry, ...]
    jobs: tuple[Job, ...]

    @property
    def unfollowed(self) -> list[str]:
        """What rows may depend on that no run's id holds, in words."""
        return sorted({note for job in self.jobs if job.identity for note in job.identity.unfollowed})

    def ids(self, study: str) -> list[str]:
        """The runs of a study, each once, in its order."""
        return list(dict.fromkeys(entry.id for entry in self.entries if entry.study == study))

    def absent(self, study: Study, store: Store) -> Lack | None:
        """What of a study is not there; None where it is complete."""
        ids = self.ids(study.name)
        missing = {run for run in ids if not store.is_complete(run)}
        if not ids:
            return Lack("not measured: its study is not run at this tier", "tier", study.tiers[0])
        if not missing:
            return None
        reason = f"not measured: {len(missing)} of {len(ids)} runs of its study are not complete"
        files = " ".join(sorted({lacking(job) for job in self.jobs if job.id in missing} - {""}))
        return Lack(f"{reason}: files of {files} are missing", "files", files) if files else Lack(reason)


def plan(studies: Sequence[Study], request: Request, *, store: Store | None = None, exact: bool = True) -> Plan:
    """What the studies come to.

    Args:
        studies: the selected ones.
        request: tier and options.
        store: where runs are kept; a complete one is taken only if the files that its task read are what they were.
        exact: whether a run is planned anew where they are not; else the last one that is there is taken.

    Raises:
        InputError: a study cannot be planned, or none is run at this tier.
    """
    entries: list[Entry] = []
    jobs: dict[str, Job] = {}
    checks.one_of("tier", request.tier, {tier for study in studies for tier in study.tiers})
    offered = [study for study in studies if request.tier in study.tiers]
    reading, kept = Reading(), Kept(store) if store else None
    for study in offered:
        for task in study.plan(request.tier, request.seeds, dtype=request.dtype):
            identity = reading.identity(task)
            run = identity.id if kept is None else kept.run(identity.id, exact=exact)
            entries.append(Entry(study.name, run, dict(task.labels)))
            if run not in jobs:
                jobs[run] = Job(run, task, _job_name(study, task), task.cost().layer_steps, identity)
    return Plan(tuple(entries), tuple(jobs.values()))


def lacking(job: Job) -> str:
    """The data set whose files a run needs and that are not there; empty where nothing is missing."""
    found: str = getattr(job.task, "lacking", "")
    return found


def _job_name(study: Study, task: Task) -> str:
    """A name for people: study, depths, labels."""
    depths = sorted({part.depth for part in getattr(task, "networks", (task,)) if hasattr(part, "depth")})
    span = [f"depth={depths[0]}" + (f"…{depths[-1]}" if len(depths) > 1 else "")] if depths else []
    return " ".join([study.name, *span, *(f"{name}={label}" for name, label in task.labels.items())])


def gather(chosen: Plan, store: Store) -> pl.DataFrame:
    """The rows of all complete runs with their study and labels: a long table in the order of the plan.

    Columns: `study`, the fixed columns of every row, then labels and whatever else tasks left, by name.
    """
    import polars as pl

    complete = {entry.id for entry in chosen.entries if store.is_complete(entry.id)}
    runs = {run: store.load_rows(run) for run in sorted(complete)}
    frames = [_named(runs[entry.id], entry) for entry in chosen.entries if entry.id in runs]
    # One empty frame per entry, so that the columns are there before the runs are.
    frames += [_named(frame(()), entry) for entry in chosen.entries]
    rows = pl.concat(frames, how="diagonal_relaxed")
    first = ["study", *COLUMNS]
    return rows.select(*first, *sorted(set(rows.columns) - set(first)))


def _named(rows: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """Rows with a study's name and labels; a label does not replace what a row says itself."""
    import polars as pl

    own = [name for name in entry.labels if name in rows.columns]
    labels = [pl.col(name).fill_null(pl.lit(entry.labels[name])) for name in own]
    labels += [pl.lit(label).alias(name) for name, label in entry.labels.items() if name not in own]
    return rows.with_columns(pl.lit(entry.study).alias("study"), *labels)


def seconds_of(chosen: Plan, store: Store) -> dict[str, float]:
    """Computing time of each study's runs, by study; a run that serves two studies counts in both."""
    ids = {entry.id for entry in chosen.entries if store.is_complete(entry.id)}
    seconds = {run: float(store.load_record(run)["seconds"]) for run in ids}
    studies = dict.fromkeys(entry.study for entry in chosen.entries)
    return {study: sum(seconds.get(run, 0.0) for run in chosen.ids(study)) for study in studies}


def expectations(
    studies: Sequence[Study],
    planned: Plan,
    *,
    store: Store,
    execution: Execution,
    say: Callable[[str], None] = lambda text: None,
) -> list[tuple[str, Expectation]]:
    """What each study still needs, and under `in total` all of them; a shared run counts for the first study that has it.

    The total says what the machine lacks, where a run does not fit into its memory.

    Args:
        studies: the selected ones.
        planned: what `plan` made of them.
        store: where runs are kept; what is complete is not counted.
        execution: how it would be computed.
        say: is told where that is with fewer workers or threads than asked for, and why.
    """
    jobs = [job for job in planned.jobs if not store.is_complete(job.id)]
    lack = ""
    if jobs:
        execution.check_machine()
    try:
        execution = fitted([job for job in jobs if not getattr(job.task, "lacking", "")], execution, say=say)
    except checks.InputError as problem:  # what is needed is still to be said
        execution, lack = replace(capped(execution, say=say), workers=1), str(problem)
    # What cannot run here takes no time that could be said, and sampling it would take long, too.
    taken = [math.nan] * len(jobs) if lack else probe(jobs, execution)
    seconds = dict(zip((job.id for job in jobs), taken, strict=True))
    owner = {entry.id: entry.study for entry in reversed(planned.entries)}
    parts = [(study.name, [job for job in jobs if owner[job.id] == study.name]) for study in studies]
    *each, (total, need) = [
        (name, expect(part, [seconds[job.id] for job in part], workers=execution.workers))
        for name, part in [*parts, ("in total", jobs)]
    ]
    return [*each, (total, replace(need, lack=lack))]
