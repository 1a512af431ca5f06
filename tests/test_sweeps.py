from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.records import Cost, Store, frame
from deeplimit.study import Execution, Request, load_file, plan
from deeplimit.sweeps import (
    Expectation,
    Gauge,
    Job,
    Pace,
    compute,
    compute_in_worker,
    expect,
    fitted,
    keep,
    limit_threads,
    packed,
    probe,
    sweep,
)

FLOW = Path(__file__).parent / "studies" / "flow.py"


@pytest.fixture
def jobs():
    return plan(load_file(FLOW).studies, Request("file", str(FLOW))).jobs


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "out") as opened:
        yield opened


class Told:
    """A reporter that remembers what it is told."""

    def __init__(self) -> None:
        self.words: list[tuple[str, ...]] = []

    def begin(self, jobs, reused):
        self.words.append(("begin", str(len(jobs)), str(reused)))

    def advance(self, job, fraction):
        assert 0.0 <= fraction <= 1.0

    def finish(self, job, outcome):
        self.words.append(("finish", job.id, outcome.error))

    def note(self, text):
        self.words.append(("note", text))

    def end(self):
        self.words.append(("end",))


def failing(job: Job) -> Job:
    return dataclasses.replace(job, id="0000", identity=None, task=dataclasses.replace(job.task, fail=True))  # type: ignore[type-var]


@pytest.mark.parametrize("workers", [1, 2])
def test_complete_runs_are_not_computed_again(jobs, store, workers):
    told = Told()
    assert sweep(jobs[:2], Execution(workers=workers), store=store, reporter=told) == []
    assert sweep(jobs[:4], Execution(workers=workers), store=store, reporter=told) == []
    begun = [word for word in told.words if word[0] == "begin"]
    finished = [word[1] for word in told.words if word[0] == "finish"]
    assert begun == [("begin", "2", "0"), ("begin", "2", "2")]
    assert sorted(finished) == sorted(job.id for job in jobs[:4])
    assert told.words.count(("end",)) == 2


def test_workers_leave_the_same_rows_bit_for_bit(jobs, tmp_path):
    files = {}
    for workers in (1, 2):
        with Store(tmp_path / str(workers)) as store:
            sweep(jobs, Execution(workers=workers), store=store, reporter=Told())
            files[workers] = {job.id: (store.run_dir(job.id) / "rows.parquet").read_bytes() for job in jobs}
    assert files[1] == files[2]


def test_a_gauge_replaces_a_link_and_not_what_it_leads_to(jobs, tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "gauge").symlink_to("mine")
    assert Gauge(tmp_path / "gauge", jobs).fractions.tolist() == [0.0] * len(jobs)
    assert (tmp_path / "mine").read_text() == "kept"


def test_the_record_says_what_was_computed_and_how(jobs, store):
    sweep(jobs[:1], Execution(), store=store, reporter=Told())
    record = store.load_record(jobs[0].id)
    assert record["id"] == jobs[0].id
    assert record["labels"] == {"part": "authors"}
    assert record["seeds"] == [2]
    assert record["dtype"] == "float64"
    assert record["diverged"] == []
    assert record["rows"] == 600
    assert record["seconds"] > 0
    assert record["spec"]["fields"]["depth"] == 8
    assert "labels" not in record["spec"]["fields"]
    assert record["provenance"]["threads"] == 1
    assert (store.run_dir(jobs[0].id) / "weights.safetensors").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_does_not_end_the_others(jobs, store, workers):
    told = Told()
    (failure,) = sweep([failing(jobs[0]), jobs[1]], Execution(workers=workers), store=store, reporter=told)
    assert failure.error == "RuntimeError: asked to fail"
    assert failure.name == jobs[0].name
    content = json.loads(failure.file.read_text())
    assert content["spec"]["fields"]["fail"] is True
    assert "Traceback" in content["trace"]
    assert store.is_complete(jobs[1].id)
    assert not store.is_complete("0000")
    assert ("finish", "0000", "RuntimeError: asked to fail") in told.words


def test_a_task_that_ends_the_program_is_a_failure_of_its_run(jobs, store):
    task = type("Leaving", (), {"run": lambda self, context: sys.exit("enough")})()
    outcome = compute(Job("1", task, "leaving", 1.0), Execution(), checkpoint=store.out / "c", progress=lambda f: None)
    assert outcome.error == "SystemExit: enough"


def test_a_row_that_is_none_is_a_failure_of_its_run(jobs, store):
    task = type("Wrong", (), {"run": lambda self, context: iter([{"quantity": "x"}])})()
    outcome = compute(Job("1", task, "wrong", 1.0), Execution(), checkpoint=store.out / "c", progress=lambda f: None)
    assert outcome.error.startswith("InputError: row: expected a quantity and a value")


