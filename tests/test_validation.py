"""No public class takes a number, or a word, that it cannot work with: one row each, and no class without a row."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from torch import nn

import deeplimit
from deeplimit import checks, claims, figures, scaling, sweeps, theory
from deeplimit.bench import Case, Options
from deeplimit.branches import Convolution, FunctionBranch, LeakyReLU, ModuleBranch, OneMatrix, OuterMatrix, Perceptron
from deeplimit.checks import InputError
from deeplimit.data import augment, embedding, images, pairs, splits
from deeplimit.engines import NativeEngine
from deeplimit.fits import exponent
from deeplimit.limits import training_flow
from deeplimit.limits.homogeneous import HomogeneousFlow
from deeplimit.measures import depths, gradients, held_out, measure, progress
from deeplimit.networks import convolutional, convolutional_stack, dense, maps, staged, wide_residual
from deeplimit.networks.stack import ResidualStack
from deeplimit.processes import distributions, fractional, functions, layers, scaled, trend_and_noise
from deeplimit.records import tasks
from deeplimit.statistics import norms
from deeplimit.study import Request, Study
from deeplimit.study.settings import Settings
from deeplimit.training import batches, decay, optimizers, run, stopping
from deeplimit.training.l2 import conventions, probes, rules

PERCEPTRON = Perceptron(2, 3)
STACK = ResidualStack(PERCEPTRON, 2)
DATA = pairs.GaussianPairs(3, 2, 2)
SGD = optimizers.SGD(0.1)
CLAIM = claims.Claim("a", "b", "c", "d", measure=exponent, expected=1.0, tolerance=0.1, source="text")
RUN = run.TrainingRun((STACK,), DATA, SGD, 1, ())


class Doubling(nn.Module):
    """States of one number to twice them."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Linear(1, 1).weight

    def forward(self, h):
        return self.factor * h


