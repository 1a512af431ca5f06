"""Running many tasks: in this process, or in several. What is complete is never computed again.

Only the process that holds the store writes runs; workers write nothing but their checkpoints.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deeplimit import checks, machine
from deeplimit.data.files import data_directory
from deeplimit.records import Checkpoint, Context, RowCollector, Store, Task, provenance
from deeplimit.records.checkpoint import interval
from deeplimit.records.code import STUDY_MODULE
from deeplimit.records.identity import Identity, Reading
from deeplimit.records.opened import files_read
from deeplimit.records.provenance import package_versions
from deeplimit.records.writing import discard

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
#: File of the fractions done of jobs in other processes; hidden, as the other files of a writer at work.
GAUGE = ".deeplimit.progress"
#: What the libraries behind NumPy and PyTorch read when they are first imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

#: Python then finds no module in the working directory, where anybody's files may lie: not in workers, nor in what looks after them.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
#: Bytes that a process takes with PyTorch and Polars, before its task takes any.
PROCESS = 4e8


@dataclass(frozen=True)
class Execution:
    """How tasks are run; changes no row's meaning and no run's id.

    Args:
        engine: name of an engine, or `auto`.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        threads: PyTorch threads of each worker. One by default: on matrices of these sizes a second gains nothing and can cost a lot.
        workers: processes; no more are started than there are processors, runs, and memory for.
        deterministic: only algorithms that give the same bits every time; slower on a GPU.

    Raises:
        InputError: a number below 1, or a device that is none.
    """

    engine: str = "auto"
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without PyTorch."""
        checks.positive_int("threads", self.threads)
        checks.positive_int("workers", self.workers)
        if not DEVICE.fullmatch(self.device):
            raise checks.InputError(f"device: expected cpu, cuda, cuda:N or mps; found {self.device!r}")

    def context(self, checkpoint: Checkpoint | None = None) -> Context:
        """What a task is run with."""
        return Context(self.engine, self.device, self.threads, checkpoint)

    def numerics(self) -> AbstractContextManager[dict[str, bool]]:
        """The settings of PyTorch for a run, and facts for its record; nothing, and no PyTorch, where its own defaults are meant."""
        if self.device == "cpu" and not self.deterministic:
            return nullcontext({})
        from deeplimit.engines.numerics import numerics

        return numerics(self.device, deterministic=self.deterministic)

    def check_machine(self) -> None:
        """Refuse an engine or a device that is not here, before any work.

        Raises:
            InputError: there is no such engine or device, or the environment asks for checkpoints at no interval.
        """
        interval()
        if self.engine != "auto":
            from deeplimit.engines import ENGINES, named

            kind = checks.one_of("engine", self.engine.partition(":")[0], ("auto", *ENGINES))
            if kind != "auto" and ENGINES[kind].missing:
                named(self.engine)  # says what is missing; what follows a colon is for the network to know
        if self.device != "cpu":
            import torch

            count = (
                torch.cuda.device_count() if self.device.startswith("cuda") else int(torch.backends.mps.is_available())
            )
            if int(self.device.partition(":")[2] or 0) >= count:
                raise checks.InputError(
                    f"device: expected one of this machine, found {self.device!r} and {count} of its kind"
                )


@dataclass(frozen=True)
class Job:
    """A task with its id, a name for people, its share of the work, and what it was known by when it was planned."""

    id: str
    task: Task
    name: str
    work: float
    identity: Identity | None = None


@dataclass
class Outcome:
    """What became of a job: rows with facts and weights, or an error."""

    id: str
    rows: pl.DataFrame | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Failure:
    """A run that failed: its name, the error, the file with its specification."""

    name: str
    error: str
    file: Path


