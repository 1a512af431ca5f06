"""From a request to verdicts and a report: compute what is missing, judge, write."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit.claims import Claim, Lack, Verdict, judge, unmeasured
from deeplimit.records import Store, write_bytes, write_json
from deeplimit.records.provenance import MACHINE_FACTS
from deeplimit.study.description import Study
from deeplimit.study.folders import changes, damages, refuse_other
from deeplimit.study.plan import Plan, gather, lacking, plan, seconds_of
from deeplimit.study.subject import Request, Subject
from deeplimit.sweeps import Execution, Failure, Reporter, Silent, sweep

if TYPE_CHECKING:
    import polars as pl

    from deeplimit.report import Document
    from deeplimit.sweeps import Job


def conclude(
    studies: Sequence[Study],
    rows: pl.DataFrame,
    *,
    tier: str,
    seconds: Mapping[str, float] | None = None,
    absent: Mapping[str, Lack | None] | None = None,
) -> list[Verdict]:
    """The verdict on every claim, each from the rows of its own study.

    Args:
        studies: whose claims.
        rows: of all studies, with the column `study`.
        tier: at which the rows were computed.
        seconds: computing time by study.
        absent: by study, which of its runs are not there; nothing is judged on a part of a study.
    """
    import polars as pl

    verdicts = []
    for study in studies:
        own = rows.filter(pl.col("study") == study.name)
        spent = (seconds or {}).get(study.name, 0.0)
        lack = (absent or {}).get(study.name) or (
            Lack("not measured: its study has no rows") if own.is_empty() else None
        )
        verdicts += [
            unmeasured(claim, lack, tier=tier, seconds=spent) if lack else _judged(claim, own, tier=tier, seconds=spent)
            for claim in study.claims
        ]
    return verdicts


def _judged(claim: Claim, rows: pl.DataFrame, *, tier: str, seconds: float) -> Verdict:
    """The verdict on a claim; *undecided* where its measure cannot be taken of these rows."""
    try:
        return judge(claim, rows, tier=tier, seconds=seconds)
    except Exception as error:  # noqa: BLE001 - a measure is anybody's code, and one that fails must not cost the report
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        lack = Lack(f"not measured: {kind}{str(error).partition(chr(10))[0]}")
        return unmeasured(claim, lack, tier=tier, seconds=seconds)


def unexpected(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that are not the expected ones; *undecided* counts where the tier could decide and a ruling was expected."""
    return [verdict for verdict in verdicts if not _is_expected(verdict)]


def _is_expected(verdict: Verdict) -> bool:
    """Whether a verdict is the expected one, or could not be decided at its tier."""
    claim = verdict.claim
    decidable = claim.decided_at(verdict.tier) and claim.source != "unverified"
    return verdict.ruling == claim.expected_ruling or (verdict.as_expected is None and not decidable)


@dataclass(frozen=True)
class Conclusion:
    """What came of a request.

    Args:
        report: the page.
        verdicts: in the order of the studies.
        failures: runs that failed.
        computed, reused: number of runs.
        stages: seconds by stage.
        notes: what the reader should know about the runs that were complete before.
        figures: names of those that the report draws.
        quantities: what the rows hold.
    """

    report: Path
    verdicts: Sequence[Verdict]
    failures: Sequence[Failure]
    computed: int
    reused: int
    stages: Mapping[str, float]
    notes: Sequence[str] = ()
    figures: Sequence[str] = ()
    quantities: Sequence[str] = ()


def carry_out(
    subject: Subject,
    request: Request,
    *,
    out: Path,
    execution: Execution | None = None,
    reporter: Reporter | None = None,
) -> Conclusion:
    """Compute what is missing, judge the claims, write the report.

    Args:
        subject: the whole; the request selects.
        request: what of it, at which tier.
        out: output directory; what is complete in it is not computed again.
        execution: how to compute; None computes nothing and draws the report from what is there.
        reporter: is told how it goes.

    Raises:
        InputError: something cannot be planned, or the directory cannot be used or belongs to another study.
    """
    stages: dict[str, float] = {}
    failures: list[Failure] = []
    chosen = subject.select(request.only)
    with _timed(stages, "plan"):
        store = Store(out)
        planned = plan(chosen.studies, request, store=store, exact=execution is not None)
    refuse_other(subject, request, planned=planned, store=store)
    with store:
        complete = [job.id for job in planned.jobs if store.is_complete(job.id)]
        notes = damages(planned, store, then="not used" if execution is None else "computed again")
        if reporter is not None:  # at once: what is killed now has named what it was to replace
            for note in notes:
                reporter.note(note)
            notes = []
        if execution is not None:
            jobs, left_out = _at_hand(planned, request, complete=complete)
            notes += [*left_out, *_notes(complete, store, execution=execution), *changes(request, store)]
            _remember(subject, request, store=store)
            with _timed(stages, "compute"):
                failures = sweep(jobs, execution, store=store, reporter=reporter or Silent())
        computed = sum(store.is_complete(job.id) for job in planned.jobs) - len(complete)
        verdicts, report, rows = _finish(chosen, request, planned=planned, store=store, stages=stages)
    figures = [figure.id for study in chosen.studies for figure in study.figures]
    quantities = rows["quantity"].unique(maintain_order=True).to_list()
    return Conclusion(report, verdicts, failures, computed, len(complete), stages, notes, figures, quantities)