def test_a_member_that_diverged_is_in_the_record(jobs, store):
    rows = [{"quantity": "diverged", "value": 1.0, "depth": 8, "seed": 3, "iteration": 17}]
    outcome = compute(jobs[0], Execution(), checkpoint=store.out / "c", progress=lambda f: None)
    outcome.rows = frame(rows)
    assert keep(jobs[0], outcome, store=store) is None
    assert store.load_record(jobs[0].id)["diverged"] == [{"depth": 8, "seed": 3, "iteration": 17}]


def test_an_unfinished_run_goes_on_from_its_checkpoint(jobs, store, monkeypatch):
    monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", "0")
    seen: list[float] = []

    def stop_at_a_third(fraction: float) -> None:
        seen.append(fraction)
        if fraction > 1 / 3:
            raise KeyboardInterrupt

    job = dataclasses.replace(jobs[0], task=dataclasses.replace(jobs[0].task, rounds=60))
    path = store.checkpoint(job.id).path
    with pytest.raises(KeyboardInterrupt):
        compute(job, Execution(), checkpoint=path, progress=stop_at_a_third)
    stopped = len(seen)
    again = compute(job, Execution(), checkpoint=path, progress=seen.append)
    assert len(seen) - stopped == 60 - stopped + 1  # the round that was not saved, and the rest
    whole = compute(job, Execution(), checkpoint=store.out / "none", progress=seen.append)
    assert again.rows is not None
    assert whole.rows is not None
    assert again.rows.equals(whole.rows)


def test_a_packed_job_runs_in_a_worker_and_says_how_far_it_is(jobs, store):
    gauge = Gauge(store.out / "gauge", jobs)
    outcome = compute_in_worker(
        0, packed(jobs[0]), execution=Execution(), checkpoint=store.out / "c", gauge=gauge.path, path=sys.path
    )
    assert outcome.rows is not None
    assert outcome.rows.height == 600
    assert gauge.fractions[:2].tolist() == [1.0, 0.0]


def test_workers_start_beside_files_that_are_called_like_packages(tmp_path):
    # The folder of a study comes first where its modules are looked for: of what workers begin with, not.
    (tmp_path / "mine.py").write_text((Path(__file__).parent / "studies" / "flow.py").read_text())
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadowed')")
    words = [sys.executable, "-P", "-m", "deeplimit", "study", "mine.py", "--out", "out", "--workers", "2"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, "shadowed" in done.stderr) == (0, False), done.stderr
    assert "runs: 6 computed" in done.stdout


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
WORKER = """
import os, threading
from deeplimit.sweeps import attend
attend(os.getppid())
print("ready", flush=True)
threading.Event().wait()
"""


def test_a_worker_does_not_heed_ctrl_c_and_ends_when_its_parent_is_killed():
    words = [sys.executable, "-c", PARENT, WORKER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        os.kill(int(parent.stdout.readline()), signal.SIGINT)
        parent.kill()
        # The worker has this stream too, so that it ends when both have; a trace of an interrupt would stand in it.
        assert parent.communicate(timeout=30)[1] == b""


def test_a_gauge_is_watched_and_removed(jobs, tmp_path):
    gauge = Gauge(tmp_path / "gauge", jobs)
    with gauge.watched(Told()):
        np.memmap(gauge.path, dtype=np.float64, mode="r+")[1] = 0.5
        assert gauge.fractions[1] == 0.5
    assert not gauge.path.exists()


def test_a_task_that_cannot_travel_is_refused(jobs):
    task = dataclasses.replace(jobs[0].task, labels={"lock": threading.Lock()})
    with pytest.raises(InputError, match="expected a task that can go to another process"):
        packed(dataclasses.replace(jobs[0], task=task))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: expected an integer of at least 1"),
        ({"threads": 0}, "threads"),
        ({"device": "tpu"}, "device: expected cpu, cuda"),
    ],
)
def test_an_execution_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Execution(**options)


def test_an_engine_or_device_that_is_not_here_is_refused_before_any_work(jobs, store):
    with pytest.raises(InputError, match=r"engine: expected one of .*reference.*found 'referenc'"):
        sweep(jobs, Execution(engine="referenc"), store=store, reporter=Told())
    with pytest.raises(InputError, match="device: expected one of this machine, found 'cuda:99'"):
        probe(jobs, Execution(device="cuda:99"))
    Execution(engine="reference").check_machine()


