from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest

from deeplimit.claims import Claim, Lack, Measured, band, judge, rule, unmeasured

INSIDE = Measured(-1.0, -1.01, -0.99)
CLAIM = Claim("paper.1.slope", "the slope is −1", "Fig. 1", "slope", lambda rows: INSIDE, -1.0, 0.02, "text")
ROWS = pl.DataFrame({"value": [1.0, 2.0]})


def changed(**fields: object) -> Claim:
    return dataclasses.replace(CLAIM, **fields)  # type: ignore[arg-type]


def measured(low: float, high: float) -> Measured:
    return Measured((low + high) / 2, low, high)


# --- the rule ---


@pytest.mark.parametrize(
    ("relation", "interval", "ruling"),
    [
        ("within", (-1.01, -0.99), "reproduced"),
        ("within", (-1.02, -0.98), "reproduced"),  # the edges belong to the band
        ("within", (-1.0, -1.0), "reproduced"),
        ("within", (-0.97, -0.9), "not reproduced"),
        ("within", (-1.5, -1.021), "not reproduced"),
        ("within", (-1.03, -0.99), "undecided"),
        ("within", (-1.01, -0.97), "undecided"),
        ("within", (-2.0, 0.0), "undecided"),
        ("within", (-9.0, -1.01), "undecided"),  # mostly outside
        ("within", (-0.99, 9.0), "undecided"),
        ("within", (-0.98, -0.9), "undecided"),  # touches the band
        ("at most", (-50.0, -0.98), "reproduced"),
        ("at most", (-0.97, 3.0), "not reproduced"),
        ("at most", (-1.0, -0.9), "undecided"),
        ("at least", (-1.02, 50.0), "reproduced"),
        ("at least", (-9.0, -1.03), "not reproduced"),
        ("at least", (-9.0, 9.0), "undecided"),
    ],
)
def test_the_ruling_follows_from_the_interval_and_the_band(relation, interval, ruling):
    found, reason = rule(changed(relation=relation), measured(*interval), tier="quick")
    assert found == ruling
    words = {"reproduced": "inside", "not reproduced": "disjoint", "undecided": "straddles"}
    assert words[ruling] in reason


def test_a_tolerance_of_zero_asks_for_the_number_itself():
    exact = changed(expected=0.0, tolerance=0.0)
    assert rule(exact, measured(0.0, 0.0), tier="quick")[0] == "reproduced"
    assert rule(exact, measured(1e-300, 1e-300), tier="quick")[0] == "not reproduced"


@pytest.mark.parametrize(
    ("relation", "edges"),
    [("within", (-1.02, -0.98)), ("at most", (-math.inf, -0.98)), ("at least", (-1.02, math.inf))],
)
def test_the_band(relation, edges):
    assert band(changed(relation=relation)) == pytest.approx(edges)


@pytest.mark.parametrize(("tier", "ruling"), [("quick", "undecided"), ("paper", "reproduced"), ("huge", "undecided")])
def test_a_tier_too_small_decides_nothing(tier, ruling):
    found, reason = rule(changed(tiers=("paper",)), INSIDE, tier=tier)
    assert found == ruling
    assert ("tier paper does" in reason) is (ruling == "undecided")


@pytest.mark.parametrize("interval", [(-1.0, -1.0), (5.0, 6.0)])
def test_a_tier_too_small_decides_nothing_against_a_claim_either(interval):
    assert rule(changed(tiers=("paper",)), measured(*interval), tier="quick")[0] == "undecided"


@pytest.mark.parametrize(
    ("sample", "ruling"), [(1, "undecided"), (4, "undecided"), (5, "reproduced"), (9, "reproduced")]
)
def test_a_sample_too_small_decides_nothing(sample, ruling):
    found, reason = rule(changed(minimum_sample=5), dataclasses.replace(INSIDE, sample=sample), tier="quick")
    assert found == ruling
    assert (reason == f"needs 5 independent values, has {sample}") is (ruling == "undecided")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_numbers_that_are_not_finite_decide_nothing(field, bad):
    for relation in ("within", "at most", "at least"):
        found, reason = rule(changed(relation=relation), dataclasses.replace(INSIDE, **{field: bad}), tier="quick")
        assert (found, "not finite" in reason) == ("undecided", True)


@pytest.mark.parametrize("interval", [(-1.0, -1.0), (5.0, 6.0), (math.nan, math.nan)])
@pytest.mark.parametrize("tier", ["quick", "huge"])
def test_an_expected_value_that_nobody_has_verified_is_unverifiable_whatever_is_measured(interval, tier):
    assert rule(changed(source="unverified"), measured(*interval), tier=tier)[0] == "unverifiable"


# --- a claim judged on rows ---


