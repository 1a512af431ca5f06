"""How far the verdict on weights can be trusted: a zoo of weights whose regime is known, and the power of the Hurst index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Curve, Figure, Matrix, Panel
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl

LABELS = ("hypothesis 1", "hypothesis 2", "i.i.d.-like", "piecewise", "sparse", "undecided")

# Name of a setting -> depths and side d of a d × d matrix. The deep ones are those at which the verdict promises to be right.
SETTINGS: dict[str, tuple[tuple[int, ...], int]] = {
    "L = 8…32, d = 4": ((8, 16, 32), 4),
    "L = 8…64, d = 10": ((8, 16, 32, 64), 10),
    "L = 32…128, d = 10": ((32, 64, 128), 10),
    "L = 32…256, d = 10": ((32, 64, 128, 256), 10),
}
DEEP = ("L = 32…128, d = 10", "L = 32…256, d = 10")
DRAWS = Tiered(quick=6, paper=40)
FIRST_SEED = 70_000
"""The rules were written looking at other draws."""

RUNS = 6
NETWORK_DEPTHS = {"L = 8…64": (8, 16, 32, 64), "L = 16…128": (16, 32, 64, 128)}
NETWORK_DRAWS = Tiered(quick=8, paper=60)
NETWORK_LABELS = ("neural ODE", "mean ODE", "linear ODE", "ODE of the draw", "SDE", "identity", "none", "undecided")

POWER_DEPTHS, POWER_ENTRIES = (12, 24, 48, 96), (5, 20, 100, 500)
POWER_DRAWS = Tiered(quick=60, paper=400)


@dataclass(frozen=True)
class ZooVerdicts:
    """The verdict on every family of the zoo.

    Rows: `verdict`, with the columns `family`, `truth` and `found`, one per draw (`seed`).

    Args:
        depths, side: weights are side × side matrices at these depths.
        seeds: draws.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    depths: tuple[int, ...]
    side: int
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Draw and judge."""
        from deeplimit.regimes import judge_weights
        from deeplimit.regimes.zoo import FAMILIES

        for number, family in enumerate(FAMILIES):
            for seed in self.seeds:
                found = judge_weights(family.draw(self.depths, self.side**2, seed=seed)).label
                row: Row = {"seed": seed, "quantity": "verdict", "value": float(found == family.label)}
                yield {**row, "family": family.name, "truth": family.label, "found": found}
            context.progress((number + 1) / len(FAMILIES))

    def cost(self) -> Cost:
        """Layers drawn."""
        return Cost(31 * len(self.seeds) * sum(self.depths), 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From experience: some 20 ms a family of 500 layers."""
        return 31 * len(self.seeds) * (0.005 + 3e-5 * sum(self.depths))


