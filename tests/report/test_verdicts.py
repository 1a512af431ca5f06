"""Verdicts as JSON: every kind, numbers that are not finite, and the schema that describes them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from deeplimit.claims import Claim, Measured, Source, Verdict, judge
from deeplimit.report.verdicts import VERDICTS_SCHEMA, verdict_json
from tests.schemas import problems

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "verdicts.schema.json"


def verdict(measured: Measured | None, *, source: Source = "theorem", tier: str = "quick") -> Verdict:
    def measure(_: object) -> Measured:
        if measured is None:
            raise LookupError("no rows at depth 64")
        return measured

    claim = Claim("paper.1.rate", "It falls as 1/L.", "Prop. 3", "slope", measure, -1.0, 0.02, source)
    return judge(claim, None, tier=tier, seconds=1.5)  # type: ignore[arg-type]


KINDS = {
    "reproduced": verdict(Measured(-1.0, -1.01, -0.99, 5, "95 % interval")),
    "not reproduced": verdict(Measured(-0.5, -0.51, -0.49, 5)),
    "undecided": verdict(None),
    "unverifiable": verdict(Measured(-1.0, -1.01, -0.99), source="unverified"),
    "not finite": verdict(Measured(math.nan, -math.inf, math.inf)),
}


def test_the_schema_in_docs_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == VERDICTS_SCHEMA


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_verdict_is_valid_json(kind: str) -> None:
    found = verdict_json([KINDS[kind]])
    text = json.dumps(found, allow_nan=False)
    assert problems(json.loads(text), VERDICTS_SCHEMA) == []


def test_a_verdict_keeps_its_numbers() -> None:
    (one,) = verdict_json([KINDS["reproduced"]])
    assert one["verdict"] == "reproduced"
    assert (one["measured"], one["interval"], one["sample"]) == (-1.0, [-1.01, -0.99], 5)
    assert (one["expected"], one["tolerance"], one["relation"]) == (-1.0, 0.02, "within")
    assert one["seconds"] == 1.5


def test_what_is_not_a_number_becomes_null() -> None:
    (odd,) = verdict_json([KINDS["not finite"]])
    assert (odd["measured"], odd["interval"], odd["verdict"]) == (None, [None, None], "undecided")
    (absent,) = verdict_json([KINDS["undecided"]])
    assert (absent["measured"], absent["interval"], absent["sample"]) == (None, None, None)
    assert "no rows at depth 64" in absent["reason"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("verdict", "maybe"), ("interval", [1.0]), ("measured", "1.0"), ("colour", "red"), ("id", None)],
)
def test_the_check_of_this_file_finds_what_is_wrong(key: str, value: object) -> None:
    (one,) = verdict_json([KINDS["reproduced"]])
    assert problems([one | {key: value}], VERDICTS_SCHEMA)
    assert problems([{k: v for k, v in one.items() if k != "tier"}], VERDICTS_SCHEMA) == ["$[0]: tier is missing"]
