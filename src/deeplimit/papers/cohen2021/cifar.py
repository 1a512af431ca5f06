"""Convolutional networks on CIFAR-10: the norms of the blocks of trained networks against depth (rows 11 and 12 of the checklist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Panel
from deeplimit.fits import exponent, mean_over_seeds
from deeplimit.measures import At, BlockNorms, FullLoss, HeldOut, Last
from deeplimit.networks import StagedResidual
from deeplimit.papers.cohen2021.rows import against_depth, curve
from deeplimit.papers.marion2024.cifar.runs import AUGMENTED, images
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.marion2024.finite_time import seed_band
from deeplimit.records import Task
from deeplimit.study import Settings, Study, Tiered
from deeplimit.training import SGD, Batches, CosineDecay, CrossEntropy, TrainingRun

if TYPE_CHECKING:
    import polars as pl

BLOCKS: Mapping[int, tuple[int, int, int, int]] = {
    8: (2, 2, 2, 2),
    11: (2, 3, 4, 2),
    12: (2, 3, 5, 2),
    14: (3, 3, 5, 3),
    16: (3, 4, 6, 3),
    18: (3, 4, 8, 3),
    20: (3, 4, 10, 3),
    24: (3, 4, 14, 3),
    28: (3, 4, 18, 3),
    33: (3, 4, 23, 3),
    42: (3, 8, 28, 3),
    50: (3, 8, 36, 3),
    65: (3, 8, 51, 3),
    80: (4, 12, 60, 4),
    100: (4, 18, 74, 4),
    121: (4, 31, 82, 4),
}
"""L -> blocks of each stage, of all networks that the released code trains."""
PLOTTED = tuple(depth for depth in BLOCKS if depth != 18)
"""Those of the authors' figures."""

RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4

FORGOTTEN, REMEMBERED = "start forgotten", "start remembered"
"""The two settings: λ large enough that little of the start is left in the end, and the authors' λ where that is another."""
DECAY_TIMES = 2.0
"""Decay times of a training whose start counts as forgotten: 14 % of it are left. Three in as many steps are too many: the weights of
deep networks then fall to 0 before anything is learned."""
LOOKS = 8
"""Intervals of a training at whose ends the deepest network is looked at."""


@dataclass(frozen=True)
class Size:
    """What is trained at a tier.

    Args:
        base: channels of the first stage.
        forgotten, remembered: depths in either setting.
        images, test: numbers of images that are trained on, and tested with.
        epochs, batch: of the training.
    """

    base: int
    forgotten: tuple[int, ...]
    remembered: tuple[int, ...]
    images: int
    test: int
    epochs: int
    batch: int

    @property
    def steps(self) -> int:
        """T."""
        return self.epochs * Batches(self.batch).per_epoch(self.images)

    def decay_times(self, weight_decay: float) -> float:
        """Σ_t η_t λ / (1 − m) over the training: without gradients weights fall by e to the power of minus this."""
        mean = (self.epochs + 1) / (2 * self.epochs)  # of (1 + cos(π e / epochs)) / 2 over the epochs e
        return RATE * mean * weight_decay * self.steps / (1 - MOMENTUM)

    def settings(self) -> dict[str, tuple[float, tuple[int, ...]]]:
        """Setting -> λ and depths. λ is the authors' where that forgets the start, as it does in their 200 epochs."""
        forgetting = DECAY * max(1.0, DECAY_TIMES / self.decay_times(DECAY))
        return {FORGOTTEN: (forgetting, self.forgotten), REMEMBERED: (DECAY, self.remembered)}


SIZES = Tiered(
    quick=Size(4, (), (8, 14, 24), 1_600, 500, epochs=8, batch=32),
    paper=Size(4, (8, 12, 16, 20, 24, 33), (8, 16, 33), 5_000, 1_000, epochs=12, batch=32),
    full=Size(64, PLOTTED, (), 50_000, 10_000, epochs=200, batch=128),
)
"""Tier -> sizes. With 4 channels a network of 50 blocks was seen to die: its gradients vanish after a few hundred steps."""

KINDS = {"A": "A", "delta": "Δ"}
STATISTICS = {"maximum": "max norm", "root_sum_of_squares": "root sum of squares", "increment": "max increment"}


@dataclass(frozen=True)
class Published:
    """A curve of the authors' figures: its slope, and its ends."""

    statistic: str
    kind: str
    slope: float
    ends: tuple[float, float]

    @property
    def quantity(self) -> str:
        """Of our rows."""
        return f"statistic.{self.statistic}.{self.kind}"

    @property
    def slug(self) -> str:
        """In names of claims."""
        return f"{self.statistic.replace('_', '-')}-{self.kind.lower()}"

    @property
    def words(self) -> str:
        """In sentences."""
        return f"the {STATISTICS[self.statistic]} of {KINDS[self.kind]}"


