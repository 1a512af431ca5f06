"""What is said of an output directory before anything is computed in it: whose it is, and which of its runs were damaged."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from deeplimit import checks
from deeplimit.records import Store
from deeplimit.study.plan import Plan
from deeplimit.study.subject import Request, Subject, last_request

#: Runs that a note names.
NAMED = 5


def foresee(subject: Subject, request: Request, *, planned: Plan, store: Store) -> list[str]:
    """Notes on an output directory in which nothing is to be computed.

    Raises:
        InputError: it cannot be used, or belongs to another study.
    """
    refuse_other(subject, request, planned=planned, store=store)
    return damages(planned, store, then="not used")


def refuse_other(subject: Subject, request: Request, *, planned: Plan, store: Store) -> None:
    """Refuse an output directory of another paper or study file.

    A file that was renamed goes on in its directory, as its runs lie there.

    Raises:
        InputError: the directory belongs to something else.
    """
    before = last_request(store)
    if before is None or store.marker is None:
        return
    names = {study.name for study in subject.studies}
    same = _owner(before) == _owner(request) and (
        not store.marker.studies or not names.isdisjoint(store.marker.studies)
    )
    files = before.kind == request.kind == "file"
    if same or (files and any(os.path.lexists(store.run_dir(job.id)) for job in planned.jobs)):
        return
    raise checks.InputError(
        f"output {store.out}: expected the directory of {_shown(request, names)}, "
        f"found that of {_shown(before, store.marker.studies)}; use another --out"
    )


def damages(planned: Plan, store: Store, *, then: str) -> list[str]:
    """Notes that name the runs that are there and cannot be used, a note for each reason.

    Args:
        planned: the runs that are asked for.
        store: where they lie.
        then: what becomes of them.
    """
    found: dict[str, list[str]] = {}
    for job in planned.jobs:
        if flaw := store.flaw(job.id):
            found.setdefault(flaw, []).append(f"{job.id} ({job.name})")
    return [f"{_listed(runs)}: {flaw}: {then}" for flaw, runs in found.items()]


def changes(request: Request, store: Store) -> list[str]:
    """A note where the report of a directory was asked for with other options before."""
    before = last_request(store)
    if before is None or before.options == request.options:
        return []
    return [f"the report was of {' '.join(before.options)} before; the runs of both are kept"]


def _owner(request: Request) -> tuple[str, str]:
    """Whose directory it is: a paper's, or that of a file's name, wherever the file lies."""
    return request.kind, request.name if request.kind == "paper" else Path(request.name).name


def _shown(request: Request, studies: Iterable[str]) -> str:
    """An owner in words."""
    if request.kind == "paper":
        return f"the paper {request.name}"
    names = ", ".join(sorted(studies))
    return f"the file {Path(request.name).name}" + (f" (studies: {names})" if names else "")


def _listed(runs: list[str]) -> str:
    """Names of runs, the first of many."""
    more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return f"run{'s' if len(runs) > 1 else ''} {', '.join(runs[:NAMED])}{more}"
