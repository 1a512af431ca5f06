from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.data import Images, Split, Standard, checksum_of_indices
from deeplimit.data.files import VARIABLE, load
from deeplimit.data.images import CIFAR_CHANNELS, OVERALL
from deeplimit.data.sets import SETS
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.records import canonical
from tests.data.fakes import real, tiny_cifar, tiny_mnist


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Sets of a few images in the place of the real ones: 7 and 3 of MNIST, 10 and 2 of CIFAR-10."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for known in (tiny_mnist(tmp_path), tiny_cifar(tmp_path)):
        monkeypatch.setitem(SETS, known.name, known)


def stream(seed: int = 0):
    return NamedDraw().stream(seed)


def test_all_images_come_in_the_order_of_the_files_as_numbers_from_0_to_1(tiny):
    images = Images("mnist")
    x, y = images.sample(stream())
    pixels, labels = load(SETS["mnist"], "train")
    assert (x.dtype, y.dtype, images.samples, images.shuffled) == (torch.float32, torch.float32, 7, False)
    torch.testing.assert_close(x, torch.from_numpy(pixels.reshape(7, 784) / 255).float())
    assert y.argmax(1).tolist() == labels.tolist()
    assert y.sum() == 7
    assert y.shape == (7, 10)
    assert 0.0 <= float(x.min()) < 0.01 < 0.99 < float(x.max()) <= 1.0


def test_images_keep_their_shape_and_targets_may_be_labels(tiny):
    x, y = Images("cifar-10", "test", flatten=False, targets="labels").sample(stream())
    pixels, labels = load(SETS["cifar-10"], "test")
    assert (x.shape, y.shape, y.dtype) == ((2, 3, 32, 32), (2,), torch.float32)
    assert y.tolist() == labels.tolist()
    assert torch.equal((x * 255).round().byte(), torch.from_numpy(pixels.copy()))


def test_standardisation_is_by_channel(tiny):
    plain = Images("cifar-10", flatten=False)
    x = plain.sample(stream())[0]
    scaled = dataclasses.replace(plain, scale=Standard((0.1, 0.2, 0.3), (0.5, 1.0, 2.0))).sample(stream())[0]
    for channel, (mean, sd) in enumerate(((0.1, 0.5), (0.2, 1.0), (0.3, 2.0))):
        torch.testing.assert_close(scaled[:, channel], (x[:, channel] - mean) / sd)
    one = Images("cifar-10", flatten=False, scale=Standard((0.5,), (0.25,))).sample(stream())[0]
    torch.testing.assert_close(one, 4 * x - 2)


def test_a_subset_is_random_and_its_seed_s(tiny):
    images = Images("mnist", samples=4)
    x, y = images.sample(stream())
    every, labels = Images("mnist").sample(stream())
    indices = torch.from_numpy(images.indices(stream()))
    assert len(set(indices.tolist())) == 4
    assert torch.equal(x, every[indices])
    assert torch.equal(y, labels[indices])
    others = {tuple(images.indices(stream(seed))) for seed in range(20)}
    assert len(others) > 15


def test_subsets_at_two_offsets_are_the_split_of_the_seed(tiny):
    split = Split(7, train=4, validation=3, seed=5)
    train, validation = Images("mnist", samples=4), Images("mnist", samples=3, offset=4)
    assert train.facts(stream(5))["indices"] == split.checksums()["train"]
    assert validation.facts(stream(5))["indices"] == split.checksums()["validation"]


def test_the_order_may_be_asked_for(tiny):
    assert Images("mnist", offset=5).indices(stream()).tolist() == [5, 6]
    assert Images("mnist", samples=2, offset=1, shuffled=False).indices(stream()).tolist() == [1, 2]
    everything = Images("mnist", shuffled=True).indices(stream())
    assert sorted(everything) == list(range(7))
    assert everything.tolist() == Images("mnist", samples=7).indices(stream()).tolist() != list(range(7))


