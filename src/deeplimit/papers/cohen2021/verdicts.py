"""The verdict on trained weights, by rates and not by eye: hypothesis 1, hypothesis 2, or neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from deeplimit.claims import Claim, Measured
from deeplimit.figures import Figure, Matrix
from deeplimit.papers.cohen2021.networks import RELU, SETTINGS, TANH, Setting, trained
from deeplimit.papers.marion2024.common import only
from deeplimit.papers.reconciliation.zoo import LABELS
from deeplimit.records import Context, Cost, Label, Row, Task
from deeplimit.study import Settings, Study, Tiered

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from deeplimit.regimes import WeightVerdict

JUDGED = (TANH, "tanh, Adam 0.001", "tanh, SGD 0.1", RELU)
DEPTHS = Tiered(quick=(16, 32, 64, 128), paper=(64, 128, 256, 512, 1024))


@dataclass(frozen=True)
class TrainedVerdict:
    """Train at several depths and judge the weights.

    Rows: `verdict`, with the columns `role`, `found` and `reason`: by seed, each judged on its own networks alone, and once for all runs
    together (no seed). With the latter the evidence, `evidence.NAME`, its 95 % or wider interval in the columns `low` and `high`.

    Args:
        setting: family and training.
        depths: of the networks that are judged together.
        seeds: runs at each depth.
        labels: further columns of the rows.
    """

    revision: ClassVar[int] = 1
    setting: Setting
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, compare=False)

    def run(self, context: Context) -> Iterator[Row]:
        """Train, then judge."""
        from deeplimit.networks import effective
        from deeplimit.regimes import judge_weights

        weights: dict[str, dict[int, Tensor]] = {"A": {}, "b": {}}
        for number, depth in enumerate(self.depths):
            params = trained(self.setting, depth, seeds=self.seeds, context=context)
            found = effective(self.setting.network(depth), params)
            for role, by_depth in weights.items():
                by_depth[depth] = found[role]
            context.progress((number + 1) / (len(self.depths) + 1))
        for role, by_depth in weights.items():
            yield from _rows(judge_weights(by_depth, role))
            for e, seed in enumerate(self.seeds):
                alone = judge_weights({depth: tensor[e : e + 1] for depth, tensor in by_depth.items()}, role)
                yield from ({"seed": seed, **row} for row in _rows(alone))

    def cost(self) -> Cost:
        """That of the training runs."""
        costs = [self.setting.run(depth, self.seeds).cost() for depth in self.depths]
        return Cost(sum(c.layer_steps for c in costs), 4 * max(c.memory_bytes for c in costs), 1e5)

    def probe(self, context: Context) -> float:
        """Seconds of the training run at the deepest, in proportion to layers."""
        deepest = max(self.depths)
        return self.setting.run(deepest, self.seeds).probe(context) * sum(self.depths) / deepest


def _rows(verdict: WeightVerdict) -> Iterator[Row]:
    row: Row = {"quantity": "verdict", "value": 1.0, "role": verdict.role}
    yield {**row, "found": verdict.label, "reason": verdict.reason}
    for name, number in vars(verdict.evidence).items() if verdict.evidence else ():
        row = {"quantity": f"evidence.{name}", "value": number.value, "role": verdict.role}
        yield {**row, "low": number.low, "high": number.high}


def _tasks(settings: Settings) -> Iterator[Task]:
    for name in JUDGED:
        yield TrainedVerdict(SETTINGS[name], settings.pick(DEPTHS), settings.seeds(), labels={"setting": name})


def verdicts(rows: pl.DataFrame, setting: str, *, role: str, pooled: bool) -> list[str]:
    """The labels found, one per seed or the one for all runs together."""
    import polars as pl

    own = only(rows, setting=setting, role=role, quantity="verdict")
    return own.filter(pl.col("seed").is_null() if pooled else pl.col("seed").is_not_null())["found"].to_list()


def judged(setting: str, *labels: str) -> Callable[[pl.DataFrame], Measured]:
    """The measure of whether the verdict on A, all runs together, is one of some labels: 1 or 0.

    Raises:
        LookupError: the verdict is withheld.
    """

    def measure(rows: pl.DataFrame) -> Measured:
        (found,) = verdicts(rows, setting, role="A", pooled=True)
        if found == "undecided":
            raise LookupError("the verdict on the weights is withheld")
        alone = verdicts(rows, setting, role="A", pooled=False)
        count = ", ".join(f"{label} {alone.count(label)} times" for label in LABELS if label in alone)
        return Measured.spread([float(found in labels)], f"found {found}; by seed: {count}")

    return measure


def _table(rows: pl.DataFrame) -> list[Matrix]:
    """Share of seeds with each verdict; the verdict on all runs together is starred."""
    panels = []
    for role in ("A", "b"):
        shares, texts = [], []
        for setting in JUDGED:
            alone = verdicts(rows, setting, role=role, pooled=False)
            (pooled,) = verdicts(rows, setting, role=role, pooled=True)
            shares.append([alone.count(label) / len(alone) for label in LABELS])
            texts.append([f"{alone.count(label)}{'*' if label == pooled else ''}" for label in LABELS])
        panels.append(Matrix(shares, LABELS, JUDGED, "verdict", "", f"weights {role}", texts=texts))
    return panels


STUDY = Study(
    "weight-verdicts",
    title="The verdict on the trained weights",
    text=(
        "Do trained weights follow hypothesis 1 (a function of depth) or hypothesis 2 (a trend and the increments of a Brownian motion)?"
        " Networks of growing depth are trained on the synthetic task and their weights judged by rates: how the total variance of what"
        " differs between neighbours scales, at one lag and at two, and beside the weights themselves. Scaled increments alone, which the"
        " paper looks at, cannot tell: for β < 1/2 they vanish under both hypotheses."
    ),
    replicates=5,
    tasks=_tasks,
    figures=(
        Figure(
            "weight-verdicts",
            "Verdict on A and b by setting",
            "Numbers of seeds whose networks got each verdict when judged alone; a star marks the verdict on all seeds together.",
            _table,
        ),
    ),
    claims=(
        Claim(
            "cohen2021.verdict.relu",
            "The weights |δ|A of trained ReLU networks follow hypothesis 2.",
            "section 4 (not verified)",
            "1 if the verdict on |δ|A of all seeds together is hypothesis 2, else 0",
            judged(RELU, "hypothesis 2"),
            expected=1.0,
            tolerance=0.0,
            source="unverified",
        ),
        Claim(
            "cohen2021.verdict.tanh",
            "The weights A of trained tanh networks follow hypothesis 1 or 2: what the alternative ODE needs.",
            "section 4 (not verified)",
            "1 if the verdict on A of all seeds together is hypothesis 1 or 2, else 0",
            judged(TANH, "hypothesis 1", "hypothesis 2"),
            expected=1.0,
            tolerance=0.0,
            source="unverified",
        ),
    ),
)