GIVEN: dict[type, dict[str, Any]] = {
    Case: {"name": "a", "branch": PERCEPTRON, "samples": 2, "depth": 2},
    Options: {"rounds": 2, "threads": 1},
    LeakyReLU: {},
    Convolution: {"channels": 1, "size": (3, 3)},
    FunctionBranch: {"function": print, "parameters": {"M": (2, 2)}, "state": (2,)},
    ModuleBranch: {"factory": Doubling, "state": (1,)},
    OneMatrix: {"state": 2},
    OuterMatrix: {"state": 2},
    Perceptron: {"state": 2, "width": 3},
    claims.Claim: {field.name: getattr(CLAIM, field.name) for field in dataclasses.fields(CLAIM)},
    augment.Flip: {},
    augment.PaddedCrop: {},
    augment.Mixup: {},
    embedding.EmbeddedMnist: {"samples": 2},
    images.Standard: {"mean": (0.5,), "sd": (1.0,)},
    images.Images: {"name": "mnist", "samples": 2},
    pairs.GaussianPairs: {"samples": 2, "inputs": 2, "outputs": 2, "skip": (1,)},
    pairs.SpherePairs: {"samples": 2, "inputs": 2, "outputs": 2, "radius": 1.0},
    pairs.OscillatingFlow: {"samples": 2},
    pairs.FixedPairs: {"pairs": DATA},
    splits.Split: {"count": 5, "train": 2, "validation": 2, "seed": 0},
    NativeEngine: {"memory": "recompute", "interval": 2},
    figures.Curve: {"x": (1.0,), "y": (1.0,)},
    figures.Panel: {"curves": (), "xlabel": "x", "ylabel": "y"},
    figures.HeatMap: {"values": ((1.0,),), "x": (1.0,), "y": (1.0,), "xlabel": "x", "ylabel": "y", "label": "z"},
    HomogeneousFlow: {"degree": 2, "weight_decay": 0.1},
    training_flow.Clip: {"bound": 1.0},
    training_flow.TrainingFlow: {"network": ResidualStack(Perceptron(2, 3), 2, init=functions.GaussianProcess())},
    depths.WeightDistance: {},
    gradients.LayerGradients: {},
    held_out.FullLoss: {},
    held_out.HeldOut: {"data": DATA},
    measure.Every: {"interval": 2},
    measure.Geometric: {"per_decade": 2},
    measure.At: {"iterations": (1,)},
    progress.Entry: {"role": "W", "position": (0, 0)},
    convolutional.Convolutional: {},
    convolutional_stack.ConvolutionalStack: {"depth": 2},
    dense.FullyConnected: {"inputs": 2, "widths": (3,), "outputs": 2},
    maps.Padding: {"inputs": 2, "state": 3},
    maps.LastCoordinates: {"state": 3, "outputs": 2},
    maps.Dense: {"inputs": 2, "outputs": 3, "std": 1.0},
    ResidualStack: {"branch": PERCEPTRON, "depth": 2},
    staged.StagedResidual: {"blocks": (1, 1)},
    wide_residual.WideResidual: {"blocks": 1, "widen": 1},
    distributions.Normal: {},
    distributions.Uniform: {},
    fractional.FractionalBrownianMotion: {"hurst": 0.3},
    fractional.FractionalNoise: {"hurst": 0.3},
    functions.GaussianProcess: {},
    layers.Constant: {},
    scaled.DepthScaled: {"process": layers.IID()},
    trend_and_noise.TrendAndNoise: {"trend": layers.Tied(), "beta": 0.5, "noise_std": 1.0},
    tasks.Cost: {"layer_steps": 1.0},
    scaling.DepthScaling: {},
    scaling.MeanFieldScaling: {},
    norms.ConvolutionOperator: {"height": 2, "width": 2},
    Study: {"name": "a", "tasks": print},
    Settings: {"tier": "quick"},
    Request: {"kind": "paper", "name": "a"},
    sweeps.Execution: {},
    theory.Regularity: {"first": 1.0, "second": 1.0, "weights": 1.0, "inputs": 1.0, "targets": 1.0},
    theory.Ball: {"embedding": 1.0, "readout": 1.0, "inputs": 1.0, "first": 1.0},
    theory.ActivationConstants: {"hermite": 0.5, "degree": 2, "lipschitz": 1.0, "bound": 1.0},
    theory.Sizes: {"samples": 2, "inputs": 2, "width": 2, "inner_width": 2},
    batches.Batches: {"size": 2, "order": "published"},
    decay.StepDecay: {"every": 2, "factor": 0.5},
    decay.CosineDecay: {"epochs": 2},
    conventions.Setting: {"learning_rate": 0.1},
    conventions.Convention: {},
    probes.Curve: {"steps": (1,), "accuracies": (0.5,), "training": (0.5,)},
    probes.Reading: {},
    rules.PublishedRule: {"classes": 10},
    rules.RobustRule: {},
    optimizers.CoordinateClip: {"bound": 1.0},
    optimizers.NormClip: {"bound": 1.0},
    optimizers.GradientFlow: {"learning_rate": 0.1},
    optimizers.SGD: {"learning_rate": 0.1},
    optimizers.Adam: {"learning_rate": 0.1},
    optimizers.TorchOptimizer: {"name": "SGD", "learning_rate": 0.1},
    run.TrainingRun: {"networks": (STACK,), "data": DATA, "optimizer": SGD, "iterations": 1, "measures": ()},
    stopping.EpochStop: {"below": 0.0},
}
"""Class -> arguments that it takes."""

