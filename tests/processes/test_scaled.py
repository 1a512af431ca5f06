"""Processes scaled with depth."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.processes import IID, Constant, DepthScaled


def test_the_size_falls_with_depth_and_the_draw_stays():
    scaled, plain = (p.sample((3,), torch.Generator().manual_seed(1)) for p in (DepthScaled(IID(), 0.5), IID()))
    for depth in (4, 16):
        assert torch.allclose(scaled(depth), plain(depth) / depth**0.5)


def test_it_is_no_function_of_depth():
    path = DepthScaled(Constant(1.0)).sample((), torch.Generator())
    with pytest.raises(InputError, match="found one scaled with depth"):
        path.at(torch.ones(1))
    with pytest.raises(InputError, match="exponent"):
        DepthScaled(Constant(1.0), float("inf"))
