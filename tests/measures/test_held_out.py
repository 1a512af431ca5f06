from __future__ import annotations

import dataclasses

import pytest
import torch

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.data import FixedPairs, GaussianPairs
from deeplimit.draws import NamedDraw
from deeplimit.measures import FullLoss, HeldOut, View, accuracy_of
from deeplimit.networks import Dense, ResidualStack
from deeplimit.processes import IID
from deeplimit.training import CrossEntropy, SquaredError
from tests.measures.views import drawn, look, seen

NETWORK = ResidualStack(Perceptron(3, 4), 5, init=IID(), embedding=Dense(2, 3, 1.0), readout=Dense(3, 2, 1.0))
TEST = GaussianPairs(11, 2, 2)


def view(**changes: object) -> View:
    """Seeds 0 and 1, which see other data than those they are trained on."""
    return dataclasses.replace(look(NETWORK, drawn(NETWORK)), **changes)  # type: ignore[arg-type]


def test_the_full_loss_is_over_all_data_not_over_the_batch():
    whole = look(NETWORK, drawn(NETWORK))
    part = dataclasses.replace(whole, x=whole.x[:, :2], y=whole.y[:, :2], loss=torch.zeros(2, dtype=torch.float64))
    assert seen(FullLoss(), part)["loss.full"].tolist() == pytest.approx(whole.loss.tolist(), rel=1e-13)


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
def test_chunks_change_nothing_but_rounding(chunk):
    at_once, held = seen(FullLoss(), view()), seen(HeldOut(TEST), view())
    assert seen(FullLoss(chunk=chunk), view())["loss.full"].tolist() == pytest.approx(at_once["loss.full"].tolist())
    parts = seen(HeldOut(TEST, chunk=chunk), view())
    assert all(parts[name].tolist() == pytest.approx(held[name].tolist()) for name in held)


def test_no_more_than_a_chunk_is_evaluated_at_once_and_without_gradients(monkeypatch):
    sizes: list[int] = []

    def counted(self, params, x, **options):
        assert not torch.is_grad_enabled()
        sizes.append(x.shape[1])
        return torch.zeros(*x.shape[:2], 2, dtype=x.dtype)

    seen_view = view()
    monkeypatch.setattr(ResidualStack, "__call__", counted)
    seen(HeldOut(TEST, chunk=4), seen_view)
    assert sizes == [4, 4, 3]


@pytest.mark.parametrize("criterion", [SquaredError(), SquaredError(per_entry=True), CrossEntropy()])
def test_held_out_data_are_those_of_each_seed_in_the_loss_of_the_run(criterion):
    found = seen(HeldOut(TEST), view(criterion=criterion, seeds=(4, 9)))
    pairs = [TEST.sample(NamedDraw().stream(seed)) for seed in (4, 9)]
    x, y = (torch.stack(column).double() for column in zip(*pairs, strict=True))
    output = NETWORK(drawn(NETWORK), x)
    torch.testing.assert_close(found["test.loss"], criterion(output, y), rtol=1e-12, atol=0)
    hits = output.argmax(-1) == y.argmax(-1)
    assert found["test.accuracy"].tolist() == pytest.approx([float(h.double().mean()) for h in hits])
    assert 0 < float(hits.double().mean()) < 1


def test_synthetic_data_that_were_trained_on_are_refused():
    x, y = (tensor[None].double() for tensor in TEST.sample(NamedDraw().stream(4)))
    trained = view(seeds=(0, 4), data=(torch.cat([x + 1, x]), torch.cat([y, y])))
    with pytest.raises(InputError, match=r"held-out data: expected other samples than those trained on.*fresh=True"):
        seen(HeldOut(TEST), trained)
    fresh, other = seen(HeldOut(TEST, fresh=True), trained), seen(HeldOut(TEST), view(seeds=(0, 4)))
    assert fresh["test.loss"].tolist() != other["test.loss"].tolist()


def test_accuracy_counts_the_largest_output():
    output = torch.tensor([[[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    classes = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert accuracy_of(output, classes).tolist() == pytest.approx([2 / 3, 0.0])
    onehot = torch.nn.functional.one_hot(classes.long(), 2)
    assert accuracy_of(output, onehot).tolist() == pytest.approx([2 / 3, 0.0])


@pytest.mark.parametrize("build", [lambda chunk: FullLoss(chunk=chunk), lambda chunk: HeldOut(TEST, chunk=chunk)])
def test_a_chunk_below_one_is_refused(build):
    with pytest.raises(InputError, match="chunk: expected an integer of at least 1, found 0"):
        build(0)


def test_accuracy_on_the_data_trained_on_and_a_name_of_ones_own_where_asked_for():
    whole = look(NETWORK, drawn(NETWORK))
    assert set(seen(FullLoss(), whole)) == {"loss.full"}
    found = seen(FullLoss(accuracy=True), whole)
    expected = accuracy_of(NETWORK(whole.params, whole.x), whole.y)
    assert found["accuracy.full"].tolist() == pytest.approx(expected.tolist())
    assert set(seen(HeldOut(TEST, name="validation"), view())) == {"validation.loss", "validation.accuracy"}


def test_data_that_all_members_share_are_held_once(monkeypatch):
    strides = []

    def counted(self, params, x, **options):
        strides.append(x.stride(0))
        return torch.zeros(*x.shape[:2], 2, dtype=x.dtype)

    seen_view = view(seeds=(0, 1))
    monkeypatch.setattr(ResidualStack, "__call__", counted)
    seen(HeldOut(FixedPairs(TEST, seed=3)), seen_view)
    assert strides == [0]
