"""The files of a report: complete, the same each time, each figure from the rows of its own study."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from deeplimit.claims import Claim, Measured, judge
from deeplimit.figures import Curve, Figure, HeatMap, Panel
from deeplimit.report import Document, write_report
from deeplimit.report.plots import NoData
from deeplimit.report.write import _panels, file_names

ROWS = pl.DataFrame({"study": ["gap"] * 3 + ["other"], "depth": [16, 64, 256, 16], "value": [0.2, 0.05, 0.0125, 9.0]})
CLAIM = Claim("paper.1", "It falls.", "Fig. 1", "slope", lambda _: Measured(-1, math.nan, 0), -1.0, 0.02, "text")


def gap(rows: pl.DataFrame) -> Sequence[Panel | HeatMap]:
    depth, value = rows["depth"].to_list(), rows["value"].to_list()
    curves = [Curve(depth, value, label="ours"), Curve(depth, value, label="published", style="markers")]
    return [
        Panel(curves, "depth", "gap", xscale="log", yscale="log"),
        HeatMap([value], depth, ["gap"], "depth", "", "gap"),
    ]


def absent(rows: pl.DataFrame) -> Sequence[Panel]:
    raise LookupError("no rows at depth 16384")


def document(figures: Sequence[tuple[str, Figure]] | None = None) -> Document:
    mine = [("gap", Figure("figure1", "Gap", "Falls.", gap)), ("gap", Figure("figure2", "Absent", "", absent))]
    verdicts = [judge(CLAIM, ROWS, tier="quick")]
    return Document("A paper", "2024", "quick", verdicts, mine if figures is None else figures)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "new"
    assert write_report(folder, document(), ROWS) == folder / "report.html"
    return folder


def test_it_leaves_the_files_it_says_and_nothing_aside(out: Path) -> None:
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    figures = [f"figures/figure{i}.{kind}" for i in (1, 2) for kind in ("pdf", "svg")]
    assert found == sorted([*figures, "report.html", "verdicts.json"])
    (verdict,) = json.loads((out / "verdicts.json").read_text(encoding="utf-8"))
    assert (verdict["id"], verdict["interval"]) == ("paper.1", [None, 0.0])


def test_the_same_input_gives_the_same_bytes(out: Path, tmp_path: Path) -> None:
    write_report(tmp_path, document(), ROWS)
    for path in out.rglob("*.*"):
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


def test_a_figure_sees_the_rows_of_its_study_only(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def look(rows: pl.DataFrame) -> Sequence[Panel]:
        seen.append(rows["study"].unique().to_list())
        return []

    write_report(tmp_path, document([("other", Figure("f", "F", "", look))]), ROWS)
    assert seen == [["other"]]


@pytest.mark.parametrize("rows", [pl.DataFrame(), ROWS.clear(), ROWS.with_columns(value=pl.lit(math.nan))])
def test_without_data_there_are_still_all_files(rows: pl.DataFrame, out: Path, tmp_path: Path) -> None:
    write_report(tmp_path, document(), rows)
    for path in out.rglob("*.*"):
        assert (tmp_path / path.relative_to(out)).exists()
    full, empty = ((folder / "figures" / "figure1.svg").read_text(encoding="utf-8") for folder in (out, tmp_path))
    assert full != empty


def test_a_figure_that_fails_says_so_and_costs_nothing_else(tmp_path: Path) -> None:
    def wrong(rows: pl.DataFrame) -> Sequence[Panel]:
        raise ZeroDivisionError("in the figure")

    failing = Figure("f", "F", "", wrong)
    assert write_report(tmp_path, document([("gap", failing)]), ROWS).exists()
    assert _panels(failing, ROWS) == [NoData("the figure failed: ZeroDivisionError: in the figure")]


def test_file_names_are_unique_and_safe() -> None:
    def named(*pairs: tuple[str, str]) -> list[str]:
        return file_names([(study, Figure(name, "", "", absent)) for study, name in pairs])

    assert named(("a", "gap"), ("b", "loss")) == ["gap", "loss"]
    assert named(("a", "gap"), ("b", "gap")) == ["a-gap", "b-gap"]
    assert named(("a", "../x y"), ("b", "ß")) == ["x-y", "figure"]
    assert len(set(named(("a", "gap"), ("a", "gap")))) == 2


def test_what_papers_import_is_light() -> None:
    code = "import sys, deeplimit.report.document; print(sorted({'torch', 'matplotlib', 'jinja2', 'polars'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
