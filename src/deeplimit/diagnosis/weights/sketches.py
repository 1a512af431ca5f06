"""Small stand-ins for the large matrices of a block, from which distances and angles between blocks are read.

With S and X of independent normal entries of variance 1/rows and 1/columns, S A X has in expectation the inner products of A: a path of
sketches over depth is a path of weights, seen from some thousand random directions, the same at every block. A matrix that is small itself
is its own sketch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.statistics.rounding import LARGEST, exponent, shifted

if TYPE_CHECKING:
    from torch import Tensor

    Map = Callable[[Tensor], Tensor]

SIDE = 64
"""Rows and columns of a sketch: 64² numbers know a squared distance to 1/√2048, about 2 %."""

EXACT = 1024
"""Smaller size of a matrix up to which its spectrum is computed whole, from its Gram matrix in float64."""

PROBED = 20
"""Power of 2 up to which numbers of float32 may be multiplied with themselves four times, and summed."""

CHUNK = 1024
"""Hidden units that are held in float64 at a time."""


def projection(size: int, *, seed: int, side: int = SIDE) -> Tensor | None:
    """Normal entries of variance 1/side, `[size, side]` in float64; None where a side is small enough to be kept whole."""
    import torch

    if size <= side:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, side, generator=generator, dtype=torch.float64).div(side**0.5)


def sketch(matrix: Tensor) -> Tensor:
    """S A X of a matrix `[p, q]`, as one row of at most `SIDE`² numbers."""
    return product_sketch(None, matrix)


def product_sketch(second: Tensor | None, first: Tensor) -> Tensor:
    """S B A X of the product of `second` `[p, m]` and `first` `[m, q]`, as one row, without the product.

    The sum over the m hidden units is taken in float64, so that their order does not show.
    """
    import torch

    rows = (first if second is None else second).shape[0]
    left, right = projection(rows, seed=1), projection(first.shape[1], seed=2)
    parts = []
    for start in range(0, first.shape[0], CHUNK):
        here = slice(start, start + CHUNK)
        part = first[here].double()
        part = part if right is None else part @ right
        if second is not None:
            part = second[:, here].double() @ part if left is None else (left.T @ second[:, here].double()) @ part
        elif left is not None:
            part = left[here].T @ part
        parts.append(part)
    whole = torch.cat(parts) if second is None and left is None else torch.stack(parts).sum(0)
    return whole.reshape(-1)


def gram_sketch(matrix: Tensor) -> Tensor:
    """S AᵀA X of the Gram matrix of the columns of A `[m, q]`: no order of its rows shows."""
    import torch

    left, right = projection(matrix.shape[1], seed=1), projection(matrix.shape[1], seed=2)
    total: Tensor | None = None
    for start in range(0, matrix.shape[0], CHUNK):
        part = matrix[start : start + CHUNK].double()
        one = (part if left is None else part @ left).T @ (part if right is None else part @ right)
        total = one if total is None else total + one
    assert total is not None
    return torch.as_tensor(total).reshape(-1)


@dataclass(frozen=True)
class Spectrum:
    """Of a matrix with singular values σ.

    Args:
        norm: √Σσ², the Frobenius norm.
        top: σ₁, the operator norm.
        participation: (Σσ²)² / Σσ⁴, the number of directions that carry the matrix; 0 for a matrix that is 0.
    """

    norm: float
    top: float
    participation: float


def spectrum(matrix: Tensor) -> Spectrum:
    """Of a matrix `[p, q]`.

    From its Gram matrix in float64 where the smaller size is at most `EXACT`; beyond it the norm alone is exact, σ₁ is a lower bound by
    subspace iteration, and Σσ⁴ comes from `SIDE` random probes (Hutchinson).
    """
    import torch

    power = exponent(matrix, largest=PROBED if min(matrix.shape) > EXACT else LARGEST)
    if power:
        found = spectrum(shifted(matrix, power))
        return Spectrum(shifted(found.norm, -power), shifted(found.top, -power), found.participation)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    if tall.shape[1] > EXACT:
        squares = sum(float(row.double().square().sum()) for row in tall)
        return _probed(lambda x: tall @ x, lambda y: tall.T @ y, tall, squares=squares)
    gram = torch.zeros(tall.shape[1], tall.shape[1], dtype=torch.float64)
    for start in range(0, tall.shape[0], CHUNK):
        part = tall[start : start + CHUNK].double()
        gram += part.T @ part
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    return _spectrum(float(values.sum()), float(values[-1]), float(values.square().sum()))


def product_spectrum(second: Tensor, first: Tensor) -> Spectrum:
    """Of the product of `second` `[p, m]` and `first` `[m, q]`; from random probes alone where both p and q are above `EXACT`."""
    import torch

    if min(second.shape[0], first.shape[1]) > EXACT:
        return _probed(lambda x: second @ (first @ x), lambda y: first.T @ (second.T @ y), first)
    total = torch.zeros(second.shape[0], first.shape[1], dtype=torch.float64)
    for start in range(0, first.shape[0], CHUNK):
        here = slice(start, start + CHUNK)
        total += second[:, here].double() @ first[here].double()
    return spectrum(total)


def map_norm(second: Tensor, first: Tensor, *, linear: bool) -> float:
    """√(mean ‖B σ(A x)‖² / mean ‖x‖²) over `SIDE` normal inputs x, of A `[m, q]` and B `[p, m]`: the size of the map of a block.

    σ is the ReLU where the map is not linear, whatever the network has in its place: a file of weights does not say.
    """
    import torch

    x = torch.randn(first.shape[1], SIDE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    total = torch.zeros(second.shape[0], SIDE, dtype=torch.float64)
    for start in range(0, first.shape[0], CHUNK):
        here = slice(start, start + CHUNK)
        hidden = first[here].double() @ x
        total += second[:, here].double() @ (hidden if linear else hidden.relu())
    return float(total.norm() / x.norm())


def _probed(times: Map, back: Map, like: Tensor, *, squares: float | None = None) -> Spectrum:
    """Of A, known by x ↦ A x and y ↦ Aᵀ y; its Σσ² from probes too, where it is not known."""
    import torch

    probe = torch.randn(like.shape[1], SIDE, generator=torch.Generator().manual_seed(3)).to(like.dtype)
    image = times(probe)
    squares = float(image.double().square().sum()) / SIDE if squares is None else squares
    image = back(image)
    fourths = float(image.double().square().sum()) / SIDE
    for _ in range(3):
        image = back(times(torch.linalg.qr(image).Q))
    return _spectrum(squares, float(torch.linalg.matrix_norm(image.double(), ord=2)), fourths)


def _spectrum(squares: float, top_square: float, fourths: float) -> Spectrum:
    return Spectrum(squares**0.5, top_square**0.5, squares**2 / fourths if fourths > 0 else 0.0)


def identity_sketch(width: int) -> Tensor:
    """The direction of the identity `[width, width]` among sketches of square matrices: of norm 1."""
    import torch

    left, right = projection(width, seed=1), projection(width, seed=2)
    whole = torch.eye(width, dtype=torch.float64) if left is None or right is None else left.T @ right
    return torch.as_tensor(whole.reshape(-1) / whole.norm())
