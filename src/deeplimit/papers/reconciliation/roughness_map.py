"""What networks become, by the roughness of their first weights and the exponent β: before training and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deeplimit.branches import GELU, Perceptron
from deeplimit.claims import Claim
from deeplimit.data import FixedPairs, OscillatingFlow
from deeplimit.figures import Figure, Matrix
from deeplimit.networks import ResidualStack
from deeplimit.papers.reconciliation.family import Family, says, summary, verdict
from deeplimit.processes import FractionalBrownianMotion, FractionalNoise, GaussianProcess, Process, Tied
from deeplimit.records import Task
from deeplimit.scaling import DepthScaling
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import SGD, EpochStop, SquaredError, TrainingRun

if TYPE_CHECKING:
    import polars as pl

STATE, WIDTH = 10, 20
DEPTHS = Tiered(quick=(16, 32, 64, 128), paper=(16, 32, 64, 128, 256, 512))
SAMPLES = 32
ITERATIONS = Tiered(quick=300, paper=1500)
SEEDS = tuple(range(6))
FLOW, BELOW = 7.0, 1e-3
FINEST = 512

ROUGHNESS: dict[str, Process] = {
    "noise, H = 0.5": FractionalNoise(0.5, finest=FINEST),
    "noise, H = 0.7": FractionalNoise(0.7, finest=FINEST),
    "noise, H = 0.9": FractionalNoise(0.9, finest=FINEST),
    "path, H = 0.3": FractionalBrownianMotion(0.3, finest=FINEST),
    "path, H = 0.7": FractionalBrownianMotion(0.7, finest=FINEST),
    "smooth": GaussianProcess(0.3),
    "equal": Tied(),
}
BETAS = (0.25, 0.5, 0.75, 1.0)


def _tasks(settings: Settings) -> Iterator[Task]:
    for rough, process in ROUGHNESS.items():
        for beta in BETAS:
            runs = tuple(_run(process, beta, depth, settings) for depth in settings.pick(DEPTHS))
            yield Family(runs, OscillatingFlow(16, STATE), {"rough": rough, "exponent": beta})


def _run(process: Process, beta: float, depth: int, settings: Settings) -> TrainingRun:
    """One depth: a layer's gradient is of size L^(−β), so that L layers move the output by rate · L^(1 − 2β)."""
    return TrainingRun(
        networks=(ResidualStack(Perceptron(STATE, WIDTH, GELU()), depth, scaling=DepthScaling(beta), init=process),),
        data=FixedPairs(OscillatingFlow(SAMPLES, STATE)),
        optimizer=SGD(FLOW * depth ** (2 * beta - 1)),
        iterations=settings.pick(ITERATIONS),
        measures=(),
        seeds=SEEDS,
        loss=SquaredError(per_entry=True),
        dtype="float32",
        stop=EpochStop(BELOW, patience=10**6),
    )


def function_at(rows: pl.DataFrame, rough: str, *, beta: float, stage: str = "after") -> str:
    """The verdict on the function at a point of the map; `diverged` where fewer than 2 seeds survived training."""
    try:
        return verdict(rows, "function", stage=stage, rough=rough, exponent=beta)[0]
    except LookupError:
        return "diverged"


def weights_at(rows: pl.DataFrame, rough: str, *, beta: float, stage: str = "after") -> str:
    """The verdict on the weights, of the roughest role."""
    try:
        return summary(verdict(rows, "weights", stage=stage, rough=rough, exponent=beta))
    except LookupError:
        return "diverged"


def _claim(name: str, statement: str, *, reading: Callable[[pl.DataFrame], str], expected: tuple[str, ...]) -> Claim:
    return Claim(
        f"reconciliation.map.{name}",
        statement,
        "Marion et al. 2025, sections 3 to 5; Marion et al. 2024, Theorem 4",
        f"1 where the verdict is {' or '.join(expected)}",
        says(reading, *expected, seeds=SEEDS),
        expected=1.0,
        tolerance=0.0,
        source="theorem",
        minimum_sample=5,
    )


CLAIMS = (
    _claim(
        "sde",
        "Independent weights at β = ½ give an SDE at initialisation.",
        reading=lambda rows: function_at(rows, "noise, H = 0.5", beta=0.5, stage="before"),
        expected=("SDE",),
    ),
    _claim(
        "identity",
        "Independent weights at β = 1 give the identity at initialisation.",
        reading=lambda rows: function_at(rows, "noise, H = 0.5", beta=1.0, stage="before"),
        expected=("identity",),
    ),
    _claim(
        "smooth",
        "Smooth weights at β = 1 give a neural ODE, at initialisation and after training.",
        reading=lambda rows: function_at(rows, "smooth", beta=1.0),
        expected=("neural ODE",),
    ),
    _claim(
        "smooth-weights",
        "Weights that start smooth at β = 1 stay so in training.",
        reading=lambda rows: weights_at(rows, "smooth", beta=1.0),
        expected=("hypothesis 1",),
    ),
    _claim(
        "explosion",
        "Smooth weights at β = ½ explode at initialisation.",
        reading=lambda rows: function_at(rows, "smooth", beta=0.5, stage="before"),
        expected=("none",),
    ),
    _claim(
        "rough-path",
        "Rough paths (H = 0.3) at β = 1 give an ODE too: what counts is that weights have a limit, not that it is smooth.",
        reading=lambda rows: function_at(rows, "path, H = 0.3", beta=1.0),
        expected=("neural ODE",),
    ),
)


def _panels(rows: pl.DataFrame) -> list[Matrix]:
    """The map before and after training."""
    return [_map(rows, stage) for stage in ("before", "after")]


def _map(rows: pl.DataFrame, stage: str) -> Matrix:
    shade = {"neural ODE": 0.35, "linear ODE": 0.3, "mean ODE": 0.25, "ODE of the draw": 0.25, "SDE": 0.15, "none": 0.7}
    texts = [[function_at(rows, rough, beta=beta, stage=stage) for beta in BETAS] for rough in ROUGHNESS]
    shades = [[float("nan") if t in ("undecided", "diverged") else shade.get(t, 0.0) for t in row] for row in texts]
    title = "before training" if stage == "before" else "after training"
    return Matrix(shades, [f"β = {beta:g}" for beta in BETAS], list(ROUGHNESS), "", "first weights", title, texts)


MAP = Study(
    "roughness-map",
    title="Roughness of the first weights against β, before training and after",
    text=(
        "Two-matrix networks start from weights of seven kinds, from independent layers over fractional noise and rough paths to equal"
        " layers, with branches scaled by L^(−β). The learning rate of layers grows as L^(2β − 1), which moves the output as much at every"
        " depth. The verdict on the function is given before training and after."
    ),
    tasks=_tasks,
    figures=(
        Figure(
            "roughness-map",
            "What networks become",
            "The verdict on the function by roughness of the first weights (rows) and β (columns). Grey: the verdict abstains, or training"
            " diverged.",
            _panels,
        ),
    ),
    claims=CLAIMS,
)

STUDIES = (MAP,)
