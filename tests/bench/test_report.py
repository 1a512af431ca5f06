from __future__ import annotations

import json

import pytest

from deeplimit.bench.report import CaseReport, Line, Machine, Part, Report, SeriesReport, TrainingReport, read
from deeplimit.bench.timing import Spread
from deeplimit.checks import InputError

ONE = Spread(1.0, 1.0, 1.0, 5)
HALF = Spread(0.5, 0.25, 0.75, 5)
REPORT = Report(
    Machine("2026-01-02", "A | CPU", 2, ("avx2", "fma"), {"python": "3.11"}, "abc"),
    2,
    (
        CaseReport(
            "deep",
            "a deep case",
            2048,
            Spread(97.0, 96.0, 98.0, 5),
            (
                Line("native", 2048, 0.0421, ONE.times(12.345), ONE, HALF, 1.0, 3_400_000),
                Line("plain loop", 1024, 2.5, ONE.times(123.4), ONE.times(10.0), HALF.times(0.1), 1.0),
            ),
            {"torch.compile": "RuntimeError: no"},
        ),
    ),
    (SeriesReport("depth", "time against depth", "L", (1, 2, 4), "native", (ONE,) * 3, (ONE,) * 3, (1.0, 0.9, 1.1)),),
    (
        TrainingReport(
            "L = 9",
            "a network",
            "native",
            ONE,
            (Part("Adam", ONE.times(2.0), HALF), Part("SGD", ONE, Spread(-0.002, -0.2, 0.0, 5))),
            (Part("Drift", ONE.times(0.0321), HALF.times(0.01), 50), Part("Loss", ONE.times(0.0041), HALF)),
        ),
    ),
    {"JAX": "not installed"},
)


def test_a_report_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(REPORT.json(), encoding="utf-8")
    assert read(file) == REPORT
    assert json.loads(REPORT.json())["cases"][0]["lines"][1]["depth"] == 1024


@pytest.mark.parametrize("text", ["", "[]", '{"threads": 2}'])
def test_another_file_is_refused(tmp_path, text):
    file = tmp_path / "other.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"other\.json: expected the output of `deeplimit bench --json`"):
        read(file)
