from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from deeplimit.diagnosis.alarms import SUSTAINED, Alarms, restored
from deeplimit.diagnosis.gauge import Reading


def reading(gains: Iterable[float] = (1.0,) * 5, *, ratio: float = 2.0, spread: float = 1.0) -> Reading:
    return Reading(tuple(gains), ratio, 0.0, spread, 1.4, 0.0)


def heard(readings: Iterable[Reading], *, alarms: Alarms | None = None, spacing: int = 10) -> list[str]:
    alarms = alarms or Alarms()
    return [text for number, each in enumerate(readings) for text in alarms.look(number * spacing, each)]


@pytest.mark.parametrize(("before", "after"), [(0.3, 1.9), (1.9, 0.3)])
def test_a_run_that_leaves_its_regime_is_heard_once(before, after):
    found = heard([reading(ratio=ratio) for ratio in [before] * 4 + [after] * 20])
    assert len(found) == 1
    word = "lost their order" if after > before else "come into an order"
    assert word in found[0]
    assert f"order ratio {after} at step {10 * (3 + SUSTAINED)}, {before} at step 30" in found[0]
    assert len(heard([reading(ratio=r) for r in ([before] * 4 + [after] * 4) * 2])) == 3


@pytest.mark.parametrize(
    "ratios",
    [
        [0.9, 1.1, 1.5, 1.3, 1.55, 0.8, 1.5] * 5,  # to and fro below the other threshold
        [0.5, 1.9, 0.5, 1.9, 1.9, 0.5] * 5,  # beyond it, but never for long
        [1.3] * 5 + [1.9] * 10,  # never was ordered
        [2.0, 1.9, 1.7, 1.5, 1.3, 1.1, 1.05] + [1.02] * 10,  # comes near
    ],
)
def test_wavering_is_no_change_of_regime(ratios):
    assert heard([reading(ratio=ratio) for ratio in ratios]) == []


def test_blocks_that_are_nearly_equal_have_no_order_to_lose():
    almost, apart = reading(ratio=0.2, spread=1e-3), reading(ratio=0.2, spread=0.3)
    assert heard([*[almost] * 5, *[reading()] * 10]) == []
    assert "lost their order" in heard([*[apart] * 5, *[reading()] * 10])[0]


def test_a_block_that_turns_to_the_identity_is_heard_once_and_again_after_it_has_recovered():
    whole, fallen = reading(), reading([1.0, 1.0, 1.0, 0.01, 1.0])
    found = heard([whole, *[fallen] * 10])
    assert len(found) == 1
    assert found[0] == (
        f"block 3 turned to the identity: gain 0.01 (was 1) at step {10 * SUSTAINED} (at step 0); "
        "median of all blocks 1 (was 1)"
    )
    assert len(heard([whole, *[fallen] * 10, whole, *[fallen] * 10])) == 2
    assert heard([whole, *[fallen, fallen, whole] * 4]) == []
    both = [1.0, 0.01, 1.0, 0.01, 1.0]
    assert heard([whole, *[reading(both)] * 5])[0].startswith("blocks 1 and 3 turned")


def test_small_blocks_that_always_were_and_blocks_that_shrink_together_are_no_event():
    assert heard([reading([1.0, 1.0, 1e-3, 1.0, 1.0])] * 10) == []
    assert heard([reading([0.9**k] * 5) for k in range(60)]) == []
    assert heard([reading([0.0] * 5)] + [reading([k, k, 0.0, k, k]) for k in range(1, 20)], spacing=1) == []


def test_gains_that_grow_exponentially_explode():
    found = heard([reading([1.0, 1.0, 1.1**k, 1.0, 1.0]) for k in range(200)])
    assert len(found) == 1
    assert found[0].startswith("gains explode in block 2: block 2 has ")
    # Tenfold within the last fifth of the steps: 1.1^k / 1.1^(0.8 k) = 10 at k = 121.
    assert 1200 <= int(found[0].split(" at step ")[1].split(",")[0]) <= 1260
    assert ", 1 at step 0" in found[0]


@pytest.mark.parametrize("power", [0.5, 1, 3])
def test_gains_that_grow_as_a_power_do_not(power):
    assert heard([reading([float(k**power)] * 5) for k in range(300)]) == []
    assert heard([reading([2.0 + 1e-3 * k**power] * 5) for k in range(0, 30_000, 700)], spacing=700) == []


def test_a_jump_from_nothing_to_an_ordinary_gain_is_no_explosion():
    assert heard([reading([1e-3] * 5)] * 50 + [reading([5.0] * 5)] * 10) == []
    assert heard([reading([1e-3] * 5)] * 50 + [reading([50.0] * 5)] * 10) != []


def test_what_is_not_finite_is_heard_once_and_nothing_else_with_it():
    broken = reading([1.0, math.nan, 1.0, math.inf, 1.0], ratio=math.nan)
    assert heard([reading(), reading(), *[broken] * 10]) == [
        "weights of blocks 1 and 3 are not finite at step 20; they were at step 10"
    ]
    assert heard([broken]) == ["weights of blocks 1 and 3 are not finite at step 0"]


def test_many_blocks_are_counted():
    assert heard([reading([math.nan] * 30)]) == [
        "weights of blocks 0, 1, 2, 3, 4, 5, 6 and 23 more are not finite at step 0"
    ]


@pytest.mark.parametrize("cut", range(1, 30, 3))
def test_restored_alarms_go_on_as_if_nothing_had_happened(cut):
    readings = [
        reading([1.0, 1.0, 0.01 if k > 8 else 1.0, 1.0, 1.6**k], ratio=2.0 if k > 4 else 0.5) for k in range(30)
    ]
    whole = heard(readings)
    alarms = Alarms()
    first = heard(readings[:cut], alarms=alarms)
    resumed = restored(alarms.state())
    rest = [text for number, each in enumerate(readings[cut:], cut) for text in resumed.look(number * 10, each)]
    assert first + rest == whole
    assert len(whole) == 3
