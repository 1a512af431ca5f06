"""Mini-batches: which samples an update sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.draws import NamedDraw

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.data import Augmentation
    from deeplimit.training.step import Batch


@dataclass(frozen=True)
class Batches:
    """Mini-batches of `size` samples; the last one of an epoch holds the rest.

    The order of an epoch follows from the seed and the epoch's number alone: members of an ensemble do not share it, depths do, and a
    run that goes on needs to remember nothing.

    Args:
        size: B.
        order: `shuffled`, a fresh permutation of all samples in each epoch; `fixed`, the order of the data; `published`, that of the
            released code of Cohen et al. 2021. There fixed batches are to be permuted before each epoch, but NumPy's shuffle exchanges
            rows of a PyTorch tensor, which are views: row j is copied over row i and row i is lost. Batches disappear epoch by epoch,
            in the end all are one.
        earlier: epochs that were spent on the same data before, by other trainings; batches lost then stay lost. For `published` alone.

    >>> Batches(4, "fixed").order_of(6, seed=0, epoch=0).split(4)
    (tensor([0, 1, 2, 3]), tensor([4, 5]))
    """

    size: int
    order: str = "shuffled"
    earlier: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes below 1, an unknown order, and earlier epochs where they change nothing."""
        checks.positive_int("size", self.size)
        checks.one_of("order", self.order, ("shuffled", "published", "fixed"))
        if checks.count("earlier", self.earlier) and self.order != "published":
            raise checks.InputError(f"earlier: expected 0 with order {self.order!r}, found {self.earlier}")

    def per_epoch(self, samples: int) -> int:
        """Number of batches in an epoch.

        >>> Batches(32).per_epoch(100)
        4
        """
        return -(-samples // self.size)

    def order_of(self, samples: int, *, seed: int, epoch: int) -> Tensor:
        """The samples in the order in which an epoch sees them, `[n]`; epochs count from 0.

        Raises:
            InputError: `published` with a number of samples that does not divide into batches.
        """
        import torch

        if self.order == "fixed":
            return torch.arange(samples)
        if self.order == "shuffled":
            return torch.randperm(samples, generator=NamedDraw().stream(seed).generator(f"batches {epoch}"))
        if samples % self.size:
            raise checks.InputError(
                f"size: expected a divisor of the {samples} samples with order 'published', found {self.size}"
            )
        sources = _overwritten(samples // self.size, seed, epochs=self.earlier + epoch + 1)
        return torch.arange(samples).reshape(-1, self.size)[sources].flatten()


def _overwritten(count: int, seed: int, *, epochs: int) -> list[int]:
    """Which batch lies at each place after so many shuffles that copy where they should exchange."""
    import torch

    sources = list(range(count))
    rows = range(count - 1, 0, -1)
    for epoch in range(epochs):
        generator = NamedDraw().stream(seed).generator(f"batches {epoch}")
        uniform = torch.rand(count - 1, dtype=torch.float64, generator=generator).tolist()
        for i, u in zip(rows, uniform, strict=True):
            sources[i] = sources[int(u * (i + 1))]
    return sources


def distinct_batches(order: Tensor, size: int) -> int:
    """How many different batches an epoch sees.

    Args:
        order: the samples in order `[n]`, as `Batches.order_of` gives them; n is a multiple of `size`.
        size: B.

    >>> distinct_batches(Batches(2, "fixed").order_of(6, seed=0, epoch=0), 2)
    3
    """
    return len(set(map(tuple, order.reshape(-1, size).tolist())))


class Feed:
    """The batches of an ensemble one after the other: `feed(t)` is what update t + 1 sees.

    Args:
        data: x, y `[E, n, …]`; they may be views of one data set that all members share.
        seeds: one member each.
        batches: how they are made; None for all samples at once, which makes each update an epoch.
        augmentation: what is done to each batch; its random numbers follow from seed and iteration alone.
    """

    def __init__(
        self,
        data: Batch,
        seeds: tuple[int, ...],
        *,
        batches: Batches | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        """Nothing is drawn; the order of an epoch is when it begins."""
        # Whole, each member has data of its own, whether they are the same or not: the arithmetic is that of one memory layout.
        self.data = data if batches else (data[0].contiguous(), data[1].contiguous())
        self.seeds, self.batches, self.augmentation = seeds, batches, augmentation
        self.samples: int = data[0].shape[1]
        self.per_epoch = 1 if batches is None else batches.per_epoch(self.samples)
        self._epoch, self._places = -1, ()  # type: tuple[int, tuple[Tensor, ...]]
        shared = all(tensor.stride(0) == 0 for tensor in data)
        self._apart = 0 if shared else self.samples
        self._rows = [tensor[0] if shared else tensor.flatten(0, 1) for tensor in data]

    def __call__(self, t: int) -> Batch:
        """The batch `[E, B, …]` of each member at iteration t."""
        batch = self.data if self.batches is None else self._batch(self.batches, t)
        return batch if self.augmentation is None else self._augmented(self.augmentation, batch, t=t)

    def _batch(self, batches: Batches, t: int) -> Batch:
        epoch, number = divmod(t, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._places = epoch, self._drawn(batches, epoch)
        x, y = self._rows
        places, lead = self._places[number], (len(self.seeds), -1)
        return (
            x.index_select(0, places).view(*lead, *x.shape[1:]),
            y.index_select(0, places).view(*lead, *y.shape[1:]),
        )

    def _augmented(self, augmentation: Augmentation, batch: Batch, *, t: int) -> Batch:
        generators = [NamedDraw().stream(seed).generator(f"augmentation {t}") for seed in self.seeds]
        return augmentation(*batch, generator=generators)

    def _drawn(self, batches: Batches, epoch: int) -> tuple[Tensor, ...]:
        """For each batch of an epoch, the rows of the data of all members, `[E · B]`."""
        import torch

        orders = torch.stack([batches.order_of(self.samples, seed=seed, epoch=epoch) for seed in self.seeds])
        orders += self._apart * torch.arange(len(self.seeds))[:, None]
        orders = orders.to(self.data[0].device)
        return tuple(orders[:, i : i + batches.size].flatten() for i in range(0, self.samples, batches.size))
