from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.data import EmbeddedMnist, Images
from deeplimit.data import embedding as module
from deeplimit.data.embedding import convolutions, embed
from deeplimit.data.files import VARIABLE
from deeplimit.data.sets import SETS
from deeplimit.draws import NamedDraw, SequentialDraw
from tests.data.fakes import real, tiny_mnist


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """MNIST of 7 and 3 images."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setitem(SETS, "mnist", tiny_mnist(tmp_path))


def stream(seed: int = 0):
    return NamedDraw().stream(seed)


def test_the_embedding_is_that_of_two_modules_of_pytorch(tiny):
    x, y = EmbeddedMnist().sample(SequentialDraw().stream(7))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        modules = nn.Sequential(nn.Conv2d(1, 1, 5, stride=2), nn.Conv2d(1, 1, 3, stride=2), nn.Flatten())
        h = modules(Images("mnist", flatten=False).sample(stream())[0] * 255)
    torch.testing.assert_close(x, h / h.norm(dim=1, keepdim=True))
    _, labels = Images("mnist").sample(stream())
    assert torch.equal(y, torch.cat([labels, torch.zeros(7, 15)], 1))
    assert (x.shape, x.dtype, y.dtype) == ((7, 25), torch.float32, torch.float32)
    assert not x.requires_grad


def test_both_parts_of_one_seed_are_embedded_alike_and_another_seed_otherwise(tiny, monkeypatch):
    first, again, other = (convolutions(stream(seed).generator("embedding")) for seed in (0, 0, 1))
    assert all(
        torch.equal(a, b) for left, right in zip(first, again, strict=True) for a, b in zip(left, right, strict=True)
    )
    assert not torch.equal(first[0][0], other[0][0])
    pixels = torch.from_numpy(Images("mnist", "test").pixels(stream())[0])
    assert torch.equal(EmbeddedMnist(part="test").sample(stream())[0], embed(pixels, first))


def test_kernels_are_uniform_up_to_one_over_the_root_of_the_fan_in():
    drawn = [convolutions(stream(seed).generator("embedding")) for seed in range(400)]
    for layer, size in enumerate((5, 3)):
        numbers = torch.cat([d[layer][0].flatten() for d in drawn]) * size
        biases = torch.cat([d[layer][1] for d in drawn]) * size
        for values in (numbers, biases):
            assert 0.97 < float(values.abs().max()) <= 1.0
            assert float(values.var()) == pytest.approx(1 / 3, rel=0.15)


def test_pieces_do_not_show(monkeypatch):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (11, 1, 28, 28), np.uint8))
    layers = convolutions(stream().generator("embedding"))
    whole = embed(pixels, layers)
    monkeypatch.setattr(module, "_CHUNK", 4)
    torch.testing.assert_close(embed(pixels, layers), whole)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(11))


def test_what_goes_to_0_stays_0_and_the_rest_has_norm_1():
    layers = tuple((torch.ones(1, 1, size, size), torch.zeros(1)) for size in (5, 3))
    pixels = torch.zeros(2, 1, 28, 28)
    pixels[1, 0, 3, 3] = 1e-9
    embedded = embed(pixels, layers)
    assert torch.equal(embedded[0], torch.zeros(25))
    assert float(embedded[1].norm()) == pytest.approx(1.0)


def test_a_subset_is_that_of_the_images(tiny):
    pairs, images = EmbeddedMnist(3, offset=2), Images("mnist", samples=3, offset=2)
    assert (pairs.samples, EmbeddedMnist(part="test").samples) == (3, 3)
    assert torch.equal(pairs.sample(stream(4))[1][:, :10], images.sample(stream(4))[1])
    assert pairs.facts(stream(4)) == images.facts(stream(4))
    assert pairs.facts(stream(4)) != EmbeddedMnist(3).facts(stream(4))


def test_what_the_images_refuse_is_refused():
    with pytest.raises(InputError, match="samples: expected at most 10000 after offset 0, found 10001"):
        EmbeddedMnist(10001, "test")


def test_the_real_digits_are_embedded_on_the_sphere():
    real("mnist")
    x, y = EmbeddedMnist().sample(stream())
    assert x.shape == y.shape == (60000, 25)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(60000))
    assert y.sum(0).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949, *[0] * 15]
    assert float(x.std(0).min()) > 0.01  # no coordinate is the same for all images
