from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.training.l2 import Curve, Reading, Setting, follow, probe
from deeplimit.training.l2.probes import outcome

LIMIT = 0.004  # η λ beyond which the training diverges, where it does


class Clock:
    """A training whose accuracy depends on η λ · step alone and peaks at 1.3; `calls` are the arguments it was called with."""

    def __init__(self, *, ceiling: float = 1.0, limit: float = math.inf, every: int = 10) -> None:
        self.ceiling, self.limit, self.every = ceiling, limit, every
        self.calls: list[dict[str, float]] = []

    def __call__(self, *, weight_decay, learning_rate, steps, seed) -> Iterator[tuple[int, float]]:
        self.calls.append({"weight_decay": weight_decay, "steps": steps, "seed": seed})
        rate = learning_rate * weight_decay
        for step in range(0, steps + 1, self.every):
            share = rate * step / 1.3
            accuracy = 0.1 + 0.8 * share * math.exp(1 - share) * (rate < self.ceiling)
            yield step, math.nan if rate > self.limit and step > 20 else accuracy


SETTING = Setting(0.1, steps=100_000)


def tried(found) -> list[tuple[float, str]]:
    return [(attempt.weight_decay, attempt.outcome) for attempt in found.attempts]


def test_a_coefficient_that_peaks_is_kept_and_run_with_every_seed():
    train = Clock()
    found = probe(train, SETTING, weight_decay=0.05, seeds=(3, 4, 5), steps=1000)
    assert tried(found) == [(0.05, "peaked"), (0.05 * 3, "peaked"), (0.05, "peaked"), (0.05, "peaked")]
    assert [call["seed"] for call in train.calls] == [3, 3, 4, 5]
    assert (found.weight_decay, found.spent, len(found.curves), found.notes) == (0.05, 4000, 3, ())


def test_the_triple_says_whether_the_peak_is_one_of_the_clock():
    found = probe(Clock(every=1), SETTING, weight_decay=0.05, steps=1000)
    assert found.law is not None
    assert found.law[0] == pytest.approx(1.0, abs=0.03)
    assert found.law[1] < 1 < found.law[2]
    assert (found.notes, found.warnings) == ((), ())
    assert "p = 1.0" in str(found)

    def early_stopping(*, weight_decay, learning_rate, steps, seed):
        yield from ((step, 0.1 + 0.8 * step / 100 * math.exp(1 - step / 100)) for step in range(0, steps + 1, 5))

    found = probe(early_stopping, SETTING, weight_decay=0.05, steps=1000)
    assert found.law is not None
    assert found.law[0] == 0
    assert found.law[1] <= 0 <= found.law[2] < 1
    (warning,) = found.warnings
    assert warning.endswith(
        "where L2 has p = 1: 4.45e-05, by the law, may be off: the fitted power makes it next to none"
    )
    assert f"\nwarning: {warning}" in str(found)
    assert found.as_json()["law"] == list(found.law)
    assert found.as_json()["warnings"] == [warning]


def power(p, *, every=1):
    """A training that peaks at step 100 (0.05/λ)^p."""

    def train(*, weight_decay, learning_rate, steps, seed):
        for step in range(0, steps + 1, every):
            share = step / 100 * (weight_decay / 0.05) ** p
            yield step, 0.1 + 0.8 * share * math.exp(1 - share)

    return train


@pytest.mark.parametrize("p", [0.7, 0.8, 1.3])
def test_another_power_is_a_warning_with_the_coefficient_that_it_makes(p):
    found = probe(power(p), SETTING, weight_decay=0.05, steps=400)
    (warning,) = found.warnings
    assert found.law is not None
    assert found.law[0] == pytest.approx(p, abs=0.03)
    made = float(warning.split("the fitted power makes it ")[1].split()[0])
    time = Reading().peak(found.curves[0]).time
    assert made == pytest.approx(0.05 * (time / 100_000) ** (1 / found.law[0]), rel=0.01)
    assert f"{0.05 * time / 100_000:.3g}, by the law" in warning


def test_a_power_that_is_too_wide_to_tell_is_a_warning_and_one_that_is_known_is_none():
    coarse = probe(power(1.0, every=40), SETTING, weight_decay=0.02, steps=400)
    assert coarse.law is not None
    assert coarse.law[1] < 1 < coarse.law[2]
    assert "too wide to tell whether it is 1" in coarse.warnings[0]
    assert probe(power(1.0), SETTING, weight_decay=0.02, steps=400).warnings == ()


