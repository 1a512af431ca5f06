from __future__ import annotations

import dataclasses

import pytest
import torch

from deeplimit.branches import Convolution, OneMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.measures import BatchMeans, Drift, Entry, Loss, Memory, SeedSpread
from deeplimit.networks import Dense, Padding, ResidualStack
from deeplimit.processes import IID
from tests.measures.views import data, drawn, look, seen

NETWORK = ResidualStack(
    OneMatrix(3, delta="shared"), 4, init=IID(), embedding=Padding(2, 3, trainable=False), readout=Dense(3, 2, 1.0)
)


# --- loss ---


def test_the_loss_is_that_of_the_run():
    view = look(NETWORK, drawn(NETWORK))
    assert seen(Loss(), view).keys() == {"loss"}
    assert torch.equal(seen(Loss(), view)["loss"], view.loss)


def test_the_residual_is_that_of_the_worst_sample():
    view = look(NETWORK, drawn(NETWORK))
    found = seen(Loss(residuals=True), view)["residual"]
    difference = NETWORK(view.params, view.x) - view.y
    assert found.tolist() == pytest.approx(
        [max(float(row.norm()) for row in member) for member in difference], rel=1e-12
    )


# --- as training sees it ---


def test_means_of_batches_are_over_the_samples_since_the_last_time():
    params, measure = drawn(NETWORK), BatchMeans()
    memory: Memory = {}
    views = [look(NETWORK, params, pairs=data(NETWORK, params, samples=samples)) for samples in (4, 2, 5)]
    for view in views[:2]:
        measure.watch(view, memory)
    found = seen(measure, views[2], memory)
    expected = (4 * views[0].loss + 2 * views[1].loss) / 6
    right = [(v.batch_output.argmax(-1) == v.y.argmax(-1)).double().sum(1) for v in views[:2]]
    assert found["batch.loss"].tolist() == pytest.approx(expected.tolist())
    assert found["batch.accuracy"].tolist() == pytest.approx(((right[0] + right[1]) / 6).tolist())
    measure.watch(views[2], memory)
    assert seen(measure, views[0], memory)["batch.loss"].tolist() == pytest.approx(views[2].loss.tolist())


def test_nothing_was_trained_on_before_the_first_batch():
    assert seen(BatchMeans(), look(NETWORK, drawn(NETWORK)), {}) == {}


# --- drift ---


def test_drift_and_size_of_every_role_that_is_trained():
    initial = drawn(NETWORK, 2)
    now = {
        role: t + 0.5 * torch.rand(t.shape, generator=torch.Generator().manual_seed(0)) for role, t in initial.items()
    }
    found = seen(Drift(), look(NETWORK, now, initial=initial))
    assert found.keys() == {f"{kind}.{role}" for kind in ("drift", "norm") for role in ("A", "b", "delta", "readout")}
    for e in range(2):
        for role in ("A", "b"):
            moves = [float((now[role][e, k] - initial[role][e, k]).norm()) for k in range(4)]
            assert float(found[f"drift.{role}"][e]) == pytest.approx(max(moves))
            assert float(found[f"norm.{role}"][e]) == pytest.approx(max(float(w.norm()) for w in now[role][e]))
        for role in ("delta", "readout"):
            assert float(found[f"drift.{role}"][e]) == pytest.approx(float((now[role][e] - initial[role][e]).norm()))
            assert float(found[f"norm.{role}"][e]) == pytest.approx(float(now[role][e].norm()))


def test_nothing_has_drifted_at_the_start():
    found = seen(Drift(), look(NETWORK, drawn(NETWORK)))
    assert all(not found[q].any() for q in found if q.startswith("drift"))
    assert all(found[q].all() for q in found if q.startswith("norm") and q != "norm.b")


# --- single entries ---


@pytest.mark.parametrize(
    ("branch", "role", "position"),
    [
        (Perceptron(2, 3), "V", (1, 2)),
        (Perceptron(2, 3), "W", (2, 0)),
        (Perceptron(2, 3, bias=True), "b", (2,)),
        (OneMatrix(2, delta="layer"), "delta", ()),
        (Convolution(2, (3, 3)), "W", (1, 0, 2, 1)),
    ],
)
def test_an_entry_in_every_layer(branch, role, position):
    network = ResidualStack(branch, 4, init=IID())
    params = drawn(network)
    (observation,) = Entry(role, position).observe(look(network, params), {})
    assert observation.quantity == f"entry.{role}"
    assert observation.index is not None
    assert list(observation.index) == [1, 2, 3, 4]
    assert observation.values.tolist() == [[float(params[role][(e, k, *position)]) for k in range(4)] for e in range(2)]


@pytest.mark.parametrize(
    ("role", "position", "message"),
    [
        ("Q", (0, 0), "role: expected one of .*A.*; found 'Q'"),
        ("delta", (), "role: expected one of .*A.*; found 'delta'"),  # shared: no weight of a layer
        ("readout", (0, 0), "role: expected one of .*A.*; found 'readout'"),
        ("A", (3, 0), r"position: expected an entry of a weight of shape \(3, 3\), found \(3, 0\)"),
        ("A", (0, -1), "position: expected an integer of at least 0, found -1"),
        ("A", (0,), r"position: expected an entry of a weight of shape \(3, 3\), found \(0,\)"),
        ("b", (), r"position: expected an entry of a weight of shape \(3,\), found \(\)"),
    ],
)
def test_an_entry_that_is_not_there_is_refused(role, position, message):
    with pytest.raises(InputError, match=message):
        seen(Entry(role, position), look(NETWORK, drawn(NETWORK)))


# --- members ---


def test_the_spread_is_the_distance_to_the_mean_over_members():
    params = drawn(NETWORK, 3)
    view = look(NETWORK, params)
    found = seen(SeedSpread(), view)
    h, F = NETWORK.states(params, view.x), NETWORK(params, view.x)
    for e in range(3):
        outputs = [float((F[e, i] - F[:, i].mean(0)).norm()) for i in range(4)]
        states = [float((h[k, e, i] - h[k, :, i].mean(0)).norm()) for k in range(5) for i in range(4)]
        assert float(found["spread.outputs"][e]) == pytest.approx(max(outputs), rel=1e-12)
        assert float(found["spread.states"][e]) == pytest.approx(max(states), rel=1e-12)


def test_equal_members_have_no_spread():
    one = drawn(NETWORK, 1)
    params = {role: t.expand(2, *t.shape[1:]).clone() for role, t in one.items()}
    x, y = data(NETWORK, one)
    found = seen(SeedSpread(), look(NETWORK, params, pairs=(x.expand(2, -1, -1), y.expand(2, -1, -1))))
    assert all(float(v.max()) <= 1e-14 for v in found.values())


def test_a_member_that_has_diverged_is_left_out_of_the_mean():
    params = drawn(NETWORK, 3)
    view = look(NETWORK, params)
    lost = dataclasses.replace(view, loss=torch.tensor([1.0, torch.nan, 1.0], dtype=torch.float64))
    two = {role: t[[0, 2]] for role, t in params.items()}
    known = seen(SeedSpread(), look(NETWORK, two, pairs=(view.x[[0, 2]], view.y[[0, 2]])))
    found = seen(SeedSpread(), lost)
    assert all(torch.allclose(found[q][[0, 2]], known[q], rtol=1e-12) for q in known)
