"""Numbers of the command line: whatever they are, one line and status 2, or a result without NaN and infinity."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from deeplimit.__main__ import main

FLOW = Path(__file__).parent / "studies" / "flow.py"
TRAINING = """
import math

def train(weight_decay, learning_rate, steps, seed):
    best = min(steps / 3, 1 / (learning_rate * weight_decay))
    for step in range(0, steps + 1, max(1, steps // 40)):
        yield step, 0.1 + 0.8 * math.exp(-abs(math.log((step + 1) / (best + 1))))
"""
HOSTILE = ("nan", "inf", "-inf", "-1", "0", "1e308", "5e-324", "99999999999999999999", "1e999", "x", "")
STUDY = ("study", FLOW, "--dry-run")
CONVERT = (
    "l2",
    "convert",
    "0.1",
    "--from",
    "lewkowycz2020",
    "--to",
    "torch-sgd",
    "--learning-rate",
    "0.1",
    "--classes",
    "10",
)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """A function that runs a command line and returns (exit status, stdout, stderr)."""
    (tmp_path / "training.py").write_text(TRAINING)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deeplimit", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (*STUDY, "--seeds", "99999999999999999999"),
            "seeds: expected an integer from 0 to 10000, found 99999999999999999999",
        ),
        ((*STUDY, "--seeds", "-1"), "seeds: expected an integer from 0 to 10000, found -1"),
        ((*STUDY, "--workers", "0"), "workers: expected an integer of at least 1, found 0"),
        ((*STUDY, "--threads", "-5"), "threads: expected an integer of at least 1, found -5"),
        ((*STUDY, "--engine", "fast"), "engine: expected one of .*; found 'fast'"),
        (
            (*STUDY, "--device", "cuda:99999999999999999999"),
            "device: expected one of this machine, found 'cuda:9+' and",
        ),
        (("bench", "--rounds", "99999999999999999999"), "rounds: expected an integer from 1 to 10000, found"),
        (("bench", "--threads", "0"), "threads: expected an integer of at least 1, found 0"),
    ],
)
def test_numbers_without_sense_are_refused_in_one_line(call, words, message):
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"deeplimit: {message}.*\n", err)


def test_more_workers_than_processors_are_a_note(call):
    status, out, err = call(*STUDY, "--workers", "1000000")
    assert status == 0
    assert "in total" in out
    assert re.match(r"note: workers 1000000: (\d+) processors? here, so \1\n", err)
    assert call(*STUDY, "--workers", "1")[2] == ""


def test_an_engine_that_is_not_there_is_refused_once_before_any_run(call, monkeypatch):
    monkeypatch.setattr("deeplimit.engines.native.MISSING", "the extension was not built")
    for words in (STUDY, STUDY[:2]):
        status, _, err = call(*words, "--engine", "native")
        assert status == 2
        assert err == "deeplimit: engine: expected one that is there, found 'native': the extension was not built\n"


def test_a_dry_run_says_what_it_would_take_where_that_is_not_there(call, monkeypatch):
    monkeypatch.setattr("deeplimit.machine.memory", lambda device="cpu": 10.0)
    status, out, err = call(*STUDY)
    assert status == 2
    assert "in total" in out
    assert re.fullmatch(
        r"deeplimit: memory of flow .*: expected to fit into the 0\.0 MB .*; fewer --seeds, another --tier or --only something else .*\n",
        err,
    )


PREDICT = (
    "l2",
    "predict",
    "training.py:train",
    "--budget=4000",
    "--learning-rate=0.1",
    "--weight-decay=0.5",
    "--classes=10",
)
OPTIONS = {
    PREDICT: (
        *(
            "--budget",
            "--learning-rate",
            "--weight-decay",
            "--momentum",
            "--batch-size",
            "--classes",
            "--train-samples",
        ),
        *("--tokens-per-parameter", "--steps", "--seeds", "--chance", "--samples", "--within"),
    ),
    CONVERT: ("--learning-rate", "--momentum", "--classes", "--batch-size", "--steps", "--target-learning-rate"),
}


@pytest.mark.parametrize(
    ("words", "option"), [(words, option) for words, options in OPTIONS.items() for option in options]
)
def test_every_number_of_l2_gives_a_result_or_a_line(call, words, option):
    ended = set()
    for value in HOSTILE:
        status, out, err = call(*words, f"{option}={value}")
        ended.add(status)
        assert status in (0, 2)
        assert not re.search(r"\b(nan|inf)\b", out)
        assert "Traceback" not in err
        assert err if status else out
    assert 2 in ended


def test_the_same_lines_work_with_numbers_that_make_sense(call):
    for words in (PREDICT, CONVERT):
        status, out, _ = call(*words)
        assert status == 0
        assert "weight decay: " in out
