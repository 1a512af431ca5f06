"""The small language of `--fail-if`: what it says of a report, what it refuses, and that nothing of it is ever run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deeplimit.checks import InputError
from deeplimit.claims import Measured
from deeplimit.diagnosis import Finding, Passage, Report
from deeplimit.diagnosis.telling.conditions import judge, parse
from tests.diagnosis import reports


def net() -> Report:
    """One group with numbers that are known."""
    group = reports.group(weights="no order", function="identity", batch=True)
    passage = Passage(8, {"update_ratio": (0.1, 0.7, 0.2)}, {"drift_share": Measured(0.3, 0.2, 0.4)})
    up = replace(group.profiles[5], curves={"norm": (1.0, 2.0, 4.0)}, numbers={"carriers": 2.5})
    findings = (Finding("dead", (1,), "mlp", "", 2.0), Finding("not finite", (2,), "mlp", "", 2.0))
    verdict = replace(group.weights, evidence={"mlp: order ratio": Measured(0.5, 0.4, 0.6)})
    return reports.report(replace(group, passage=passage, profiles=(up,), findings=findings, weights=verdict))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("weights == 'no order'", True),
        ("weights == rough", False),
        ("weights != smooth", True),
        ("function == identity", True),
        ("rough == weights", False),
        ("findings > 0", True),
        ("findings == 2", True),
        ("findings.dead > 0", True),
        ("findings.not_finite >= 1", True),
        ("findings.tied > 0", False),
        ("depth < 12", False),
        ("depth >= 12", True),
        ("drift_share < 0.2", False),
        ("drift_share.low <= 0.2", True),
        ("drift_share.high > 4e-1", False),
        ("0.2 < drift_share < 0.4", True),
        ("drift_share > -1", True),
        ("weights.mlp.order_ratio == 0.5", True),
        ("weights.mlp.order_ratio.high < 0.5", False),
        ("mlp.up.carriers < 3", True),
        ("max(update_ratio) > 0.5", True),
        ("min(update_ratio) > 0.5", False),
        ("last(update_ratio) == 0.2", True),
        ("first(update_ratio) == 0.1", True),
        ("median(mlp.up.norm) == 2", True),
        ("mean('mlp.up.norm') > 2", True),
        ("max(norm) == 4 and max(mlp.up.raw.norm) == 4", True),
        ("tie == no", True),
        ("skip == 'cannot tell'", True),
        ("tie == yes or prune == yes", True),
        ("tie == yes and prune == yes", False),
        ("not (tie == yes or weights == rough)", True),
        ("encoder.layer: findings > 1", True),
    ],
)
def test_a_condition_holds_or_not(text, holds):
    (found,) = judge(parse(text), net())
    assert found.holds is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("drift_share < 0.2", None),
        ("max(update_ratio) > 0.5", None),
        ("not drift_share < 0.2", None),
        ("drift_share < 0.2 or weights == rough", True),
        ("drift_share < 0.2 and weights == smooth", False),
        ("drift_share < 0.2 and weights == rough", None),
        ("drift_share < 0.2 or weights == smooth", None),
        ("drift_share.low < 0.2", None),
    ],
)
def test_what_is_not_there_decides_nothing(text, holds):
    (found,) = judge(parse(text), reports.report())
    assert found.holds is holds
    assert "is not there" in str(found)


def test_what_is_not_finite_decides_nothing():
    group = reports.group()
    profile = replace(group.profiles[0], curves={"norm": (1.0, math.nan)})
    found = judge(parse("max(norm) < 2"), reports.report(replace(group, profiles=(profile,))))
    assert [outcome.holds for outcome in found] == [None]


@pytest.mark.parametrize(
    "name", ["mlp.carriers", "mlp.noise_share", "weights.mlp.roughness", "weights.mlp.order_ratio.low"]
)
@pytest.mark.parametrize("text", ["{} < 0.5", "not {} < 0.5"])
def test_numbers_of_roles_that_have_none_are_undecided(name, text):
    group = reports.group()
    profile = replace(group.profiles[0], name="mlp", numbers={})
    bare = replace(group, profiles=(profile,), weights=replace(group.weights, evidence={}))
    (found,) = judge(parse(text.format(name)), reports.report(bare))
    assert found.holds is None
    assert f"{name} is not there" in str(found)


def test_each_group_is_judged_by_itself():
    both = reports.report(reports.group("encoder", weights="smooth"), reports.group("decoder", weights="rough"))
    assert [(o.group, o.holds) for o in judge(parse("weights == rough"), both)] == [
        ("encoder", False),
        ("decoder", True),
    ]
    assert [o.group for o in judge(parse("encoder: weights == rough"), both)] == ["encoder"]
    with pytest.raises(InputError, match=r"group: expected one of .*; found 'encodr'"):
        judge(parse("encodr: findings > 0"), both)


def test_an_outcome_says_the_values_behind_it():
    (found,) = judge(parse("weights != smooth and max(update_ratio) > 0.5"), net())
    said = "weights != smooth and max(update_ratio) > 0.5: holds for encoder.layer (weights is no order, max(update_ratio) is 0.7)"
    assert str(found) == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an expression of 1 to 1000 characters"),
        ("encoder:", "an expression of 1 to 1000 characters"),
        ("(" * 2000, "an expression of 1 to 1000 characters"),
        ("weights = rough", "comparisons joined by and, or, not"),
        ("weights == no order", "between quotes"),
        ("weights", "a comparison such as weights == rough, found weights"),
        ("weights is rough", "comparisons by == != < <= > >=, found Is"),
        ("weights in (rough, smooth)", "comparisons by == != < <= > >=, found In"),
        ("depth + 1 > 2", r"a name, a number or a word, found depth \+ 1"),
        ("__import__('os').system('touch x') == 0", "one curve in max, min"),
        ("max(gain, norm) > 1", "one curve in max, min"),
        ("max([k for k in gain]) > 1", "one curve in max, min"),
        ("open('x') == 1", "one curve in max, min"),
        ("[max][0](gain) == 1", "one curve in max, min"),
        ("True == True", "a name, a number or a word, found True"),
        ("weights[0] == r", "a name, a number or a word"),
        ("weights == ruogh", "one of smooth, rough, .*'no order'.*; found 'ruogh'"),
        ("'maybe' != tie", "one of yes, no, 'cannot tell'; found 'maybe'"),
    ],
)
def test_what_is_no_condition_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wieghts == 1", "name: expected one of weights.*; found 'wieghts'"),
        ("max(update_ration) > 1", "curve: expected one of update_ratio.*; found 'update_ration'"),
        ("findings.ded > 0", "name: expected one of findings.dead"),
        ("weights > 3", "numbers with numbers, words by == and !=; found weights > 3"),
        ("weights < rough", "numbers with numbers, words by == and !="),
        ("findings == 'dead'", "numbers with numbers"),
    ],
)
def test_a_name_or_word_that_is_not_known_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        judge(parse(text), net())
