from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.training import SGD, Adam, CosineDecay, StepDecay, TorchOptimizer


@pytest.mark.parametrize(
    ("decay", "build", "last"),
    [
        (StepDecay(5, 0.1), lambda sgd: torch.optim.lr_scheduler.StepLR(sgd, 5, 0.1), 3e-4),
        (CosineDecay(17), lambda sgd: torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 17), 0.3 * 0.00851),
    ],
)
def test_rates_are_those_of_pytorchs_scheduler(decay, build, last):
    parameter = torch.nn.Parameter(torch.zeros(1))
    known = torch.optim.SGD([parameter], 0.3)
    scheduler = build(known)
    for epoch in range(17):
        rate = decay(SGD(0.3), epoch).learning_rate
        assert rate == pytest.approx(known.param_groups[0]["lr"], rel=1e-9)
        known.step()
        scheduler.step()
    assert rate == pytest.approx(last, rel=1e-3)


@pytest.mark.parametrize("optimizer", [Adam((0.1, 0.2), layer_factor=True), TorchOptimizer("RMSprop", 0.1)])
def test_nothing_but_the_rate_changes(optimizer):
    assert StepDecay(2, 0.5)(optimizer, 1) == optimizer
    changed = StepDecay(2, 0.5)(optimizer, 3)
    assert changed != optimizer
    assert StepDecay(2, 2.0)(changed, 3) == optimizer


@pytest.mark.parametrize(("every", "factor", "message"), [(0, 0.1, "every: expected"), (5, 0.0, "factor: expected")])
def test_what_is_no_decay_is_refused(every, factor, message):
    with pytest.raises(InputError, match=message):
        StepDecay(every, factor)


def test_a_cosine_takes_at_least_one_epoch():
    with pytest.raises(InputError, match="epochs: expected"):
        CosineDecay(0)
