from __future__ import annotations

import pytest
import torch

from deeplimit.training import SquaredError

OUTPUT = torch.tensor([[[1.0, 2.0], [3.0, 5.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]])
TARGET = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])


@pytest.mark.parametrize(("per_entry", "expected"), [(False, [30 / 3, 9 / 3]), (True, [30 / 6, 9 / 6])])
def test_the_sum_over_outputs_and_the_mean_over_samples(per_entry, expected):
    loss = SquaredError(per_entry=per_entry)(OUTPUT, TARGET)
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)


def test_samples_may_have_any_shape():
    image = torch.ones(2, 3, 4, 5, 5)
    assert SquaredError()(image, torch.zeros_like(image)).tolist() == pytest.approx([100.0, 100.0])
    assert SquaredError(per_entry=True)(image, torch.zeros_like(image)).tolist() == [1.0, 1.0]


def test_members_have_losses_of_their_own():
    output = OUTPUT.clone().requires_grad_()
    SquaredError()(output, TARGET)[0].backward()
    assert output.grad is not None
    torch.testing.assert_close(output.grad[0], 2 / 3 * (OUTPUT - TARGET)[0])
    assert not output.grad[1].any()
