"""Norms of states and gradients at the initialisation without a single weight matrix.

What a run needs of the Gaussian matrices V and W of a layer is what they do to one vector each way, and the law of that, given the
vectors, is Gaussian: a layer costs 4d normal numbers in place of 2d² products and draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.draws import NamedDraw
from deeplimit.papers.marion2024.finite_time import seconds_for
from deeplimit.records import Context, Cost, Label, Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CHUNK = 128
"""Runs that advance together: what the way back needs of them lies in memory at once."""


def forward(
    h: Tensor, *, depth: int, scale: float, generator: torch.Generator
) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    """The states of independent networks h′ = h + α V ReLU(W h), V and W with entries N(0, 1/d), one network per row of h.

    z = W h ~ N(0, ‖h‖²/d I) given h;   u = V g ~ N(0, ‖g‖²/d I) given g = ReLU(z);   h′ = h + α u

    Args:
        h: h_0, `[n, d]`.
        depth: L.
        scale: α.
        generator: where the normal numbers come from.

    Returns:
        h_L, and (h, z, u) of every layer, which is what `backward` conditions on.
    """
    import torch

    root = h.shape[1] ** -0.5
    layers = []
    for _ in range(depth):
        xi, zeta = torch.randn(2, *h.shape, generator=generator, dtype=h.dtype) * root
        z = h.norm(dim=1, keepdim=True) * xi
        u = z.relu().norm(dim=1, keepdim=True) * zeta
        layers.append((h, z, u))
        h = h + scale * u
    return h, layers


def backward(
    p: Tensor, layers: list[tuple[Tensor, Tensor, Tensor]], *, scale: float, generator: torch.Generator
) -> Tensor:
    """The gradients of the same networks, given all that the way forward has seen of V and W.

    p = p′ + α Wᵀ s,   s = D q,   q = Vᵀ p′,   D the mask z > 0;   with g = ReLU(z):

        V given V g = u:    V = u gᵀ/‖g‖² + Ṽ (I − g gᵀ/‖g‖²),     q    = g ⟨u, p′⟩/‖g‖² + (I − g gᵀ/‖g‖²) N(0, ‖p′‖²/d I)
        W given W h = z:    W = z hᵀ/‖h‖² + W̃ (I − h hᵀ/‖h‖²),     Wᵀ s = h ⟨z, s⟩/‖h‖² + (I − h hᵀ/‖h‖²) N(0, ‖s‖²/d I)

    A row of a Gaussian matrix splits into independent parts along and across a fixed vector; Ṽ and W̃ are independent of all that was seen
    and of the other layers, and p′ is a function of what was seen and of the layers above. So the law of all states and gradients
    together is exact. Since g has the entries of z under the mask, ⟨z, s⟩ = ⟨u, p′⟩, and ⟨h, p⟩ = ⟨h′, p′⟩: the homogeneity of ReLU.

    The gradient alone has the law of the state. Let all entries of row i of W and of column i of V change sign: each product V_i W_i
    stays as it is, and the mask turns. Hence masks are fair coins independent of these products, J = Π (I + α V D W) is a product of
    independent random matrices, and its transpose has the same law.

    Args:
        p: p_L, `[n, d]`, independent of the layers given h_L.
        layers: of `forward`.
        scale: α.
        generator: where the normal numbers come from.

    Returns:
        p_0, `[n, d]`.
    """
    import torch

    root = p.shape[1] ** -0.5
    for h, z, u in reversed(layers):
        xi, zeta = torch.randn(2, *h.shape, generator=generator, dtype=h.dtype) * root
        along = (u * p).sum(1, keepdim=True)
        q = _given(z.relu(), along, p.norm(dim=1, keepdim=True) * xi)
        s = q * (z > 0)
        p = p + scale * _given(h, along, s.norm(dim=1, keepdim=True) * zeta)
    return p


def _given(v: Tensor, along: Tensor, free: Tensor) -> Tensor:
    """v · along/‖v‖² + (I − v vᵀ/‖v‖²) free: the vector whose product with v is known, free across it."""
    # A layer whose neurons are all off has g = 0 and is conditioned on nothing.
    square = (v * v).sum(1, keepdim=True).clamp_min(1e-30)
    return free + v * ((along - (v * free).sum(1, keepdim=True)) / square)


@dataclass(frozen=True)
class ConditionalRuns:
    """Independent networks at the initialisation, by the conditional laws above.

    Rows, with the run as index: `growth`, ‖h_L‖/‖h_0‖; `output`, ‖h_L − h_0‖/‖h_0‖; with gradients `gradient`, ‖p_0 − p_L‖/‖p_L‖.
    The law of a ratio depends neither on h_0 nor on p_L, by invariance under rotations: h_0 is a basis vector, p_L uniform on the sphere
    (the read-out is Gaussian and independent of h_L).

    Args:
        depth, width: L and d.
        runs: how many networks.
        seed: names the stream.
        first: index of the first run.
        beta: β.
        gradients: whether gradients are wanted.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    depth: int
    width: int
    runs: int
    seed: int
    first: int = 0
    beta: float = 0.5
    gradients: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Chunk by chunk."""
        generator = NamedDraw().stream(self.seed).generator(f"runs from {self.first}")
        for start in range(0, self.runs, _CHUNK):
            found = self.chunk(min(_CHUNK, self.runs - start), generator)
            for quantity, values in found.items():
                for i, value in enumerate(values.tolist(), self.first + start):
                    yield {"depth": self.depth, "quantity": quantity, "index": i, "value": value}
            context.progress(min(1.0, (start + _CHUNK) / self.runs))

    def chunk(self, runs: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Quantity -> one value per run."""
        import torch

        scale = float(self.depth) ** -self.beta
        h = torch.zeros(runs, self.width)
        h[:, 0] = 1.0
        last, layers = forward(h, depth=self.depth, scale=scale, generator=generator)
        found = {"growth": last.norm(dim=1), "output": (last - h).norm(dim=1)}
        if self.gradients:
            p = torch.nn.functional.normalize(torch.randn(runs, self.width, generator=generator))
            first = backward(p, layers, scale=scale, generator=generator)
            found["gradient"] = (first - p).norm(dim=1)
        return found

    def cost(self) -> Cost:
        """A layer of one run is about a fortieth of a layer with matrices."""
        steps = self.depth * self.runs * (2 if self.gradients else 1) * self.width / 40
        return Cost(steps / 40, 12.0 * self.depth * _CHUNK * self.width + 1e7, 40.0 * self.runs)

    def probe(self, context: Context) -> float:
        """From one chunk at a tenth of the depth."""
        sample = dataclasses.replace(self, runs=min(self.runs, _CHUNK), depth=max(10, self.depth // 10))
        return seconds_for(self, sample, context=context)
