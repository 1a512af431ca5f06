"""The report as a reader gets it: one page that needs nothing else, true to its verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from deeplimit.claims import Claim, Measured, Ruling, Source, Verdict, judge
from deeplimit.figures import Curve, Figure, HeatMap, Panel
from deeplimit.report import Discrepancy, Document, ScoreRow, write_report

HOSTILE = "<script>alert('x')</script> & \"quotes\""
ROWS = pl.DataFrame(
    {
        "study": ["gap"] * 3 + ["other"],
        "depth": [16, 64, 256, 16],
        "quantity": ["gap"] * 4,
        "value": [0.2, 0.05, 0.0125, 9.0],
    }
)


def gap(rows: pl.DataFrame) -> Sequence[Panel | HeatMap]:
    own = rows.filter(pl.col("quantity") == "gap")
    curve = Curve(own["depth"].to_list(), own["value"].to_list(), label="ours")
    table = HeatMap([own["value"].to_list()], own["depth"].to_list(), ["gap"], "depth", "", "gap")
    return [Panel([curve], "depth", "gap", xscale="log", yscale="log"), table]


def absent(rows: pl.DataFrame) -> Sequence[Panel]:
    raise LookupError("no rows at depth 16384")


def verdict(name: str, value: float | None, *, source: Source = "theorem", expects: Ruling = "reproduced") -> Verdict:
    def measure(_: pl.DataFrame) -> Measured:
        if value is None:
            raise LookupError("no rows")
        return Measured(value, value, value)

    statement = f"{name}: it falls as 1/L {HOSTILE}"
    claim = Claim(f"paper.{name}", statement, "Prop. 3", "slope", measure, -1.0, 0.02, source, expected_ruling=expects)
    return judge(claim, ROWS, tier="quick", seconds=3.0)


VERDICTS = [
    verdict("4.true", -1.0),
    verdict("4.printed", -0.5, expects="not reproduced"),
    verdict("5.surprise", 3.0),
    verdict("6.absent", None),
    verdict("7.unsure", -1.0, source="unverified"),
    verdict("8.nan", math.nan),
]


def document(**changes: object) -> Document:
    content: dict[str, object] = {
        "title": f"A paper {HOSTILE}",
        "citation": "Somebody, 2024. https://example.org/paper",
        "tier": "quick",
        "verdicts": VERDICTS,
        "figures": [
            ("gap", Figure("figure1", "Gap", f"Falls. {HOSTILE}", gap, "Fig. 1")),
            ("gap", Figure("figure2", "Absent", "Not here.", absent)),
        ],
        "discrepancies": [
            Discrepancy("Rate", "1/L", "L^{-1/2}", "a sum", f"both {HOSTILE}", ("paper.4.printed", "paper.99"))
        ],
        "scorecard": [ScoreRow("Seeds", "No", "Yes", "`run.json`")],
        "commands": [("Figure 1", "deeplimit reproduce paper --only figure1 > 'log'")],
        "record": {"versions": {"torch": "2.13.0"}, "gpu": None, "dirty": False, "argv": ["a", HOSTILE]},
        "seconds": 75.0,
        "studies": [("gap", "The gap", f"One.\n\nTwo {HOSTILE}", 60.0)],
    }
    return Document(**{**content, **changes})  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    assert write_report(folder, document(), ROWS) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reader(page: str) -> Reader:
    return Reader(page)


def test_the_page_is_well_formed_and_every_id_is_unique(reader: Reader) -> None:
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, attributes in reader.tags if (value := attributes.get("href")) and value[0] == "#"}
    assert targets <= set(ids)


def test_no_request_leaves_the_page(page: str, reader: Reader) -> None:
    fetched = {"src", "srcset", "poster", "data", "action", "background", "xlink:href"}
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in fetched:
                assert (value or "").startswith("data:")
            if name == "href":
                assert re.match(r"#|figures/[\w-]+\.(svg|pdf)$|data:image/png", value or ""), value
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page
    assert "https://example.org/paper" in "".join(reader.texts)  # as text, and only as text


def test_texts_are_escaped(page: str, reader: Reader) -> None:
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    assert "alert" in "".join(reader.texts)


def rows_of(page: str) -> dict[str, str]:
    return dict(re.findall(r'<tr id="claim-paper\.([\w.]+)">(.*?)</tr>', page, flags=re.DOTALL))


@pytest.mark.parametrize(
    ("name", "ruling", "remark"),
    [
        ("4.true", "reproduced", None),
        ("4.printed", "not reproduced", "as expected: the printed statement is false"),
        ("5.surprise", "not reproduced", "expected: reproduced"),
        ("6.absent", "undecided", "not measured: no rows"),
        ("7.unsure", "unverifiable", "the source of the expected value is not sure"),
        ("8.nan", "undecided", "the measured value or its interval is not finite"),
    ],
)
def test_each_kind_of_verdict_says_what_it_is(page: str, name: str, ruling: str, remark: str | None) -> None:
    row = rows_of(page)[name]
    badges = re.findall(r'<span class="badge ([\w-]+)"><i aria-hidden="true"></i>([\w ]+)</span>', row)
    assert badges == [(ruling.replace(" ", "-"), ruling)]
    assert ("as expected" in row) == (name == "4.printed")
    assert remark is None or remark in row
    assert "3 s" in row


def test_the_summary_counts_honestly(reader: Reader) -> None:
    text = " ".join("".join(reader.texts).split())
    assert (
        "Of 6 claims, judged on sizes of tier quick, 1 is reproduced, 2 not reproduced, 2 undecided and 1 unverif"
        in text
    )
    assert "Of those not reproduced, 1 was expected, because the statement as printed is false." in text
    assert "The verdict on 1 claim is not the expected one." in text
    assert "count neither for nor against" in text


def test_sections_come_in_order_and_say_where_to_check(page: str, reader: Reader) -> None:
    ids = [attributes.get("id") for tag, attributes in reader.tags if tag == "section"]
    assert ids == ["verdicts", "study-1", "discrepancies", "again", "scorecard", "record"]
    for text in ("The text says", "The figure shows", "The code does", "We computed", "self-assessed", "2.13.0"):
        assert text in page
    assert "not judged in this report" in page  # paper.99
    assert "deeplimit reproduce paper --only figure1 &gt;" in page


@pytest.mark.parametrize("rows", [pl.DataFrame(), ROWS.clear(), ROWS.with_columns(value=pl.lit(math.nan))])
def test_without_data_there_is_still_a_report(rows: pl.DataFrame, tmp_path: Path) -> None:
    page = write_report(tmp_path, document(verdicts=[], studies=[]), rows).read_text(encoding="utf-8")
    assert "No claim was judged" in page
    assert 'id="verdicts"' not in page
    assert page.count('<svg class="plot"') >= 2


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3)])
def test_panels_stand_three_in_a_row_and_four_in_a_square(panels: int, columns: int, tmp_path: Path) -> None:
    figure = Figure("f", "F", "", lambda rows: [Panel([Curve([1, 2], [1, 2])], "x", "y")] * panels)
    page = write_report(tmp_path, document(figures=[("gap", figure)]), ROWS).read_text(encoding="utf-8")
    assert f'class="panels panels-{columns}"' in page


def test_empty_sections_are_left_out(tmp_path: Path) -> None:
    bare = Document("Title", "", "paper")
    page = write_report(tmp_path, bare, pl.DataFrame()).read_text(encoding="utf-8")
    assert "<section" not in page
    assert "<h1>Title</h1>" in page


def test_the_record_shows_nested_parts_as_a_tree_and_many_alike_as_a_table(tmp_path: Path) -> None:
    runs = [{"id": f"run{i}", "seeds": [i, i + 1], "diverged": i == 1} for i in range(6)]
    machines = [{"cpu": "one", "versions": {"torch": "2.13.0"}}, {"cpu": "two", "versions": {}}]
    bare = Document("Title", "", "paper", record={"runs": runs, "machines": machines, "note": ""})
    page = write_report(tmp_path, bare, pl.DataFrame()).read_text(encoding="utf-8")
    assert Reader(page).open == []
    assert page.count("<tr>") == 1 + len(runs)
    assert "<td>run5</td><td>5, 6</td><td>no</td>" in page
    assert page.count('<dl class="tree">') == 5  # the record, the machines, each of the two, the versions of the first
    assert "<dt>torch</dt>\n<dd>2.13.0</dd>" in page
    assert "<dt>note</dt>\n<dd>—</dd>" in page


def test_the_undecided_are_split_by_what_would_decide_them(tmp_path: Path) -> None:
    text = write_report(tmp_path, document(), ROWS).read_text(encoding="utf-8")
    assert "Of the undecided, 1 needs rows that are not there, 1 open." in text
    decided = write_report(tmp_path, document(verdicts=VERDICTS[:2]), ROWS).read_text(encoding="utf-8")
    assert "Of the undecided" not in decided
