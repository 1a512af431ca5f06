"""Augmentation of whole batches of images: every random number from a generator of the caller's."""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.records.identity import LATER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Generators = torch.Generator | Sequence[torch.Generator]


class Augmentation(ABC):
    """A random change of images and targets that a batch undergoes before an update.

    Numbers are drawn by the generator, on its device, and used on that of the images: what a batch becomes follows from the generator
    alone. With one that is made of seed and iteration a run can be resumed anywhere.
    """

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor, *, generator: Generators) -> tuple[Tensor, Tensor]:
        """The batch after the change; x and y stay as they are.

        Args:
            x: images `[B, channels, height, width]`, or `[E, B, …]` for an ensemble.
            y: targets `[B, …]` or `[E, B, …]`.
            generator: for an ensemble one for each member, which then meets the same numbers as it does alone; or one from which all
                members draw, one after the other.

        Raises:
            InputError: x has another number of axes, or there are not as many generators as members.
        """


class Independent(Augmentation):
    """A change of each sample by numbers of its own."""

    @abstractmethod
    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """The numbers of a batch, `[B, …]`."""

    @abstractmethod
    def apply(self, x: Tensor, y: Tensor, *, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The change of `[E, B, …]` by numbers `[E, B, …]`."""

    def __call__(self, x: Tensor, y: Tensor, *, generator: Generators) -> tuple[Tensor, Tensor]:
        """Draw and apply."""
        return _changed((self,), x, y=y, generator=generator)


@dataclass(frozen=True)
class Flip(Independent):
    """Left and right exchanged with probability p."""

    p: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        checks.fraction("p", self.p)

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Whether, `[B]`."""
        import torch

        return torch.rand(samples, generator=generator, device=generator.device) < self.p

    def apply(self, x: Tensor, y: Tensor, *, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Images flipped where the numbers say so."""
        return x.flip(-1).where(numbers[..., None, None, None], x), y


@dataclass(frozen=True)
class PaddedCrop(Independent):
    """The image among `pad` lines of one colour on each side, cut back to its size at a random place.

    Zeros are the mean of standardised images. Code that crops before it standardises has black lines: −mean/sd of each channel here.

    Args:
        pad: number of lines.
        published: whether the first line and column of the cut are drawn from 0 … 2 pad − 1, as in the released code of Lewkowycz and
            Gur-Ari 2020, and not from all of 0 … 2 pad: images are then never shifted all the way to the left or upwards, and half a pixel
            to the right and downwards in the mean.
        border: the number in the lines; one for each channel, or one for all.
    """

    pad: int = 4
    published: bool = False
    border: tuple[float, ...] = field(default=(0.0,), metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse a number of lines that is not positive."""
        checks.fields(self, pad=checks.positive_int, border=checks.each(checks.finite))

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """First line and column, `[B, 2]`."""
        import torch

        places = 2 * self.pad + (0 if self.published else 1)
        return torch.randint(places, (samples, 2), generator=generator, device=generator.device)

    def apply(self, x: Tensor, y: Tensor, *, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """One gather over the pixels of the padded images: two thirds of the time of a loop over 128 images of 32 × 32."""
        import torch
        from torch.nn.functional import pad

        height, width = x.shape[-2:]
        lines = numbers[..., 0, None] + torch.arange(height, device=x.device)
        columns = numbers[..., 1, None] + torch.arange(width, device=x.device)
        pixels = lines[..., :, None] * (width + 2 * self.pad) + columns[..., None, :]
        around = (self.pad,) * 4
        border = _colour(self.border, x.dtype, x.device) if any(self.border) else 0.0
        padded = (pad(x - border, around) + border if any(self.border) else pad(x, around)).flatten(-2)
        return padded.gather(-1, pixels.flatten(-2)[..., None, :].expand(*x.shape[:-2], -1)).view(x.shape), y


@dataclass(frozen=True)
class Mixup(Independent):
    """x_i ↦ λ_i x_i + (1 − λ_i) x_j and y_i the same, with λ_i ~ Beta(α, α) of each sample and j its partner in the batch.

    Reference: Zhang et al. 2018 (there one λ for a batch); one for each sample, and the reversed batch as partner, in the released code of
    Lewkowycz and Gur-Ari 2020. Labels by number become one-hot.

    Args:
        alpha: α.
        partner: `reversed`, the batch from its end, or `permuted`, a random order.
        classes: how many, where y is labels by number.
    """

    alpha: float = 1.0
    partner: str = "reversed"
    classes: int = 10

    def __post_init__(self) -> None:
        """Refuse an α that is not positive and an unknown partner."""
        checks.positive("alpha", self.alpha)
        checks.one_of("partner", self.partner, ("reversed", "permuted"))
        checks.positive_int("classes", self.classes)

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """λ and the place of the partner, `[B, 2]` in float64."""
        import torch
        from scipy.special import betaincinv

        device = generator.device
        uniform = torch.rand(samples, generator=generator, device=device, dtype=torch.float64)
        # PyTorch's own Beta draws from the global generator. Beta(1, 1) is uniform, and others its quantiles.
        share = uniform
        if self.alpha != 1:
            share = torch.as_tensor(betaincinv(self.alpha, self.alpha, uniform.cpu().numpy()), device=device)
        if self.partner == "permuted":
            return torch.stack((share, torch.randperm(samples, generator=generator, device=device).double()), 1)
        return torch.stack((share, torch.arange(samples, device=device).flip(0).double()), 1)

    def apply(self, x: Tensor, y: Tensor, *, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Images and targets, mixed."""
        from torch.nn.functional import one_hot

        targets = one_hot(y.long(), self.classes).to(x.dtype) if y.dim() == 2 else y
        return _mixed(x, numbers), _mixed(targets, numbers)


@dataclass(frozen=True)
class Chain(Augmentation):
    """Several changes, one after the other.

    >>> import torch
    >>> published = Chain((Flip(), PaddedCrop(4, published=True), Mixup()))
    >>> x, y = torch.ones(8, 3, 32, 32), torch.arange(8)
    >>> images, targets = published(x, y, generator=torch.Generator().manual_seed(0))
    >>> images.shape, targets.shape
    (torch.Size([8, 3, 32, 32]), torch.Size([8, 10]))
    """

    parts: tuple[Augmentation, ...]

    def __call__(self, x: Tensor, y: Tensor, *, generator: Generators) -> tuple[Tensor, Tensor]:
        """The parts in their order; neighbours that are independent draw before any of them is applied."""
        for kind, parts in itertools.groupby(self.parts, lambda part: isinstance(part, Independent)):
            if kind:
                x, y = _changed(tuple(parts), x, y=y, generator=generator)  # type: ignore[arg-type]
                continue
            for part in parts:
                x, y = part(x, y, generator=generator)
        return x, y


def _changed(parts: Sequence[Independent], x: Tensor, *, y: Tensor, generator: Generators) -> tuple[Tensor, Tensor]:
    """The changes of a batch one after the other, by numbers that go to the device of the images in one copy.

    Raises:
        InputError: as `Augmentation`.
    """
    import torch

    if x.dim() not in (4, 5):
        raise checks.InputError(f"images: expected 4 axes, or 5 for an ensemble; found {x.dim()}")
    if x.dim() == 4:
        x, y = _changed(parts, x[None], y=y[None], generator=generator)
        return x[0], y[0]
    generators = [generator] * len(x) if isinstance(generator, torch.Generator) else generator
    if len(generators) != len(x):
        raise checks.InputError(f"generator: expected one for each of {len(x)} members, found {len(generators)}")
    drawn = [torch.stack([part.draw(x.shape[1], own) for own in generators]) for part in parts]
    for part, numbers in zip(parts, _moved(drawn, x.device), strict=True):
        x, y = part.apply(x, y, numbers=numbers)
    return x, y


def _moved(drawn: list[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors on a device: as one block of bytes, which on CUDA nobody waits for."""
    import torch

    if all(t.device == device for t in drawn):
        return drawn
    # The widest numbers first: those after them then lie at multiples of their width.
    order = sorted(range(len(drawn)), key=lambda i: -drawn[i].element_size())
    block = torch.cat([drawn[i].contiguous().flatten().view(torch.uint8) for i in order])
    if device.type == "cuda":
        block = block.pin_memory()
    block = block.to(device, non_blocking=device.type == "cuda")
    parts = torch.split(block, [drawn[i].nbytes for i in order])
    found = {i: part.view(drawn[i].dtype).view(drawn[i].shape) for i, part in zip(order, parts, strict=True)}
    return [found[i] for i in range(len(drawn))]


@functools.lru_cache(maxsize=8)
def _colour(border: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """One number for each channel, `[channels, 1, 1]`; kept, because every batch asks for it."""
    import torch

    return torch.tensor(border, dtype=dtype, device=device)[:, None, None]


def _mixed(values: Tensor, numbers: Tensor) -> Tensor:
    """λ v_i + (1 − λ) v_j of values `[E, B, …]`."""
    import torch

    members, samples = values.shape[:2]
    share = numbers[..., 0].to(values.dtype).reshape(members, samples, *[1] * (values.dim() - 2))
    places = numbers[..., 1].long() + samples * torch.arange(members, device=values.device)[:, None]
    partners = values.flatten(0, 1).index_select(0, places.flatten()).view(values.shape)
    return partners.lerp(values, share)


__all__ = ["Augmentation", "Chain", "Flip", "Independent", "Mixup", "PaddedCrop"]
