"""Norms of layers, against their definitions."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.statistics import ConvolutionOperator, Frobenius, Spectral

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (4, 2, 3, 3)])
def test_frobenius_is_the_norm_of_all_entries(shape):
    weights = torch.randn(2, 5, *shape, generator=GENERATOR)
    expected = [[float(layer.flatten().norm()) for layer in run] for run in weights]
    assert torch.allclose(Frobenius()(weights), torch.tensor(expected))


def test_spectral_is_the_largest_singular_value():
    weights = torch.randn(2, 3, 4, 6, generator=GENERATOR, dtype=torch.float64)
    assert torch.allclose(Spectral()(weights)[1, 2], torch.linalg.svdvals(weights[1, 2])[0])


def test_spectral_needs_matrices():
    with pytest.raises(InputError, match="expected shape"):
        Spectral()(torch.ones(1, 2, 3))


@pytest.mark.parametrize("size", [(5, 5), (4, 6), (7, 4)])
def test_the_convolution_is_the_largest_gain_of_its_matrix(size):
    """Against the matrix of the circular convolution, column by column."""
    kernels = torch.randn(1, 2, 3, 2, 3, 3, generator=GENERATOR, dtype=torch.float64)
    norms = ConvolutionOperator(*size)(kernels)
    for k in range(2):
        columns = []
        for index in range(2 * size[0] * size[1]):
            image = torch.zeros(2 * size[0] * size[1], dtype=torch.float64)
            image[index] = 1
            padded = torch.nn.functional.pad(image.reshape(1, 2, *size), (1, 1, 1, 1), mode="circular")
            columns.append(torch.nn.functional.conv2d(padded, kernels[0, k]).flatten())
        assert torch.allclose(norms[0, k], torch.linalg.svdvals(torch.stack(columns))[0])


def test_a_kernel_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="at most the image's 2 x 5"):
        ConvolutionOperator(2, 5)(torch.ones(1, 1, 1, 1, 3, 3))
    with pytest.raises(InputError, match="expected shape"):
        ConvolutionOperator(2, 5)(torch.ones(1, 1, 3, 3))
    with pytest.raises(InputError, match="height"):
        ConvolutionOperator(0, 5)
