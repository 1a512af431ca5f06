"""A diagnosis as JSON: what the schema says is what is written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from deeplimit.claims import Measured
from deeplimit.diagnosis import Report
from deeplimit.diagnosis.telling.schema import SCHEMA
from tests.diagnosis import reports
from tests.schemas import problems

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "diagnosis.schema.json"


def as_json(found: Report) -> dict[str, object]:
    plain: dict[str, object] = json.loads(json.dumps(found.as_json(), allow_nan=False))
    return plain


def test_the_schema_in_docs_is_the_one_of_the_code():
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == SCHEMA


@pytest.mark.parametrize("weights", reports.WEIGHTS)
@pytest.mark.parametrize("function", reports.FUNCTIONS)
def test_every_verdict_is_valid(weights, function):
    found = reports.report(reports.group(weights=weights, function=function, batch=True, seed=6))
    assert problems(as_json(found), SCHEMA) == []


def test_what_is_missing_or_not_finite_is_null_and_valid():
    group = reports.group()
    profile = replace(group.profiles[0], order=None, curves={"norm": (math.nan, math.inf)})
    verdict = replace(group.weights, evidence={"ratio": Measured(1.0, -math.inf, math.inf)})
    found = as_json(reports.report(replace(group, stream=None, profiles=(profile,), weights=verdict), notes=()))
    assert problems(found, SCHEMA) == []
    assert found["format"] == "deeplimit.diagnosis/1"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "deeplimit.diagnosis/0"}, "$.format: 'deeplimit.diagnosis/0' is not one of"),
        ({"groups": None}, "$.groups: None is not"),
        ({"more": 1}, "$: more is not known"),
    ],
)
def test_another_shape_is_not_valid(change, problem):
    (said,) = problems(as_json(reports.report()) | change, SCHEMA)
    assert said.startswith(problem)


def test_a_label_that_is_not_known_is_not_valid():
    found = as_json(reports.report(reports.group(weights="wavy")))
    assert problems(found, SCHEMA) == ["$.groups[0].weights.label: 'wavy' is not one of " + str(list(reports.WEIGHTS))]
