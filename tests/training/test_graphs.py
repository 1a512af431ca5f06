"""Recorded evaluations, with a stand-in for the CUDA graph that computes again into the same tensors."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from deeplimit.branches import Perceptron
from deeplimit.data import FixedPairs, Flip, GaussianPairs
from deeplimit.measures import BatchMeans, Every, LayerGradients, Loss
from deeplimit.networks import ConvolutionalStack, ResidualStack, ensemble
from deeplimit.records import Context
from deeplimit.training import SGD, Batches, CosineDecay, CrossEntropy, Info, Step, TrainingRun, graphs
from deeplimit.training.graphs import KEPT, Recorder, evaluation
from tests.cases import normal

SMALL = ConvolutionalStack(2, channels=3, image=(3, 16, 13), classes=4)
STEP = Step(SMALL, SGD(0.1), CrossEntropy())


def tensors(info: Info) -> dict[str, torch.Tensor]:
    named = {"loss": info.loss, "output": info.output}
    return named | {f"∂{role}": g for role, g in info.grads.items()} | info.running


class Device:
    """Records as a GPU does: what is recorded is computed at a replay alone, into the tensors of the recording."""

    def __init__(self) -> None:
        self.records = self.replays = 0

    def record(self, call, device):
        self.records += 1
        info = call()
        into = tensors(info)
        for t in into.values():
            t.fill_(torch.nan)

        def replay() -> None:
            self.replays += 1
            for name, t in tensors(call()).items():
                into[name].copy_(t)

        return info, replay


def arguments(samples: int = 5, *, seed: int = 0, members: int = 2):
    params = ensemble([SMALL.initialise(10 * seed + e, dtype=torch.float64) for e in range(members)])
    generator = torch.Generator().manual_seed(seed)
    x = normal((members, samples, 3, 16, 13), generator)
    return params, (x, torch.randint(4, (members, samples), generator=generator))


def same(one: Info, other: Info) -> bool:
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(torch.equal(t, b[name]) for name, t in a.items())


def test_a_replay_is_the_evaluation_of_what_it_is_given():
    device = Device()
    recorder = Recorder(STEP.evaluate, device.record)
    for seed in (0, 1, 2):
        params, batch = arguments(seed=seed)
        before = {role: p.clone() for role, p in params.items()}
        assert same(recorder(params, batch), STEP.evaluate(params, batch))
        assert all(torch.equal(params[role], p) for role, p in before.items())
    assert (device.records, device.replays) == (1, 3)


def test_results_stay_when_the_next_ones_come():
    recorder = Recorder(STEP.evaluate, Device().record)
    first = recorder(*arguments(seed=0))
    kept = {name: t.clone() for name, t in tensors(first).items()}
    second = recorder(*arguments(seed=1))
    assert all(torch.equal(t, kept[name]) for name, t in tensors(first).items())
    assert not torch.equal(first.loss, second.loss)


def test_there_is_a_recording_for_each_shape_and_the_one_unused_longest_goes():
    device = Device()
    recorder = Recorder(STEP.evaluate, device.record)
    for samples in (5, 3, 5, 3, 5):
        recorder(*arguments(samples))
    assert device.records == 2
    for samples in (6, 7):  # the second of them is one too many: that of 3 samples goes
        assert same(recorder(*arguments(samples)), STEP.evaluate(*arguments(samples)))
    recorder(*arguments(5))
    assert device.records == 4
    recorder(*arguments(3))
    assert device.records == 5
    assert len(recorder._recordings) == KEPT


def test_what_is_released_is_recorded_again():
    device = Device()
    recorder = Recorder(STEP.evaluate, device.record)
    recorder(*arguments())
    recorder.release()
    assert not recorder._recordings
    assert same(recorder(*arguments()), STEP.evaluate(*arguments()))
    assert device.records == 2


def test_it_is_for_launch_bound_networks_on_cuda_unless_an_engine_is_named():
    assert isinstance(evaluation(STEP, "cuda:1"), Recorder)
    assert isinstance(evaluation(dataclasses.replace(STEP, engine="auto:bf16"), "cuda"), Recorder)
    plain = ResidualStack(Perceptron(2, 2), 3)
    for step, device in [
        (STEP, "cpu"),
        (dataclasses.replace(STEP, engine="reference"), "cuda"),
        (dataclasses.replace(STEP, network=plain), "cuda"),
    ]:
        assert evaluation(step, device) == step.evaluate


# --- in a run ---

DATA = FixedPairs(GaussianPairs(11, (3, 16, 13), (4,)))
RUN = TrainingRun(
    (SMALL, dataclasses.replace(SMALL, depth=3)),
    DATA,
    SGD(0.05, 0.9, 1e-3),
    iterations=8,
    measures=(Loss(Every(1)), BatchMeans(Every(3)), LayerGradients(Every(2))),
    seeds=(0, 1),
    batches=Batches(4),
    decay=CosineDecay(3),
    augmentation=Flip(),
)
SPLIT = dataclasses.replace(RUN, optimizer=SGD((0.05, 1e200)), decay=None)


@pytest.mark.parametrize("run", [RUN, SPLIT], ids=["learning rates by epoch", "a member that diverges"])
def test_a_recorded_run_is_the_run(run, monkeypatch):
    device, plain = Device(), Context()
    expected = list(run.run(plain))
    recorders = []

    def recorded(step, name):
        recorders.append(Recorder(step.evaluate, device.record))
        return recorders[-1]

    monkeypatch.setattr("deeplimit.training.run.evaluation", recorded)
    context = Context()
    assert list(run.run(context)) == expected
    assert all((context.weights[name] == w).all() for name, w in plain.weights.items())
    assert any(row["quantity"] == "diverged" for row in expected) == (run is SPLIT)
    assert device.records == 4  # two depths, whole batches and the last one of an epoch
    assert not any(recorder._recordings for recorder in recorders)
    assert context.provenance["recorded"] == "CUDA graph"
    assert "recorded" not in plain.provenance


# --- on a GPU ---


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_is_the_evaluation():
    recorder = Recorder(STEP.evaluate, graphs.cuda_graph)
    for samples, seed in [(5, 0), (5, 1), (3, 2), (5, 3)]:
        params, (x, y) = arguments(samples, seed=seed)
        on_gpu = {role: p.cuda() for role, p in params.items()}, (x.cuda(), y.cuda())
        found, expected = tensors(recorder(*on_gpu)), tensors(STEP.evaluate(params, (x, y)))
        for name, t in found.items():
            torch.testing.assert_close(t.cpu(), expected[name], rtol=1e-9, atol=1e-11)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_on_a_gpu_is_recorded_and_that_on_the_cpu():
    context = Context(device="cuda")
    found = [row["value"] for row in RUN.run(context)]
    assert found == pytest.approx([row["value"] for row in RUN.run(Context())], rel=1e-6, abs=1e-9)
    assert context.provenance["recorded"] == "CUDA graph"
