from __future__ import annotations

import dataclasses
import functools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplimit.checks import InputError
from deeplimit.training.l2 import PublishedRule, RobustRule, Rule, RuleState, Signal, Track

unhurried = functools.partial(RobustRule, wait=1.0, patience=0.5, memory=0.25, reach=1.0)
"""Whole decay times are easy to count."""


FLAG = PublishedRule(classes=None)


def path(rule, measured, *, start=0.1, rate=0.1, momentum=0.0):
    """The coefficients after each of the measurements, (loss, accuracy) at steps 0, every, …"""
    state, found = rule.start(start), []
    for number, (loss, accuracy) in enumerate(measured):
        state = rule(state, Signal(number * rule.every, loss, accuracy, rate, momentum))
        found.append(state.weight_decay)
    return found


def decays(found, *, start=0.1, every=10):
    """Steps at which the coefficient falls."""
    return [every * i for i, (a, b) in enumerate(zip([start, *found], found, strict=False)) if b < a]


# -------------------------------------------------------------------------------------------------- the published rule


def test_the_earliest_decays_are_those_of_the_authors_numbers():
    found = path(FLAG, [(1.0, None)] * 1200)
    assert decays(found) == [20, 40, 150, 1160, 11170]
    assert found[-1] == 0.1 / 10 / 10 / 10 / 10 / 10  # divided: times 0.1 the second decay comes at step 30


def test_the_earliest_decays_are_the_same_in_pytorchs_convention():
    classes = 10
    found = path(PublishedRule(classes=classes), [(1.0, None)] * 200, start=2 * classes * 0.1)
    assert decays(found, start=2.0) == [20, 40, 150, 1160]


def test_the_delay_is_strict():
    rule = dataclasses.replace(FLAG, delay=2.0)  # 20 steps at 0.1: step 20 is not later than 20
    assert decays(path(rule, [(1.0, None)] * 6)) == [30]


def test_a_resumed_run_waits_from_its_first_step():
    rule, state = FLAG, FLAG.start(0.01, step=1000)
    for step in (1000, 1010, 1020):
        state = rule(state, Signal(step, 1.0, None, 0.1))
    assert (state.weight_decay, state.last_decay) == (0.001, 1020)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([3.0, 3.0, 3.0], [20]),  # a tie counts
        ([3.0, 2.0, 1.0], []),  # improves
        ([1.0, 2.0, 0.5], []),  # the latest is better than the best
        ([1.0, 0.5, 2.0], []),  # the latest but one is
        ([1.0, 0.5, 2.0, 2.0], [30]),  # until it has become the best itself
        ([1.0, 2.0, 1.0], [20]),  # a tie with the best, twice no better
    ],
)
def test_two_losses_no_better_than_the_best_before_them(losses, expected):
    rule = dataclasses.replace(FLAG, delay=1e-6)
    assert decays(path(rule, [(loss, None) for loss in losses])) == expected


def test_either_signal_is_enough():
    rule = dataclasses.replace(FLAG, delay=1e-6)
    falling = [3.0, 2.0, 1.0]
    assert decays(path(rule, list(zip(falling, [0.5, 0.5, 0.5], strict=True)))) == [20]  # a saturated accuracy
    assert decays(path(rule, list(zip(falling, [0.5, 0.6, 0.4], strict=True)))) == []
    assert decays(path(rule, list(zip([3.0, 3.0, 3.0], [0.1, 0.2, 0.3], strict=True)))) == [20]


def test_a_decay_leaves_the_best_values_as_they_are():
    rule = dataclasses.replace(FLAG, delay=1e-6)
    state = rule.start(0.1)
    seen = []
    for step, loss in zip((0, 10, 20, 30), (1.0, 2.0, 3.0, 0.7), strict=True):
        state = rule(state, Signal(step, loss, None, 0.1))
        seen.append((state.loss.best, state.last_decay))
    # At step 20 the loss 2.0 does not enter, at 30 the 3.0 of the decay does, and 1.0 is never forgotten.
    assert seen == [(math.inf, 0), (1.0, 0), (1.0, 20), (1.0, 20)]


