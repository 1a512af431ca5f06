"""The same networks on MNIST in 25 dimensions (row 9 of the checklist)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeplimit.claims import Claim
from deeplimit.data import EmbeddedMnist
from deeplimit.figures import Figure, Panel
from deeplimit.papers.cohen2021.exponents import INCREMENT_A, MAX_A, QV_A, RSSQ_A, SUM_A
from deeplimit.papers.cohen2021.networks import RELU, RELU_COARSE, TANH, TANH_BASE, TANH_COARSE, depth_grid, sweep
from deeplimit.papers.cohen2021.rows import DELTA, against_depth, curve, slope, statistics_panels
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl

SAMPLES = Tiered(quick=2048, paper=60_000)
DEPTHS = Tiered(quick=depth_grid(2.0, 128), paper=depth_grid(TANH_BASE, 1024), full=depth_grid(TANH_BASE, 10321))
TANH_FACTOR, RELU_FACTOR = 0.0, 0.4
"""β of the authors' plots of scaled increments on MNIST."""


def _tasks(settings: Settings) -> Iterator[Task]:
    data = EmbeddedMnist(settings.pick(SAMPLES), shuffled=settings.tier == "quick")
    depths = settings.pick(DEPTHS)
    # The second threshold is there to see what it changes: every other depth will do.
    for name, own in ((TANH, depths), (RELU, depths), (TANH_COARSE, depths[::2]), (RELU_COARSE, depths[::2])):
        yield from sweep(name, own, seeds=settings.seeds(), data=data)


def _figure(setting: str, role: str, factor: float) -> Figure:
    family, slug = ("tanh", "tanh") if setting == TANH else ("ReLU", "relu")
    name = role if family == "tanh" else f"|δ|{role}"
    return Figure(
        f"mnist-{slug}-{role.lower()}",
        f"Statistics of {name} against depth: {family}, MNIST",
        f"As for the synthetic task; increments times L to the power {factor:g}. One seed at the paper's size.",
        lambda rows: statistics_panels(only(rows, setting=setting), role, factor=factor),
        where="section 4, statistics of trained weights, MNIST",
    )


def _delta(rows: pl.DataFrame) -> list[Panel]:
    own = only(rows, setting=TANH)
    curves = [curve(only(own, quantity=DELTA), "δ"), curve(only(own, quantity=SUM_A), "‖ΣA‖")]
    losses = [
        curve(only(rows, setting=s, quantity="loss.full"), label) for s, label in ((TANH, "tanh"), (RELU, "ReLU"))
    ]
    return [against_depth(curves, "δ, ‖ΣA‖", title="tanh"), against_depth(losses, "final loss")]


STUDY = Study(
    "mnist",
    title="The same on MNIST",
    text=(
        "Images of MNIST pass two convolutions that nobody trains and are divided by their norm, 25 numbers each; the target is the label,"
        " one-hot in 25 dimensions, compared with the last state. At the paper's size all 60,000 images, depths to 1024 and one seed; the"
        " quick tier takes 2048 images and five seeds. A loss of 0.001 is out of reach, so that all ten epochs are used; the paper's plots"
        " suggest 0.01, reached after one to three, and both thresholds are computed."
        " The original files are needed: `deeplimit data fetch mnist`."
    ),
    replicates=Tiered(quick=5, paper=1, full=5),
    tasks=_tasks,
    figures=(
        Figure(
            "mnist-delta",
            "δ, the sum of the weights and the loss against depth: MNIST",
            "Left: δ and the norm of ΣA of the tanh networks. Right: the loss over all images.",
            _delta,
            where="section 4, MNIST",
        ),
        _figure(TANH, "A", TANH_FACTOR),
        _figure(TANH, "b", TANH_FACTOR),
        _figure(RELU, "A", RELU_FACTOR),
        _figure(RELU, "b", RELU_FACTOR),
    ),
    claims=(
        Claim(
            "cohen2021.9.beta-tanh",
            "tanh on MNIST: the largest norm of A does not scale with depth, β = 0.",
            "factor of the plotted increments in the released code",
            "minus the exponent of max ‖A‖",
            slope(TANH, MAX_A, sign=-1.0),
            expected=0.0,
            tolerance=0.1,
            source="code",
            tiers=("paper",),
        ),
        Claim(
            "cohen2021.9.beta-relu",
            "ReLU on MNIST: the largest norm of |δ|A falls as L^(−β) with β = 0.4.",
            "factor of the plotted increments in the released code",
            "minus the exponent of max ‖|δ|A‖",
            slope(RELU, MAX_A, sign=-1.0),
            expected=0.4,
            tolerance=0.1,
            source="code",
            tiers=("paper",),
        ),
        Claim(
            "cohen2021.9.beta-tanh-coarse",
            "tanh on MNIST, stopped at a loss of 0.01: the largest norm of A does not scale with depth, β = 0.",
            "factor of the plotted increments in the released code",
            "minus the exponent of max ‖A‖, loss 0.01",
            slope(TANH_COARSE, MAX_A, sign=-1.0),
            expected=0.0,
            tolerance=0.1,
            source="code",
            tiers=("paper",),
        ),
        Claim(
            "cohen2021.9.beta-relu-coarse",
            "ReLU on MNIST, stopped at a loss of 0.01: the largest norm of |δ|A falls as L^(−β) with β = 0.4.",
            "factor of the plotted increments in the released code",
            "minus the exponent of max ‖|δ|A‖, loss 0.01",
            slope(RELU_COARSE, MAX_A, sign=-1.0),
            expected=0.4,
            tolerance=0.1,
            source="code",
            tiers=("paper",),
        ),
        Claim(
            "cohen2021.9.alpha-tanh",
            "tanh on MNIST: δ falls as L^(−α) with α between 0.8 and 1.",
            "section 4 (not verified)",
            "minus the exponent of δ",
            slope(TANH, DELTA, sign=-1.0),
            expected=0.9,
            tolerance=0.1,
            source="unverified",
            tiers=("paper",),
        ),
        Claim(
            "cohen2021.9.scaled-increments-relu",
            "ReLU on MNIST: increments scaled by L^β do not vanish with depth.",
            "section 4; released code",
            "exponent of max ‖increment‖ / max ‖|δ|A‖",
            slope(RELU, {INCREMENT_A: 1.0, MAX_A: -1.0}),
            expected=0.0,
            tolerance=0.15,
            source="code",
            tiers=("paper",),
        ),
        *(
            Claim(
                f"cohen2021.9.{slug}-relu",
                f"ReLU on MNIST: the {name} tends to a constant.",
                "section 4 (not verified)",
                f"exponent of the {name} of |δ|A, L ≥ 100",
                slope(RELU, quantity, first=100),
                expected=0.0,
                tolerance=0.2,
                source="unverified",
                tiers=("paper",),
            )
            for slug, name, quantity in (
                ("root-sum-of-squares", "root of the sum of squares", RSSQ_A),
                ("quadratic-variation", "quadratic variation", QV_A),
            )
        ),
    ),
)