CURVES = (
    Published("maximum", "A", -0.025, (4.50, 3.97)),
    Published("maximum", "delta", -0.094, (5.40, 4.01)),
    Published("root_sum_of_squares", "A", 0.03, (10.2, 11.3)),
    Published("root_sum_of_squares", "delta", 0.0, (11.1, 11.4)),
    Published("increment", "A", 0.0, (2.97, 3.17)),
    Published("increment", "delta", -0.01, (6.80, 6.45)),
)
"""Read off the authors' figures, slopes fitted again; ends at 8 and 121 blocks."""


def _tasks(settings: Settings) -> Iterator[Task]:
    size = settings.pick(SIZES)
    for setting, (weight_decay, depths) in size.settings().items():
        for depth in depths:
            yield training(size, depth, weight_decay=weight_decay, setting=setting, seeds=settings.seeds())


def training(size: Size, depth: int, *, weight_decay: float, setting: str, seeds: tuple[int, ...]) -> TrainingRun:
    """The authors' recipe at a size; the deepest network of a setting is looked at on the way."""
    deepest = depth == max(size.settings()[setting][1])
    looks = At(tuple(round(size.steps * i / LOOKS) for i in range(LOOKS + 1))) if deepest else Last()
    return TrainingRun(
        (StagedResidual(BLOCKS[depth], base=size.base),),
        images("train", size.images),
        SGD(RATE, MOMENTUM, weight_decay),
        size.steps,
        (BlockNorms(looks), FullLoss(accuracy=True), HeldOut(images("test", size.test))),
        seeds,
        CrossEntropy(),
        dtype="float32",
        batches=Batches(size.batch),
        decay=CosineDecay(size.epochs),
        keep_weights=False,
        augmentation=AUGMENTED,
        labels={"setting": setting, "weight_decay": weight_decay},
    )


