from __future__ import annotations

import pytest
import torch

from deeplimit.papers.marion2025.trained import digits, res1, updates
from deeplimit.processes import IID, Normal


def test_the_network_is_the_one_of_the_released_code():
    network = res1(5, 0.5, weights=IID(Normal(30**-0.5)), bias=True)
    params = network.initialise(3)
    x = torch.randn(4, 784, generator=torch.Generator().manual_seed(0))
    h = x @ params["embedding"].mT
    for V, c in zip(params["V"], params["c"], strict=True):
        h = h + 5**-0.5 * (h.relu() @ V.mT + c)
    torch.testing.assert_close(network(params, x), h @ params["readout"].mT)
    assert not params["c"].any()
    for role, fan_in in (("embedding", 784), ("V", 30)):
        assert float(params[role].square().mean()) * fan_in == pytest.approx(1, abs=0.1)


def test_the_ends_are_trained_unless_they_are_not():
    assert res1(2, 1.0, weights=IID()).trainable == ("V", "embedding", "readout")
    assert res1(2, 1.0, weights=IID(), bias=True, train_ends=False).trainable == ("V", "c")


def test_an_epoch_of_mnist_has_469_updates():
    assert updates(60_000, 2) == 2 * 469
    assert digits().samples == 60_000
    assert digits("test", 5).targets == "labels"
