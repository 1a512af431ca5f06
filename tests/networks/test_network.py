from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from deeplimit.branches import Perceptron
from deeplimit.checks import InputError
from deeplimit.data import GaussianPairs
from deeplimit.draws import Draw, NamedDraw, Stream
from deeplimit.measures import Drift, Entry, Every, Loss
from deeplimit.networks import Network, Parameters, ResidualStack, as_stack
from deeplimit.records import Context, frame
from deeplimit.training import SGD, TrainingRun


@dataclass(frozen=True)
class Line(Network):
    """F(x) = w x: the least that training asks of a network."""

    inputs: int
    depth: int = 1

    @property
    def trainable(self) -> tuple[str, ...]:
        return ("w",)

    def initialise(
        self, seed: int | Stream = 0, *, draw: Draw | None = None, dtype: torch.dtype | None = None
    ) -> Parameters:
        stream = seed if isinstance(seed, Stream) else (draw or NamedDraw()).stream(seed)
        return {"w": torch.randn(1, self.inputs, generator=stream.generator("w")).to(dtype or torch.float32)}

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        return x @ params["w"].mT

    def floats(self, samples: int) -> tuple[int, int]:
        return self.inputs, samples


def run_of(*measures, rate=0.1):
    return TrainingRun(
        (Line(3),),
        GaussianPairs(20, 3, 1),
        SGD(rate),
        iterations=40,
        measures=measures,
        seeds=(0, 1),
        keep_weights=True,
    )


def test_a_network_that_is_no_stack_trains_to_least_squares():
    run = run_of(Loss(Every(40)), Drift(Every(40)), rate=0.2)
    context = Context()
    rows = frame(run.run(context))
    assert context.provenance["engine"] == "torch"
    last = rows.filter(quantity="loss", iteration=40)["value"].to_list()
    for seed, loss in zip(run.seeds, last, strict=True):
        stream = NamedDraw().stream(seed)
        run.networks[0].initialise(stream)
        x, y = (tensor.double() for tensor in run.data.sample(stream))
        best = (x @ torch.linalg.lstsq(x, y).solution - y).square().mean()
        assert loss == pytest.approx(float(best), rel=1e-3)
    assert all(drift > 0.1 for drift in rows.filter(quantity="drift.w", iteration=40)["value"].to_list())


def test_cost_and_probe_need_nothing_but_the_interface():
    assert run_of().cost().memory_bytes == 2 * 8 * (6 * 3 + 20)
    assert Line(3).probed() == (Line(3), 1.0)
    assert run_of().probe(Context()) > 0


def test_a_measure_of_layers_says_that_it_needs_a_stack():
    with pytest.raises(InputError, match="expected a ResidualStack, found Line"):
        list(run_of(Entry("w", (0, 0), Every(1), identified=True)).run(Context()))
    assert as_stack(ResidualStack(Perceptron(2, 3), 4)).depth == 4


def test_a_stack_counts_the_floats_of_all_its_layers():
    stack = ResidualStack(Perceptron(state=4, width=8), depth=300)
    assert stack.floats(0) == (300 * 64, 0)
    assert stack.floats(10) == (300 * 64, 300 * 10 * (8 + 16))
    assert stack.probed() == (stack.at_depth(256), 300 / 256)
    assert stack.at_depth(8).probed() == (stack.at_depth(8), 1.0)