@dataclass(frozen=True)
class NetworkVerdicts:
    """The verdict on the function of untrained networks of known limit.

    Rows: `verdict`, with the columns `family`, `truth` and `found`, one per draw of six runs (`seed` is the first run's).

    Args:
        depths: of each family.
        seeds: first seed of each draw.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Draw and judge."""
        from deeplimit.regimes import regime
        from deeplimit.regimes.known import NETWORKS

        for number, seed in enumerate(self.seeds):
            for name, known in NETWORKS.items():
                found = regime(known.observe(self.depths, seeds=range(seed, seed + RUNS))).function.label
                row: Row = {"seed": seed, "quantity": "verdict", "value": float(found == known.label)}
                yield {**row, "family": name, "truth": known.label, "found": found}
            context.progress((number + 1) / len(self.seeds))

    def cost(self) -> Cost:
        """Layers evaluated."""
        return Cost(8 * RUNS * len(self.seeds) * sum(self.depths), 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From experience: some 70 ms a family of 240 layers."""
        return 8 * len(self.seeds) * (0.01 + 2.5e-4 * sum(self.depths))


@dataclass(frozen=True)
class HurstPower:
    """How well the pooled Hurst index of one network's weights is known.

    Rows, by draw: `hurst` with its 95 % interval in the columns `low` and `high`, and the columns `entries` and `truth`.

    Args:
        depth, entries: of the weights, fractional Brownian paths.
        hurst: H.
        seeds: draws.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    depth: int
    entries: int
    hurst: float
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Draw and estimate."""
        import torch

        from deeplimit.processes import FractionalBrownianMotion
        from deeplimit.statistics import hurst

        process = FractionalBrownianMotion(self.hurst, finest=self.depth)
        for seed in self.seeds:
            paths = process.sample((self.entries,), torch.Generator().manual_seed(seed))(self.depth).T
            found = hurst(paths, resamples=200)
            row: Row = {"depth": self.depth, "seed": seed, "quantity": "hurst", "value": found.value}
            yield {**row, "low": found.low, "high": found.high, "entries": self.entries, "truth.hurst": self.hurst}

    def cost(self) -> Cost:
        """Layers drawn."""
        return Cost(len(self.seeds) * self.depth, 1e8, 1e5)

    def probe(self, context: Context) -> float:
        """From experience: a bootstrap takes some 10 ms."""
        return len(self.seeds) * 0.01


def _zoo_tasks(settings: Settings) -> Iterator[Task]:
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + settings.pick(DRAWS)))
    for name, (depths, side) in SETTINGS.items():
        yield ZooVerdicts(depths, side, seeds, labels={"setting": name})


def _network_tasks(settings: Settings) -> Iterator[Task]:
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + RUNS * settings.pick(NETWORK_DRAWS), RUNS))
    for name, depths in NETWORK_DEPTHS.items():
        yield NetworkVerdicts(depths, seeds, labels={"setting": name})


def _power_tasks(settings: Settings) -> Iterator[Task]:
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + settings.pick(POWER_DRAWS)))
    for depth in POWER_DEPTHS:
        for entries in POWER_ENTRIES:
            for index in (0.3, 0.5, 0.7):
                yield HurstPower(depth, entries, index, seeds)
    for index in (0.2, 0.8):
        yield HurstPower(24, 500, index, seeds)


def share(rows: pl.DataFrame, of: pl.Series, *, note: str) -> Measured:
    """The share of rows for which `of` holds, with its exact 95 % interval (Clopper and Pearson).

    Raises:
        LookupError: no rows.
    """
    from scipy.stats import binomtest

    if rows.is_empty():
        raise LookupError(f"no rows: {note}")
    found = binomtest(int(of.sum()), rows.height)
    interval = found.proportion_ci()
    return Measured(
        found.statistic, interval.low, interval.high, rows.height, f"{note}; {rows.height} draws, 95 % exact interval"
    )


def right_of_decided(rows: pl.DataFrame) -> Measured:
    """Of the decided verdicts on deep networks, the share that is right."""
    import polars as pl

    decided = rows.filter(pl.col("setting").is_in(DEEP) & (pl.col("found") != "undecided"))
    return share(decided, decided["found"] == decided["truth"], note="decided verdicts, L ≥ 32, d = 10")


def wrong_of_all(rows: pl.DataFrame) -> Measured:
    """The largest share of wrong verdicts among all, over the settings of the rows."""
    import polars as pl

    worst = []
    for setting in rows["setting"].unique(maintain_order=True):
        own = rows.filter(pl.col("setting") == setting)
        wrong = (own["found"] != own["truth"]) & (own["found"] != "undecided")
        worst.append(share(own, wrong, note=f"worst setting: {setting}"))
    return max(worst, key=lambda measured: measured.value)


def within_two_hundredths(rows: pl.DataFrame) -> Measured:
    """The share of estimates within 0.02 of H at L = 24 with 500 entries, the worst H of 0.2 … 0.8."""
    import polars as pl

    own = rows.filter((pl.col("depth") == 24) & (pl.col("entries") == 500))
    found = []
    for (index,), part in own.group_by("truth.hurst", maintain_order=True):
        near = (part["value"] - part["truth.hurst"]).abs() <= 0.02
        found.append(share(part, near, note=f"worst H: {index:g}"))
    if not found:
        raise LookupError("no rows at L = 24 with 500 entries")
    return min(found, key=lambda measured: measured.value)


def coverage(rows: pl.DataFrame) -> Measured:
    """The share of bootstrap intervals that hold H, over all depths with at least 100 entries."""
    import polars as pl

    own = rows.filter(pl.col("entries") >= 100)
    holds = (own["low"] <= own["truth.hurst"]) & (own["truth.hurst"] <= own["high"])
    return share(own, holds, note="intervals, at least 100 entries")


def told_apart(depth: int, entries: int) -> Callable[[pl.DataFrame], Measured]:
    """The measure of the share of draws with H = 0.7 whose interval lies above 0.5."""

    def measure(rows: pl.DataFrame) -> Measured:
        import polars as pl

        own = rows.filter((pl.col("depth") == depth) & (pl.col("entries") == entries) & (pl.col("truth.hurst") == 0.7))
        return share(own, own["low"] > 0.5, note=f"L = {depth}, {entries} entries")

    return measure


def right_of_networks(rows: pl.DataFrame) -> Measured:
    """Of the decided verdicts on functions, the share that is right."""
    import polars as pl

    decided = rows.filter(pl.col("found") != "undecided")
    return share(decided, decided["found"] == decided["truth"], note="decided verdicts on functions")


def confusion(settings: Sequence[str], labels: Sequence[str]) -> Callable[[pl.DataFrame], list[Matrix]]:
    """Panels of truth against verdict, one a setting."""

    def panels(rows: pl.DataFrame) -> list[Matrix]:
        return [_confusion(rows, setting, labels) for setting in settings]

    return panels


def _confusion(rows: pl.DataFrame, setting: str, labels: Sequence[str]) -> Matrix:
    import polars as pl

    own = rows.filter(pl.col("setting") == setting)
    truths = [label for label in labels if label in set(own["truth"])]
    table = []
    for truth in truths:
        found = own.filter(pl.col("truth") == truth)["found"].to_list()
        table.append([found.count(label) / len(found) for label in labels])
    return Matrix(table, labels, truths, xlabel="verdict", ylabel="truth", title=setting)


def _power(rows: pl.DataFrame) -> list[Panel]:
    """Power against depth, one curve per number of entries."""
    curves = []
    for entries in POWER_ENTRIES:
        shares = [told_apart(depth, entries)(rows) for depth in POWER_DEPTHS]
        values = [[m.value for m in shares], [m.low for m in shares], [m.high for m in shares]]
        curves.append(Curve(POWER_DEPTHS, values[0], f"{entries} entries", values[1], values[2]))
    return [
        Panel(curves, "depth L of one network", "share that tells H = 0.7 from 0.5", xscale="log"),
    ]


ZOO = Study(
    "zoo",
    title="The verdict on weights, on weights whose regime is known",
    text=(
        "Thirty-one families of weights, smooth, kinked, fractional, with noise of each size, piecewise and sparse, are drawn at several"
        " depths and judged. The verdict has to be right where it is given, and has to be withheld where the data cannot tell: shallow"
        " or small networks. Draws are not those that the rules were written with."
    ),
    tasks=_zoo_tasks,
    figures=(
        Figure(
            "zoo-confusion",
            "Truth and verdict",
            "Share of the draws of each regime (rows) that got each verdict (columns). Left: deep networks. Right: shallow and small"
            " ones, where most verdicts are withheld.",
            confusion(("L = 32…256, d = 10", "L = 8…32, d = 4"), LABELS),
        ),
    ),
    claims=(
        Claim(
            "reconciliation.zoo.right",
            "Of the verdicts given on weights of at least 32 layers and 100 entries, at least 97 % are right.",
            "definition of the verdict",
            "share of decided verdicts that are right",
            right_of_decided,
            expected=0.97,
            tolerance=0.0,
            source="derived",
            relation="at least",
        ),
        Claim(
            "reconciliation.zoo.wrong",
            "Anywhere, shallow and small networks included, at most 2 % of the verdicts are wrong.",
            "definition of the verdict",
            "share of wrong verdicts, largest over settings",
            wrong_of_all,
            expected=0.02,
            tolerance=0.0,
            source="derived",
            relation="at most",
            tiers=("paper",),  # a few dozen draws do not bound a share by so little
        ),
    ),
)

NETWORKS_STUDY = Study(
    "network-zoo",
    title="The verdict on the function, on networks whose limit is known",
    text=(
        "Eight kinds of untrained networks, of which theory says what they become, are seen at four depths in six runs and judged. Trained"
        " networks of known limit are the subject of the study known-limits."
    ),
    tasks=_network_tasks,
    figures=(
        Figure(
            "network-zoo-confusion",
            "What networks become, and the verdict",
            "Share of the draws of each limit (rows) that got each verdict (columns), at two ranges of depth.",
            confusion(tuple(NETWORK_DEPTHS), NETWORK_LABELS),
        ),
    ),
    claims=(
        Claim(
            "reconciliation.network-zoo.right",
            "Of the verdicts given on functions at least 97 % are right.",
            "definition of the verdict",
            "share of decided verdicts that are right",
            right_of_networks,
            expected=0.97,
            tolerance=0.0,
            source="derived",
            relation="at least",
            tiers=("paper",),
        ),
        Claim(
            "reconciliation.network-zoo.wrong",
            "At most 2 % of all verdicts on functions are wrong.",
            "definition of the verdict",
            "share of wrong verdicts, largest over ranges of depth",
            wrong_of_all,
            expected=0.02,
            tolerance=0.0,
            source="derived",
            relation="at most",
            tiers=("paper",),
        ),
    ),
)

POWER = Study(
    "roughness-power",
    title="How well the roughness of one network's weights can be known",
    text=(
        "The Hurst index of weights of a single network, from a variogram pooled over entries: how often it is right to two hundredths,"
        " how often its interval holds the truth, and with how many entries at which depth H = 0.7 is told from Brownian weights."
    ),
    tasks=_power_tasks,
    figures=(
        Figure(
            "roughness-power",
            "Telling H = 0.7 from 0.5",
            "Share of networks with H = 0.7 whose 95 % interval lies above 0.5, against depth.",
            _power,
        ),
    ),
    claims=(
        Claim(
            "reconciliation.roughness.precise",
            "At 24 layers, 500 entries give H to ± 0.02 in at least 95 % of the draws, for every H from 0.2 to 0.8.",
            "definition of the pooled estimate",
            "share of estimates within 0.02 of H, worst H",
            within_two_hundredths,
            expected=0.95,
            tolerance=0.0,
            source="derived",
            relation="at least",
            tiers=("paper",),  # a few dozen draws do not bound a share by so little
        ),
        Claim(
            "reconciliation.roughness.coverage",
            "Bootstrap intervals of level 95 % hold H about as often as they say.",
            "definition of the pooled estimate",
            "share of intervals that hold H, at least 100 entries",
            coverage,
            expected=0.94,
            tolerance=0.03,
            source="derived",
        ),
        Claim(
            "reconciliation.roughness.power",
            "At 24 layers, 100 entries tell H = 0.7 from 0.5 almost always.",
            "definition of the pooled estimate",
            "share of draws with H = 0.7 whose interval lies above 0.5",
            told_apart(24, 100),
            expected=0.95,
            tolerance=0.0,
            source="derived",
            relation="at least",
            tiers=("paper",),  # a few dozen draws do not bound a share by so little
        ),
    ),
)

STUDIES = (ZOO, NETWORKS_STUDY, POWER)
