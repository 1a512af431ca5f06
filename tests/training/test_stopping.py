from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.training import EpochStop


def verdicts(stop: EpochStop, means: list[float]) -> list[int]:
    """The verdict after each epoch of one batch."""
    memory = stop.start(torch.zeros(1))
    found = []
    for mean in means:
        stop.add(memory, torch.tensor([mean]), samples=3)
        seen, verdict = stop.judge(memory, samples=3)
        assert float(seen) == pytest.approx(mean, rel=1e-6)
        found.append(int(verdict))
    return found


def test_the_mean_is_weighted_by_the_size_of_the_batches():
    stop = EpochStop(0.0)
    memory = stop.start(torch.zeros(2))
    for _ in range(2):  # each epoch begins anew
        stop.add(memory, torch.tensor([1.0, 10.0]), samples=4)
        stop.add(memory, torch.tensor([4.0, 40.0]), samples=2)
        mean, _ = stop.judge(memory, samples=6)
        assert mean.tolist() == [2.0, 20.0]


def test_a_loss_below_the_threshold_stops():
    assert verdicts(EpochStop(0.5), [1.0, 0.5, 0.49]) == [0, 0, 1]


def test_patience_counts_epochs_in_a_row_without_enough_improvement():
    stop = EpochStop(0.0, patience=3, improvement=0.1)
    assert verdicts(stop, [1.0, 0.95, 0.91, 0.905]) == [0, 0, 0, 2]
    assert verdicts(stop, [1.0, 0.95, 0.91, 0.89, 0.89, 0.85, 0.81]) == [0, 0, 0, 0, 0, 0, 2]
    assert verdicts(EpochStop(0.0, patience=3, improvement=0.0), [1.0, 0.95, 0.91, 0.905]) == [0, 0, 0, 0]


def test_small_steps_add_up_against_the_last_best():
    means = [0.995**k for k in range(12)]
    assert verdicts(EpochStop(0.0, patience=3), means) == [0] * 12
    assert verdicts(EpochStop(0.0, patience=2), means) == [0, 0, 2] * 4


def test_members_are_judged_apart_and_the_threshold_comes_first():
    stop = EpochStop(0.1, patience=1)
    memory = stop.start(torch.zeros(3))
    for losses, wanted in [([1.0, 1.0, 0.05], [0, 0, 1]), ([1.0, 0.5, 0.05], [2, 0, 1])]:
        stop.add(memory, torch.tensor(losses), samples=1)
        assert stop.judge(memory, samples=1)[1].tolist() == wanted


def test_a_loss_that_is_no_number_is_no_success():
    assert verdicts_of_nan() == [0, 2]


def verdicts_of_nan() -> list[int]:
    stop = EpochStop(1.0, patience=2)
    memory = stop.start(torch.zeros(1))
    found = []
    for _ in range(2):
        stop.add(memory, torch.tensor([float("nan")]), samples=1)
        found.append(int(stop.judge(memory, samples=1)[1]))
    return found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0,), "below: expected a finite number of at least 0, found -1.0"),
        ((float("nan"),), "below: expected a finite number of at least 0"),
        ((0.1, 0), "patience: expected an integer of at least 1, found 0"),
        ((0.1, 5, 1.0), "improvement: expected a number from 0 on and below 1, found 1.0"),
    ],
)
def test_what_is_no_rule_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        EpochStop(*arguments)