def _at_hand(planned: Plan, request: Request, *, complete: Sequence[str]) -> tuple[list[Job], list[str]]:
    """The jobs whose image files are there, and which are left out; all of them where parts are asked for by name, which then fail."""
    if request.only:
        return list(planned.jobs), []
    needs = {job.id: "" if job.id in complete else lacking(job) for job in planned.jobs}
    studies: dict[str, set[str]] = {}
    for entry in planned.entries:
        if needs[entry.id]:
            studies.setdefault(needs[entry.id], set()).add(entry.study)
    notes = [
        f"left out, because files of {files} are missing (deeplimit data fetch {files}): {', '.join(sorted(names))}"
        for files, names in studies.items()
    ]
    return [job for job in planned.jobs if not needs[job.id]], notes


def _notes(complete: Sequence[str], store: Store, *, execution: Execution) -> list[str]:
    """Says so where complete runs were computed with another engine or device than is asked for now."""
    facts = [store.load_record(run)["provenance"] for run in complete]
    notes = []
    for option, asked in (("engine", execution.engine), ("device", execution.device)):
        others = [str(fact[option]) for fact in facts if fact.get(option) not in (None, asked, "auto")]
        if others and asked != "auto":
            names = ", ".join(sorted(set(others)))
            notes.append(
                f"{len(others)} runs were computed with {option} {names}; another --out computes all with {asked}"
            )
    return notes


def copy_of_file(out: Path, request: Request) -> Path:
    """Where an output directory keeps the study file that it was made by."""
    return out / "study" / Path(request.name).name


def gather_record(planned: Plan, store: Store, *, request: Request) -> dict[str, Any]:
    """Everything known about how the rows were computed: what was asked, the machines, the runs.

    Runs computed by the same code on the same machine share one entry of `computed_with`.
    """
    runs, environments = [], []
    for job in planned.jobs:
        if not store.is_complete(job.id):
            continue
        record = store.load_record(job.id)
        facts = dict(record["provenance"])
        environment = {name: facts.pop(name, None) for name in MACHINE_FACTS}
        if environment not in environments:
            environments.append(environment)
        about = {name: record[name] for name in ("id", "name", "seconds", "seeds", "dtype", "diverged", "rows")}
        runs.append({**about, "computed_with": environments.index(environment), **facts})
    return {"request": dataclasses.asdict(request), "computed_with": environments, "runs": runs}


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Note the seconds of a stage."""
    began = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - began


def _remember(subject: Subject, request: Request, *, store: Store) -> None:
    """Keep the request in the output directory, and a copy of the user's file that it names."""
    if request.kind == "file":
        write_bytes(copy_of_file(store.out, request), Path(request.name).read_bytes())
    store.remember(dataclasses.asdict(request), [study.name for study in subject.studies])


def _finish(
    subject: Subject, request: Request, *, planned: Plan, store: Store, stages: dict[str, float]
) -> tuple[list[Verdict], Path, pl.DataFrame]:
    """Judge the claims on what is there and write everything that is read; returns the rows as well."""
    with _timed(stages, "judge"):
        rows = gather(planned, store)
        absent = {study.name: planned.absent(study, store) for study in subject.studies}
        seconds = seconds_of(planned, store)
        verdicts = conclude(subject.studies, rows, tier=request.tier, seconds=seconds, absent=absent)
    with _timed(stages, "report"):
        from deeplimit.report import write_report

        record = gather_record(planned, store, request=request)
        store.write_frame("rows.parquet", rows)
        write_json(store.out / "record.json", record)
        document = _document(subject, request, verdicts=verdicts, record=record, seconds=seconds)
        report = write_report(store.out, document, rows)
    return verdicts, report, rows


def _document(
    subject: Subject,
    request: Request,
    *,
    verdicts: Sequence[Verdict],
    record: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Document:
    """What the report says besides the rows."""
    from deeplimit.report import Document

    claims = {claim.id for claim in subject.claims}
    scorecard = subject.scorecard
    return Document(
        title=subject.title,
        citation=subject.citation,
        tier=request.tier,
        verdicts=verdicts,
        figures=[(study.name, figure) for study in subject.studies for figure in study.figures],
        discrepancies=[d for d in subject.discrepancies if not request.only or claims.intersection(d.claim_ids)],
        scorecard=scorecard(record) if callable(scorecard) else scorecard,
        commands=_commands(subject, request),
        record=record,
        seconds=sum(run["seconds"] for run in record["runs"]),
        studies=[(study.name, study.title, study.text, seconds.get(study.name, 0.0)) for study in subject.studies],
    )


def _commands(subject: Subject, request: Request) -> list[tuple[str, str]]:
    """Command lines that compute the whole and each part again."""
    parts = [(study.title or study.name, study.name) for study in subject.studies]
    parts += [(figure.title, figure.id) for study in subject.studies for figure in study.figures]
    return [("everything", request.command), *((title, f"{request.command} --only {name}") for title, name in parts)]