MADE = {
    "what a measurement found, which may be nothing finite": """
        bench.report.* bench.timing.Spread bench.timing.Track claims.Measured claims.Verdict diagnosis.comparing.* diagnosis.report.*
        diagnosis.watching.monitor.Measurement diagnosis.watching.gauge.Reading diagnosis.weights.* figures.Matrix fits.*
        limits.mean.MeanSolution limits.ode.Solution measures.measure.Observation measures.measure.View regimes.verdict.Smoothness
        statistics.peaks.Peak study.outcome.Conclusion sweeps.Outcome training.l2.conventions.Converted training.l2.predict.*
        training.l2.probes.Attempt training.l2.probes.Probe
    """,
    "what the package makes for itself out of numbers that were checked": """
        bench.cases.Series bench.contestants.* bench.running.Heat diagnosis.blocks.* diagnosis.function.hooked.Call
        diagnosis.sources.safetensor_file.Entry diagnosis.watching.alarms.Alarms networks.staged.Kernels records.source.Import
        records.tasks.Context regimes.precheck.Unit report.*
        sweeps.Expectation sweeps.Job training.l2.rules.RuleState training.l2.rules.Track training.step.State
    """,
    "what a file says, checked as it is read: tests/records/test_integrity.py": "records.integrity.* records.store.Marker",
    "a measurement while training, which is looked at for what is not finite": "training.l2.rules.Signal",
    "the data sets, written down in the package": "data.sets.*",
    "a monitor needs a module: tests/diagnosis/watching/test_monitor.py": "diagnosis.watching.monitor.DepthMonitor",
}
"""Why classes with numbers are not in the table -> patterns of their names."""

WORDS = r"Literal\[|\b(Source|Ruling|Relation|Scale|Style|Loss|Place|Kind)\b"
NUMBERS = r"\b(int|float|Rate)\b"

HOSTILE = (math.nan, math.inf, -math.inf, -1, 0, 10**30, 10**400, True, "x", None, 1.5)
ANY, NOT_NEGATIVE, ZERO = (-1, 0, 10**30, 1.5), (0, 10**30, 1.5), (0,)
TAKEN: list[tuple[tuple[object, ...], str]] = [
    (
        ANY,
        """LeakyReLU.negative_slope Claim.expected PaddedCrop.border Standard.mean Constant.value GradientFlow.learning_rate
        DepthScaled.exponent DepthScaling.beta MeanFieldScaling.beta TrendAndNoise.beta Panel.shade_range""",
    ),
    ((-1, 1.5, 10**30), "ActivationConstants.hermite"),
    (
        NOT_NEGATIVE,
        """Claim.tolerance Cost.layer_steps Cost.memory_bytes Cost.disk_bytes HomogeneousFlow.weight_decay FullyConnected.bias_std
        TrendAndNoise.noise_std Regularity.targets EpochStop.below Reading.smooth RobustRule.tolerance RobustRule.smallest Adam.epsilon
        SGD.learning_rate Adam.learning_rate TorchOptimizer.learning_rate SGD.weight_decay Adam.weight_decay""",
    ),
    (
        ZERO,
        """Flip.p Curve.shade LayerGradients.positions EmbeddedMnist.offset Images.offset FixedPairs.seed Split.seed At.iterations
        Entry.position Batches.earlier Settings.replicates Request.seeds Study.seeds Study.replicates Study.iterations
        TrainingRun.iterations TrainingRun.seeds HomogeneousFlow.degree SGD.momentum Adam.betas Setting.momentum Reading.within
        Reading.chance EpochStop.improvement""",
    ),
    ((), "FractionalBrownianMotion.hurst FractionalNoise.hurst TrendAndNoise.hurst"),
    (
        HOSTILE,
        """Curve.x Curve.y Curve.low Curve.high HeatMap.x HeatMap.y HeatMap.values l2.Curve.steps l2.Curve.accuracies
        l2.Curve.training""",
    ),
]
"""Field -> what it takes of the hostile values, beside None where it is optional and positive numbers where it is a float.

Data of curves may hold anything: a gap is NaN, and what a curve of accuracies cannot be is said where it is read.
"""
ACCEPTED = {name: values for values, names in TAKEN for name in names.split()}