def test_a_verdict_holds_what_was_measured():
    seen = []

    def measure(rows):
        seen.append(rows)
        return INSIDE

    claim = changed(measure=measure)
    verdict = judge(claim, ROWS, tier="quick", seconds=3.5)
    assert seen == [ROWS] or seen[0] is ROWS
    assert (verdict.claim, verdict.measured, verdict.ruling) == (claim, INSIDE, "reproduced")
    assert (verdict.tier, verdict.seconds) == ("quick", 3.5)


@pytest.mark.parametrize("error", [LookupError("no rows of depth 64"), KeyError("depth"), IndexError("empty")])
def test_rows_that_are_absent_leave_a_claim_undecided_with_the_reason(error):
    def measure(rows):
        raise error

    verdict = judge(changed(measure=measure), ROWS, tier="quick")
    assert (verdict.measured, verdict.ruling) == (None, "undecided")
    assert verdict.reason.startswith("not measured: ")
    assert str(error) in verdict.reason


def test_rows_that_a_small_tier_does_not_have_are_put_down_to_the_tier():
    def measure(rows):
        raise LookupError("no rows of depth 16384")

    verdict = judge(changed(measure=measure, tiers=("paper",)), ROWS, tier="quick")
    assert verdict.ruling == "undecided"
    assert "tier paper does" in verdict.reason


def test_a_mistake_in_a_measure_is_not_taken_for_absent_rows():
    with pytest.raises(ZeroDivisionError):
        judge(changed(measure=lambda rows: 1 / 0), ROWS, tier="quick")


@pytest.mark.parametrize(
    ("expected_ruling", "interval", "as_expected"),
    [
        ("reproduced", (-1.0, -1.0), True),
        ("reproduced", (5.0, 6.0), False),
        ("not reproduced", (5.0, 6.0), True),
        ("not reproduced", (-1.0, -1.0), False),
        ("reproduced", (-2.0, 2.0), None),
        ("not reproduced", (-2.0, 2.0), None),
    ],
)
def test_a_false_statement_is_expected_to_fail(expected_ruling, interval, as_expected):
    claim = changed(expected_ruling=expected_ruling, measure=lambda rows: measured(*interval))
    assert judge(claim, ROWS, tier="quick").as_expected is as_expected


def test_what_is_unverifiable_is_neither_as_expected_nor_against_it():
    assert judge(changed(source="unverified"), ROWS, tier="quick").as_expected is None


def test_a_deterministic_number_takes_the_spread_of_its_values():
    found = Measured.spread([2.0, 1.5, 2.25])
    assert (found.value, found.low, found.high, found.sample) == (2.0, 1.5, 2.25, 3)
    assert found.note
    assert Measured.spread([3.0], note="one engine").note == "one engine"


def test_what_is_unverifiable_stays_so_where_its_rows_are_missing():
    def absent(rows):
        raise LookupError("no rows")

    assert judge(changed(source="unverified", measure=absent), ROWS, tier="quick").ruling == "unverifiable"
    assert judge(changed(measure=absent), ROWS, tier="quick").ruling == "undecided"


def test_the_full_tier_decides_what_the_paper_tier_decides():
    assert rule(changed(tiers=("paper",)), INSIDE, tier="full")[0] == "reproduced"
    assert rule(changed(tiers=("quick",)), INSIDE, tier="full")[0] == "undecided"
    assert changed(tiers=("full",)).decided_at("full")
    assert not changed(tiers=("full",)).decided_at("paper")


# --- why it is undecided ---


@pytest.mark.parametrize(
    ("interval", "fields", "why"),
    [
        ((-1.01, -0.99), {}, ("", "")),
        ((-0.5, -0.4), {}, ("", "")),
        ((-1.03, -0.99), {}, ("open", "")),
        ((-1.01, -0.99), {"minimum_sample": 5}, ("open", "")),
        ((-1.01, math.inf), {}, ("open", "")),
        ((-1.03, -0.99), {"tiers": ("paper",)}, ("tier", "paper")),
        ((-1.01, -0.99), {"tiers": ("full",)}, ("tier", "full")),
        ((-1.03, -0.99), {"source": "unverified"}, ("", "")),
    ],
)
def test_a_verdict_says_why_it_is_undecided(interval, fields, why):
    verdict = judge(changed(measure=lambda rows: measured(*interval), **fields), ROWS, tier="quick")
    assert (verdict.why, verdict.needs) == why
    assert bool(verdict.why) is (verdict.ruling == "undecided")


def test_what_could_not_be_measured_says_what_is_lacking():
    def absent(rows):
        raise LookupError("no rows of V")

    verdict = judge(changed(measure=absent), ROWS, tier="quick")
    assert (verdict.why, verdict.reason) == ("failed", "not measured: no rows of V")
    lack = Lack("files of mnist are missing", "files", "mnist")
    verdict = unmeasured(CLAIM, lack, tier="quick", seconds=2.0)
    assert (verdict.ruling, verdict.why, verdict.needs, verdict.seconds) == ("undecided", "files", "mnist", 2.0)
    assert unmeasured(changed(tiers=("full",)), lack, tier="quick").needs == "full"  # files alone would not decide it