def test_a_triple_that_does_not_peak_in_time_bounds_the_power_from_above_alone():
    def later(*, weight_decay, learning_rate, steps, seed):
        for step in range(0, steps + 1, 2):
            share = step / (80 if weight_decay < 0.1 else 199)
            yield step, 0.1 + 0.8 * share * math.exp(1 - share)

    found = probe(later, SETTING, weight_decay=0.05, steps=200)
    assert found.law is not None
    assert (found.law[1], found.law[2] < 0) == (-math.inf, True)
    assert found.as_json()["law"][1] is None
    assert "(−∞ to −0." in str(found)
    assert "inf" not in str(found)


def test_a_probe_that_is_censored_goes_up():
    found = probe(Clock(), SETTING, weight_decay=0.002, steps=1000)
    coefficients, outcomes = zip(*tried(found), strict=True)
    assert coefficients == pytest.approx((0.002, 0.006, 0.018, 0.054))
    assert outcomes == ("censored", "censored", "peaked", "peaked")
    assert found.weight_decay == coefficients[2]
    assert len(found.curves) == 1


def test_a_probe_that_learns_nothing_goes_down_by_a_division():
    found = probe(Clock(ceiling=0.03), SETTING, weight_decay=0.9, steps=1000)
    assert tried(found) == [(0.9, "never above chance"), (0.9 / 3, "never above chance"), (0.9 / 9, "peaked")]


def test_divergence_is_an_outcome_and_goes_down():
    found = probe(Clock(limit=LIMIT), SETTING, weight_decay=0.06, steps=1000)
    assert tried(found) == [(0.06, "diverged"), (0.02, "peaked")]
    assert found.spent == 20 + 1000  # it was followed no longer than it was finite


def test_a_search_for_what_diverges_everywhere_ends():
    train = Clock(limit=0.0)
    found = probe(train, SETTING, weight_decay=0.06, steps=1000)
    assert [outcome for _, outcome in tried(found)] == ["diverged"] * 8
    assert "in 8 probes" in found.notes[0]
    assert "was not tested (no probe peaked)" in found.warnings[0]


def test_a_law_that_was_not_tested_is_said():
    found = probe(Clock(ceiling=0.01), SETTING, weight_decay=0.05, steps=1000)
    assert tried(found) == [(0.05, "peaked"), (0.05 * 3, "never above chance")]
    assert (found.law, found.notes) == (None, ())
    assert "the law t_* ~ 1/λ was not tested (three times the coefficient does not peak" in found.warnings[0]
    assert "\nlaw:" not in str(found)


def test_a_peak_before_the_first_measurement_goes_down():
    found = probe(Clock(every=200), SETTING, weight_decay=0.12, steps=2000)
    assert tried(found) == [(0.12, "early"), (0.04, "peaked")]


def test_a_search_that_would_turn_back_stops_and_keeps_the_bound():
    found = probe(Clock(limit=LIMIT), SETTING, weight_decay=0.12, steps=100)
    assert [outcome for _, outcome in tried(found)] == ["diverged", "censored"]
    assert found.weight_decay == 0.12 / 3
    assert "a factor of 3 is between too small and too large" in found.notes[0]
    assert len(found.curves) == 1


def test_the_allowance_ends_the_search_and_the_seeds():
    found = probe(Clock(), SETTING, weight_decay=1e-3, steps=2000)
    assert tried(found) == [(1e-3, "censored"), (3e-3, "censored")]  # a third would be 6 %
    assert "within 5% of the budget" in found.notes[0]
    found = probe(Clock(), SETTING, weight_decay=0.05, seeds=(0, 1, 2), steps=2000)
    assert found.notes == ("seeds 1, 2 did not fit into 5% of the budget",)
    assert tried(found)[1] == (0.05 * 3, "peaked")
    assert "spent: 4000 steps, 4.0% of the budget of 100000" in str(found)
    assert found.as_json()["share_of_budget"] == 0.04
    # Of one that takes more by itself, one run is done.
    assert len(probe(Clock(), SETTING, weight_decay=1e-4, steps=6000).attempts) == 1


