"""Labelled images as pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplimit import checks
from deeplimit.data.decoding import Bytes
from deeplimit.data.files import data_directory, load, status
from deeplimit.data.pairs import Pairs
from deeplimit.data.sets import CLASSES, SETS, ImageSet
from deeplimit.data.splits import Indices, checksum_of_indices, random_order

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.draws import Stream

TARGETS = ("one-hot", "labels")

#: Pixels are bytes.
LARGEST = 255


@dataclass(frozen=True)
class Standard:
    """x ↦ (x − mean) / sd on pixels in [0, 1], by channel.

    Args:
        mean, sd: a number per channel, or one for all; stated, not estimated from what happens to be loaded.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse deviations that are not positive."""
        checks.fields(self, mean=checks.each(checks.finite), sd=checks.each(checks.positive))


OVERALL: Mapping[tuple[str, str], Standard] = MappingProxyType(
    {
        ("mnist", "train"): Standard((0.1306604762738429,), (0.3081078038564627,)),
        ("mnist", "test"): Standard((0.13251460584233693,), (0.3104802479305351,)),
        ("fashion-mnist", "train"): Standard((0.2860405969887955,), (0.3530242445149226,)),
        ("fashion-mnist", "test"): Standard((0.28684928071228494,), (0.35244415324744005,)),
        ("cifar-10", "train"): Standard((0.4733630004850899,), (0.2515689250632205,)),
        ("cifar-10", "test"): Standard((0.4765849205984477,), (0.2512194906784148,)),
    }
)
"""Set and part -> mean and deviation of all its pixels, of all channels together: sums of the bytes and of their squares in integers,
divided by their number. Lewkowycz and Gur-Ari 2020 (released code) standardise each part by its own."""

CIFAR_CHANNELS = Standard((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
"""The numbers for CIFAR-10 that much released code has, that of Cohen et al. 2021 for both parts: means of the channels over the part
`train`, and deviations within an image, averaged over images."""


@dataclass(frozen=True)
class Images(Pairs):
    """A part of MNIST, Fashion-MNIST or CIFAR-10, read from the original files.

    Samples are the places offset … offset + samples − 1 of an order: that of the files where all are taken, else a random one from the
    stream's generator `split`. In the same stream two offsets therefore give disjoint samples, and `train` never holds one of `test`.

    Args:
        name: the set: `mnist`, `fashion-mnist` or `cifar-10`.
        part: `train` or `test`.
        samples: n; all that follow `offset` unless given.
        offset: places of the order that are passed over.
        scale: standardisation; pixels lie in [0, 1] without.
        flatten: x is a vector, channel by channel and row by row; else `[channels, height, width]`.
        targets: y is `one-hot`, a vector of 10, or `labels`, a number.
        shuffled: take samples in random order; where `samples` is given, unless this is False.

    >>> images = Images("mnist", "test")
    >>> images.samples, images.shuffled
    (10000, False)
    """

    name: str
    part: str = "train"
    samples: int | None = None
    offset: int = 0
    scale: Standard | None = None
    flatten: bool = True
    targets: str = "one-hot"
    shuffled: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what the set does not have; put numbers in the place of None."""
        checks.one_of("name", self.name, SETS)
        self._set.part(self.part)
        checks.one_of("targets", self.targets, TARGETS)
        count, channels = self._set.counts[self.part], self._set.shape[0]
        checks.integer("offset", self.offset, 0, count - 1)
        if self.samples is not None and checks.positive_int("samples", self.samples) > count - self.offset:
            raise checks.InputError(
                f"samples: expected at most {count - self.offset} after offset {self.offset}, found {self.samples}"
            )
        for found in (self.scale.mean, self.scale.sd) if self.scale is not None else ():
            if len(found) not in (1, channels):
                raise checks.InputError(f"scale: expected one number or {channels}, found {found}")
        if self.shuffled is None:
            object.__setattr__(self, "shuffled", self.samples is not None)
        if self.samples is None:
            object.__setattr__(self, "samples", count - self.offset)

    def sample(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Read x `[n, d]`, or `[n, channels, height, width]`, and y `[n, 10]`, or `[n]`, in float32.

        Raises:
            InputError: a file is missing or is not the original.
        """
        import torch

        pixels, labels = self.pixels(stream)
        x = torch.from_numpy(pixels).float().div_(LARGEST)
        if self.scale is not None:
            mean, sd = (torch.tensor(numbers)[:, None, None] for numbers in (self.scale.mean, self.scale.sd))
            x.sub_(mean).div_(sd)
        y = one_hot(labels, CLASSES) if self.targets == "one-hot" else torch.from_numpy(labels).float()
        return x.flatten(1) if self.flatten else x, y

    def pixels(self, stream: Stream) -> tuple[Bytes, Bytes]:
        """The numbers in the files: pixels `[n, channels, height, width]` and labels `[n]`."""
        indices = self.indices(stream)
        images, labels = load(self._set, self.part)
        return images[indices], labels[indices]

    def indices(self, stream: Stream) -> Indices:
        """The places `[n]` of the samples in the files of the part."""
        count = self._set.counts[self.part]
        order = random_order(count, stream.generator("split")) if self.shuffled else np.arange(count)
        return order[self.offset :][: self.samples]

    def facts(self, stream: Stream) -> dict[str, Any]:
        """The set, the checksums of the files that are read, and the checksum of the indices."""
        files = {file.name: file.sha256 for file in self._set.part(self.part)}
        return {"set": self.name, "files": files, "indices": checksum_of_indices(self.indices(stream))}

    def lacking(self) -> str:
        """The set, unless all files of the part are in the data directory."""
        needed = {file.name for file in self._set.part(self.part)}
        missing = needed.intersection(status(self._set, data_directory()).missing)
        return self.name if missing else ""

    @property
    def _set(self) -> ImageSet:
        return SETS[self.name]


def one_hot(labels: Bytes, length: int) -> Tensor:
    """1 in the coordinate of the label, 0 elsewhere, `[n, length]` in float32."""
    import torch

    found: Tensor = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), length).float()
    return found