class Reporter(Protocol):
    """Who is told how a sweep goes."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """These jobs start; that many more were complete already."""

    def advance(self, job: Job, fraction: float) -> None:
        """This fraction of a job is done."""

    def finish(self, job: Job, outcome: Outcome) -> None:
        """A job is complete or has failed."""

    def note(self, text: str) -> None:
        """Something is not as it was asked for, and this is why."""

    def end(self) -> None:
        """The sweep is over, by whatever way."""


class Silent:
    """A reporter that says nothing."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Say nothing."""

    def advance(self, job: Job, fraction: float) -> None:
        """Say nothing."""

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class Pace:
    """How far a sweep is and how long it will take, each job counted by its share of the work.

    >>> pace = Pace([Job("a", None, "short", 1.0), Job("b", None, "long", 3.0)])
    >>> pace.finish(pace.jobs["a"])
    >>> pace.fraction
    0.25
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        """Start the clock."""
        self.jobs = {job.id: job for job in jobs}
        self.count = len(jobs)
        self.finished = 0
        self.began = time.monotonic()
        self._done = dict.fromkeys(self.jobs, 0.0)

    def advance(self, job: Job, fraction: float) -> None:
        """This fraction of a job is done."""
        self._done[job.id] = max(fraction, self._done[job.id])

    def finish(self, job: Job) -> None:
        """A job is over."""
        self._done[job.id] = 1.0
        self.finished += 1

    @property
    def fraction(self) -> float:
        """The fraction of all work that is done."""
        total = sum(job.work for job in self.jobs.values())
        return sum(job.work * self._done[job.id] for job in self.jobs.values()) / total if total else 1.0

    @property
    def seconds_left(self) -> float:
        """Seconds to go at the pace so far; infinite before anything is done."""
        done = self.fraction
        return (time.monotonic() - self.began) * (1 - done) / done if done else float("inf")


def sweep(jobs: Sequence[Job], execution: Execution, *, store: Store, reporter: Reporter) -> list[Failure]:
    """Compute the jobs that are not complete and keep them in the store.

    Args:
        jobs: with distinct ids.
        execution: how.
        store: open for writing.
        reporter: is told of every step.

    Returns:
        The runs that failed; the others were computed all the same.

    Raises:
        InputError: the engine or the device is not here, or a run needs more memory than there is.
    """
    missing = [job for job in jobs if not store.is_complete(job.id)]
    if missing:
        execution.check_machine()
        execution = fitted(missing, execution, say=reporter.note)
    by_id = {job.id: job for job in missing}
    run = in_processes if execution.workers > 1 and len(missing) > 1 else in_this_process
    failures = []
    reporter.begin(missing, len(jobs) - len(missing))
    try:
        with closing(run(missing, execution, store=store, reporter=reporter)) as outcomes:
            for outcome in outcomes:
                job = by_id[outcome.id]
                failure = keep(job, outcome, store=store)
                failures += [failure] if failure else []
                reporter.finish(job, outcome)
    finally:
        reporter.end()
    return failures


def fitted(jobs: Sequence[Job], execution: Execution, *, say: Callable[[str], None]) -> Execution:
    """The execution with no more threads and workers than there are processors, runs, and memory for.

    Args:
        jobs: those to compute.
        execution: what was asked for.
        say: is told what is fewer than asked, and why.

    Raises:
        InputError: one of the jobs alone needs more memory than there is.
    """
    execution = capped(execution, say=say)
    workers, needs = min(execution.workers, max(len(jobs), 1)), _memory(jobs)
    here = machine.memory(execution.device)
    if needs and needs[0] > here:
        largest = max(jobs, key=lambda job: job.task.cost().memory_bytes)
        remedy = "fewer --seeds, another --tier or --only something else"
        raise checks.InputError(machine.too_large(f"memory of {largest.name}", needs[0], here=here, remedy=remedy))
    while workers > 1 and sum(needs[:workers]) + PROCESS * workers > here:
        workers -= 1
    if workers < min(execution.workers, len(jobs)):
        say(f"workers {execution.workers}: {machine.size(here)} of memory free here, so {workers}")
    return replace(execution, workers=workers)


def capped(execution: Execution, *, say: Callable[[str], None]) -> Execution:
    """The execution with no more threads and workers than there are processors; `say` is told where it asks for more."""
    threads, note = machine.capped("threads", execution.threads)
    workers, also = machine.capped("workers", execution.workers, threads=threads)
    for text in filter(None, (note, also)):
        say(text)
    return replace(execution, threads=threads, workers=workers)


def _memory(jobs: Sequence[Job]) -> list[float]:
    """Bytes that each job needs, the largest first."""
    return sorted((job.task.cost().memory_bytes for job in jobs), reverse=True)


def in_this_process(
    jobs: Sequence[Job], execution: Execution, *, store: Store, reporter: Reporter
) -> Generator[Outcome, None, None]:
    """Run jobs one after the other."""
    limit_threads(execution.threads)
    for job in jobs:
        yield compute(job, execution, checkpoint=store.checkpoint(job.id).path, progress=partial(reporter.advance, job))


def in_processes(
    jobs: Sequence[Job], execution: Execution, *, store: Store, reporter: Reporter
) -> Generator[Outcome, None, None]:
    """Run jobs in `execution.workers` processes, the longest first; outcomes come as they are ready.

    Raises:
        ChildProcessError: a worker was killed, by the system for want of memory most often.
    """
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    ordered = sorted(jobs, key=lambda job: -job.work)
    environment = {**dict.fromkeys(THREAD_VARIABLES, str(execution.threads)), **SAFE_PATH}
    pool = ProcessPoolExecutor(execution.workers, initializer=attend, initargs=(os.getpid(),), env=environment)
    complete = False
    with Gauge(store.out / GAUGE, ordered).watched(reporter) as gauge:
        call = partial(compute_in_worker, execution=execution, gauge=gauge.path, path=list(sys.path))
        try:
            with interrupts_held(), _variables(SAFE_PATH), _folders_of_studies_last():
                futures = [
                    pool.submit(call, i, packed(job), checkpoint=store.checkpoint(job.id).path)
                    for i, job in enumerate(ordered)
                ]
            for future in as_completed(futures):
                yield future.result()
            complete = True
        except BrokenProcessPool as broken:
            raise ChildProcessError(
                "a worker process was killed, most often for want of memory; what is complete is kept: "
                f"run the same again with fewer than {execution.workers} workers"
            ) from broken
        finally:
            with interrupts_held():
                pool.shutdown(kill_workers=not complete)


@contextmanager
def _folders_of_studies_last() -> Iterator[None]:
    """Python looks in the folder of a study last inside the block: a `numpy.py` beside one is not what a worker starts with."""
    modules = [module for name, module in sys.modules.items() if name.startswith(STUDY_MODULE)]
    folders = [str(Path(module.__file__).parent) for module in modules if module.__file__]
    before = list(sys.path)
    sys.path.sort(key=lambda place: place in folders)
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _variables(extra: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, for what starts inside the block."""
    before = {name: os.environ.get(name) for name in extra}
    os.environ.update(extra)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the block is over, and never reaches the processes and threads that start in it."""
    if threading.current_thread() is not threading.main_thread():  # which alone is told of one
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Gauge:
    """The fractions done of jobs in other processes: one number per job in a file that all of them map."""

    def __init__(self, path: Path, jobs: Sequence[Job]) -> None:
        """Nothing is done yet."""
        import numpy as np

        self.path = path
        self.jobs = jobs
        discard(path)  # a link there would be followed
        self.fractions = np.memmap(path, dtype=np.float64, mode="w+", shape=(len(jobs),))

    @contextmanager
    def watched(self, reporter: Reporter) -> Iterator[Gauge]:
        """Tell a reporter every second how far the jobs are."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(1.0):
                for job, fraction in zip(self.jobs, self.fractions, strict=True):
                    if 0.0 < fraction < 1.0:
                        reporter.advance(job, float(fraction))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            over.set()
            watcher.join()
            self.path.unlink(missing_ok=True)


