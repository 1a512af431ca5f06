from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from deeplimit.branches import Convolution, Identity, Tanh
from deeplimit.checks import InputError


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(h: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Zero-padded cross-correlation, pixel by pixel."""
    pad, (rows, columns) = kernel.shape[-1] // 2, h.shape[-2:]
    padded = torch.zeros(*h.shape[:2], rows + 2 * pad, columns + 2 * pad, dtype=h.dtype)
    padded[..., pad : pad + rows, pad : pad + columns] = h
    out = torch.zeros_like(h)
    for i in range(rows):
        for j in range(columns):
            patch = padded[..., i : i + 2 * pad + 1, j : j + 2 * pad + 1]
            out[..., i, j] = torch.einsum("ncab,ocab->no", patch, kernel)
    return out


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_map_is_the_formula_pixel_by_pixel(normalised, kernel_size):
    branch = Convolution(2, (4, 5), kernel_size, Tanh(), normalised)
    theta = {role: normal(*shape, seed=i) for i, (role, shape) in enumerate(branch.shapes.items())}
    h = normal(3, 2, 4, 5, seed=7)
    factor = 1 / math.sqrt(2 * kernel_size**2) if normalised else 1.0
    expected = factor * by_hand(torch.tanh(factor * by_hand(h, theta["W"])), theta["V"])
    torch.testing.assert_close(branch(h, theta), expected)


def test_the_roles_and_their_shapes():
    branch = Convolution(4, (6, 7))
    assert branch.shapes == {"V": (4, 4, 3, 3), "W": (4, 4, 3, 3)}
    assert branch.state_shape == (4, 6, 7)
    assert branch.kernel is None


def test_the_factor_keeps_the_variance_inside_the_map():
    branch = Convolution(32, (12, 12), activation=Identity())
    theta = {role: normal(*shape, seed=i) for i, (role, shape) in enumerate(branch.shapes.items())}
    inside = branch(normal(20, 32, 12, 12, seed=5), theta)[..., 2:-2, 2:-2]
    assert inside.var().item() == pytest.approx(1, rel=0.1)


def test_a_branch_whose_outer_matrix_is_zero_is_zero():
    branch = Convolution(2, (3, 3))
    theta = {"V": torch.zeros(branch.shapes["V"]), "W": torch.ones(branch.shapes["W"])}
    assert not branch(torch.ones(1, 2, 3, 3), theta).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels: expected an integer of at least 1, found 0"),
        ({"size": (0, 3)}, "height: expected an integer of at least 1, found 0"),
        ({"size": (3, -1)}, "width: expected an integer of at least 1, found -1"),
        ({"kernel_size": 4}, "kernel_size: expected an odd number, found 4"),
        ({"kernel_size": 0}, "kernel_size: expected an integer of at least 1, found 0"),
    ],
)
def test_sizes_that_make_no_convolution_are_refused(arguments: dict[str, Any], message: str):
    branch = Convolution(2, (3, 3))
    with pytest.raises(InputError, match=message):
        replace(branch, **arguments)
