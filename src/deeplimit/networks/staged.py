"""The convolutional residual networks of Cohen et al. 2021: four stages, no normalisation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.networks.drawn import Law
from deeplimit.networks.images import ImageNetwork, channels_last

if TYPE_CHECKING:
    from torch import Tensor

PROBED_BASE = 16
"""Channels of the network that is timed in the place of a wider one."""


@dataclass(frozen=True)
class Kernels:
    """Neighbouring 3 × 3 kernels of one shape, stacked in one role.

    Args:
        role: of the parameters, `[n, out, in, 3, 3]` for one member.
        kind: `A` or `delta`.
        first: block of the first of them, counted from 1 over the whole depth.
        side: height and width of the maps that they act on.
    """

    role: str
    kind: str
    first: int
    side: tuple[int, int]


@dataclass(frozen=True)
class StagedResidual(ImageNetwork):
    """h_{k+1} = ReLU(h_k + Δ_k ∗ ReLU(A_k ∗ h_k)): blocks of two 3 × 3 convolutions in stages of growing width.

    Before them stands ReLU(stem ∗ x), a 3 × 3 convolution, after them the mean over the map (4 × 4 for images of 32 × 32) and a dense
    layer. Stage s = 1, 2, … has 2^(s−1) · base channels. From the second on its first block has stride 2 in A, and a 1 × 1 convolution of
    h of stride 2 in the place of h. There are no biases but that of the dense layer, and no normalisation.

    Reference: Cohen et al. 2021, the convolutional networks of the released code, where base is 64 and all of the above is as here. The
    start is assumed to be PyTorch's own, since the code calls no other: all entries, the biases too, uniform on ±1/√fan-in.

    Kernels of equal shape are stacked: the roles of stage s are `stageS.A` and `stageS.delta`, `[n, C, C, 3, 3]`, where from the second
    stage on A lacks the first block, which has `stageS.first` `[1, C, C/2, 3, 3]` and `stageS.shortcut` `[1, C, C/2, 1, 1]`. Besides there
    are `stem.W`, `dense.W`, `dense.b`. A stage of a single block has no `stageS.A` beside its `stageS.first`.

    Args:
        blocks: number of blocks of each stage.
        base: channels of the stem and of the first stage.
        classes: number of outputs.
        image: channels, height and width.
        gain: g; entries have deviation g/√fan-in at the start. PyTorch's is 1/√3.

    >>> network = StagedResidual((2, 3, 4, 2))
    >>> network.depth, network.shapes["stage3.A"], network.shapes["stage3.first"]
    (11, (3, 256, 256, 3, 3), (1, 256, 128, 3, 3))
    """

    blocks: tuple[int, ...]
    base: int = 64
    classes: int = 10
    image: tuple[int, int, int] = (3, 32, 32)
    gain: float = 1 / math.sqrt(3)

    def __post_init__(self) -> None:
        """Refuse sizes and scales that are not positive, and a network without stages."""
        if not self.blocks:
            raise checks.InputError("blocks: expected a number for each stage, found none")
        checks.fields(self, blocks=checks.sizes(), image=checks.sizes(3))
        for name in ("base", "classes"):
            checks.positive_int(name, getattr(self, name))
        checks.positive("gain", self.gain)

    @property
    def depth(self) -> int:  # type: ignore[override]  # a field elsewhere
        """L, the number of blocks of all stages."""
        return sum(self.blocks)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role -> shape of one member."""
        shapes: dict[str, tuple[int, ...]] = {"stem.W": (self.base, self.image[0], 3, 3)}
        for name, width, count, stride in self._stages():
            if stride > 1:
                shapes[f"{name}.first"] = (1, width, width // 2, 3, 3)
                shapes[f"{name}.shortcut"] = (1, width, width // 2, 1, 1)
            if count >= stride:
                shapes[f"{name}.A"] = (count - stride + 1, width, width, 3, 3)
            shapes[f"{name}.delta"] = (count, width, width, 3, 3)
        return shapes | {"dense.W": (self.classes, self._features), "dense.b": (self.classes,)}

    @property
    def kernels(self) -> tuple[Kernels, ...]:
        """The stacks of A and of Δ, each kind in the order of the blocks."""
        found, first, lines = [], 1, 1
        for name, _, count, stride in self._stages():
            side, lines = self._side(lines), lines * stride
            found += [Kernels(f"{name}.first", "A", first, side)] if stride > 1 else []
            found += [Kernels(f"{name}.A", "A", first + stride - 1, self._side(lines))] if count >= stride else []
            found += [Kernels(f"{name}.delta", "delta", first, self._side(lines))]
            first += count
        return tuple(found)

    def start(self, role: str) -> tuple[float, float]:
        """Mean 0 and deviation g/√fan-in; that of a bias is the one of its layer."""
        shape = self.shapes[role.replace(".b", ".W")]
        return 0.0, self.gain / math.sqrt(math.prod(shape[2:] if len(shape) == 5 else shape[1:]))

    def law(self, role: str) -> Law:
        """Uniform, as PyTorch draws layers."""
        return "uniform"

    def forward(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The output `[n, classes]` of one member."""
        # ReLU in place: no gradient needs what stands before it.
        h = _convolved(x, params["stem.W"]).relu_()
        for name, _, _, stride in self._stages():
            # The gradient of unbind is one stack; that of indexing is a sum of n tensors that are zero outside one kernel.
            own = {role: params[f"{name}.{role}"].unbind() for role in ("first", "A") if f"{name}.{role}" in params}
            deltas = params[f"{name}.delta"].unbind()
            for number, (A, delta) in enumerate(zip((*own.get("first", ()), *own.get("A", ())), deltas, strict=True)):
                first = stride > 1 and number == 0
                inner = _convolved(h, A, stride=stride if first else 1).relu_()
                kept = _convolved(h, params[f"{name}.shortcut"][0], stride=stride) if first else h
                h = _convolved(inner, delta).add_(kept).relu_()
        return h.mean((-2, -1)) @ params["dense.W"].mT + params["dense.b"]

    def floats(self, samples: int) -> tuple[int, int]:
        """All parameters; the images, the stem, and two maps of every block."""
        kept, lines = math.prod(self.image) + self.base * math.prod(self.image[1:]), 1
        for _, width, count, stride in self._stages():
            lines *= stride
            kept += 2 * count * width * math.prod(self._side(lines))
        return self.size, samples * (kept + self._features + self.classes)

    def probed(self) -> tuple[StagedResidual, float]:
        """The network with one block a stage and few channels, in proportion to the multiplications of all convolutions."""
        small = dataclasses.replace(self, blocks=(1,) * len(self.blocks), base=min(self.base, PROBED_BASE))
        return small, self._multiplications() / small._multiplications()

    @property
    def _features(self) -> int:
        return self.base << (len(self.blocks) - 1)

    def _multiplications(self) -> int:
        """Of the stem and of the blocks for one image."""
        count, lines = math.prod(self.shapes["stem.W"]) * math.prod(self.image[1:]), 1
        for name, _, _, stride in self._stages():
            lines *= stride
            own = sum(math.prod(shape) for role, shape in self.shapes.items() if role.startswith(f"{name}."))
            count += own * math.prod(self._side(lines))
        return count

    def _stages(self) -> Iterator[tuple[str, int, int, int]]:
        """Name, channels, number of blocks, and the stride of the first block, of every stage."""
        for number, count in enumerate(self.blocks, start=1):
            yield f"stage{number}", self.base << (number - 1), count, 1 if number == 1 else 2

    def _side(self, lines: int) -> tuple[int, int]:
        """Height and width of the maps after strides whose product is `lines`."""
        return -(-self.image[1] // lines), -(-self.image[2] // lines)


def _convolved(x: Tensor, kernel: Tensor, *, stride: int = 1) -> Tensor:
    """kernel ∗ x with as many zeros on every side as keep the size at stride 1, as PyTorch's layers have them."""
    from torch.nn.functional import conv2d

    return conv2d(x, channels_last(kernel), stride=stride, padding=kernel.shape[-1] // 2)
