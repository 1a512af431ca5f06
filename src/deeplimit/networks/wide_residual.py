"""The wide residual network as Lewkowycz and Gur-Ari train it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.networks.images import PADDINGS, ImageNetwork, convolved, layer, normalisation, normalised

if TYPE_CHECKING:
    from torch import Tensor

GROUPS = 3


@dataclass(frozen=True)
class WideResidual(ImageNetwork):
    """WRN-(6N + 4)-K: a convolution, three groups of N residual blocks of widths 16 K, 32 K and 64 K, and a dense layer.

    Reference: Zagoruyko and Komodakis 2016, in the form of the released code of Lewkowycz and Gur-Ari 2020. A block is
    h + conv(ReLU(norm(conv(ReLU(norm(h)))))), all kernels 3 × 3 with biases; the first of a group has a 3 × 3 convolution (not 1 × 1) of h
    itself in the place of h, and in groups 2 and 3 stride 2. The end is norm, ReLU, the mean over the map, dense. All parameters move.

    Batch normalisation keeps no running averages: in evaluation too it takes the statistics of the batch (see `images.normalised`), so test
    images are to be given in large batches of a fixed size. The authors give all test images of a device at once.

    Args:
        blocks: N; 4 for WRN-28.
        widen: K.
        classes: number of outputs.
        image: channels, height and width.
        base: channels of the first convolution, 16 in the paper; the groups have base · K · (1, 2, 4).
        gain: g; weights start as N(0, g²/fan-in).
        padding: `same` as in JAX, or `symmetric` as in PyTorch: they differ where the stride is 2.

    >>> WideResidual(blocks=4, widen=10).depth
    28
    >>> WideResidual(blocks=1, widen=1).size
    100986
    """

    blocks: int
    widen: int
    classes: int = 10
    image: tuple[int, int, int] = (3, 32, 32)
    base: int = 16
    gain: float = 1.0
    padding: str = "same"

    def __post_init__(self) -> None:
        """Refuse sizes and scales that are not positive."""
        for name in ("blocks", "widen", "classes", "base"):
            checks.positive_int(name, getattr(self, name))
        checks.fields(self, image=checks.sizes(3), gain=checks.positive)
        checks.one_of("padding", self.padding, PADDINGS)

    @property
    def depth(self) -> int:  # type: ignore[override]  # a field elsewhere
        """6N + 4, as these networks are named: convolutions, those beside the first block of a group among them."""
        return 2 * GROUPS * self.blocks + GROUPS + 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Roles `stem.…`, `groupG.blockB.LAYER.…` with the layers norm1, conv1, norm2, conv2 and shortcut, `tail.…`, `dense.…`."""
        shapes = layer("stem", self.base, inputs=self.image[0], kernel=3)
        inputs = self.base
        for name, group, first in self._blocks():
            width = self._width(group)
            shapes |= normalisation(f"{name}.norm1", inputs) | layer(f"{name}.conv1", width, inputs=inputs, kernel=3)
            shapes |= normalisation(f"{name}.norm2", width) | layer(f"{name}.conv2", width, inputs=width, kernel=3)
            shapes |= layer(f"{name}.shortcut", width, inputs=inputs, kernel=3) if first else {}
            inputs = width
        return shapes | normalisation("tail", inputs) | layer("dense", self.classes, inputs=inputs)

    def forward(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The output `[n, classes]` of one member."""
        h = convolved(x, params, name="stem")
        for name, group, first in self._blocks():
            stride = 2 if first and group > 1 else 1
            # In place: the gradient of a normalisation needs its input and not its output.
            inner = normalised(h, params, name=f"{name}.norm1").relu_()
            inner = convolved(inner, params, name=f"{name}.conv1", stride=stride, padding=self.padding)
            inner = convolved(normalised(inner, params, name=f"{name}.norm2").relu_(), params, name=f"{name}.conv2")
            if first:
                h = convolved(h, params, name=f"{name}.shortcut", stride=stride, padding=self.padding)
            h = h + inner
        features = normalised(h, params, name="tail").relu_().mean((-2, -1))
        return features @ params["dense.W"].mT + params["dense.b"]

    def floats(self, samples: int) -> tuple[int, int]:
        """All parameters; the images, and both sides of every normalisation."""
        pixels = self.image[1] * self.image[2]
        kept, inputs, lines = self.image[0] * pixels, self.base, 1
        for _, group, first in self._blocks():
            width = self._width(group)
            before, lines = inputs * pixels // lines**2, lines * (2 if first and group > 1 else 1)
            kept, inputs = kept + 2 * (before + width * pixels // lines**2), width
        return self.size, samples * (kept + 2 * inputs * pixels // lines**2)

    def probed(self) -> tuple[WideResidual, float]:
        """The network with one block a group and K = 1, in proportion to the multiplications of all convolutions."""
        small = dataclasses.replace(self, blocks=1, widen=1)
        return small, self._multiplications() / small._multiplications()

    def _multiplications(self) -> int:
        """Of all convolutions, for a map of the size of the image."""
        areas = {f"group{group}": 0.25 ** (group - 1) for group in range(1, GROUPS + 1)}
        kernels = {role: math.prod(shape) for role, shape in self.shapes.items() if len(shape) > 2}
        return round(sum(size * areas.get(role.split(".")[0], 1.0) for role, size in kernels.items()))

    def _blocks(self) -> Iterator[tuple[str, int, bool]]:
        """Name, group and whether it is the first of its group, of every block."""
        for group in range(1, GROUPS + 1):
            for block in range(1, self.blocks + 1):
                yield f"group{group}.block{block}", group, block == 1

    def _width(self, group: int) -> int:
        return int(self.base * self.widen * 2 ** (group - 1))
