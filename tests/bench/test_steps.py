from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from deeplimit import measures
from deeplimit.bench.cases import Case
from deeplimit.bench.steps import EVALUATION, MEASURES, OPTIMIZERS, calls, reported
from deeplimit.bench.timing import Track
from deeplimit.branches import Perceptron
from deeplimit.measures import Every, Last, LayerGaps, Measure, Memory, View
from deeplimit.training import Info, Step

CASE = Case("tiny", Perceptron(3, 5), 4, 6, members=2, dtype="float64")


def test_every_measure_of_one_network_and_three_optimisers_take_part():
    exported = [getattr(measures, name) for name in measures.__all__]
    kinds = [kind for kind in exported if isinstance(kind, type) and issubclass(kind, Measure) and kind != Measure]
    # What is taken at the end alone costs no iteration anything.
    assert set(MEASURES) == {k.__name__ for k in kinds if _at(k) is not Last}
    assert all(isinstance(measure.at, Every) for measure in MEASURES.values())
    assert list(calls(CASE, "reference")) == ["evaluation", "GradientFlow", "SGD, momentum 0.9", "Adam", *MEASURES]


def _at(kind: Any) -> object:
    """What makes a measure's schedule where none is given."""
    return next(field.default_factory for field in dataclasses.fields(kind) if field.name == "at")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_goes_on_from_the_last_one(name, monkeypatch):
    seen: list[Info] = []
    evaluate = Step.evaluate

    def noted(self, params, batch):
        seen.append(evaluate(self, params, batch))
        return seen[-1]

    monkeypatch.setattr(Step, "evaluate", noted)
    run = calls(CASE, "reference")[name]
    seen.clear()
    assert [run(), run(), run()] == [1, 2, 3]
    losses = torch.stack([info.loss for info in seen])
    assert losses.shape == (3, 2)  # both members
    assert losses.dtype == torch.float64
    assert bool((losses.diff(dim=0) < 0).all())


def test_the_evaluation_stays_where_it_is():
    run = calls(CASE, "reference")[EVALUATION]
    first, again = run(), run()
    assert torch.equal(first.loss, again.loss)  # type: ignore[attr-defined]
    assert set(first.grads) == {"V", "W"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_gives_its_numbers(name):
    run = calls(CASE, "reference")[name]
    run()  # means of batches begin with the first
    found = run()
    assert isinstance(found, list)
    assert found
    assert all(len(values) == CASE.members for values in found)


def test_a_measure_sees_a_fresh_view_and_keeps_its_memory(monkeypatch):
    seen: list[tuple[View, Memory]] = []
    monkeypatch.setattr(LayerGaps, "watch", lambda self, view, memory: seen.append((view, memory)))
    run = calls(CASE, "reference")["LayerGaps"]
    run()
    run()
    views, memories = zip(*seen, strict=True)
    assert views[0] is not views[1]
    assert memories[0] is memories[1]
    assert views[0].iteration == 1
    assert any(not torch.equal(views[0].params[role], views[0].initial[role]) for role in ("V", "W"))


def test_shares_are_taken_round_by_round():
    # The second round is three times slower for all, as on a machine that was busy then: no share shows it.
    seconds = {EVALUATION: 0.6, "GradientFlow": 0.8, "SGD, momentum 0.9": 1.2, "Adam": 0.6}
    tracks = {name: Track(seconds=[s, 3 * s]) for name, s in (seconds | dict.fromkeys(MEASURES, 0.4)).items()}
    found = reported(CASE, "reference", tracks=tracks)
    assert (found.name, found.title, found.contestant) == ("tiny", CASE.title, "reference")
    assert found.evaluation.median == pytest.approx(1200.0)
    assert [part.name for part in found.steps] == list(OPTIMIZERS)
    for part, share in zip(found.steps, (0.25, 0.5, 0.0), strict=True):
        assert (part.share.low, part.share.high) == pytest.approx((share, share))
    intervals = {part.name: part.interval for part in found.measures}
    assert intervals == {name: measure.at.interval for name, measure in MEASURES.items()}  # type: ignore[attr-defined]
    for part in found.measures:
        assert (part.share.low, part.share.high) == pytest.approx((0.5 / part.interval, 0.5 / part.interval))
        assert part.milliseconds.median == pytest.approx(800.0)