def by_the_book(measured, *, delay, factor=10.0, every=10):
    """The rule again with whole lists of measurements, as the released code keeps them."""
    weight_decay, last, best_loss, best_accuracy = 0.1, 0, math.inf, -math.inf
    losses: list[float] = []
    accuracies: list[float] = []
    found = []
    for number, (loss, accuracy) in enumerate(measured):
        step = number * every
        losses.append(loss)
        accuracies.append(accuracy)
        stalled = (best_loss <= losses[-1] and best_loss <= losses[-2 % len(losses)]) or (
            best_accuracy >= accuracies[-1] and best_accuracy >= accuracies[-2 % len(accuracies)]
        )
        if step > delay / weight_decay + last and len(losses) > 2 and stalled:
            weight_decay, last = weight_decay / factor, step
        elif len(losses) >= 2:
            best_loss, best_accuracy = min(best_loss, losses[-2]), max(best_accuracy, accuracies[-2])
        found.append(weight_decay)
    return found


few = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@given(st.lists(st.tuples(few, few), max_size=60), st.sampled_from([1e-6, 0.02, 0.1]))
def test_it_is_the_rule_with_whole_lists(measured, delay):
    assert path(dataclasses.replace(FLAG, delay=delay), measured) == by_the_book(measured, delay=delay)


def test_the_learning_rate_does_not_matter():
    measured = [(1.0, None)] * 20
    assert path(FLAG, measured, rate=0.1) == path(FLAG, measured, rate=1e-5, momentum=0.9)


# ------------------------------------------------------------------------------------------------------ the robust rule


def test_a_stalled_loss_divides_after_each_decay_time():
    rule = unhurried()
    found = path(rule, [(1.0, None)] * 1200, start=1e-1, rate=1.0)
    # Decay times of 10, 100, 1000 and 10000 steps; the first counts as 10 measurements.
    assert decays(found) == [100, 200, 1200, 11200]


@pytest.mark.parametrize(("rate", "momentum"), [(0.5, 0.0), (0.05, 0.9), (0.25, 0.5)])
def test_time_is_measured_in_steps_times_rate(rate, momentum):
    slow = path(unhurried(), [(1.0, None)] * 600, start=0.01, rate=rate, momentum=momentum)
    assert decays(slow, start=0.01) == [200, 2200]


def test_a_learning_rate_that_falls_slows_the_clock():
    rule, state = unhurried(), unhurried().start(0.01)
    decayed = None
    for step in range(0, 2000, 10):
        state = rule(state, Signal(step, 1.0, None, 1.0 if step <= 50 else 0.1))
        decayed = decayed or (step if state.last_decay else None)
    assert decayed == 550  # half a decay time at 1.0 and half at 0.1


def test_progress_of_either_keeps_the_coefficient():
    falling = [1 / (1 + i) for i in range(300)]
    rising = [i / 300 for i in range(300)]
    flat = [1.0] * 300
    for loss, accuracy in ((falling, flat), (flat, rising)):
        assert path(unhurried(), list(zip(loss, accuracy, strict=True)), start=0.01, rate=1.0)[-1] == 0.01
    assert path(unhurried(), list(zip(flat, flat, strict=True)), start=0.01, rate=1.0)[-1] < 0.01


def test_a_saturated_accuracy_is_no_trigger():
    falling = [(1 / (1 + i), 1.0) for i in range(300)]
    assert path(unhurried(), falling, start=0.01, rate=1.0)[-1] == 0.01
    assert path(FLAG, falling, start=0.01)[-1] < 0.01


def test_noise_is_not_progress():
    import random

    noise = random.Random(3)
    stalled = [(1 + noise.gauss(0, 0.1), None) for _ in range(400)]
    found = decays(path(unhurried(tolerance=2.0), stalled, start=0.001, rate=1.0), start=0.001)
    assert found
    assert 1000 <= found[0] <= 2000
    improving = [(2 * math.exp(-i / 200) + noise.gauss(0, 0.1), None) for i in range(200)]
    assert decays(path(unhurried(), improving, start=0.001, rate=1.0), start=0.001) == []


def test_two_measurements_of_noise_are_enough_for_the_published_rule():
    import random

    noise = random.Random(3)
    improving = [(2 * math.exp(-i / 200) + noise.gauss(0, 0.1), None) for i in range(200)]
    assert decays(path(dataclasses.replace(FLAG, delay=1e-6), improving)) != []


def test_the_coefficient_stays_above_the_floor():
    found = path(unhurried(smallest=0.02), [(1.0, None)] * 200, rate=1.0)
    assert sorted(set(found)) == [0.02, 0.1]


