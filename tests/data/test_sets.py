from __future__ import annotations

import re

import pytest

from deeplimit.checks import InputError
from deeplimit.data.sets import CIFAR_10, FASHION_MNIST, MNIST, SETS, chosen


def test_every_file_has_a_checksum_of_its_own():
    files = [file for known in SETS.values() for file in known.files]
    assert len(files) == len({file.sha256 for file in files}) == 14
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in files)


@pytest.mark.parametrize("known", [MNIST, FASHION_MNIST])
def test_sizes_of_idx_files_follow_from_the_images(known):
    for part, count in known.counts.items():
        images, labels = known.part(part)
        assert (images.size, labels.size) == (16 + count * 28 * 28, 8 + count)


def test_sizes_of_cifar_follow_from_the_records():
    for part, count in CIFAR_10.counts.items():
        assert sum(file.size for file in CIFAR_10.part(part)) == count * (1 + 3 * 32 * 32)


def test_a_set_is_downloaded_by_file_or_as_one_archive():
    assert {url.rpartition("/")[2]: [file.name for file in files] for url, files in MNIST.archives().items()} == {
        f"{file.name}.gz": [file.name] for file in MNIST.files
    }
    assert CIFAR_10.archives() == {CIFAR_10.home: CIFAR_10.files}


def test_sets_are_chosen_by_name():
    assert chosen(["cifar-10", "mnist", "mnist"]) == (MNIST, CIFAR_10)
    assert chosen(["all"]) == chosen([]) == tuple(SETS.values())
    with pytest.raises(InputError, match=r"data set: expected one of .*mnist.*; found 'emnist'"):
        chosen(["mnist", "emnist"])


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match=r"part: expected one of .*test.*; found 'tests'"):
        MNIST.part("tests")
