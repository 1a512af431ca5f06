"""Norms of one layer's weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.statistics.rounding import exponent, shifted

if TYPE_CHECKING:
    from torch import Tensor


class Norm(ABC):
    """A norm of every layer of every run at once."""

    @abstractmethod
    def __call__(self, weights: Tensor) -> Tensor:
        """Weights `[E, L, *shape]` to norms `[E, L]`."""


@dataclass(frozen=True)
class Frobenius(Norm):
    """The root of the sum of squares of all entries: the norm of vectors and matrices in Cohen et al. 2021.

    >>> import torch
    >>> Frobenius()(torch.full((1, 3, 2, 2), 2.0)).tolist()
    [[4.0, 4.0, 4.0]]
    """

    def __call__(self, weights: Tensor) -> Tensor:
        """Of scalars, vectors, matrices or kernels."""
        if weights.dim() == 2:
            return weights.abs()
        norms: Tensor = weights.flatten(2).norm(dim=2)
        if not norms.isfinite().all():  # of a number's square at least, if not of the number
            power = exponent(weights)
            norms = shifted(shifted(weights, power).flatten(2).norm(dim=2), -power)
        return norms


@dataclass(frozen=True)
class Spectral(Norm):
    """The largest singular value of a matrix."""

    def __call__(self, weights: Tensor) -> Tensor:
        """Of matrices `[E, L, p, q]`.

        Raises:
            InputError: a layer's weights are no matrix.
        """
        import torch

        checks.shape("weights", tuple(weights.shape), (None, None, None, None))
        norms: Tensor = torch.linalg.matrix_norm(weights, ord=2)
        return norms


@dataclass(frozen=True)
class ConvolutionOperator(Norm):
    """The largest singular value of a convolution with circular padding, as a map of images.

    The transform of the kernel, padded to the size of the image, has at each frequency a matrix out × in; the singular values of all of
    them are those of the map (Sedghi, Gupta, Long 2019). A stride is ignored, as in the released code of Cohen et al. 2021.

    Args:
        height, width: size of the image.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse an empty image."""
        checks.positive_int("height", self.height)
        checks.positive_int("width", self.width)

    def __call__(self, weights: Tensor) -> Tensor:
        """Of kernels `[E, L, out, in, kernel height, kernel width]`.

        Raises:
            InputError: a layer's weights are no kernel, or a kernel is larger than the image.
        """
        import torch

        checks.shape("weights", tuple(weights.shape), (None,) * 6)
        if weights.shape[4] > self.height or weights.shape[5] > self.width:
            raise checks.InputError(
                f"kernel: expected at most the image's {self.height} x {self.width}, found {tuple(weights.shape[4:])}"
            )
        frequencies = torch.fft.rfft2(weights, s=(self.height, self.width)).movedim((4, 5), (2, 3))
        # A real kernel: the frequencies left out are conjugates of those kept.
        norms: Tensor = torch.linalg.matrix_norm(frequencies, ord=2).amax((2, 3))
        return norms
