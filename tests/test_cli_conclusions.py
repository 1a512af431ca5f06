"""What the terminal says once a study is judged."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from deeplimit import study as studies
from deeplimit.__main__ import main
from deeplimit.claims import Claim, Lack, Measured, Verdict, judge, unmeasured
from deeplimit.study import Conclusion

FLOW = Path(__file__).parent / "studies" / "flow.py"
FILES = Lack("files of cifar-10 are missing", "files", "cifar-10")


def claim(name: str, value: float = -1.0, **changes) -> Claim:
    made = Claim(
        f"paper.{name}",
        "It falls.",
        "",
        "slope",
        lambda rows: Measured(value, value - 0.01, value + 0.01),
        -1.0,
        0.1,
        "text",
    )
    return dataclasses.replace(made, **changes)


def judged(name: str, value: float = -1.0, **changes) -> Verdict:
    return judge(claim(name, value, **changes), None, tier="quick")  # type: ignore[arg-type]


@pytest.fixture
def told(monkeypatch, capsys, tmp_path):
    """A function that prints a conclusion as `deeplimit study` does; (status, lines of stdout)."""

    def tell(verdicts, *options: str, **more) -> tuple[int, list[str]]:
        done = Conclusion(tmp_path / "report.html", verdicts, [], 1, 0, {"plan": 0.0}, **more)
        monkeypatch.setattr(studies, "carry_out", lambda *args, **kwargs: done)
        monkeypatch.setattr(sys, "argv", ["deeplimit", "study", str(FLOW), *options])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().out.splitlines()

    return tell


def test_a_study_ends_with_a_line_for_each_claim(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["deeplimit", "study", str(FLOW), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().out.splitlines()
    (true,) = (line.split() for line in lines if "1.end" in line)
    assert true == ["8.8858", "no", "spread", "8.8858", "±", "0.0010", "reproduced", "1.end"]
    (false,) = (line for line in lines if "2.wrong" in line)
    assert "not reproduced" in false
    assert "unexpected" not in false
    assert not any(line.startswith("undecided") for line in lines)


def test_a_few_claims_are_shown_and_what_is_unexpected_says_so(told):
    _, lines = told([judged("1.rate"), judged("2.other", -3.0), judged("3.open", -0.9)])
    rows = {line.split()[-1]: line for line in lines if line.startswith("  -")}
    assert list(rows) == ["1.rate", "2.other", "3.open"]
    assert "[-1.010, -0.990]" in rows["1.rate"]
    assert "-1.0 ± 0.1" in rows["1.rate"]
    assert "not reproduced, unexpected" in rows["2.other"]
    assert "undecided 1: 1 open" in lines


def test_of_many_claims_those_are_shown_that_are_not_as_expected(told):
    many = [judged(f"good.{k}") for k in range(20)]
    _, lines = told([*many, judged("bad", -3.0), unmeasured(claim("images"), FILES, tier="quick")])
    assert any(line.split()[:3] == ["reproduced", "20", "20"] for line in lines)
    assert "not as expected: 1" in lines
    assert [line.split()[-1] for line in lines if line.startswith("  -")] == ["bad"]
    assert "undecided 1: 1 needs files of cifar-10 (deeplimit data fetch cifar-10), 0 open" in lines
    _, lines = told([*many, *(judged(f"bad.{k}", -3.0) for k in range(25))])
    assert sum("bad." in line for line in lines) == 20
    assert "and 5 more: see the report" in lines


def test_undecided_is_split_by_what_would_decide(told):
    later: Any = {"tiers": ("paper",)}
    _, lines = told(
        [
            judged("1", **later),
            judged("2", **later),
            unmeasured(claim("3"), FILES, tier="quick"),
            unmeasured(claim("4", **later), FILES, tier="quick"),  # files alone would not decide it
            unmeasured(claim("5"), Lack("runs failed"), tier="quick"),
            judged("6", -0.9),
        ]
    )
    (line,) = (line for line in lines if line.startswith("undecided"))
    assert line == (
        "undecided 6: 1 needs files of cifar-10 (deeplimit data fetch cifar-10), 3 need tier paper,"
        " 1 needs rows that are not there, 1 open"
    )


def test_a_study_without_claims_says_what_it_has(told):
    _, lines = told([], figures=["gaps"], quantities=["gap.max", "loss"])
    assert "claims: none; figures: gaps; rows of: gap.max, loss" in lines
    assert "claims: none; figures: none; rows of: none" in told([])[1]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_claim_is_a_line_of_a_terminal(told, monkeypatch, columns):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    _, lines = told(
        [judged("21.independent-layers"), judged("a-name-that-is-far-longer-than-any-terminal-is-wide" * 2)]
    )
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines if not line.startswith("report: ")]
    assert max(map(len, bare)) <= columns
    (row,) = (line for line in bare if "21.independent-layers" in line)
    assert all(part in row for part in ("-1.000", "[-1.010, -0.990]", "-1.0 ± 0.1", "reproduced"))
