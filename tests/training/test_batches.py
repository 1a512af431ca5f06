from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.data import Chain, Flip, Mixup
from deeplimit.training import Batches, Feed, distinct_batches


def order(batches: Batches, samples: int, *, seed: int = 0, epoch: int = 0) -> list[int]:
    found: list[int] = batches.order_of(samples, seed=seed, epoch=epoch).tolist()
    return found


# --- one order ---


def test_shuffled_orders_are_permutations_of_their_own_for_each_seed_and_epoch():
    orders = [order(Batches(4), 30, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert all(sorted(o) == list(range(30)) for o in orders)
    assert len({tuple(o) for o in orders}) == 6
    assert order(Batches(4), 30, seed=1, epoch=2) == orders[-1]


def test_the_first_sample_of_a_shuffled_epoch_is_any_with_equal_chance():
    firsts = [order(Batches(1), 4, seed=seed)[0] for seed in range(2000)]
    assert all(firsts.count(i) == pytest.approx(500, abs=4 * (2000 * 3 / 16) ** 0.5) for i in range(4))


def test_the_fixed_order_is_that_of_the_data():
    assert order(Batches(4, "fixed"), 10, epoch=3) == list(range(10))


def test_the_last_batch_makes_an_epoch_longer():
    assert [Batches(4).per_epoch(samples) for samples in (1, 4, 5, 8)] == [1, 1, 2, 2]


# --- the published defect ---

EPOCHS = range(5)


def surviving(earlier: int = 0) -> np.ndarray:
    """Batches left of 32 after 1 … 5 epochs, `[seeds, epochs]`."""
    batches = Batches(4, "published", earlier)
    return np.array(
        [
            [distinct_batches(batches.order_of(128, seed=seed, epoch=e), 4) for e in EPOCHS]
            for seed in range(400 if not earlier else 200)
        ]
    )


def test_batches_are_lost_as_in_the_released_code():
    """16.5, 9.7, 6.0, 4.1, 3.0: means of an emulation of the released code."""
    assert surviving().mean(0) == pytest.approx([16.5, 9.7, 6.0, 4.1, 3.0], abs=0.25)


@pytest.mark.filterwarnings("ignore:you are shuffling a 'Tensor' object:UserWarning")
def test_the_defect_is_that_of_numpy_on_a_tensor():
    def shuffled(seed: int) -> list[int]:
        generator, rows, left = np.random.RandomState(seed), torch.arange(32)[:, None].clone(), []
        for _ in EPOCHS:
            generator.shuffle(rows)
            left.append(len(rows.unique()))
        return left

    numpys, ours = np.array([shuffled(seed) for seed in range(400)]), surviving()
    assert np.abs(numpys.mean(0) - ours.mean(0)).max() < 0.35
    assert np.abs(numpys.std(0) - ours.std(0)).max() < 0.25


def test_whole_batches_are_copied_and_the_first_is_never_lost():
    parts = torch.tensor(order(Batches(4, "published"), 128, epoch=1)).reshape(-1, 4)
    assert all(part.tolist() == list(range(int(part[0]), int(part[0]) + 4)) and part[0] % 4 == 0 for part in parts)
    assert parts[0].tolist() == [0, 1, 2, 3]
    assert not torch.equal(parts.flatten(), torch.arange(128))


def test_earlier_epochs_are_those_of_a_training_before():
    later = [order(Batches(4, "published"), 128, epoch=epoch) for epoch in (3, 4)]
    assert [order(Batches(4, "published", 3), 128, epoch=epoch) for epoch in (0, 1)] == later
    assert surviving(earlier=12)[:, 0].mean() < 1.2


def test_distinct_batches_are_counted_by_content():
    assert distinct_batches(torch.tensor([0, 1, 2, 3, 0, 1]), 2) == 2
    assert distinct_batches(torch.tensor([0, 1, 1, 0]), 2) == 2


# --- the batches of an ensemble ---


def pairs(samples: int = 10, members: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """x holds member and sample, y ten times the sample."""
    numbers = torch.arange(samples, dtype=torch.float64).expand(members, samples)
    owner = torch.arange(members, dtype=torch.float64)[:, None].expand(members, samples)
    return torch.stack([owner, numbers], 2), 10 * numbers[..., None]


def test_each_member_gets_its_own_samples_in_its_own_order():
    feed, batches = Feed(pairs(), (7, 8), batches=Batches(4)), Batches(4)
    assert (feed.per_epoch, feed.samples) == (3, 10)
    for t, size in [(0, 4), (1, 4), (2, 2), (3, 4)]:
        x, y = feed(t)
        assert x.shape == (2, size, 2)
        for e, seed in enumerate((7, 8)):
            wanted = order(batches, 10, seed=seed, epoch=t // 3)[4 * (t % 3) :][:size]
            assert x[e].tolist() == [[e, i] for i in wanted]
            assert y[e].flatten().tolist() == [10 * i for i in wanted]


def test_a_batch_is_the_same_whatever_came_before():
    feed = Feed(pairs(), (7, 8), batches=Batches(4))
    for t in range(5):
        feed(t)
    x, y = feed(5)
    fresh_x, fresh_y = Feed(pairs(), (7, 8), batches=Batches(4))(5)
    assert torch.equal(x, fresh_x)
    assert torch.equal(y, fresh_y)
    assert not torch.equal(feed(2)[0], x)


def test_shared_data_are_read_in_place():
    x, y = (tensor[:1] for tensor in pairs())
    shared = Feed((x.expand(2, -1, -1), y.expand(2, -1, -1)), (7, 8), batches=Batches(4))
    apart = Feed((x.repeat(2, 1, 1), y.repeat(2, 1, 1)), (7, 8), batches=Batches(4))
    for t in range(4):
        assert all(torch.equal(a, b) for a, b in zip(shared(t), apart(t), strict=True))
    assert shared.data[0].untyped_storage().nbytes() == x.untyped_storage().nbytes()


def test_without_batches_an_update_sees_everything():
    x, y = pairs()
    feed = Feed((x, y), (7, 8))
    assert feed.per_epoch == 1
    assert all(torch.equal(feed(t)[0], x) and torch.equal(feed(t)[1], y) for t in (0, 5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "size: expected an integer of at least 1, found 0"),
        ((4, "random"), "order: expected one of .*; found 'random'"),
        ((4, "published", -1), "earlier: expected an integer of at least 0, found -1"),
        ((4, "shuffled", 2), "earlier: expected 0 with order 'shuffled', found 2"),
    ],
)
def test_what_makes_no_batches_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Batches(*arguments)


def test_the_published_order_needs_whole_batches():
    with pytest.raises(InputError, match="size: expected a divisor of the 10 samples with order 'published', found 4"):
        Batches(4, "published").order_of(10, seed=0, epoch=0)
    assert len(order(Batches(5, "published"), 10)) == 10


def test_augmented_batches_follow_from_seed_and_iteration_alone():
    x = torch.arange(2 * 6 * 1 * 2 * 2, dtype=torch.float64).reshape(2, 6, 1, 2, 2)
    y = torch.eye(3, dtype=torch.float64)[torch.arange(12) % 3].reshape(2, 6, 3)
    chain = Chain((Flip(), Mixup(classes=3)))
    feed = Feed((x, y), (4, 9), batches=Batches(3), augmentation=chain)
    plain = Feed((x, y), (4, 9), batches=Batches(3))
    later = feed(5)
    for t in (0, 1, 5):
        images, targets = feed(t)
        assert not (images == plain(t)[0]).all()
        for e, seed in enumerate((4, 9)):
            alone = Feed((x[e : e + 1], y[e : e + 1]), (seed,), batches=Batches(3), augmentation=chain)(t)
            assert (images[e] == alone[0][0]).all()
            assert (targets[e] == alone[1][0]).all()
    assert all((a == b).all() for a, b in zip(later, feed(5), strict=True))
    assert not (feed(0)[0] == feed(2)[0]).all()