def main(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the setting that is judged: of a forgotten start, or where a tier has none of the other."""
    return only(rows, setting=FORGOTTEN if FORGOTTEN in rows["setting"] else REMEMBERED)


def final(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the end of trainings that have come to it.

    Raises:
        LookupError: none has.
    """
    return only(rows, iteration=max(rows["iteration"], default=0))


def slope(quantity: str, *, setting: str | None = None) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the exponent of a quantity in L, in a setting or in the one that is judged."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = main(rows) if setting is None else only(rows, setting=setting)
        return exponent(only(final(own), quantity=quantity), minimum=min(BLOCKS))

    return measure


def bulk(rows: pl.DataFrame, kind: str, *, statistic: str = "median") -> pl.DataFrame:
    """The median, or the least, of the norms of the blocks of each network at the end."""
    import polars as pl

    norm = pl.col("value").median() if statistic == "median" else pl.col("value").min()
    own = only(final(rows), quantity=f"block.{kind}")
    return own.group_by("depth", "seed").agg(value=norm).sort("depth", "seed")


def _bulk_slope(kind: str) -> Callable[[pl.DataFrame], Measured]:
    return lambda rows: exponent(bulk(main(rows), kind), minimum=min(BLOCKS))


def contrast(rows: pl.DataFrame) -> Measured:
    """The largest over the least norm of A in the deepest network, by seed."""
    import polars as pl

    own = only(final(main(rows)), quantity="block.A")
    deepest = only(own, depth=max(own["depth"]))
    by_seed = deepest.group_by("seed").agg(ratio=pl.col("value").max() / pl.col("value").min()).sort("seed")
    return mean_over_seeds(by_seed["ratio"].to_list(), f"L = {deepest['depth'][0]}")


def _worst_accuracy(rows: pl.DataFrame) -> Measured:
    """The least training accuracy over depths and seeds."""
    values = only(final(main(rows)), quantity="accuracy.full")["value"].to_list()
    return Measured.spread([min(values)], f"least of {len(values)} networks")


def levels(published: Published) -> Callable[[pl.DataFrame], Measured]:
    """The measure of how far the ends of a curve are from the published ones, by seed: the larger |ours / published − 1|."""

    def measure(rows: pl.DataFrame) -> Measured:
        own = only(final(main(rows)), quantity=published.quantity)
        found: dict[int, float] = {}
        for depth, number in zip((min(PLOTTED), max(PLOTTED)), published.ends, strict=True):
            for row in only(own, depth=depth).iter_rows(named=True):
                found[row["seed"]] = max(found.get(row["seed"], 0.0), abs(row["value"] / number - 1))
        return mean_over_seeds(list(found.values()), f"L = {min(PLOTTED)} and {max(PLOTTED)}")

    return measure


def _settings(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The settings that the rows have."""
    return ((setting, only(rows, setting=setting)) for setting in (FORGOTTEN, REMEMBERED) if setting in rows["setting"])


def _norms(rows: pl.DataFrame) -> list[Panel]:
    """The three statistics of A, and of Δ, in each setting."""
    panels = []
    for setting, own in _settings(rows):
        for kind, letter in KINDS.items():
            curves = [
                curve(only(final(own), quantity=f"statistic.{name}.{kind}"), label)
                for name, label in STATISTICS.items()
            ]
            panels.append(against_depth(curves, f"operator norms of {letter}", title=setting))
    return panels


def _cloud(rows: pl.DataFrame) -> list[Panel]:
    """The norm of each block of the first seed, against the depth of its network and against its own place."""
    panels = []
    own = only(final(main(rows)), seed=min(rows["seed"]))
    for kind, letter in KINDS.items():
        norms = only(own, quantity=f"block.{kind}").sort("depth", "index")
        ylabel = f"operator norm of {letter}"
        cloud = Curve(norms["depth"].to_list(), norms["value"].to_list(), style="markers")
        largest = curve(only(final(main(rows)), quantity=f"statistic.maximum.{kind}"), "max norm")
        middle = curve(bulk(main(rows), kind), "median")
        panels.append(against_depth([cloud, largest, middle], ylabel, title="first seed; curves: all seeds"))
        depths = sorted(set(norms["depth"]))
        networks = [only(norms, depth=depth) for depth in sorted({depths[0], depths[len(depths) // 2], depths[-1]})]
        places = [
            Curve([k / len(own) for k in own["index"]], own["value"].to_list(), f"L = {len(own)}") for own in networks
        ]
        panels.append(Panel(places, "place k/L", ylabel, "first seed", yscale="log"))
    return panels


def _accuracy(rows: pl.DataFrame) -> list[Panel]:
    """Accuracies and training loss at the end, against depth."""
    panels = []
    for setting, own in _settings(rows):
        shares = [
            seed_band(only(final(own), quantity=name), "depth", label=label)
            for name, label in (("accuracy.full", "training"), ("test.accuracy", "test"))
        ]
        panels.append(Panel(shares, "depth L", "accuracy", setting, xscale="log"))
    losses = [
        seed_band(only(final(own), quantity="loss.full"), "depth", label=setting) for setting, own in _settings(rows)
    ]
    return [*panels, Panel(losses, "depth L", "training loss", xscale="log")]


def _in_training(rows: pl.DataFrame) -> list[Panel]:
    """Largest, median and least norm in the deepest network of each setting against the step."""
    import polars as pl

    panels = []
    for setting, own in _settings(rows):
        deepest = only(own, depth=max(own["depth"]))
        for kind, letter in KINDS.items():
            norms = only(deepest, quantity=f"block.{kind}").group_by("seed", "iteration")
            found = norms.agg(low=pl.col("value").min(), middle=pl.col("value").median(), top=pl.col("value").max())
            curves = [
                seed_band(found.select("iteration", value=name), "iteration", label=label)
                for name, label in (("top", "largest"), ("middle", "median"), ("low", "least"))
            ]
            title = f"L = {deepest['depth'][0]}, {setting}"
            panels.append(Panel(curves, "step", f"operator norm of {letter}", title, yscale="log"))
    return panels


TRAINED = Claim(
    "cohen2021.11.trained",
    "CIFAR-10: the networks of all depths have learned something, which the exponents suppose.",
    "condition of the exponents",
    "least training accuracy over depths and seeds; 0.1 is chance",
    _worst_accuracy,
    expected=0.2,
    tolerance=0.0,
    source="derived",
    relation="at least",
    tiers=("paper",),
)
CONTRAST = Claim(
    "cohen2021.12.contrast",
    "CIFAR-10, 64 channels: at 121 blocks the largest norm of A is 11 times the least.",
    "released figures: 4 and 0.35",
    "largest over least norm of A in the deepest network",
    contrast,
    expected=4 / 0.35,
    tolerance=4.0,
    source="figure",
    tiers=("full",),
)


def _curve_claims(published: Published) -> Iterator[Claim]:
    """That a curve is flat; and at the authors' width, its slope and its ends."""
    quantity = f"exponent of {published.words} in L"
    yield Claim(
        f"cohen2021.11.{published.slug}",
        f"CIFAR-10: {published.words} does not scale with depth, once the start is forgotten.",
        "section 4, convolutional networks; released figures (there of 64 channels)",
        quantity,
        slope(published.quantity),
        expected=0.0,
        tolerance=0.1,
        source="figure",
        tiers=("paper",),
        minimum_sample=3,
    )
    yield Claim(
        f"cohen2021.11.{published.slug}-slope",
        f"CIFAR-10, 64 channels: the exponent of {published.words} is {published.slope:g}.",
        "released figures, fitted again",
        quantity,
        slope(published.quantity),
        expected=published.slope,
        tolerance=0.05,
        source="figure",
        tiers=("full",),
    )
    yield Claim(
        f"cohen2021.11.{published.slug}-levels",
        f"CIFAR-10, 64 channels: {published.words} is {published.ends[0]:g} at 8 blocks and {published.ends[1]:g} at 121.",
        "released figures",
        "the larger of |ours / published − 1| at the two depths",
        levels(published),
        expected=0.0,
        tolerance=0.15,
        source="figure",
        relation="at most",
        tiers=("full",),
    )


def _sparse_claims(kind: str, letter: str) -> Iterator[Claim]:
    """That few blocks carry the weights, and that all do where the start is not forgotten."""
    yield Claim(
        f"cohen2021.12.bulk-{kind.lower()}",
        f"CIFAR-10: the median norm of {letter} falls with depth, while the largest does not.",
        "released figures (there of 64 channels)",
        f"exponent of the median of ‖{letter}_k‖ over blocks",
        _bulk_slope(kind),
        expected=-0.1,
        tolerance=0.0,
        source="figure",
        relation="at most",
        tiers=("paper",),
        minimum_sample=3,
    )
    yield Claim(
        f"cohen2021.12.carriers-{kind.lower()}",
        f"CIFAR-10: {letter} is sparse: the number of blocks that carry it does not grow like the depth.",
        "section 4, convolutional networks: neither hypothesis; the bound is that of our verdict on weights",
        f"exponent of (Σ‖{letter}_k‖²)² / Σ‖{letter}_k‖⁴, 0 for finitely many blocks and 1 for all",
        slope(f"statistic.carriers.{kind}"),
        expected=0.0,
        tolerance=0.5,
        source="derived",
        relation="at most",
        tiers=("paper",),
        minimum_sample=3,
    )
    yield Claim(
        f"cohen2021.12.remembered-{kind.lower()}",
        f"CIFAR-10: where the start is not forgotten, the root of the sum of squares of {letter} grows with depth.",
        "equal norms of all blocks at the start",
        f"exponent of the root of the sum of squares of {letter} with the authors' λ in few steps, ½ at the start",
        slope(f"statistic.root_sum_of_squares.{kind}", setting=REMEMBERED),
        expected=0.1,
        tolerance=0.0,
        source="derived",
        relation="at least",
        tiers=("paper",),
        minimum_sample=3,
    )


STUDY = Study(
    "cifar",
    title="Convolutional networks on CIFAR-10",
    text=(
        "Blocks ReLU(h + Δ_k ∗ ReLU(A_k ∗ h)) in four stages, without normalisation, trained by the authors' recipe: momentum 0.9, learning"
        " rate 0.1 on a cosine, L2 of 0.0005, crops and flips. Norms are those of the convolutions as maps of images. The authors train 64"
        " channels for 200 epochs of all images (tier full, for a GPU). The tiers quick and paper train 4 channels for a few hundred, and"
        f" {SIZES.at('paper').steps}, steps of 32 images. In so few steps L2 as weak as the authors' leaves most of the start in the"
        " weights, where all blocks are equal; in 200 epochs it leaves 3 parts in 10⁹. The paper tier therefore has two settings: an L2"
        " that leaves 14 %, which is judged, and the authors' own at three depths. The quick tier has the latter alone and decides nothing."
        " `deeplimit data fetch cifar-10` brings the files."
    ),
    replicates=Tiered(quick=2, paper=3),
    tasks=_tasks,
    figures=(
        Figure(
            "cifar-norms",
            "Operator norms against depth: CIFAR-10",
            "Geometric mean over seeds, band: range over seeds; the exponents of the curves stand in the legend. All are 0 in the paper.",
            _norms,
            where="section 4, convolutional networks",
        ),
        Figure(
            "cifar-cloud",
            "The norm of every block: CIFAR-10",
            "First and third: norms of all blocks against the depth of their network. Second and fourth: against their place in three"
            " networks. A few blocks keep norms of the size of the largest, most fall with depth, as sparse weights do.",
            _cloud,
            where="section 4, convolutional networks",
        ),
        Figure(
            "cifar-accuracy",
            "Accuracy and loss against depth: CIFAR-10",
            "At the end of training, mean and range over seeds; the training images without crops and flips.",
            _accuracy,
        ),
        Figure(
            "cifar-training",
            "Norms during training: CIFAR-10",
            "Largest, median and least norm over the blocks of the deepest network, mean and range over seeds.",
            _in_training,
        ),
    ),
    claims=(
        TRAINED,
        *(claim for published in CURVES for claim in _curve_claims(published)),
        *(claim for kind, letter in KINDS.items() for claim in _sparse_claims(kind, letter)),
        CONTRAST,
    ),
)
