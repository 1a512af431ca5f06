"""What the paper says of CIFAR-10, and how it is judged (rows 22 to 25 of the checklist)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

from deeplimit.claims import Claim
from deeplimit.papers.marion2024.cifar.figures import FIGURE_4
from deeplimit.papers.marion2024.cifar.readings import (
    TEST,
    TRAIN,
    accuracy,
    excess,
    increment,
    increments_ratio,
    lead,
    smooth,
)
from deeplimit.papers.marion2024.cifar.runs import ACTIVATIONS, PAPERS, ROLES

TABLE_1 = {
    ("identity", "tied"): (56.5, 59.8),
    ("identity", "i.i.d."): (56.1, 59.6),
    ("GELU", "tied"): (80.5, 79.9),
    ("GELU", "i.i.d."): (89.8, 85.7),
    ("ReLU", "tied"): (97.4, 88.1),
    ("ReLU", "i.i.d."): (98.4, 88.4),
}
"""Training and test accuracy in per cent: medians of 5 runs."""
Bounds = dict[str, tuple[float, Literal["at least", "at most"]]]
SMOOTH: Bounds = {"lag": (0.9, "at least"), "step": (0.2, "at most"), "roughness": (1.0, "at least")}
ROUGH: Bounds = {"lag": (0.3, "at most"), "step": (0.8, "at least"), "roughness": (0.5, "at most")}
"""Statistic -> its bound, for weights that look smooth, and for those that do not."""
MARGIN = 0.02
"""A tenth of the bound on the steps of smooth weights."""
NAMES = {
    "lag": "autocorrelation over layers at lag 1",
    "step": "mean step from layer to layer over the deviation over layers",
    "roughness": "local roughness (0: white noise, ½: Brownian, 1½ and more: smooth)",
}


def _table() -> Iterator[Claim]:
    """Row 22: every cell, at the size of the paper."""
    for (activation, start), medians in TABLE_1.items():
        for quantity, name, expected in zip((TRAIN, TEST), ("training", "test"), medians, strict=True):
            yield Claim(
                f"marion2024.22.{_slug(activation, start)}-{name}",
                f"{activation}, {start} start: {name} accuracy {expected} %.",
                "Table 1",
                f"{name} accuracy in per cent, median and quartiles",
                accuracy((activation, start), quantity),
                expected=expected,
                tolerance=1.5 if activation == "GELU" else 1.0,
                source="table",
                tiers=("full",),
                minimum_sample=5,
            )


def _orders() -> Iterator[Claim]:
    """Rows 22 and 25: which cells are more accurate."""
    cells = (("identity", "tied"), ("GELU", "tied"), ("GELU", "i.i.d."), ("ReLU", "i.i.d."))
    for lower, higher in itertools.pairwise(cells):
        yield Claim(
            f"marion2024.22.{_slug(*higher)}-above-{_slug(*lower)}",
            f"{' '.join(higher)} is more accurate than {' '.join(lower)}.",
            "Table 1",
            "difference of the test accuracies, in points",
            lead(higher, lower),
            expected=0.0,
            tolerance=0.0,
            source="table",
            relation="at least",
            tiers=("paper",),
            minimum_sample=3,
        )
    for quantity, name, expected in ((TEST, "test", 5.8), (TRAIN, "training", 9.3)):
        yield Claim(
            f"marion2024.25.{name}",
            f"The structure of an ODE costs accuracy: {expected} points of {name} accuracy with GELU.",
            "Table 1",
            f"{name} accuracy from an independent start less that from a tied one, in points",
            lead(("GELU", "i.i.d."), ("GELU", "tied"), quantity=quantity),
            expected=expected,
            tolerance=1.5,
            source="table",
            tiers=("full",),
            minimum_sample=5,
        )


def _smoothness() -> Iterator[Claim]:
    """Row 23: the column that says whether trained weights are smooth, with a statistic in the place of the eye."""
    for activation in ACTIVATIONS:
        for start in ("tied", "i.i.d."):
            if (activation, start) == ("ReLU", "tied"):
                continue
            bounds = SMOOTH if start == "tied" else ROUGH
            for name, (bound, relation) in bounds.items():
                ours = activation not in PAPERS
                yield Claim(
                    f"marion2024.23.{_slug(activation, start)}-{name}",
                    f"{activation}, {start} start: trained weights are {'smooth' if start == 'tied' else 'not smooth'}.",
                    "Theorem 4 and section 4.3 for this activation" if ours else "Table 1, by eye",
                    NAMES[name],
                    smooth((activation, start), name),
                    expected=bound,
                    tolerance=0.0,
                    source="derived" if ours else "table",
                    relation=relation,
                    tiers=_tiers(name, start, ours=ours),
                    minimum_sample=2,
                )


def _tiers(name: str, start: str, *, ours: bool) -> tuple[str, ...]:
    """The tiers whose sizes decide on a statistic."""
    if (name, start) == ("lag", "tied"):
        return ("full",)  # of a straight line over 32 layers it is 0.906, over 256 layers 0.988
    # In the quick tier's 600 updates layers differ by little more than the rounding of float32.
    return ("paper",) if ours or name == "roughness" else ("quick", "paper")


def _relu() -> Iterator[Claim]:
    """Row 23, the one cell that was tied and did not stay smooth."""
    yield Claim(
        "marion2024.23.relu-tied",
        "ReLU, tied start: trained weights are not smooth.",
        "Table 1, by eye",
        NAMES["roughness"],
        smooth(("ReLU", "tied"), "roughness"),
        expected=1.0,
        tolerance=0.0,
        source="table",
        relation="at most",
        tiers=("paper",),
        minimum_sample=3,
    )
    yield Claim(
        "marion2024.23.relu-against-gelu",
        "From a tied start ReLU leaves larger steps from layer to layer than GELU.",
        "Table 1, by eye",
        f"{NAMES['step']}: ReLU less GELU",
        excess,
        expected=MARGIN,
        tolerance=0.0,
        source="table",
        relation="at least",
        tiers=("paper",),
        minimum_sample=3,
    )


def _increments() -> Iterator[Claim]:
    """Row 24: Figure 4."""
    for start, medians in FIGURE_4.items():
        for role, expected in zip(ROLES, medians, strict=True):
            convolution = role.partition(".")[0]
            yield Claim(
                f"marion2024.24.{_slug('gelu', start)}-{convolution}",
                f"{start} start, {convolution}: successive layers are {expected} apart in the mean.",
                "Figure 4 (activation not stated: GELU, as in Figure 3)",
                "mean over layers of the Frobenius norm of the increment, median and quartiles",
                increment(("GELU", start), role),
                expected=expected,
                tolerance=0.25 * expected,
                source="figure",
                tiers=("full",),
                minimum_sample=5,
            )
    yield Claim(
        "marion2024.24.order-of-magnitude",
        "A tied start leaves successive layers an order of magnitude closer than an independent one.",
        "appendix E",
        "ratio of the mean increments, GELU, the smaller of both convolutions",
        increments_ratio,
        expected=10.0,
        tolerance=2.0,
        source="text",
        relation="at least",
        minimum_sample=2,
    )


def _slug(activation: str, start: str) -> str:
    return f"{activation.lower()}-{start.replace('.', '')}"


CLAIMS = (*_table(), *_orders(), *_smoothness(), *_relu(), *_increments())
