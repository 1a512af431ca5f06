"""Networks of known limit: what the verdict on the function is tested against."""

from __future__ import annotations

import pytest
import torch

from deeplimit.regimes.known import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_is_one_network_at_every_depth_and_another_seed_another(name):
    found = NETWORKS[name].observe((8, 16), seeds=(1, 2))
    again = NETWORKS[name].observe((8, 16), seeds=(1, 2))
    for depth, runs in found.items():
        assert runs.count == 2
        assert runs.passage is not None
        assert again[depth].passage is not None
        assert torch.equal(runs.passage.outputs, again[depth].passage.outputs)  # type: ignore[union-attr]
        assert not torch.equal(runs.passage.outputs[0], runs.passage.outputs[1])
        assert all(weights.shape[:2] == (2, depth) for weights in runs.weights.values())
