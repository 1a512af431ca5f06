"""From cases and contestants to a report."""

from __future__ import annotations

import datetime
import functools
import gc
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from deeplimit import checks, machine
from deeplimit.bench import steps
from deeplimit.bench.cases import Case, Series, Training, chosen
from deeplimit.bench.contestants import Contestant, EngineRun, Prepared, contestants, problem, wait_for
from deeplimit.bench.report import CaseReport, Line, Machine, Report, SeriesReport, TrainingReport
from deeplimit.bench.timing import Call, Clock, Track, race, ratio, spread

#: Size of the square float32 matrices whose product says what a thread can do.
MATRIX = 1024
#: The name of their product among the calls of a race.
MATMUL = "matmul"
#: Numbers that a series needs for an exponent: with fewer, its interval says nothing.
FIT = 5
#: Rounds at most: an interval of a median needs a few dozen.
MOST_ROUNDS = 10_000
#: Packages whose versions the times depend on, where they are installed.
PACKAGES = ("torch", "triton", "jax", "jaxlib", "numpy")

Row = TypeVar("Row", Case, Series, Training)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Args:
        only: names of what is measured; everything for none.
        contestants: names of contestants; all for none. Ratios refer to the fastest engine among them, or else to the first.
        rounds: their number; as many as time allows unless given.
        threads: of the contestants that use several; no more than there are processors.
    """

    only: Sequence[str] = ()
    contestants: Sequence[str] = ()
    rounds: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        checks.positive_int("threads", self.threads)
        if self.rounds is not None:
            checks.integer("rounds", self.rounds, 1, MOST_ROUNDS)


def bench(options: Options, *, say: Callable[[str], None] = lambda text: None, clock: Clock | None = None) -> Report:
    """Measure.

    Args:
        options: what.
        say: is told what is measured next.
        clock: what is read; the machine's unless given.

    Raises:
        InputError: a name is unknown, or a contestant that was asked for by name cannot run here.
    """
    import torch

    threads, note = machine.capped("threads", options.threads)
    if note:
        say(f"note: {note}")
        options = replace(options, threads=threads)
    cases, series, training = chosen(options.only)
    asked = _asked(options)
    missing = {row.title: row.missing() for row in asked if row.missing()}
    for title, reason in missing.items() if options.contestants else ():
        raise checks.InputError(f"contestants: expected some that can run here, found {title}: {reason}")
    there = [row for row in asked if row.title not in missing]
    heat = Heat(there, options.rounds, clock)

    def each(rows: Iterable[Row], measure: Callable[[Row], Iterator[Found]]) -> Iterator[Found]:
        for row in rows:
            say(f"{row.name}: {row.title}")
            yield from measure(row)

    threads = torch.get_num_threads()
    try:
        # Cases last: once another library has started threads of its own, these spin while our two are measured.
        along, trained = tuple(each(series, heat.series)), tuple(each(training, heat.training))
        raced = tuple(each(cases, heat.case))
    finally:
        torch.set_num_threads(threads)
    return Report(_machine(), options.threads, raced, along, trained, missing)


def _asked(options: Options) -> Sequence[Contestant]:
    """The contestants of the names asked for, in the order of all."""
    rows = contestants(options.threads)
    names = {checks.one_of("contestants", name, [row.name for row in rows]) for name in options.contestants}
    return [row for row in rows if not names or row.name in names]


@dataclass(frozen=True)
class Heat:
    """Contestants that are there, with the number of rounds and the clock."""

    contestants: Sequence[Contestant]
    rounds: int | None = None
    clock: Clock | None = None

    def case(self, case: Case) -> Iterator[CaseReport]:
        """All contestants on one case: one report, or none where nobody can compute it."""
        entries = {row.title: (row, row.asked(case)) for row in self.contestants if row.supports(case)}
        if not entries:
            return
        # Idle threads of a pool spin for a while: those who use one come last, and the product takes the turn after them.
        order = sorted(entries.items(), key=lambda entry: entry[1][0].threads)
        tracks = self._race({MATMUL: _matmul(case.device)} | {title: _call(*entry) for title, entry in order})
        if any(tracks[title].seconds for title in entries):
            yield _reported(case, entries, tracks)

    def series(self, series: Series) -> Iterator[SeriesReport]:
        """The first contestant that computes all cases of a series, on each: one report, or none where nobody does."""
        first = next((row for row in self.contestants if _covers(row, series.cases)), None)
        if first is None:
            return
        rows = zip(series.along, series.cases, strict=True)
        several = {n: (replace(first, threads=n) if series.threads else first, case) for n, case in rows}
        tracks = list(self._race({str(n): _call(*entry) for n, entry in several.items()}).values())
        if all(track.seconds for track in tracks):
            yield _along(series, first.title, tracks)

    def training(self, training: Training) -> Iterator[TrainingReport]:
        """The first engine that computes all networks of a training, on each: one report per network, or none where no engine does."""
        engines = (row for row in self.contestants if isinstance(row, EngineRun))
        first = next((row for row in engines if _covers(row, training.cases)), None)
        if first is None:
            return
        for case in training.cases:
            ready = functools.partial(_set_threads, first.threads)
            tracks = self._race({name: Call(run, ready) for name, run in steps.calls(case, first.engine).items()})
            if all(track.seconds for track in tracks.values()):
                yield steps.reported(case, first.title, tracks=tracks)

    def _race(self, calls: dict[str, Call]) -> dict[str, Track]:
        """The race, after which nothing of it is kept in memory."""
        tracks = race(calls, rounds=self.rounds, clock=self.clock)
        calls.clear()
        _release()
        return tracks


def _covers(contestant: Contestant, cases: Sequence[Case]) -> bool:
    """Whether a contestant computes all cases at their full depth."""
    return all(contestant.supports(case) and contestant.asked(case) == case for case in cases)


def _release() -> None:
    """Free what engines and finished graphs keep."""
    from deeplimit.engines import ENGINES

    for engine in ENGINES.values():
        engine.release()
    gc.collect()


def _call(contestant: Contestant, case: Case) -> Call:
    """The call of a contestant; before its turn, its number of threads is set, which costs nothing where it is set already."""

    @functools.cache
    def prepared() -> Prepared:
        return contestant.prepare(problem(case))

    def before() -> None:
        _set_threads(contestant.threads)
        prepared()

    return Call(lambda: prepared().run(), before)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _matmul(device: str) -> Call:
    """The product of two large matrices on one thread, or on the GPU."""
    import torch

    left, right = torch.randn(2, MATRIX, MATRIX, generator=torch.Generator().manual_seed(0)).to(device).unbind(0)
    out = torch.empty_like(left)

    def run() -> None:
        torch.mm(left, right, out=out)
        wait_for(device)

    return Call(run, lambda: _set_threads(1))


def _reported(case: Case, entries: dict[str, tuple[Contestant, Case]], tracks: dict[str, Track]) -> CaseReport:
    """What the tracks of a race on one case say."""
    ran = {title: entry for title, entry in entries.items() if tracks[title].seconds}
    per_layer = {title: [s / asked.depth for s in tracks[title].seconds] for title, (_, asked) in ran.items()}
    base = next(iter(ran))
    rates = [2 * MATRIX**3 / seconds for seconds in tracks[MATMUL].seconds]
    lines = [
        Line(
            title,
            asked.depth,
            tracks[title].first,
            spread(per_layer[title]).times(1e6),
            ratio(per_layer[title], per_layer[base]),
            spread([case.operations / (s * rate) for s, rate in zip(per_layer[title], rates, strict=True)]),
            spread(tracks[title].cores).median,
            contestant.activation_bytes(asked),
        )
        for title, (contestant, asked) in ran.items()
    ]
    failed = {title: tracks[title].failed for title in entries if tracks[title].failed}
    return CaseReport(case.name, case.title, case.depth, spread(rates).times(1e-9), tuple(lines), failed)


def _along(series: Series, title: str, tracks: Sequence[Track]) -> SeriesReport:
    """What the tracks of a race along a series say."""
    from deeplimit.fits import power_law

    times = tuple(spread(track.seconds).times(1e3) for track in tracks)
    ratios = tuple(ratio(track.seconds, tracks[0].seconds) for track in tracks)
    exponent = None
    if len(series.along) >= FIT:
        fit = power_law(series.along, [time.median for time in times])
        exponent = (fit.value, fit.low, fit.high)
    return SeriesReport(series.name, series.title, series.symbol, series.along, title, times, ratios, exponent)


def _machine() -> Machine:
    """This machine, now."""
    from deeplimit.records.provenance import machine

    facts = machine()
    versions = {"deeplimit": facts["versions"]["deeplimit"], "python": facts["versions"]["python"]}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpu, code = facts["cpu"], facts["code"]
    commit = code.get("commit", "")[:12] + (" with edits" if code.get("edited") else "")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    gpus = tuple(gpu["name"] for gpu in facts["gpu"])
    return Machine(today, cpu["model"], cpu["cores"], tuple(cpu["instruction_sets"]), versions, commit, gpus)
