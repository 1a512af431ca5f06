"""MNIST in 25 dimensions, by two convolutions that nobody trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplimit.data.images import Images, one_hot
from deeplimit.data.pairs import Pairs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.draws import Stream

KERNELS = (5, 3)
"""Sizes of the two convolutions, each from one channel to one, with stride 2: 28 → 12 → 5."""
STRIDE = 2
DIMENSION = 25

Convolution = tuple["Tensor", "Tensor"]
"""Weight `[1, 1, k, k]` and bias `[1]`."""

#: Images that are embedded at once.
_CHUNK = 4096


@dataclass(frozen=True)
class EmbeddedMnist(Pairs):
    """x = E(image) / ‖E(image)‖ in R^25 with E two untrained convolutions on pixels 0 … 255; y the label, one-hot in R^25.

    Kernels and biases are drawn from the stream's generator `embedding` as PyTorch initialises `Conv2d`, uniform on ±1/√fan_in: one seed
    is one embedding, for both parts. Coordinates 10 … 24 of y are 0, since the last state of the network is compared with y.

    Reference: Cohen et al. 2021, the experiments on MNIST, as in the released code.

    Args:
        samples, part, offset, shuffled: as of `Images`.
    """

    samples: int | None = None
    part: str = "train"
    offset: int = 0
    shuffled: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what `Images` refuses; put numbers in the place of None."""
        images = self._images
        object.__setattr__(self, "shuffled", images.shuffled)
        object.__setattr__(self, "samples", images.samples)

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Read and embed: x and y `[n, 25]` in float32.

        Raises:
            InputError: a file is missing or is not the original.
        """
        import torch

        pixels, labels = self._images.pixels(stream)
        return embed(torch.from_numpy(pixels), convolutions(stream.generator("embedding"))), one_hot(labels, DIMENSION)

    def lacking(self) -> str:
        """MNIST, where its files are missing."""
        return self._images.lacking()

    def facts(self, stream: Stream) -> dict[str, Any]:
        """Those of the images."""
        return self._images.facts(stream)

    @property
    def _images(self) -> Images:
        return Images("mnist", self.part, self.samples, self.offset, shuffled=self.shuffled)


def convolutions(generator: torch.Generator) -> tuple[Convolution, ...]:
    """Weight and bias of each convolution, drawn in the order in which PyTorch's `Conv2d` draws them."""
    import torch

    def uniform(shape: tuple[int, ...], size: int) -> Tensor:
        return torch.empty(shape).uniform_(-1 / size, 1 / size, generator=generator)  # √fan_in is the kernel's side

    return tuple((uniform((1, 1, size, size), size), uniform((1,), size)) for size in KERNELS)


def embed(pixels: Tensor, layers: tuple[Convolution, ...]) -> Tensor:
    """Convolve and divide by the norm; an image that goes to 0, which biases make unlikely, stays 0.

    Args:
        pixels: `[n, 1, 28, 28]`.
        layers: the convolutions.

    Returns:
        `[n, 25]` in float32.
    """
    import torch
    from torch.nn import functional

    with torch.no_grad():
        embedded = torch.empty(len(pixels), DIMENSION)
        for start in range(0, len(pixels), _CHUNK):
            h = pixels[start : start + _CHUNK].float()
            for weight, bias in layers:
                h = functional.conv2d(h, weight, bias, stride=STRIDE)
            embedded[start : start + _CHUNK] = functional.normalize(h.flatten(1), eps=torch.finfo().tiny)
    return embedded
