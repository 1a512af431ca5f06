from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from deeplimit import __version__
from deeplimit import study as studies
from deeplimit.__main__ import main
from deeplimit.bench import Case
from deeplimit.bench.cases import names
from deeplimit.branches import OneMatrix
from deeplimit.cli import Bars, Lines, Reading
from deeplimit.data.files import VARIABLE
from deeplimit.data.sets import SETS
from deeplimit.papers import PAPERS, Paper
from deeplimit.study import load_file
from deeplimit.sweeps import Job, Outcome
from tests.data.fakes import tiny_mnist
from tests.diagnosis.networks import save_network

RATE = ["--learning-rate", "0.2"]
PROBE = [*RATE, "--budget", "10000", "--weight-decay", "0.1"]
FLOW = Path(__file__).parent / "studies" / "flow.py"


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs a command line and returns (exit status, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deeplimit", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def paper(monkeypatch):
    """The study of the sine as a paper that is called flow, and the only one."""
    subject = load_file(FLOW)
    found = Paper("flow", "Flows", "Somebody, 2024", subject.studies)
    monkeypatch.setitem(sys.modules, "a_paper", SimpleNamespace(paper=found))
    for name in reversed(list(PAPERS)):
        monkeypatch.delitem(PAPERS, name)
    monkeypatch.setitem(PAPERS, "flow", "a_paper")
    return found


def test_help_and_version(call):
    status, out, _ = call("--help")
    assert status == 0
    assert all(
        name in out for name in ("list", "reproduce", "study", "report", "bench", "engines", "data", "l2", "--version")
    )
    assert call("--version") == (0, f"deeplimit {__version__}\n", "")
    for command in (
        "list",
        "reproduce",
        "study",
        "report",
        "bench",
        "engines",
        "data",
        "data list",
        "data fetch",
        "data check",
        "l2",
        "l2 predict",
        "l2 convert",
        "diagnose",
        "demo",
    ):
        assert call(*command.split(), "--help")[0] == 0


def test_completion_knows_the_commands(call, monkeypatch):
    assert "--install-completion" in call("--help")[1]
    monkeypatch.setenv("_DEEPLIMIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "deeplimit rep")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert call()[1].split() == ["reproduce", "report"]


def test_help_takes_less_than_half_a_second():
    # Seconds of computing, not of the clock: a busy machine makes nothing slower that is ours.
    before = os.times()
    subprocess.run([sys.executable, "-m", "deeplimit", "--help"], check=True, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert 0.0 < spent < 0.5


def test_papers_are_listed(call, paper):
    status, out, _ = call("list")
    assert status == 0
    assert "flow  Flows" in out
    assert "studies: 1, figures: 1, claims: 2" in out


def test_the_claims_of_a_paper_are_listed_when_asked_for(call, paper):
    _, out, _ = call("list", "flow", "--claims")
    assert "figure norms" in out
    assert "claim flow.1.end  the norm ends at π √8" in out
    assert "8.8858 ± 0.001 (derived)" in out
    _, out, _ = call("list", "flow")
    assert "claim flow.1.end" not in out


def test_a_paper_is_reproduced_into_its_directory(call, paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = call("reproduce", "flow")
    assert status == 0
    assert "runs: 6 computed, 0 complete before, 0 failed" in out
    assert "seconds: plan" in out
    assert out.splitlines()[-1] == "report: results/flow-quick/report.html"
    assert Path("results/flow-quick/report.html").exists()
    assert "[6/6] flow depth=" in err
    assert "6 complete before" in call("reproduce", "flow", "--strict")[1]
    assert call("report", "results/flow-quick")[0] == 0


def test_all_papers_have_a_directory_each(call, paper, tmp_path):
    assert call("reproduce", "all", "--only", "1.end", "--out", tmp_path)[0] == 0
    assert (tmp_path / "flow" / "report.html").exists()


def test_a_stop_is_a_stop_of_all_papers(call, paper, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setitem(PAPERS, "flow2", "a_paper")
    monkeypatch.setattr(studies, "carry_out", stop)
    status, _, err = call("reproduce", "all", "--out", tmp_path)
    assert (status, err.count("stopped")) == (130, 1)


def test_a_file_is_run_and_its_report_drawn_again(call, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FLOW.read_text())
    assert call("study", path, "--out", tmp_path / "out", "--seeds", 0)[0] == 0
    status, out, err = call("report", tmp_path / "out", "--study", path, "--json")
    assert status == 0
    assert [row["id"] for row in json.loads(out)] == ["flow.1.end", "flow.2.wrong"]
    assert "runs: 0 computed, 3 complete before" in err


def printed_without_pytorch(*words: str) -> str:
    """What a command line prints in a process of its own, where it must succeed and leave PyTorch out."""
    code = (
        "import sys; from deeplimit.__main__ import main\n"
        f"sys.argv = {['deeplimit', *words]!r}\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "0 False"
    return printed


def test_a_report_is_drawn_again_without_pytorch(call, tmp_path):
    file = FLOW.with_name("training.py")
    assert call("study", file, "--out", tmp_path)[0] == 0
    assert "0 computed, 2 complete before" in printed_without_pytorch("report", str(tmp_path), "--study", str(file))


@pytest.mark.parametrize("words", ["--only norms --only 1.end", "--only norms 1.end", "--only=norms,1.end"])
def test_several_names_after_only(call, tmp_path, words):
    status, out, _ = call("study", FLOW, "--out", tmp_path, "--seeds", 0, *words.split(), "--json")
    assert status == 0
    assert [row["id"] for row in json.loads(out)] == ["flow.1.end"]
    assert (tmp_path / "figures" / "norms.svg").exists()


def test_json_is_all_that_stdout_has(call, tmp_path):
    _, out, err = call("study", FLOW, "--out", tmp_path, "--json", "--seeds", 0)
    assert {row["verdict"] for row in json.loads(out)} == {"reproduced", "not reproduced"}
    assert "report: " in err


def test_a_dry_run_computes_nothing(call, tmp_path):
    status, out, _ = call("study", FLOW, "--out", tmp_path / "out", "--dry-run", "--workers", 2, "--tier", "paper")
    assert status == 0
    assert "in total" in out
    assert "58 kB" in out
    assert not (tmp_path / "out").exists()


def wrong_study(folder: Path, old: str, new: str) -> Path:
    text = FLOW.read_text()
    assert old in text
    (folder / "wrong.py").write_text(text.replace(old, new))
    return folder / "wrong.py"


def test_strict_fails_where_a_verdict_is_not_the_expected_one(call, tmp_path):
    path = wrong_study(tmp_path, "8.8858", "8.7")
    words = ("study", path, "--out", tmp_path / "out", "--seeds", 0)
    assert call(*words)[0] == 0
    status, _, err = call(*words, "--strict")
    assert status == 1
    assert "expected reproduced, found not reproduced: flow.1.end" in err


def test_a_failed_run_is_named_with_its_file(call, tmp_path):
    path = wrong_study(tmp_path, "fail: bool = False", "fail: bool = True")
    status, out, err = call("study", path, "--out", tmp_path / "out", "--seeds", 0)
    assert status == 1
    assert "failed: flow depth=8 part=authors: RuntimeError: asked to fail" in err
    assert str(tmp_path / "out" / "failures") in err
    assert "0 computed, 0 complete before, 3 failed" in out


def test_a_killed_worker_is_said_in_words_and_the_next_command_goes_on(call, tmp_path):
    path = wrong_study(
        tmp_path, 'raise RuntimeError("asked to fail")', "__import__('os').kill(__import__('os').getpid(), 9)"
    )
    words = ("study", path, "--out", tmp_path / "out", "--workers", 2)
    path.write_text(path.read_text().replace("fail: bool = False", "fail: bool = True"))
    status, _, err = call(*words)
    assert status == 1
    assert "a worker process was killed" in err
    assert "Traceback" not in err
    path.write_text(path.read_text().replace("fail: bool = True", "fail: bool = False"))
    assert call(*words)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reproduce", "flaw"], "paper: expected one of flow; found 'flaw'"),
        (["list", "flaw"], "expected one of flow"),
        (["reproduce", "flow", "--only", "norm"], "norms"),
        (["reproduce", "flow", "norms"], "names after --only; found norms"),
        (["reproduce", "flow", "--tier", "quik"], "expected one of quick; found 'quik'"),
        (["reproduce", "flow", "--device", "tpu"], "device: expected cpu"),
        (["reproduce", "flow", "--dtype", "int8"], "dtype: expected"),
        (["reproduce", "flow", "--workers", "0"], "workers: expected"),
        (["reproduce", "flow", "--workers", "x"], "--workers"),
        (["reproduce", "flow", "--engine", "torhc"], "engine: expected one of .*torch"),
        (["study", "nowhere.py"], "found none at nowhere.py"),
        (["report", "nowhere"], "expected an output directory of deeplimit"),
        (["lst"], "Did you mean 'list'"),
        (["bench", "--only", "depht"], "only: expected one of depth"),
        (["bench", "--contestants", "jacks"], "contestants: expected one of .*jax"),
        (["data", "fetch", "mnits"], "data set: expected one of .*mnist.*; found 'mnits'"),
        (["data", "check", "cifar"], "data set: expected one of cifar-10; found 'cifar'"),
        (["data", "fetch"], "Missing argument 'NAME'"),
        (["l2", "predict", "nowhere:train", *PROBE], "expected a module nowhere, found none of that name"),
        (["l2", "predict", "nowhere", *PROBE], "expected MODULE:function"),
        (["l2", "predict", "json:absent", *PROBE], "expected a function absent in json"),
        (["l2", "predict", "json:dumps", *PROBE], "train: expected a function of weight_decay"),
        (["l2", "predict", "json:dumps", *PROBE, "--convention", "torch"], "convention: expected one of torch-"),
        (["l2", "predict", "json:dumps", *PROBE, "--convention", "lewkowycz2020"], "classes: expected a number"),
        (["l2", "predict", "json:dumps", *PROBE, "--within", "-1"], "within: expected"),
        (["l2", "predict", "json:dumps"], "Missing option '--budget'"),
        (["l2", "predict", "json:dumps", *PROBE, "--seeds", "0"], "seeds: expected an integer"),
        (["l2", "convert", "1", *RATE, "--from", "keras", "--to", "house"], "convention: expected one of keras-l2"),
        (["l2", "convert", "1", *RATE, "--from", "lewkowycz2020", "--to", "house"], "classes: expected a number"),
        (["l2", "convert", "1", *RATE, "--from", "torch-sgd", "--to", "torch-adamw"], "learning_rate: expected that"),
        (["bench", "--threads", "0"], "threads: expected an integer of at least 1"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_says_what_can(call, paper, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert re.search(message, err)
    assert "Traceback" not in err


def test_an_output_of_something_else_is_refused_before_work(call, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    status, _, err = call("study", FLOW, "--out", tmp_path)
    assert status == 2
    assert "thesis.tex" in err
    assert "to compute" not in err


def test_ctrl_c_says_how_to_go_on(call, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "carry_out", stop)
    words = ("study", str(FLOW), "--out", str(tmp_path / "a b"))
    status, _, err = call(*words)
    assert status == 130
    assert f"To go on from here: deeplimit {shlex.join(words)}" in err


def test_what_the_system_refuses_ends_with_1(call, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "carry_out", Mock(side_effect=OSError(28, "No space left on device")))
    status, _, err = call("study", FLOW, "--out", tmp_path)
    assert (status, err) == (1, "deeplimit: [Errno 28] No space left on device\n")


def test_what_can_be_measured_is_listed(call):
    status, out, _ = call("bench", "--list")
    assert status == 0
    assert all(name in out for name in names())


def test_a_benchmark_is_printed_as_a_table_as_json_and_as_markdown(call, tmp_path, monkeypatch):
    monkeypatch.setattr("deeplimit.bench.cases.CASES", (Case("tiny", OneMatrix(2), 3, 4),))
    monkeypatch.setattr("deeplimit.bench.running.MATRIX", 8)
    words = ("bench", "--only", "tiny", "--contestants", "torch,plain", "--rounds", 1)
    status, out, err = call(*words, "--json")
    assert status == 0
    assert [line["contestant"] for line in json.loads(out)["cases"][0]["lines"]] == ["torch", "plain loop"]
    assert err == "tiny: OneMatrix Tanh, n = 3, d = 2, L = 4, float32\n"
    (tmp_path / "saved.json").write_text(out)
    status, table, err = call("bench", "--saved", tmp_path / "saved.json")
    assert (status, err) == (0, "")
    assert "plain loop" in table
    assert "| tiny | torch |" in call("bench", "--saved", tmp_path / "saved.json", "--markdown")[1]


def test_the_engines_are_listed_with_what_runs_a_branch_and_why(call, monkeypatch):
    status, out, err = call("engines", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert [row["name"] for row in found["engines"]] == ["native", "triton", "torch", "reference"]
    assert {row["branch"]: row["engine"] for row in found["auto"]}["convolution"] == "reference"
    status, out, _ = call("engines")
    assert status == 0
    assert all(row["name"] in out for row in (*found["engines"], *found["instruction_sets"]))
    assert all(row["why"] in out for row in found["auto"])
    assert ("in use" in out) == bool(found["instruction_sets"])
    monkeypatch.setattr("deeplimit.engines.native.MISSING", "the extension was not built (why)")
    out = call("engines")[1]
    assert "no: the extension was not built (why)" in out
    assert "in use" not in out


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """MNIST of a few images as the only data set, in a data directory, whose path is the result."""
    known = tiny_mnist(tmp_path / "data")
    for name in reversed(list(SETS)):
        monkeypatch.delitem(SETS, name)
    monkeypatch.setitem(SETS, "mnist", known)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    return tmp_path / "data"


def test_data_sets_are_listed_with_what_is_there(call, tiny):
    status, out, err = call("data", "list", "--data-dir", tiny)
    assert (status, err) == (0, "")
    assert f"4 of 4 files in {tiny / 'mnist'}" in out
    assert "missing" not in out
    (tiny / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    assert "3 of 4 files" in call("data", "list", "--data-dir", tiny)[1]
    assert "missing: t10k-labels-idx1-ubyte" in call("data", "list", "--data-dir", tiny)[1]
    assert "0 of 4 files" in call("data", "list")[1]
    (row,) = json.loads(call("data", "list", "--data-dir", tiny, "--json")[1])
    assert (row["name"], len(row["there"]), row["missing"]) == ("mnist", 3, ["t10k-labels-idx1-ubyte"])


def test_data_sets_are_checked(call, tiny):
    status, out, err = call("data", "check", "--data-dir", tiny)
    assert (status, out.count(": right\n"), err) == (0, 4, "")
    (tiny / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"other")
    status, out, _ = call("data", "check", "mnist", "--data-dir", tiny)
    assert (status, out.count(": right\n")) == (2, 3)
    assert "mnist/t10k-labels-idx1-ubyte: " in out
    assert "expected 11 bytes, found 5" in out
    status, out, _ = call("data", "check", "--json")
    assert status == 2
    assert all(row["problem"].startswith("missing in ") for row in json.loads(out))


def test_what_is_there_is_not_fetched_again(call, tiny):
    status, out, err = call("data", "fetch", "all", "--data-dir", tiny)
    assert (status, out, err) == (0, f"mnist: complete in {tiny / 'mnist'}\n", "")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_computations_get_the_data_directory(tmp_path, workers):
    path = wrong_study(
        tmp_path, 'RuntimeError("asked to fail")', f"RuntimeError(__import__('os').environ[{VARIABLE!r}])"
    )
    path.write_text(path.read_text().replace("fail: bool = False", "fail: bool = True"))
    words = ("study", str(path), "--seeds", "0", "--out", str(tmp_path / "out"), "--workers", workers)
    command = [sys.executable, "-m", "deeplimit", *words, "--data-dir", "data"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, VARIABLE: "before"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count(f"failed: RuntimeError: {tmp_path / 'data'}") == 3
    assert "before\n" not in done.stderr


def test_reproducing_takes_a_data_directory_and_leaves_it_without(call, paper, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "before")
    assert call("reproduce", "flow", "--dry-run")[0] == 0
    assert os.environ[VARIABLE] == "before"
    assert call("reproduce", "flow", "--dry-run", "--data-dir", tmp_path)[0] == 0
    assert os.environ[VARIABLE] == str(tmp_path)


def test_the_data_directory_is_no_part_of_a_run(call, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "before")
    words = ("study", FLOW, "--seeds", 0, "--out", tmp_path / "out", "--data-dir")
    assert "3 computed, 0 complete before" in call(*words, tmp_path / "a")[1]
    assert "0 computed, 3 complete before" in call(*words, tmp_path / "b")[1]


@pytest.mark.parametrize("command", ["engines", "bench", "reproduce", "data", "l2"])
def test_the_help_of_a_command_needs_no_pytorch(command):
    assert f"deeplimit {command}" in printed_without_pytorch(command, "--help")


TRAINING = """
import math

def train(weight_decay, learning_rate, steps, seed):
    print("training", seed)
    for step in range(0, steps + 1, 5):
        share = weight_decay * learning_rate * step / 1.3
        yield step, math.nan if seed > 1 and step > 9 else 0.1 + 0.8 * share * math.exp(1 - share)
"""


def test_a_coefficient_is_predicted_from_a_training_of_the_user(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_training.py").write_text(TRAINING)
    words = ("l2", "predict", "my_training.py:train", *PROBE, "--steps", 200, "--within", 0)
    status, out, err = call(*words, "--json")
    assert (status, err) == (0, "training 0\n" * 2)
    found = json.loads(out)
    assert found["prediction"]["value"] == pytest.approx(1.3 / (0.2 * 10_000), rel=0.1)  # measured every 5 steps
    assert found["prediction"]["clock"] == pytest.approx(1.3, rel=0.1)
    assert found["probe"]["spent"] == 400
    words = ("l2", "predict", "my_training.py:train", *PROBE, "--steps", 150)
    status, out, _ = call(*words, "--seeds", 2, "--convention", "torch-adamw", "--tokens-per-parameter", 20)
    assert status == 0
    assert "probe: 0.1, seed 1: peaked in 150 steps\nlaw: t_* ~ λ^(−p), p = " in out
    assert "spent: 450 steps, 4.5% of the budget of 10000" in out
    assert "power law rule: " in out


def test_divergence_is_a_result_to_report(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_training.py").write_text(TRAINING.replace("seed > 1", "True"))
    status, out, _ = call("l2", "predict", "my_training.py:train", *PROBE)
    assert status == 0
    assert "probe: 0.1, seed 0: diverged in 5 steps" in out
    assert "weight decay: none" in out
    found = json.loads(call("l2", "predict", "my_training.py:train", *PROBE, "--json")[1])
    assert found["prediction"]["value"] is None
    assert "training diverged" in found["prediction"]["warnings"][0]


def test_a_coefficient_is_converted(call):
    words = ("l2", "convert", "5e-4", "--from", "lewkowycz2020", "--to", "torch-sgd", *RATE, "--classes", 10)
    assert call(*words) == (0, "weight decay: 0.01\nlearning rate: 0.02\nexact: yes\n", "")
    words = ("l2", "convert", "0.01", "--from", "torch-adam", "--to", "torch-adamw", *RATE)
    found = json.loads(call(*words, "--json")[1])
    assert (found["weight_decay"], found["learning_rate"], found["exact"]) == (None, 0.2, False)
    assert "weight decay: none" in call(*words)[1]


def test_converting_needs_no_pytorch():
    words = ("l2", "convert", "0.01", "--from", "house", "--to", "keras-l2", *RATE)
    assert "weight decay: 0.005" in printed_without_pytorch(*words)


JOBS = [Job("a", None, "short", 1.0), Job("b", None, "long", 3.0)]  # type: ignore[arg-type]


def test_plain_lines_tell_of_runs_and_of_long_ones(capsys):
    lines = Lines()
    lines.begin(JOBS, 3)
    lines.finish(JOBS[0], Outcome("a", seconds=1.5))
    lines.advance(JOBS[1], 0.25)  # not now: something was said a moment ago
    lines.said -= 60.0
    lines.advance(JOBS[1], 0.5)
    lines.finish(JOBS[1], Outcome("b", error="no"))
    lines.end()
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said] == [
        "runs: 2 to compute",
        "[1/2] short: 1.5 s",
        "[1/2] long: 50%",
        "[2/2] long: failed: no",
    ]


def test_bars_move_with_the_work(capsys):
    bars = Bars()
    bars.begin(JOBS, 3)
    bars.finish(JOBS[0], Outcome("a", seconds=1.5))
    bars.advance(JOBS[1], 0.5)
    assert bars.progress.tasks[0].completed == pytest.approx((1 + 1.5) / 4)
    bars.finish(JOBS[1], Outcome("b", error="[no]"))
    bars.end()
    assert "failed: long: [no]" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- regime


def test_regime_prints_both_verdicts(call, tmp_path):
    import torch
    from safetensors.torch import save_file

    files = []
    for depth in (32, 64, 128):
        files.append(tmp_path / f"{depth}.safetensors")
        save_file({"A": torch.randn(depth, 10, 10, generator=torch.Generator().manual_seed(depth))}, files[-1])
    status, out, _ = call("regime", *files)
    assert status == 0
    assert "weights A: i.i.d.-like: " in out
    assert "function: undecided: needs the function at 4 depths" in out
    content = json.loads(call("regime", *files, "--json")[1])
    assert content["weights"]["A"]["label"] == "i.i.d.-like"
    assert content["function"]["label"] == "undecided"


def test_regime_refuses_what_it_cannot_read(call, tmp_path):
    (tmp_path / "a.pt").write_text("no tensors")
    status, _, err = call("regime", tmp_path / "a.pt")
    assert status == 2
    assert "expected a safetensors file" in err


def test_both_commands_pass_on_that_algorithms_must_be_deterministic(call, paper, monkeypatch):
    seen = []

    def serve(subject, request, *, out, execution, look):
        seen.append(execution.deterministic)
        return 0

    monkeypatch.setattr("deeplimit.cli._serve", serve)
    for words in (["reproduce", "flow"], ["study", FLOW]):
        assert call(*words, "--deterministic")[0] == call(*words)[0] == 0
    assert seen == [True, False, True, False]


def test_a_network_is_diagnosed(call, tmp_path):
    path = save_network(tmp_path / "net.safetensors")
    status, out, _ = call("diagnose", path)
    assert status == 0
    assert "encoder.layer: 8 blocks, stream of width 8" in out
    assert max(map(len, out.splitlines())) <= 100
    status, out, _ = call("diagnose", path, "--json")
    assert json.loads(out)["format"] == "deeplimit.diagnosis/1"


def test_a_diagnosis_is_written_as_a_page(call, tmp_path):
    path, page = save_network(tmp_path / "net.safetensors"), tmp_path / "page.html"
    status, _, err = call("diagnose", path, "--role", "mlp.up", "--html", page)
    assert (status, err) == (0, f"page: {page}\n")
    assert "encoder.layer: 8 blocks" in page.read_text(encoding="utf-8")
    assert call("diagnose", path, "--html", page)[0] == 0


def test_what_is_found_in_a_network_is_listed(call, tmp_path):
    path = save_network(tmp_path / "net.safetensors")
    status, out, _ = call("diagnose", path, "--list")
    assert status == 0
    assert "encoder.layer.0, encoder.layer.1, …, encoder.layer.7" in out
    (group,) = json.loads(call("diagnose", path, "--list", "--json")[1])
    assert group["name"] == "encoder.layer"


@pytest.mark.parametrize(
    ("condition", "options", "status", "said"),
    [
        ("depth < 9", [], 1, "--fail-if depth < 9: holds for encoder.layer (depth is 8)"),
        ("depth > 9", [], 0, ""),
        ("max(update_ratio) > 9", [], 0, "undecided for encoder.layer (max(update_ratio) is not there)"),
        ("max(update_ratio) > 9", ["--strict"], 1, "undecided for encoder.layer"),
        ("depth >", [], 2, "condition 'depth >'"),
        ("dpeth > 9", [], 2, "expected one of depth"),
    ],
)
def test_a_condition_decides_the_exit_status(call, tmp_path, condition, options, status, said):
    path = save_network(tmp_path / "net.safetensors")
    found, _, err = call("diagnose", path, "--fail-if", condition, *options)
    assert found == status
    assert said in err if said else not err


def test_two_networks_are_compared_and_checkpoints_are_a_timeline(call, tmp_path):
    a, b = (save_network(tmp_path / f"step_{i}.safetensors", factor=float(i)) for i in (1, 3))
    status, out, _ = call("diagnose", a, b, "--fail-if", "depth > 9")
    assert status == 0
    assert "block 5" in out
    assert json.loads(call("diagnose", a, b, "--json")[1])["format"] == "deeplimit.comparison/1"
    assert "2 checkpoints" in call("diagnose", tmp_path)[1]
    assert json.loads(call("diagnose", tmp_path, "--json")[1])["steps"] == [1, 3]


def test_a_family_has_one_verdict(call, tmp_path):
    paths = [save_network(tmp_path / f"{depth}.safetensors", depth=depth, noise=0) for depth in (8, 16, 32)]
    assert "hypothesis 1" in call("diagnose", *paths, "--family")[1]
    assert "weights" in json.loads(call("diagnose", *paths, "--family", "--json")[1])
    assert call("diagnose", *paths, "--family", "--html", "x.html")[0] == 2
    assert call("diagnose", *paths)[0] == 2


def test_a_target_or_batch_that_cannot_be_read_ends_with_status_2(call, tmp_path):
    path = save_network(tmp_path / "net.safetensors")
    assert call("diagnose", tmp_path / "absent.safetensors")[0] == 2
    status, _, err = call("diagnose", path, "--batch", tmp_path / "absent.npy")
    assert (status, "expected a file with a batch" in err) == (2, True)
    status, _, err = call("diagnose", path, "--html", tmp_path)
    assert (status, "--html: expected a file, found the folder" in err) == (2, True)


def test_reading_is_said_now_and_then(monkeypatch, capsys):
    reading = Reading()
    reading(1, 2)
    assert capsys.readouterr().err == ""
    reading.said -= 60
    reading(1, 2)
    assert capsys.readouterr().err == "tensors read: 1 of 2\n"
    reading.terminal = True
    reading(2, 2)
    assert capsys.readouterr().err == "\rtensors read: 2 of 2 \n"
