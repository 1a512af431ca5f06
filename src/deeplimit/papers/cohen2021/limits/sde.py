"""The SDE (row 5): with and without its second-order drift, on common noise and in distribution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeplimit.branches import GELU, Activation, ShiftedSoftplus, Tanh
from deeplimit.claims import Claim
from deeplimit.figures import Figure, Panel
from deeplimit.papers.cohen2021.limits.common import PATHS, REPLICATES, STRONG, claim, largest, panel, slope
from deeplimit.papers.cohen2021.limits.convergence import SIZE, Convergence
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl

ACTIVATIONS: dict[str, Activation] = {"tanh": Tanh(), "GELU": GELU(), "softplus": ShiftedSoftplus()}
"""Softplus is shifted to vanish at 0."""

WITH_AND_WITHOUT = ("sde", "uncorrected")


def _sde_tasks(settings: Settings) -> Iterator[Task]:
    for name, activation in ACTIVATIONS.items():
        yield Convergence(
            activation,
            alpha=0.0,
            beta=1.0,
            noise=SIZE,
            limits=WITH_AND_WITHOUT,
            seeds=settings.seeds(0),
            paths=settings.pick(PATHS),
            labels={"activation": name},
        )


def _sde_panels(rows: pl.DataFrame) -> list[Panel]:
    names = {"with the correction": "sde", "without": "uncorrected"}
    return [
        panel(
            rows,
            {label: {"quantity": f"error.{limit}", "activation": name} for label, limit in names.items()},
            slopes=(-0.5,),
            title=name,
        )
        for name in ACTIVATIONS
    ]


def _sde_claims() -> Iterator[Claim]:
    for name, activation in ACTIVATIONS.items():
        yield claim(
            f"5.strong-{name.lower()}",
            f"With {name} the hidden states tend to the SDE on common noise at rate 1/2.",
            quantity=STRONG,
            measure=slope("error.sde", activation=name),
            band=(-0.5, 0.1),
        )
        if activation.curvature:
            yield claim(
                f"5.floor-{name.lower()}",
                f"With {name} the SDE without ½ σ″(0) Q is not the limit: the distance to it does not fall.",
                quantity="exponent in L of the median sup distance to the SDE without the correction, L = 128…1024",
                measure=slope("error.uncorrected", minimum=128, activation=name),
                band=(0.0, 0.1),
            )
    yield claim(
        "5.no-correction-tanh",
        "With tanh the correction is 0.",
        quantity="largest over seeds of the distance between the solutions with and without it",
        measure=largest(quantity="distance.limits", activation="tanh"),
        band=(0.0, 0.0),
    )
    yield claim(
        "5.blown-up",
        "At this size of the entries next to no path blows up.",
        quantity="largest share of paths above norm 1000 or not finite, over activations, depths and seeds",
        measure=largest(quantity="blown-up.sde"),
        band=(0.05, 0.0),
        relation="at most",
    )


SDE = Study(
    "limit-sde",
    title="α = 0, β = 1, with noise: the SDE and its second-order drift",
    text=(
        "Trend and noise of standard deviation 0.4 at d = 5. Network and SDE stand on the same Brownian path; the reference has 8192 steps."
        " The drift ½ σ″(0) Q is quadratic in the state: medians over paths are shown, and how many paths blew up is counted."
    ),
    tasks=_sde_tasks,
    replicates=REPLICATES,
    figures=(
        Figure(
            "limit-sde",
            "Distance to the SDE on common noise",
            "The strong error falls like L^(−1/2). Without ½ σ″(0) Q it does not fall where σ″(0) ≠ 0; for tanh the term is 0.",
            _sde_panels,
        ),
    ),
    claims=tuple(_sde_claims()),
)

# --------------------------------------------------------------------------------------------------------- in distribution

WEAK_PATHS = Tiered(quick=2000, paper=6000)
WEAK_DEPTHS = (8, 16, 32, 64)
WEAK_STEPS = 512


def _weak_tasks(settings: Settings) -> Iterator[Task]:
    """One task a seed: the paths of several would fill the memory."""
    for seed in settings.seeds(0):
        yield Convergence(
            GELU(),
            alpha=0.0,
            beta=1.0,
            noise=0.6,
            limits=WITH_AND_WITHOUT,
            seeds=(seed,),
            paths=settings.pick(WEAK_PATHS),
            depths=WEAK_DEPTHS,
            steps=WEAK_STEPS,
            state=2,
        )


def _weak_panels(rows: pl.DataFrame) -> list[Panel]:
    names = {"weak": "weak.sde", "strong": "error.sde", "weak, no correction": "weak.uncorrected"}
    return [panel(rows, {label: {"quantity": name} for label, name in names.items()}, slopes=(-1.0, -0.5))]


WEAK = Study(
    "limit-sde-weak",
    title="The SDE in distribution",
    text=(
        "GELU with d = 2 and noise of standard deviation 0.6, thousands of paths: the difference of the expectations of exp(−‖h‖²/2)"
        " between network and SDE, taken on common noise, which removes most of its variance."
    ),
    tasks=_weak_tasks,
    replicates=Tiered(quick=4, paper=9),
    figures=(
        Figure(
            "limit-sde-weak",
            "Weak and strong distance to the SDE",
            "Expectations converge faster than paths. Without the correction they do not converge.",
            _weak_panels,
        ),
    ),
    claims=(
        claim(
            "5.weak",
            "In distribution the states tend to the SDE at rate 1.",
            quantity="exponent in 1/(1/L − 1/512) of |E φ(h_L) − E φ(H(1))| for GELU, L = 8…64",
            measure=slope("weak.sde", minimum=8, reference=WEAK_STEPS),
            band=(-1.0, 0.25),
        ),
    ),
)
