from __future__ import annotations

import hashlib

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.data import Split, checksum_of_indices
from deeplimit.data.splits import random_order
from deeplimit.draws import NamedDraw


def test_a_split_is_disjoint_and_as_large_as_asked_for():
    split = Split(100, train=60, validation=30, seed=3)
    train, validation = set(split.train_indices.tolist()), set(split.validation_indices.tolist())
    assert (len(train), len(validation), len(train & validation)) == (60, 30, 0)
    assert train | validation < set(range(100))


def test_a_seed_is_one_split_and_another_seed_another():
    first, again, other = (Split(100, train=60, validation=30, seed=seed) for seed in (0, 0, 1))
    assert first.checksums() == again.checksums()
    assert first.checksums()["train"] != first.checksums()["validation"]
    assert not first.checksums().items() & other.checksums().items()
    assert first.checksums()["train"] == checksum_of_indices(first.train_indices)


def test_every_index_is_as_likely_to_be_first():
    generator = NamedDraw().stream(0).generator("split")
    first = [int(random_order(5, generator)[0]) for _ in range(2000)]
    assert np.bincount(first) == pytest.approx([400] * 5, abs=80)  # more than 4 standard deviations


def test_the_checksum_is_that_of_integers_of_8_bytes_whatever_their_memory_is():
    expected = hashlib.sha256(bytes([5, *[0] * 7, 0, 1, *[0] * 6])).hexdigest()
    indices = np.array([5, 256])
    assert checksum_of_indices(indices) == expected
    assert checksum_of_indices(np.repeat(indices, 2)[::2]) == expected
    assert checksum_of_indices(indices.astype(">i4")) == expected
    assert checksum_of_indices(indices[::-1]) != expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((10, 6, 5), r"split: expected at most 10 samples, found 6 \+ 5"),
        ((10, 0, 5), "train: expected an integer of at least 1, found 0"),
        ((10, 5, -1), "validation: expected an integer of at least 1, found -1"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        Split(sizes[0], sizes[1], sizes[2], seed=0)