def test_a_deterministic_run_says_so_and_leaves_pytorch_as_it_was(jobs, store, monkeypatch):
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen = []
    for execution in (Execution(), Execution(deterministic=True)):
        outcome = compute(
            jobs[0],
            execution,
            checkpoint=store.out / "c",
            progress=lambda f: seen.append(torch.are_deterministic_algorithms_enabled()),
        )
        assert outcome.facts.get("numerics") == ({"deterministic": True} if execution.deterministic else None)
        assert set(seen) == {execution.deterministic}
        seen.clear()
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_follows_the_name_of_an_engine_is_for_the_network_to_know():
    Execution(engine="auto:bf16").check_machine()
    with pytest.raises(InputError, match="engine: expected one of"):
        Execution(engine="fast:bf16").check_machine()


def test_threads_are_set_for_pytorch_now_and_later(monkeypatch):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    limit_threads(2)
    assert torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"
    limit_threads(before)


def heavy(jobs, *needs):
    """Jobs that need so many bytes each."""
    return [replace_cost(job, need) for job, need in zip(jobs, needs, strict=False)]


def replace_cost(job, need):
    class Heavy(type(job.task)):  # type: ignore[misc]
        def cost(self):
            return Cost(1.0, memory_bytes=need)

    own = {field.name: getattr(job.task, field.name) for field in dataclasses.fields(job.task)}
    return dataclasses.replace(job, task=Heavy(**own))


@pytest.fixture
def machine(monkeypatch):
    """A machine of 8 processors and 10 GB."""
    monkeypatch.setattr("deeplimit.machine.processors", lambda: 8)
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 10e9)


def test_no_more_workers_are_started_than_there_are_processors_runs_and_memory_for(jobs, machine):
    said: list[str] = []
    assert fitted(jobs[:4], Execution(workers=4), say=said.append).workers == 4
    assert fitted(jobs[:2], Execution(workers=4), say=said.append).workers == 2
    assert said == []
    assert fitted(jobs[:4], Execution(workers=10**6, threads=2), say=said.append) == Execution(workers=4, threads=2)
    assert said.pop() == "workers 1000000: 8 processors here, 2 threads of each, so 4"
    assert fitted(heavy(jobs, 3e9, 1e9, 4e9, 3e9), Execution(workers=4), say=said.append).workers == 2
    assert said.pop() == "workers 4: 10.0 GB of memory free here, so 2"
    assert fitted(heavy(jobs, 9.9e9, 1e9), Execution(workers=2), say=said.append).workers == 1
    assert fitted([], Execution(workers=3), say=said.append).workers == 1


def test_a_run_that_does_not_fit_is_refused_before_any_starts(jobs, machine, store):
    told = Told()
    with pytest.raises(
        InputError,
        match=r"memory of flow .* the 10\.0 GB .*, found 11\.0 GB; fewer --seeds, another --tier or --only something else would need",
    ):
        sweep(heavy(jobs, 1e9, 11e9), Execution(), store=store, reporter=told)
    assert told.words == []


def test_an_interval_of_checkpoints_that_is_none_is_refused_before_any_run(jobs, store, monkeypatch):
    monkeypatch.setenv("DEEPLIMIT_CHECKPOINT_SECONDS", "inf")
    with pytest.raises(InputError, match="DEEPLIMIT_CHECKPOINT_SECONDS: expected a finite number of seconds"):
        sweep(jobs[:1], Execution(), store=store, reporter=Told())


def test_what_is_expected_of_workers(jobs):
    assert expect(jobs[:4], [1.0, 1.0, 1.0, 5.0], workers=2).seconds == 5.0
    assert expect(jobs[:4], [1.0, 1.0, 1.0, 1.0], workers=2).seconds == 2.0
    assert expect([], [], workers=2) == Expectation(0, 0.0, 0.0, 0.0)


def test_a_run_that_lacks_its_data_does_not_hide_what_the_others_take(jobs):
    class Lacking:
        def probe(self, context):
            raise InputError("mnist: expected files, found none")

    lacking = dataclasses.replace(jobs[0], task=Lacking())
    seconds = probe([lacking, jobs[1]], Execution())
    assert np.isnan(seconds[0])
    assert seconds[1] > 0
    found = expect(jobs[:3], [float("nan"), 2.0, 4.0], workers=2)
    assert (found.seconds, found.unknown) == (4.0, 1)


def test_the_pace_counts_work_not_runs(jobs):
    pace = Pace(jobs)
    assert pace.seconds_left == float("inf")
    pace.advance(jobs[5], 0.5)
    pace.advance(jobs[5], 0.25)  # never backwards
    pace.finish(jobs[0])
    assert pace.finished == 1
    assert pace.fraction == pytest.approx((8 + 16) / (2 * (8 + 16 + 32)))
    pace.began -= 10.0
    assert pace.seconds_left == pytest.approx(10.0 * (1 - pace.fraction) / pace.fraction, rel=0.01)
    assert Pace([]).fraction == 1.0