@given(st.lists(st.tuples(few, few), max_size=120), st.floats(0.01, 1.0))
def test_decay_times_end_before_the_run_does(measured, rate):
    rule, horizon = unhurried(horizon=1200), 1200
    state = rule.start(1.0)
    for number, (loss, accuracy) in enumerate(measured):
        after = rule(state, Signal(10 * number, loss, accuracy, rate))
        if after.weight_decay < state.weight_decay:
            assert 1 / (rate * after.weight_decay) <= (horizon - 10 * number) * (1 + 1e-12)
        state = after


def test_the_smoothed_value_is_the_mean_and_then_forgets():
    rule, state, values = unhurried(memory=1e3, wait=1e6), unhurried().start(0.01), [3.0, 1.0, 4.0, 1.0, 5.0]
    for number, value in enumerate(values):
        state = rule(state, Signal(10 * number, value, -value, 0.1))
    mean = sum(values) / 5
    assert state.loss.latest == pytest.approx(mean, rel=1e-12)
    assert state.loss.variance == pytest.approx(sum((v - mean) ** 2 for v in values) / 5, rel=1e-12)
    assert state.loss.share == pytest.approx(1 / 5, rel=1e-12)
    assert state.error == state.loss  # minus the accuracy
    forgetful = unhurried(memory=1e-9)  # as far as the noise allows: half is of the measurement
    assert forgetful(state, Signal(60, 7.0, None, 0.1)).loss.latest == pytest.approx((mean + 7) / 2)


def test_without_a_learning_rate_nothing_passes():
    assert path(unhurried(), [(1.0, None)] * 200, rate=0.0)[-1] == 0.1


# ---------------------------------------------------------------------------------------------------------------- both

BOTH: list[Rule] = [FLAG, PublishedRule(classes=10), unhurried(), unhurried(horizon=10**4)]


@pytest.mark.parametrize("rule", BOTH)
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_divergence_leaves_the_coefficient_alone(rule, broken):
    state = rule.start(0.1)
    for step in range(0, 200, 10):
        state = rule(state, Signal(step, broken, None, 0.1))
    assert state.weight_decay == 0.1
    assert state.diverged
    measured = rule(rule.start(0.1), Signal(0, 1.0, math.nan, 0.1))
    assert measured.diverged
    assert not rule(rule.start(0.1), Signal(0, 1.0, 0.5, 0.1)).diverged


@pytest.mark.parametrize("rule", BOTH)
@given(measured=st.lists(st.tuples(few, few), min_size=1, max_size=40), split=st.integers(0, 39))
def test_a_state_goes_through_json_bit_for_bit(rule, measured, split):
    kept = resumed = rule.start(0.1)
    for number, (loss, accuracy) in enumerate(measured):
        if number == split:
            resumed = RuleState.from_dict(json.loads(json.dumps(resumed.as_dict())))
        signal = Signal(10 * number, loss, accuracy, 0.3)
        kept, resumed = rule(kept, signal), rule(resumed, signal)
    assert resumed == kept


def test_steps_that_are_measured():
    assert [step for step in range(25) if FLAG.due(step)] == [0, 10, 20]
    assert [step for step in range(7) if unhurried(every=3).due(step)] == [0, 3, 6]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PublishedRule(classes=0), "classes: expected"),
        (lambda: PublishedRule(None, factor=1.0), "factor: expected a finite number above 1"),
        (lambda: PublishedRule(None, delay=0.0), "delay: expected"),
        (lambda: PublishedRule(None, every=0), "every: expected"),
        (lambda: unhurried(factor=0.1), "factor: expected a finite number above 1"),
        (lambda: unhurried(wait=0.0), "wait: expected"),
        (lambda: unhurried(memory=math.nan), "memory: expected"),
        (lambda: unhurried(tolerance=-1.0), "tolerance: expected a finite number of at least 0"),
        (lambda: unhurried(fewest=0), "fewest: expected"),
        (lambda: unhurried(horizon=0), "horizon: expected"),
        (lambda: FLAG.start(0.0), "weight_decay: expected"),
        (lambda: RuleState.from_dict({"weight_decay": 1.0}), "RuleState: expected the fields"),
        (lambda: RuleState.from_dict({**FLAG.start(1.0).as_dict(), "loss": {"best": 1.0}}), "Track: expected the"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_track_starts_empty():
    assert Track() == unhurried().start(1.0).loss == FLAG.start(2.0).error
