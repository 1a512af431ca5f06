"""Statistics over depth as measures."""

from __future__ import annotations

import pytest
import torch

from deeplimit.branches import OneMatrix, Perceptron, ReLU
from deeplimit.checks import InputError
from deeplimit.measures import DepthStatistics, Entry, Last
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID
from deeplimit.statistics import STATISTICS, Spectral
from tests.measures.views import drawn, look, seen


def test_every_role_has_every_statistic():
    network = ResidualStack(Perceptron(2, 3), 5, init=IID())
    params = drawn(network, 2)
    found = seen(DepthStatistics(), look(network, params))
    assert set(found) == {f"statistic.{name}.{role}" for name in STATISTICS for role in ("V", "W")}
    for e in range(2):
        norms = [float(layer.norm()) for layer in params["V"][e]]
        assert float(found["statistic.maximum.V"][e]) == pytest.approx(max(norms))
        assert float(found["statistic.root_sum_of_squares.V"][e]) == pytest.approx(sum(n**2 for n in norms) ** 0.5)
        assert float(found["statistic.cumulative_sum.W"][e]) == pytest.approx(float(params["W"][e].sum(0).norm()))


def test_a_shared_delta_counts_by_its_size():
    network = ResidualStack(OneMatrix(2, delta="shared"), 3, init=IID())
    params = drawn(network, 2)
    params["delta"] = torch.tensor([-0.25, 0.5], dtype=torch.float64)
    found = seen(DepthStatistics(), look(network, params))
    assert found["statistic.maximum.delta"].tolist() == [0.25, 0.5]
    assert "statistic.increment.delta" not in found


def test_relu_with_a_delta_per_layer_is_seen_by_what_it_identifies():
    network = ResidualStack(OneMatrix(2, ReLU(), delta="layer"), 3, init=IID())
    params = drawn(network, 1)
    found = seen(DepthStatistics(), look(network, params))
    sizes = [abs(float(d)) * float(A.norm()) for d, A in zip(params["delta"][0], params["A"][0], strict=True)]
    assert float(found["statistic.maximum.A"]) == pytest.approx(max(sizes))
    assert not any(name.endswith(".delta") for name in found)


def test_an_entry_of_what_is_identified():
    network = ResidualStack(OneMatrix(2, ReLU(), delta="layer"), 3, init=IID())
    params = drawn(network, 1)
    (raw,) = seen(Entry("A", (1, 0)), look(network, params)).values()
    (found,) = seen(Entry("A", (1, 0), identified=True), look(network, params)).values()
    assert torch.allclose(found, params["delta"].abs() * raw)
    assert not torch.allclose(found, raw)
    with pytest.raises(InputError, match="role"):
        seen(Entry("delta", (), identified=True), look(network, params))


def test_another_norm_and_the_end_of_a_run():
    network = ResidualStack(Perceptron(2, 2), 3, init=IID())
    view = look(network, drawn(network, 1))
    frobenius, spectral = seen(DepthStatistics(), view), seen(DepthStatistics(norm=Spectral()), view)
    assert spectral["statistic.maximum.V"] < frobenius["statistic.maximum.V"]
    assert DepthStatistics().at == Last()
