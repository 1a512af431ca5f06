from __future__ import annotations

import itertools

import pytest
import torch
from scipy.stats import beta, kstest
from torch.utils._python_dispatch import TorchDispatchMode

from deeplimit.checks import InputError
from deeplimit.data import Chain, Flip, Mixup, PaddedCrop
from deeplimit.data.augment import _moved
from tests.cases import normal

PARTS = {
    "flip": Flip(),
    "crop": PaddedCrop(2),
    "published crop": PaddedCrop(2, published=True),
    "mixup": Mixup(classes=5),
    "permuted mixup": Mixup(0.4, "permuted", classes=5),
    "chain": Chain((Flip(), PaddedCrop(2), Mixup(partner="permuted", classes=5))),
}
each = pytest.mark.parametrize("augmentation", PARTS.values(), ids=PARTS)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(*lead, size=6):
    x = normal((*lead, 3, size, size - 1), gen(50))
    return x, torch.randint(5, lead, generator=gen(51))


@each
def test_a_batch_follows_from_the_generator_alone(augmentation):
    x, y = batch(40)
    before = torch.get_rng_state(), x.clone(), y.clone()
    first, again, other = (augmentation(x, y, generator=gen(seed)) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])
    assert all(map(torch.equal, before, (torch.get_rng_state(), x, y)))


@each
def test_members_of_an_ensemble_meet_what_they_meet_alone(augmentation):
    x, y = batch(3, 40)
    together = augmentation(x, y, generator=[gen(seed) for seed in (4, 5, 6)])
    for e, seed in enumerate((4, 5, 6)):
        alone = augmentation(x[e], y[e], generator=gen(seed))
        assert torch.equal(together[0][e], alone[0])
        assert torch.equal(together[1][e], alone[1])


@each
def test_members_with_one_generator_draw_different_numbers(augmentation):
    x, y = batch(1, 40)
    found, _ = augmentation(x.expand(2, -1, -1, -1, -1), y.expand(2, -1), generator=gen())
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_images_are_flipped_with_probability_p(p):
    x, y = batch(20000, size=3)
    found, targets = Flip(p)(x, y, generator=gen())
    flipped = (found == x.flip(-1)).flatten(1).all(1)
    assert bool((flipped | (found == x).flatten(1).all(1)).all())
    assert float(flipped.double().mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / 20000) ** 0.5)
    assert torch.equal(targets, y)


@pytest.mark.parametrize(("published", "places"), [(False, 25), (True, 16)])
def test_crops_lie_at_all_places_equally_often(published, places):
    x, y = batch(1)
    padded = torch.nn.functional.pad(x[0], (2, 2, 2, 2))
    crops = {(r, c): padded[:, r : r + 6, c : c + 5] for r, c in itertools.product(range(5), repeat=2)}
    found, _ = PaddedCrop(2, published=published)(x.expand(20000, -1, -1, -1), y.expand(20000), generator=gen())
    counts = {place: int((found == crop).flatten(1).all(1).sum()) for place, crop in crops.items()}
    drawn = {place: count for place, count in counts.items() if count}
    assert sum(counts.values()) == 20000
    assert set(drawn) == set(itertools.product(range(4 if published else 5), repeat=2))
    assert len(drawn) == places
    statistic = sum((count - 20000 / places) ** 2 / (20000 / places) for count in drawn.values())
    assert statistic < 2 * places  # mean places − 1, deviation √(2 places)


def test_crops_are_those_of_a_loop():
    x, y = batch(50)
    offsets = PaddedCrop(2).draw(50, gen(3)).tolist()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    expected = torch.stack([image[:, r : r + 6, c : c + 5] for image, (r, c) in zip(padded, offsets, strict=True)])
    assert torch.equal(PaddedCrop(2)(x, y, generator=gen(3))[0], expected)


def test_the_lines_around_may_have_a_colour_of_their_own():
    x, y = batch(50)
    colour = (1.0, -2.0, 0.5)
    found, _ = PaddedCrop(2, border=colour)(x, y, generator=gen(3))
    columns = torch.tensor(colour)[:, None, None]
    expected = PaddedCrop(2)(x - columns, y, generator=gen(3))[0] + columns
    torch.testing.assert_close(found, expected)
    # Scaling commutes with a crop of raw images among black lines.
    scaled = (PaddedCrop(2)(x, y, generator=gen(3))[0] - 0.25) / 0.5
    torch.testing.assert_close(PaddedCrop(2, border=(-0.5,))((x - 0.25) / 0.5, y, generator=gen(3))[0], scaled)
    assert not torch.allclose(PaddedCrop(2)((x - 0.25) / 0.5, y, generator=gen(3))[0], scaled)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_beta_distributed(alpha):
    shares = Mixup(alpha).draw(4000, gen())[:, 0].numpy()
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 0.01
    assert kstest(shares, beta(2 * alpha, alpha).cdf).pvalue < 1e-6