def test_a_quarter_of_the_allowance_is_the_length_unless_given():
    train = Clock()
    probe(train, SETTING, weight_decay=0.05)
    assert train.calls[0]["steps"] == 1250


def test_without_a_budget_or_with_a_wrong_length_there_is_no_probe():
    with pytest.raises(InputError, match="steps: expected a number, because it is the budget"):
        probe(Clock(), Setting(0.1), weight_decay=0.1)
    with pytest.raises(InputError, match="steps: expected an integer of at least 1"):
        probe(Clock(), SETTING, weight_decay=0.1, steps=0)
    with pytest.raises(InputError, match="seeds: expected at least one"):
        probe(Clock(), SETTING, weight_decay=0.1, seeds=())
    with pytest.raises(InputError, match=r"curve: expected as many accuracies as steps, found lengths \[1, 2\]"):
        Curve((1, 2), (0.5,))
    with pytest.raises(InputError, match="weight_decay: expected a number from 1e-50"):
        probe(Clock(), SETTING, weight_decay=0.0)


@pytest.mark.parametrize("wrong", [{"within": -1.0}, {"smooth": math.inf}, {"samples": 0}])
def test_a_reading_is_refused_before_a_run(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}: expected"):
        Reading(**wrong)


def yields(*rows):
    def train(weight_decay, learning_rate, steps, seed):
        yield from rows

    return train


def test_a_training_is_followed_until_its_steps_are_reached():
    rows = [(0, 0.1, 0.1), (5, 0.5, 0.6), (10, 0.6, 0.7), (15, 2.0, 0.8)]  # the last one would be an error
    found = follow(yields(*rows), 0.1, weight_decay=0.1, steps=10)
    assert found == Curve((0, 5, 10), (0.1, 0.5, 0.6), (0.1, 0.6, 0.7))
    generator = iter(rows[:3])
    assert follow(lambda **arguments: generator, 0.1, weight_decay=0.1, steps=5 + 5).steps == (0, 5, 10)


def test_tensors_and_arrays_of_one_number_are_numbers():
    rows = [(np.int64(0), torch.tensor(0.25)), (torch.tensor(1), np.float32(0.5)), (2, np.array(0.75))]
    assert follow(yields(*rows), 0.1, weight_decay=0.1, steps=9) == Curve((0, 1, 2), (0.25, 0.5, 0.75))


@pytest.mark.parametrize("bad", [(2, math.nan, 0.5), (2, 0.5, math.nan)])
def test_what_is_not_a_number_ends_a_curve(bad):
    found = follow(yields((0, 0.1, 0.1), (1, 0.2, 0.2), bad, (3, 0.3, 0.3)), 0.1, weight_decay=0.1, steps=9)
    assert found == Curve((0, 1), (0.1, 0.2), (0.1, 0.2), diverged=True)
    peak = Reading().peak(found)
    assert math.isnan(peak.time)
    assert outcome(found, peak) == "diverged"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (lambda weight_decay, steps: [], "expected a function of weight_decay, learning_rate, steps, seed; got an unexp"),
        (lambda **arguments: 3, "expected it to yield"),
        (yields((0, 0.1), (1, 0.1)), "at least 3 measurements, found 2"),
        (yields(), "at least 3 measurements, found 0"),
        (yields((0,)), r"2 or 3 numbers, found \(0,\)"),
        (yields((0, 0.1), (1, 0.1, 0.2)), "2 numbers, found"),
        (yields((0, "high")), "2 or 3 numbers"),
        (yields(0.5), "2 or 3 numbers, found 0.5"),
        (yields((0.5, 0.1)), "an integer of at least 0 as step, found 0.5"),
        (yields((0, 0.1), (0, 0.1)), "an integer of at least 1 as step, found 0"),
        (yields((0, 93.1)), "between 0 and 1"),
    ],
)  # fmt: skip
def test_what_is_no_training_is_refused(train, message):
    with pytest.raises(InputError, match=message):
        follow(train, 0.1, weight_decay=0.1, steps=100)


def test_an_error_of_the_training_is_its_own():
    def train(weight_decay, learning_rate, steps, seed):
        yield 0, 0.1
        raise RuntimeError("out of data")

    with pytest.raises(RuntimeError, match="out of data"):
        follow(train, 0.1, weight_decay=0.1, steps=100)