def test_all_images_need_no_random_number(tiny):
    drawn, untouched = (SequentialDraw().stream(0) for _ in range(2))
    Images("mnist").sample(drawn)
    assert torch.equal(*(torch.rand(3, generator=s.generator("x")) for s in (drawn, untouched)))


def test_the_facts_name_the_set_its_files_and_the_indices(tiny):
    facts = Images("mnist", "test").facts(stream())
    assert facts == {
        "set": "mnist",
        "files": {file.name: file.sha256 for file in SETS["mnist"].test},
        "indices": checksum_of_indices(np.arange(3)),
    }


def test_the_description_of_a_run_does_not_know_the_directory(tiny, tmp_path, monkeypatch):
    before = canonical(Images("mnist", samples=3))
    monkeypatch.setenv(VARIABLE, "elsewhere")
    assert canonical(Images("mnist", samples=3)) == before
    assert "elsewhere" not in before
    assert canonical(Images("mnist", samples=2)) != before


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Images("emnist"), "name: expected one of .*mnist.*; found 'emnist'"),
        (lambda: Images("mnist", "valid"), "part: expected one of .*found 'valid'"),
        (lambda: Images("mnist", targets="one-hut"), "targets: expected one of one-hot; found 'one-hut'"),
        (lambda: Images("mnist", samples=0), "samples: expected an integer of at least 1, found 0"),
        (lambda: Images("mnist", samples=60000, offset=1), "at most 59999 after offset 1, found 60000"),
        (lambda: Images("mnist", offset=60000), "offset: expected an integer from 0 to 59999, found 60000"),
        (lambda: Images("mnist", offset=-1), "offset: expected an integer from 0 to 59999, found -1"),
        (lambda: Images("mnist", scale=Standard((0.1,), (0.2, 0.3))), r"scale: .* one number or 1, found \(0.2, 0.3\)"),
        (lambda: Standard((0.1,), (0.0,)), r"sd: expected a finite number above 0, found 0\.0"),
    ],
)
def test_what_a_set_does_not_have_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_the_real_images_standardised_have_mean_0_and_deviation_1():
    real("mnist")
    x, y = Images("mnist", scale=Standard((0.1307,), (0.3081,))).sample(stream())
    assert x.shape == (60000, 784)
    assert y.sum(0)[:2].tolist() == [5923, 6742]
    assert float(x.mean()) == pytest.approx(0.0, abs=1e-3)
    assert float(x.std()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("name", "part"), OVERALL)
def test_the_stated_mean_and_deviation_are_those_of_all_pixels_of_the_part(name, part):
    real(name)
    pixels = load(SETS[name], part)[0]
    mean = int(pixels.sum(dtype=np.int64)) / pixels.size
    square = int(np.square(pixels, dtype=np.int64).sum()) / pixels.size
    assert OVERALL[name, part].mean == pytest.approx((mean / 255,), rel=1e-12)
    assert OVERALL[name, part].sd == pytest.approx(((square - mean**2) ** 0.5 / 255,), rel=1e-12)


def test_each_part_has_numbers_of_its_own():
    assert len(set(OVERALL.values())) == len(OVERALL) == 6


def test_the_numbers_of_released_code_are_channel_means_and_mean_deviations_within_images():
    real("cifar-10")
    pixels = torch.from_numpy(load(SETS["cifar-10"], "train")[0][::5]).float() / 255  # 10,000 of the images
    within, overall = pixels.std((2, 3)).mean(0), pixels.std((0, 2, 3))
    for channel, (mean, sd) in enumerate(zip(CIFAR_CHANNELS.mean, CIFAR_CHANNELS.sd, strict=True)):
        assert float(pixels[:, channel].mean()) == pytest.approx(mean, abs=0.003)
        assert float(within[channel]) == pytest.approx(sd, abs=0.002)
        assert float(overall[channel]) > sd + 0.03
