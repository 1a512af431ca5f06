"""Which samples of a set are used: drawn from a seed, disjoint, and named by a checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deeplimit import checks
from deeplimit.draws import NamedDraw

if TYPE_CHECKING:
    import torch

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Two disjoint sets of indices below `count`, drawn from a seed.

    They are the first `train` and the next `validation` places of one random order, the one in which `Images` takes its samples from the
    stream of that seed (`NamedDraw`): `Images(…, samples=train)` and `Images(…, samples=validation, offset=train)` hold the same split.

    Args:
        count: number of samples to divide.
        train, validation: sizes.
        seed: of the order.

    >>> split = Split(10, train=6, validation=4, seed=0)
    >>> sorted([*split.train_indices, *split.validation_indices]) == list(range(10))
    True
    """

    count: int
    train: int
    validation: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive or need more samples than there are."""
        for name in ("count", "train", "validation"):
            checks.positive_int(name, getattr(self, name))
        checks.seed("seed", self.seed)
        if self.train + self.validation > self.count:
            raise checks.InputError(
                f"split: expected at most {self.count} samples, found {self.train} + {self.validation}"
            )

    @property
    def train_indices(self) -> Indices:
        """`[train]`."""
        return self._order()[: self.train]

    @property
    def validation_indices(self) -> Indices:
        """`[validation]`."""
        return self._order()[self.train : self.train + self.validation]

    def checksums(self) -> dict[str, str]:
        """What a record keeps of the split: `checksum_of_indices` of both sets."""
        return {
            "train": checksum_of_indices(self.train_indices),
            "validation": checksum_of_indices(self.validation_indices),
        }

    def _order(self) -> Indices:
        return random_order(self.count, NamedDraw().stream(self.seed).generator("split"))


def random_order(count: int, generator: torch.Generator) -> Indices:
    """The numbers 0 … count − 1 in an order that is uniform over all orders."""
    import torch

    order: Indices = torch.randperm(count, generator=generator).numpy()
    return order


def checksum_of_indices(indices: Indices) -> str:
    """SHA-256 of the indices in their order, as little-endian integers of 8 bytes, whatever integers they are.

    >>> checksum_of_indices(np.arange(3, dtype=np.int32)) == checksum_of_indices(np.arange(3))
    True
    """
    return hashlib.sha256(np.ascontiguousarray(indices, "<i8").tobytes()).hexdigest()
