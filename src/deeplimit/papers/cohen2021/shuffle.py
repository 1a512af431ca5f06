"""What the shuffle of the released code does, which copies batches where it should exchange them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import mean_over_seeds
from deeplimit.papers.cohen2021.exponents import MAX_A
from deeplimit.papers.cohen2021.networks import BATCH, QUICKEST, SYNTHETIC, TANH, TANH_BASE, depth_grid, sweep
from deeplimit.papers.cohen2021.rows import DELTA, against_depth, curve, product
from deeplimit.papers.marion2024.common import only
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study
from deeplimit.training import Batches
from deeplimit.training.batches import distinct_batches

if TYPE_CHECKING:
    import polars as pl

CORRECT, PUBLISHED = "shuffled", "published"
DEPTHS = depth_grid(TANH_BASE, QUICKEST)
SPENT = 3
"""Epochs that a network of this setting takes: with the released code, the next depth starts with the batches that are left."""
LOOKED_AT = 10
COUNTED = 200


@dataclass(frozen=True)
class DistinctBatches:
    """How many different batches an epoch has, by seed and epoch (`index`, from 1): quantity `distinct`.

    Args:
        batches: their size and order.
        samples: n.
        epochs: how many are looked at.
        seeds: of the shuffles.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    batches: Batches
    samples: int
    epochs: int
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Shuffle and count."""
        for seed in self.seeds:
            for epoch in range(self.epochs):
                order = self.batches.order_of(self.samples, seed=seed, epoch=epoch)
                count = distinct_batches(order, self.batches.size)
                yield {"seed": seed, "index": epoch + 1, "quantity": "distinct", "value": float(count)}

    def cost(self) -> Cost:
        """Shuffles."""
        return Cost(len(self.seeds) * self.epochs)

    def probe(self, context: Context) -> float:
        """From experience: less than a millisecond a shuffle."""
        return 5e-4 * len(self.seeds) * self.epochs


def _tasks(settings: Settings) -> Iterator[Task]:
    seeds = tuple(range(COUNTED))
    yield DistinctBatches(Batches(BATCH, PUBLISHED), SYNTHETIC.samples, LOOKED_AT, seeds, labels={"order": PUBLISHED})
    for number, depth in enumerate(DEPTHS):
        for order in (CORRECT, PUBLISHED):
            earlier = SPENT * number if order == PUBLISHED else 0
            (run,) = sweep(TANH, (depth,), seeds=settings.seeds(), batches=Batches(BATCH, order, earlier))
            yield dataclasses.replace(run, labels={**run.labels, "order": order})


def distinct(epoch: int) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the mean number of different batches in an epoch, counted from 1."""

    def measure(rows: pl.DataFrame) -> Measured:
        counts = only(rows, quantity="distinct", index=epoch)["value"].to_list()
        return mean_over_seeds(counts, f"of 32 batches, epoch {epoch}")

    return measure


def change(quantity: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of how the shuffle changes minus the exponent of a quantity, seed by seed."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        from deeplimit.fits import exponent

        wrong, right = (product(only(rows, order=order), {quantity: 1.0}) for order in (PUBLISHED, CORRECT))
        both = wrong.join(right, on=("depth", "seed"), suffix=".right")
        found = exponent(both.with_columns(value=pl.col("value") / pl.col("value.right")), minimum=3)
        return dataclasses.replace(found, value=-found.value, low=-found.high, high=-found.low)

    return measure


def _panels(rows: pl.DataFrame) -> list[Panel]:
    counts = [distinct(epoch)(rows).value for epoch in range(1, LOOKED_AT + 1)]
    left = Panel(
        [
            Curve(range(1, LOOKED_AT + 1), counts, "as released"),
            Curve([1, LOOKED_AT], [32, 32], "correct", style="dashed"),
        ],
        "epoch",
        "different batches",
    )
    panels = [left]
    for quantity, ylabel in ((DELTA, "δ"), (MAX_A, "max ‖A‖"), ("loss.full", "loss over all samples")):
        curves = [
            curve(only(rows, order=order, quantity=quantity), label)
            for order, label in ((CORRECT, "correct"), (PUBLISHED, "as released"))
        ]
        panels.append(against_depth(curves, ylabel))
    return panels


STUDY = Study(
    "shuffle",
    title="The shuffle of the released code",
    text=(
        "The released code is to permute 32 fixed batches before each epoch, but exchanges rows of a PyTorch tensor through NumPy: a row is"
        " copied over another, which is lost, in the one data set that all depths share. Here both orders at small depths; with the"
        f" released one, each depth starts with the batches that {SPENT} epochs of every shallower one have left."
    ),
    replicates=5,
    tasks=_tasks,
    figures=(
        Figure(
            "shuffle",
            "Batches that disappear",
            f"Left: different batches by epoch, mean of {COUNTED} shuffles. Then δ, the largest norm of A and the loss over all samples,"
            " also those that are no longer seen.",
            _panels,
        ),
    ),
    claims=(
        *(
            Claim(
                f"cohen2021.shuffle.distinct-{epoch}",
                f"Of 32 batches {expected:g} are left in epoch {epoch} on the average.",
                "released code, emulated",
                f"different batches in epoch {epoch}",
                distinct(epoch),
                expected=expected,
                tolerance=0.6,
                source="measured",
            )
            for epoch, expected in ((1, 16.5), (2, 9.7), (5, 3.0))
        ),
        Claim(
            "cohen2021.shuffle.alpha",
            "The defect hardly changes α.",
            "a smaller run of the same setting",
            "change of minus the exponent of δ",
            change(DELTA),
            expected=0.0,
            tolerance=0.1,
            source="measured",
            minimum_sample=5,
        ),
        Claim(
            "cohen2021.shuffle.beta",
            "The defect hardly changes β.",
            "a smaller run of the same setting",
            "change of minus the exponent of max ‖A‖",
            change(MAX_A),
            expected=0.0,
            tolerance=0.1,
            source="measured",
            minimum_sample=5,
        ),
    ),
)