def test_images_and_targets_are_mixed_alike_with_the_reversed_batch():
    x, y = batch(7)
    share = Mixup().draw(7, gen(3))[:, 0]
    images, targets = Mixup(classes=5)(x, y, generator=gen(3))
    hot = torch.eye(5, dtype=torch.float64)[y]
    wide = share[:, None, None, None]
    torch.testing.assert_close(images, wide * x + (1 - wide) * x.flip(0))
    torch.testing.assert_close(targets, share[:, None] * hot + (1 - share[:, None]) * hot.flip(0))
    assert torch.equal(images[3], x[3])  # its own partner
    same = Mixup()(x, hot, generator=gen(3))[1]
    torch.testing.assert_close(same, targets)


def test_partners_are_permuted():
    numbers = Mixup(partner="permuted").draw(50, gen(3))
    places = numbers[:, 1].long()
    assert sorted(places.tolist()) == list(range(50)) != places.tolist()
    x, y = batch(50)
    images, _ = Mixup(partner="permuted")(x, y, generator=gen(3))
    share = numbers[:, 0, None, None, None]
    torch.testing.assert_close(images, share * x + (1 - share) * x[places])


def test_the_targets_of_mixed_images_sum_to_1_in_the_precision_of_the_images():
    x, y = batch(30)
    images, targets = Mixup(0.5, classes=5)(x.float(), y.float(), generator=gen())
    assert (images.dtype, targets.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(targets.sum(1), torch.ones(30))


def test_a_chain_is_its_parts_in_their_order():
    x, y = batch(10)
    generator = gen(3)
    images, targets = Mixup(classes=5)(*Flip()(x, y, generator=generator), generator=generator)
    found = Chain((Flip(), Mixup(classes=5)))(x, y, generator=gen(3))
    assert torch.equal(found[0], images)
    assert torch.equal(found[1], targets)
    assert Chain(())(x, y, generator=gen())[0] is x


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Flip(1.5), "p: expected a number from 0 to 1, found 1.5"),
        (lambda: PaddedCrop(0), "pad: expected an integer of at least 1, found 0"),
        (lambda: Mixup(0.0), "alpha: expected a finite number above 0, found 0.0"),
        (lambda: Mixup(partner="next"), "partner: expected one of .*found 'next'"),
        (lambda: Flip()(torch.zeros(4, 36), torch.zeros(4), generator=gen()), "images: expected 4 axes, .*found 2"),
        (lambda: Flip()(*batch(3, 2), generator=[gen()]), "generator: expected one for each of 3 members, found 1"),
    ],
)
def test_what_cannot_be_done_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


class Copies(TorchDispatchMode):
    """Counts what goes to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._to_copy.default and (kwargs or {}).get("device") is not None
        return function(*args, **(kwargs or {}))


def test_all_numbers_of_a_batch_go_to_the_device_of_the_images_in_one_copy():
    x, y = (t.to("meta") for t in batch(2, 8))
    chain = Chain((Flip(), PaddedCrop(2, border=(1.0, 2.0, 3.0)), Mixup(0.4, "permuted", classes=5)))
    chain(x, y, generator=[gen(0), gen(1)])  # the border goes there once
    with Copies() as copies:
        images, targets = chain(x, y, generator=[gen(0), gen(1)])
    assert copies.count == 1
    assert {images.device.type, targets.device.type} == {"meta"}
    assert targets.shape == (2, 8, 5)


def test_numbers_arrive_as_they_were(monkeypatch):
    kinds = (torch.bool, torch.int64, torch.float64)
    drawn = [torch.arange(6).view(2, 3).to(kind) for kind in kinds]
    monkeypatch.setattr(torch.Tensor, "device", torch.device("meta"))  # what is drawn lies elsewhere
    found = _moved(drawn, torch.device("cpu"))
    monkeypatch.undo()
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, drawn, strict=True))


def test_a_chain_is_its_parts_one_after_the_other():
    x, y = batch(2, 40)
    parts = (Flip(), PaddedCrop(2), Mixup(0.4, "permuted", classes=5))
    together = Chain(parts)(x, y, generator=[gen(4), gen(5)])
    generators = [gen(4), gen(5)]
    for part in parts:
        x, y = part(x, y, generator=generators)
    assert all(map(torch.equal, together, (x, y)))
