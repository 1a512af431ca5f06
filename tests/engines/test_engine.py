from __future__ import annotations

import torch

from deeplimit.branches import Convolution, OneMatrix
from deeplimit.engines.engine import is_ensemble, layered


def test_an_ensemble_has_one_axis_more_than_a_batch():
    image = Convolution(2, (5, 6))
    assert not is_ensemble(image, torch.zeros(3, 2, 5, 6))
    assert is_ensemble(image, torch.zeros(3, 7, 2, 5, 6))
    assert not is_ensemble(OneMatrix(4), torch.zeros(3, 4))
    assert is_ensemble(OneMatrix(4), torch.zeros(1, 3, 4))


def test_layered_puts_depth_first_and_leaves_out_shared_roles():
    branch = OneMatrix(3, delta="shared")
    theta = {"A": torch.randn(2, 5, 3, 3), "b": torch.randn(2, 5, 3), "delta": torch.randn(2)}
    found = layered(branch, theta, ensemble=True)
    assert {role: tuple(t.shape) for role, t in found.items()} == {"A": (5, 2, 3, 3), "b": (5, 2, 3)}
    assert torch.equal(found["A"][4, 1], theta["A"][1, 4])
    single = {role: t[0] for role, t in theta.items()}
    assert torch.equal(layered(branch, single, ensemble=False)["A"], single["A"])
