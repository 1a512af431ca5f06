"""Which complete runs of an output directory still stand for what is planned, and why the others do not."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeplimit.records import Store
from deeplimit.records.opened import changed

if TYPE_CHECKING:
    from deeplimit.study.plan import Plan
    from deeplimit.sweeps import Job

Record = Mapping[str, Any]
Json = Any
#: Longest value that is shown, and the number of reasons.
SHORT, MANY = 40, 3
OTHERWISE = "this version of deeplimit computes or keeps it otherwise"


class Kept:
    """The complete runs of a directory, by the id of their task alone.

    A run whose task read files has this id as long as it was the first; computed again after one of them changed, it has another.
    """

    def __init__(self, store: Store) -> None:
        """Read the records."""
        self.runs: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
        for run, record in sorted(store.records(), key=lambda pair: _date(pair[1]), reverse=True):
            self.runs.setdefault(record.get("base", run), []).append((run, _files(record)))

    def run(self, base: str, *, exact: bool = True) -> str:
        """The id of a task's run as its files are now: complete, or to be computed; the last complete one unless `exact`."""
        runs = self.runs.get(base, [])
        matching = [run for run, files in runs if not changed(files)]
        if matching or (runs and not exact):
            return [*matching, runs[0][0]][0]
        now = {name: changed({name: ""})[name] for name in runs[0][1]} if runs else {}
        taken, run = {run for run, _ in runs}, base
        while run in taken:
            run = hashlib.sha256(json.dumps([run, now], sort_keys=True).encode()).hexdigest()[:16]
        return run


def _date(record: Record) -> str:
    """When a run was computed."""
    return str(_provenance(record).get("date", ""))


def _files(record: Record) -> Mapping[str, str]:
    """The files that a run's task read."""
    files = _provenance(record).get("files", {})
    return files if isinstance(files, dict) else {}


def _provenance(record: Record) -> Record:
    found = record.get("provenance", {})
    return found if isinstance(found, dict) else {}


def stale(planned: Plan, store: Store) -> list[str]:
    """In words, which complete runs are not those that are planned now, and what differs; empty where none is.

    A run is taken for the earlier one of a planned run that has its name.
    """
    planned_ids = {job.id for job in planned.jobs}
    others = sorted(store.records(), key=lambda pair: _date(pair[1]), reverse=True)
    earlier = {run: record for run, record in others if run not in planned_ids}
    studies = {entry.id: entry.study for entry in reversed(planned.entries)}
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for job, record in _pairs([job for job in planned.jobs if not store.is_complete(job.id)], earlier):
        counts[studies[job.id], tuple(_why(record, job))] += 1
    lines = [
        f"stale: {_runs(count)} of study {study}, because {_listed(reasons)}"
        for (study, reasons), count in counts.items()
    ]
    left = len(earlier) - counts.total()
    return [*lines, f"kept: {_runs(left)} in {store.out} that nothing here asks for now"] if left else lines


def _runs(count: int) -> str:
    return f"{count} run" + ("s" if count > 1 else "")


def _listed(reasons: Sequence[str]) -> str:
    """The first of many reasons."""
    more = len(reasons) - MANY
    return ", ".join([*reasons[:MANY], *([f"and {more} more"] if more > 0 else [])])


def _pairs(jobs: Sequence[Job], earlier: Mapping[str, Record]) -> Iterator[tuple[Job, Record]]:
    """Runs to be computed, each with an earlier run of its name: of the same task if there is one, of the same settings, or the newest."""
    left = dict(earlier)
    waiting = []
    for of_job, of_record in NEARER:
        known: dict[Any, list[str]] = {}
        for run, record in left.items():
            known.setdefault(of_record(record), []).append(run)
        for job in jobs:
            runs = known.get(of_job(job), [])
            if runs:
                yield job, left.pop(runs.pop(0))
            else:
                waiting.append(job)
        jobs, waiting = waiting, []


def _base_of_job(job: Job) -> str | None:
    return job.identity.id if job.identity else None


def _settings(record: Record) -> tuple[Any, str]:
    """Name and fields of a run."""
    spec = record.get("spec")
    fields = spec.get("fields") if isinstance(spec, dict) else None
    return record.get("name"), json.dumps(fields, sort_keys=True)


def _settings_of_job(job: Job) -> tuple[Any, str]:
    return _settings({"name": job.name, "spec": _spec(job)})


#: What a planned and an earlier run share, the closest first.
NEARER: tuple[tuple[Callable[[Job], Any], Callable[[Record], Any]], ...] = (
    (_base_of_job, lambda record: record.get("base")),
    (_settings_of_job, _settings),
    (lambda job: job.name, lambda record: record.get("name")),
)


