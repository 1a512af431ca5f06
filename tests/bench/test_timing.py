from __future__ import annotations

import pytest

from deeplimit.bench.timing import (
    BUDGET,
    FEWEST_ROUNDS,
    MOST_REPEATS,
    MOST_ROUNDS,
    Call,
    Clock,
    Spread,
    affordable,
    race,
    ratio,
    spread,
)
from tests.bench.fakes import Time


def test_the_time_of_a_call_is_what_passes_in_it():
    time = Time()
    tracks = race({"a": time.call(0.5), "b": time.call(2.0, cores=3.0)}, rounds=4, clock=time.clock)
    assert tracks["a"].seconds == [0.5] * 4
    assert tracks["b"].seconds == [2.0] * 4
    assert (tracks["a"].cores, tracks["b"].cores) == ([1.0] * 4, [3.0] * 4)
    assert (tracks["a"].first, tracks["a"].repeats) == (0.5, 1)


def test_every_round_has_a_turn_of_each_in_order():
    time = Time()
    race({"a": time.call(0.5, name="a"), "b": time.call(0.5, name="b")}, rounds=3, clock=time.clock)
    assert time.called == ["a", "a", "b", "b"] + ["a", "b"] * 3  # twice each to warm up


def test_what_comes_before_a_turn_is_not_timed():
    time = Time()
    call = time.call(0.5)
    tracks = race({"a": Call(call.run, lambda: time.pass_by(100.0))}, rounds=2, clock=time.clock)
    assert tracks["a"].seconds == [0.5, 0.5]
    assert time.now == pytest.approx(2 * 0.5 + 2 * 0.5 + 3 * 100.0)


def test_the_first_call_is_kept_apart():
    time = Time()
    tracks = race({"a": time.call(0.5, first=30.0)}, rounds=2, clock=time.clock)
    assert (tracks["a"].first, tracks["a"].seconds) == (30.0, [0.5, 0.5])


def test_a_quick_call_is_repeated_after_one_that_is_not_timed():
    time = Time()
    tracks = race({"a": time.call(0.004, name="a")}, rounds=3, clock=time.clock)
    assert tracks["a"].repeats == 5
    assert tracks["a"].seconds == pytest.approx([0.004] * 3)
    assert len(time.called) == 2 + 3 * (1 + 5)
    assert race({"a": time.call(1e-9)}, rounds=1, clock=time.clock)["a"].repeats == MOST_REPEATS


def test_quick_calls_have_more_rounds_and_slow_ones_at_least_five():
    time = Time()
    count = [len(race({"a": time.call(s)}, clock=time.clock)["a"].seconds) for s in (0.02, 0.5, 60.0)]
    assert count == [MOST_ROUNDS, BUDGET // (2 * 0.5), FEWEST_ROUNDS]
    assert FEWEST_ROUNDS == 5
    assert affordable(0.0) == MOST_ROUNDS


def test_a_call_that_fails_is_out_and_the_others_go_on():
    def fail():
        raise RuntimeError("no compiler\nand a long trace")

    time = Time()
    calls = {"bad": Call(fail), "unready": Call(time.call(0.5).run, fail), "good": time.call(0.5)}
    tracks = race(calls, rounds=2, clock=time.clock)
    assert tracks["unready"].failed == "RuntimeError: no compiler"
    assert (tracks["bad"].failed, tracks["bad"].seconds) == ("RuntimeError: no compiler", [])
    assert (tracks["good"].failed, tracks["good"].seconds) == ("", [0.5, 0.5])


def test_a_mistake_is_not_taken_for_a_failure():
    nothing: dict[str, int] = {}
    with pytest.raises(KeyError, match="mistake"):
        race({"bad": Call(lambda: nothing["mistake"])})


def test_ratios_are_taken_round_by_round():
    # The second round is three times slower for both, as on a machine that was busy then: the ratio does not show it.
    assert ratio([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == Spread(2.0, 2.0, 2.0, 3)
    assert ratio([2.0, 6.0], [1.0, 1.0]) == Spread(4.0, 3.0, 5.0, 2)


def test_a_spread_is_median_and_quartiles():
    assert spread([3.0]) == Spread(3.0, 3.0, 3.0, 1)
    assert spread([1.0, 2.0, 4.0, 8.0, 100.0]) == Spread(4.0, 2.0, 8.0, 5)
    assert spread([1.0, 2.0, 4.0]).times(10.0) == Spread(20.0, 15.0, 30.0, 3)


def test_the_clock_of_the_machine_goes_on():
    clock = Clock()
    assert clock.wall() <= clock.wall()
    assert clock.cpu() <= clock.cpu()
    assert race({"a": Call(lambda: sum(range(1000)))}, rounds=1)["a"].seconds[0] > 0
