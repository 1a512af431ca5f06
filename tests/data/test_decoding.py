from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.data.decoding import cifar, decode, idx
from deeplimit.data.files import load
from deeplimit.data.sets import CIFAR_10, MNIST
from tests.data.fakes import digits, idx_bytes, real


def test_idx_is_read_as_it_was_written():
    numbers = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(idx(idx_bytes(numbers), 3, where="numbers"), numbers)


IMAGES = idx_bytes(np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "numbers: expected IDX that starts with 00000803, found nothing"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "starts with 00000803, found 1f8b0800"),
        (idx_bytes(np.zeros(24)), "starts with 00000803, found 00000801"),
        (b"\x00\x00\x0d\x03" + IMAGES[4:], "starts with 00000803, found 00000d03"),  # numbers of four bytes
        (IMAGES[:12], "starts with 00000803, found 00000803"),  # cut off among the lengths
        (IMAGES[:-1], r"expected 24 numbers for \[2, 3, 4\], found 23"),
        (IMAGES + b"\x00", "expected 24 numbers .* found 25"),
    ],
)
def test_what_is_no_idx_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        idx(content, 3, where="numbers")


def test_a_record_of_cifar_is_a_label_then_red_green_blue_by_rows():
    planes = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 3, 2, 2)
    content = bytes([4, *planes[0].flatten(), 9, *planes[1].flatten()])
    images, labels = cifar(content, (3, 2, 2), where="batch")
    assert np.array_equal(images, planes)
    assert labels.tolist() == [4, 9]


@pytest.mark.parametrize("length", [0, 12, 27])
def test_a_batch_that_is_cut_off_is_refused(length):
    with pytest.raises(InputError, match=f"batch: expected records of 13 bytes, found {length} bytes"):
        cifar(bytes(length), (3, 2, 2), where="batch")


def test_images_of_another_shape_or_number_are_refused():
    images, labels = digits(3)
    assert decode(MNIST, [idx_bytes(images), idx_bytes(labels)])[0].shape == (3, 1, 28, 28)
    for wrong in ([images[:2], labels], [images[:, 1:], labels]):
        with pytest.raises(InputError, match=r"mnist: expected images \(1, 28, 28\) and as many labels, found"):
            decode(MNIST, [idx_bytes(array) for array in wrong])


def test_labels_that_no_class_has_are_refused():
    record = bytes([10, *bytes(3072)])
    with pytest.raises(InputError, match="cifar-10: expected labels 0 … 9, found 10"):
        decode(CIFAR_10, [record])
    assert decode(dataclasses.replace(CIFAR_10), [b"\x09" + record[1:], record[1:] + b"\x00"])[1].tolist() == [9, 0]


GOLDEN = {
    "mnist": (5923, 6742, 0.1307, "23ceaef5eb61f0e70d64ac18fdf0f60df3d5971cf30bbadac7b6ebf07f782d2c"),
    "fashion-mnist": (6000, 6000, 0.2860, "5bd44e331a6d6998daf675700cd0c13dcd7af8ab954b7585124124da61459e7b"),
    "cifar-10": (5000, 5000, 0.4734, "e052de7deb775f78e5e3b718032db5e72434ae6f0d34152c7ad434521631b17c"),
}
"""Set -> of its training part: labels 0 and 1, mean pixel as published elsewhere, SHA-256 of the first image."""


@pytest.mark.parametrize("name", GOLDEN)
def test_the_real_images_are_what_is_known_of_them(name):
    known = real(name)
    zeros, ones, mean, first = GOLDEN[name]
    for part, count in known.counts.items():
        images, labels = load(known, part)
        assert (len(images), len(labels), images.shape[1:]) == (count, count, known.shape)
        if part == "train":
            assert np.bincount(labels)[:2].tolist() == [zeros, ones]
            assert images.mean() / 255 == pytest.approx(mean, abs=1e-4)
            assert hashlib.sha256(images[0].tobytes()).hexdigest() == first
