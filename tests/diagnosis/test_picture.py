from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from deeplimit.checks import InputError
from deeplimit.diagnosis.picture import colours, png


def test_small_is_dark_and_large_is_light():
    image = colours(np.array([[0.0, 1.0, 2.0]])).astype(int).sum(2)[0]
    cells = image[[0, 100, 200]]
    assert cells[0] < cells[1] < cells[2]


def test_every_number_has_its_rectangle():
    table = np.arange(6.0).reshape(2, 3)
    image = colours(table)
    assert image.shape == (256, 258, 3)
    assert image.dtype == np.uint8
    assert len({tuple(pixel) for pixel in image.reshape(-1, 3)}) == 6
    assert np.array_equal(image[0, 0], image[127, 85])
    assert not np.array_equal(image[0, 0], image[128, 0])


def test_what_is_not_finite_is_red_and_does_not_move_the_scale():
    plain, broken = colours(np.array([[0.0, 1.0]])), colours(np.array([[0.0, np.nan, np.inf, 1.0]]))
    assert tuple(broken[0, 64]) == tuple(broken[0, 128]) == (200, 30, 60)
    assert np.array_equal(plain[0, 0], broken[0, 0])
    assert np.array_equal(plain[0, -1], broken[0, -1])
    assert (200, 30, 60) not in {tuple(pixel) for pixel in plain[0]}
    assert tuple(colours(np.array([[np.nan]]))[0, 0]) == (200, 30, 60)


def test_equal_numbers_have_one_colour():
    assert len({tuple(pixel) for pixel in colours(np.full((2, 2), 3.0)).reshape(-1, 3)}) == 1


def test_no_numbers_are_refused():
    with pytest.raises(InputError, match="picture: expected numbers, found a table of 3 x 0"):
        colours(np.empty((3, 0)))


def test_a_png_holds_the_pixels():
    image = colours(np.arange(12.0).reshape(3, 4))
    content = png(image)
    parts, at = {}, 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        parts[kind], at = body, at + 12 + length
    assert struct.unpack(">II", parts[b"IHDR"][:8]) == (image.shape[1], image.shape[0])
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(image.shape[0], -1)
    assert np.all(rows[:, 0] == 0)
    assert np.array_equal(rows[:, 1:].reshape(image.shape), image)