def _spec(job: Job) -> dict[str, Json]:
    """The specification of a planned run."""
    spec: dict[str, Json] = json.loads(job.identity.spec) if job.identity else {}
    return spec


def _why(record: Record, job: Job) -> list[str]:
    """What differs between an earlier run and the planned one, in words."""
    gone = changed(_files(record))
    found = [f"{name} {'is gone' if now is None else 'was changed'}" for name, now in gone.items()]
    old = record.get("spec")
    found += list(dict.fromkeys(differences(old if isinstance(old, dict) else {}, _spec(job))))
    return found or [OTHERWISE]


# --------------------------------------------------------------------------------------- two specifications, in words


def differences(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    """What differs between two specifications.

    >>> list(differences({"revision": 2, "fields": {"depth": 8}}, {"revision": 3, "fields": {"depth": 16}}))
    ['depth: 8 → 16', 'revision 2 → 3']
    """
    codes = [spec.get("code", {}) for spec in (old, new)]
    described = [{name: part for name, part in spec.items() if name != "code"} for spec in (old, new)]
    found = list(_values(*described, where=""))
    both = sorted(codes[0].keys() & codes[1].keys())
    # The revision of the task's own class is said already.
    said = {f"{_shown(new.get('class'))}.revision"}
    texts = [text for name in both for text in _items(codes[0][name], codes[1][name], name=name)]
    found += [text for text in texts if text.partition(": ")[0] not in said]
    if not found:
        found += [f"{name} is used now" for name in sorted(codes[1].keys() - codes[0].keys())]
        found += [f"{name} is used no more" for name in sorted(codes[0].keys() - codes[1].keys())]
    yield from found


def _items(old: Mapping[str, Json], new: Mapping[str, Json], *, name: str) -> Iterator[str]:
    """What differs between two descriptions of one piece of code."""
    if any(old.get(part) != new.get(part) for part in ("source", "compiled")):
        yield f"{name} was edited"
    if any(old.get(part) != new.get(part) for part in ("value", "sha256")):
        yield _change(name, old.get("value"), to=new.get("value"))
    for part, label in (
        ("defaults", "default of {} of " + name),
        ("closure", "{} in " + name),
        ("attributes", name + ".{}"),
    ):
        before, after = old.get(part, {}), new.get(part, {})
        shared = [key for key in before if key in after and before[key] != after[key]]
        yield from (_change(label.format(key), before[key], to=after[key]) for key in shared)
    if old.get("bases") != new.get("bases"):
        yield f"the bases of {name} were changed"
    before, after = old.get("uses", {}), new.get("uses", {})
    shared = [key for key in before if key in after and before[key] != after[key]]
    yield from (_change(f"{key} in {name}", _shown(before[key]), to=_shown(after[key])) for key in shared)


def _shown(use: Json) -> Json:
    """What a name stands for, as text."""
    text = use.get("code") or use.get("named") if isinstance(use, dict) else None
    revision = f" (revision {use['revision']})" if isinstance(use, dict) and "revision" in use else ""
    return f"{text}{revision}" if text else use


def _change(what: str, old: Json, *, to: Json) -> str:
    """A change in words; of long values only that there is one."""
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (old, to)]
    plain = not any(value is None or isinstance(value, dict) for value in (old, to))
    return f"{what}: {texts[0]} → {texts[1]}" if plain and max(map(len, texts)) <= SHORT else f"{what} was changed"


def _values(old: Json, new: Json, *, where: str) -> Iterator[str]:
    """What differs between two values of a description, by the path to it."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and "code" not in old.keys() | new.keys():
        yield from _in_dicts(old, new, where=where)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _values(before, after, where=f"{where}[{place}]")
    else:
        yield _change(where, _shown(old), to=_shown(new))


def _in_dicts(old: Mapping[str, Json], new: Mapping[str, Json], *, where: str) -> Iterator[str]:
    """What differs between two dicts; another kind of thing is one difference, whatever its fields."""
    if old.get("kind") != new.get("kind"):
        yield _change(where or "the task", old.get("kind"), to=new.get("kind"))
        return
    for name in sorted(old.keys() | new.keys()):
        inner = where if name in ("fields", "class") else f"{where}.{name}".lstrip(".")
        if name == "revision":
            of = f" of {where}" if where else ""
            if old.get(name) != new.get(name):
                yield f"revision {old.get(name)} → {new.get(name)}{of}"
        elif name == "source":
            if old.get(name) != new.get(name):
                yield f"{_shown(new)} was edited"
        else:
            yield from _values(old.get(name), new.get(name), where=inner)