def packed(job: Job) -> bytes:
    """A job as bytes for another process.

    The classes and functions of a user's study file, which other processes cannot import, go along.

    Raises:
        InputError: it holds something that cannot leave this process.
    """
    import cloudpickle

    known = cloudpickle.list_registry_pickle_by_value()
    for name, module in list(sys.modules.items()):
        if name.startswith(STUDY_MODULE) and name not in known:
            cloudpickle.register_pickle_by_value(module)
    try:
        content: bytes = cloudpickle.dumps(job)
    except (pickle.PicklingError, TypeError) as problem:
        raise checks.InputError(
            f"{job.name}: expected a task that can go to another process, found {problem}"
        ) from problem
    return content


def attend(parent: int) -> None:
    """Begin the life of a worker, which leaves Ctrl-C to its parent and ends within a second of it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        while os.getppid() == parent:
            never.wait(1.0)
        os._exit(1)

    never = threading.Event()
    threading.Thread(target=end_with_parent, daemon=True).start()


def compute_in_worker(
    index: int, content: bytes, *, execution: Execution, checkpoint: Path, gauge: Path, path: Sequence[str]
) -> Outcome:
    """Run a packed job in a worker.

    Args:
        index: place of the job in the gauge.
        content: the packed job.
        execution, checkpoint: as in `compute`.
        gauge: file of the fractions done.
        path: where Python looks for modules of the job.
    """
    import numpy as np

    fractions = np.memmap(gauge, dtype=np.float64, mode="r+")

    def note(fraction: float) -> None:
        fractions[index] = fraction

    limit_threads(execution.threads)
    sys.path[:] = path
    job: Job = pickle.loads(content)
    return compute(job, execution, checkpoint=checkpoint, progress=note)


def compute(job: Job, execution: Execution, *, checkpoint: Path, progress: Callable[[float], None]) -> Outcome:
    """Run one job to its end; what goes wrong inside the task becomes its outcome."""
    keeper = Checkpoint(checkpoint)
    context = execution.context(keeper)
    context.progress = progress
    collector = RowCollector()
    apart, kept = (checkpoint.parent.parent, data_directory()), bool(job.identity and job.identity.keeps)
    try:
        with execution.numerics() as facts, files_read(apart, kept=kept) as files:
            context.provenance |= {"numerics": facts} if facts else {}
            for row in job.task.run(context):
                collector.add(row)
        context.provenance |= {"files": files} if files else {}
        rows = collector.frame()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a task raises must not end the other runs; it is kept and told
        return Outcome(job.id, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
    return Outcome(job.id, rows, provenance(context), context.weights, keeper.seconds)


def keep(job: Job, outcome: Outcome, *, store: Store) -> Failure | None:
    """Write what became of a job; a failure where it is not complete."""
    task = job.task
    known = job.identity or Reading().identity(task)
    about = {"id": job.id, "name": job.name, "spec": json.loads(known.spec), "labels": dict(task.labels)}
    if outcome.rows is None:
        file = store.write_failure(job.id, {**about, "error": outcome.error, "trace": outcome.trace})
        return Failure(job.name, outcome.error, file)
    record = {
        **about,
        "base": known.id,
        "unfollowed": list(known.unfollowed),
        "packages": package_versions(known.packages),
        "seeds": list(getattr(task, "seeds", ())),
        "dtype": getattr(task, "dtype", None),
        "diverged": _diverged(outcome.rows),
        "rows": outcome.rows.height,
        "seconds": outcome.seconds,
        "provenance": outcome.facts,
    }
    store.write_run(job.id, outcome.rows, record=record, weights=outcome.weights)
    return None


def limit_threads(threads: int) -> None:
    """Let PyTorch use that many threads, now or when a task imports it."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Expectation:
    """What jobs are expected to need: seconds with all workers busy, bytes of memory at once, bytes on disk.

    `unknown` of them could not be sampled, and their seconds are not in the sum. `lack` says what this machine lacks for them, if anything.
    """

    runs: int
    seconds: float
    memory_bytes: float
    disk_bytes: float
    unknown: int = 0
    lack: str = ""