def numbered() -> Iterator[tuple[str, Any]]:
    """Name below the package and class of every public dataclass with a number or a word among few."""
    for module in pkgutil.walk_packages(deeplimit.__path__, "deeplimit."):
        if ".papers" in module.name or module.name.endswith(
            ("_native", "triton_kernels", "lightning", "transformers", "__main__")
        ):
            continue
        for name, kind in vars(importlib.import_module(module.name)).items():
            own = isinstance(kind, type) and kind.__module__ == module.name and not name.startswith("_")
            if own and dataclasses.is_dataclass(kind) and any(map(_is_bounded, dataclasses.fields(kind))):
                yield f"{module.name.removeprefix('deeplimit.')}.{name}", cast("type", kind)


def _is_bounded(field: dataclasses.Field[Any]) -> bool:
    annotation = str(field.type)
    return (
        bool(re.search(f"{NUMBERS}|{WORDS}", annotation))
        and "Callable" not in annotation
        and "Mapping" not in annotation
    )


def cases() -> Iterator[Any]:
    """Every field of every class of the table."""
    for kind in GIVEN:
        for field in dataclasses.fields(kind):
            if _is_bounded(field):
                prefix = "l2." if kind is probes.Curve else ""
                yield pytest.param(kind, field, id=f"{prefix}{kind.__name__}.{field.name}")


def test_every_public_class_with_numbers_has_a_row():
    patterns = [re.compile(p.replace(".", r"\.").replace("*", ".*")) for group in MADE.values() for p in group.split()]
    found = dict(numbered())
    without = [
        name for name, kind in found.items() if kind not in GIVEN and not any(p.fullmatch(name) for p in patterns)
    ]
    idle = [p.pattern for p in patterns if not any(p.fullmatch(name) for name in found)]
    assert without == []
    assert idle == []
    assert set(GIVEN) <= set(found.values())


@pytest.mark.parametrize("kind", GIVEN)
def test_what_a_row_gives_is_taken(kind):
    kind(**GIVEN[kind])


@pytest.mark.parametrize(("kind", "field"), list(cases()))
def test_numbers_that_make_no_sense_are_refused(kind, field, request):
    annotation, name = str(field.type), request.node.callspec.id
    taken = set(map(_named, ACCEPTED.get(name, ())))
    if "None" in annotation:
        taken.add("None")
    if re.search(r"\b(float|Rate)\b", annotation) and name not in ACCEPTED:
        taken |= {"1.5", _named(10**30)}
    for value in HOSTILE:
        given = value
        if annotation.startswith(("tuple[", "Sequence")):
            given = (
                None
                if value is None and "None" in annotation
                else _filled(annotation, GIVEN[kind].get(field.name), value)
            )
        arguments = {**GIVEN[kind], field.name: given}
        if _named(value) in taken:
            kind(**arguments)
            continue
        with pytest.raises(InputError) as caught:
            kind(**arguments)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def _named(value: object) -> str:
    return f"{value:.3e}" if isinstance(value, int) and value > 100 and value < 10**300 else checks.brief(value)


def _filled(annotation: str, given: Any, value: object) -> Any:
    """A tuple of the usual length with one hostile item."""
    if annotation.startswith("tuple[tuple"):
        return ((value,),)
    return (value, *given[1:]) if given else (value,) * max(1, annotation.count("float"))


@pytest.mark.parametrize("value", [1e308, 5e-324])
@pytest.mark.parametrize(
    ("kind", "field"), [case for case in cases() if str(case.values[1].type).startswith(("float", "Rate"))]
)
def test_the_largest_and_the_smallest_number_are_taken_or_refused(kind, field, value):
    with contextlib.suppress(InputError):
        kind(**{**GIVEN[kind], field.name: value})


def test_a_class_that_checks_nothing_would_be_found():
    @dataclasses.dataclass(frozen=True)
    class Loose:
        size: int

    (field,) = dataclasses.fields(Loose)
    assert _is_bounded(field)
    with pytest.raises(InputError, match=r"size: expected an integer of at least 1, found 1\.5"):
        checks.fields(Loose(1.5), size=checks.positive_int)  # type: ignore[arg-type]
