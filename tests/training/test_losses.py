from __future__ import annotations

import pytest
import torch

from deeplimit.training import CrossEntropy, SquaredError

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


# --- classes ---

CLASSES = torch.tensor([[1, 0, 1], [0, 0, 1]])


def test_cross_entropy_is_pytorchs_for_each_member():
    known = [float(torch.nn.functional.cross_entropy(OUTPUT[e], CLASSES[e])) for e in (0, 1)]
    onehot = torch.nn.functional.one_hot(CLASSES, 2)
    for y in (CLASSES, CLASSES.float(), onehot, onehot.float()):
        assert CrossEntropy()(OUTPUT, y).tolist() == pytest.approx(known, rel=1e-6)
    assert known[0] != pytest.approx(known[1], rel=0.01)


def test_the_gradient_of_cross_entropy_is_the_softmax_less_the_class():
    output = OUTPUT.clone().requires_grad_()
    CrossEntropy()(output, CLASSES).sum().backward()
    assert output.grad is not None
    torch.testing.assert_close(output.grad, (OUTPUT.softmax(-1) - torch.nn.functional.one_hot(CLASSES, 2)) / 3)


def test_large_scores_do_not_overflow():
    assert CrossEntropy()(1e4 * OUTPUT, CLASSES).isfinite().all()