def expect(jobs: Sequence[Job], seconds: Sequence[float], *, workers: int) -> Expectation:
    """Sum up what jobs need.

    Args:
        jobs: those not complete.
        seconds: what each takes alone.
        workers: processes; the time is at least that of the longest job.
    """
    known = [s for s in seconds if not math.isnan(s)]
    together = max([sum(known) / min(workers, max(len(jobs), 1)), *known])
    disk = sum(job.task.cost().disk_bytes for job in jobs)
    return Expectation(len(jobs), together, sum(_memory(jobs)[:workers]), disk, len(seconds) - len(known))


def probe(jobs: Sequence[Job], execution: Execution) -> list[float]:
    """Seconds that each job is expected to take alone, from a short sample of its own work; NaN where it lacks what it needs."""
    if jobs:
        execution.check_machine()
    limit_threads(execution.threads)
    return [_probed(job, execution) for job in jobs]


def _probed(job: Job, execution: Execution) -> float:
    """A job that cannot run here, for want of its data, must not hide what the others take."""
    try:
        with execution.numerics():
            return job.task.probe(execution.context())
    except checks.InputError:
        return math.nan


def _diverged(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Depth, seed and iteration of the members that diverged."""
    import polars as pl

    return rows.filter(pl.col("quantity") == "diverged").select("depth", "seed", "iteration").to_dicts()
