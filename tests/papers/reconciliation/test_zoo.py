"""The studies on the verdict itself."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.reconciliation.zoo import (
    NETWORKS_STUDY,
    POWER,
    ZOO,
    HurstPower,
    NetworkVerdicts,
    ZooVerdicts,
    coverage,
    right_of_decided,
    right_of_networks,
    share,
    told_apart,
    within_two_hundredths,
    wrong_of_all,
)
from deeplimit.records import Context, frame
from deeplimit.regimes.known import NETWORKS
from deeplimit.regimes.zoo import FAMILIES


@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_both_studies_are_planned(tier):
    assert len(ZOO.plan(tier)) == 4
    assert len(POWER.plan(tier)) == 4 * 4 * 3 + 2


@pytest.fixture(scope="module")
def verdicts() -> pl.DataFrame:
    run = ZooVerdicts((32, 64, 128), 10, (1, 2))
    return frame(run.run(Context())).with_columns(setting=pl.lit("L = 32…128, d = 10"))


def test_every_family_is_judged(verdicts):
    assert verdicts.height == 2 * len(FAMILIES)
    assert set(verdicts["family"]) == {family.name for family in FAMILIES}
    assert right_of_decided(verdicts).value > 0.9


def test_wrong_verdicts_lower_the_shares(verdicts):
    spoilt = verdicts.with_columns(
        found=pl.when(pl.col("truth") == "sparse").then(pl.lit("piecewise")).otherwise("found")
    )
    assert right_of_decided(spoilt).value < right_of_decided(verdicts).value
    every = pl.concat([spoilt.with_columns(setting=pl.lit(name)) for name in ("L = 8…32, d = 4", "L = 8…64, d = 10")])
    assert wrong_of_all(every).value == pytest.approx(2 / spoilt.height)
    every = pl.concat([every, spoilt, spoilt.with_columns(setting=pl.lit("L = 32…256, d = 10"))])
    assert wrong_of_all(every).value == pytest.approx(2 / spoilt.height)


def test_figures_are_made_of_the_rows(verdicts):
    both = pl.concat([verdicts.with_columns(setting=pl.lit(s)) for s in ("L = 32…256, d = 10", "L = 8…32, d = 4")])
    left, _ = ZOO.figures[0].panels(both)
    assert [sum(row) for row in left.values] == pytest.approx([1.0] * len(left.rows))  # type: ignore[union-attr]
    parts = [HurstPower(depth, entries, 0.7, (1, 2)) for depth in (12, 24, 48, 96) for entries in (5, 20, 100, 500)]
    (panel,) = POWER.figures[0].panels(pl.concat([frame(part.run(Context())) for part in parts]))
    assert len(panel.curves) == 4  # type: ignore[union-attr]


def test_networks_of_known_limit_are_judged():
    rows = frame(NetworkVerdicts((16, 32, 64, 128), (3, 9)).run(Context()))
    rows = rows.with_columns(setting=pl.lit("L = 16…128"))
    assert rows.height == 2 * len(NETWORKS)
    assert right_of_networks(rows).value > 0.85
    other = rows.with_columns(setting=pl.lit("L = 8…64"))
    tables = NETWORKS_STUDY.figures[0].panels(pl.concat([rows, other]))
    assert [sum(row) for row in tables[0].values] == pytest.approx([1.0] * len(tables[0].rows))  # type: ignore[union-attr]
    assert len(NETWORKS_STUDY.plan("quick")) == 2


def test_precision_power_and_coverage():
    rows = pl.concat(
        [frame(HurstPower(24, 500, index, tuple(range(10))).run(Context())) for index in (0.2, 0.5, 0.7)]
        + [frame(HurstPower(24, 5, 0.7, tuple(range(10))).run(Context()))]
    )
    assert within_two_hundredths(rows).value >= 0.8
    assert coverage(rows).value >= 0.8
    assert coverage(rows).sample == 30
    assert told_apart(24, 500)(rows).value == 1.0
    assert told_apart(24, 5)(rows).value < 1.0


def test_a_share_has_its_exact_interval():
    rows = pl.DataFrame({"a": [True] * 19 + [False]})
    found = share(rows, rows["a"], note="a")
    assert (found.value, found.sample) == (0.95, 20)
    assert found.low == pytest.approx(0.7513, abs=1e-3)
    with pytest.raises(LookupError):
        share(rows.head(0), rows["a"].head(0), note="a")
