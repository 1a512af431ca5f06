"""The verdict on trained weights as rows."""

from __future__ import annotations

import polars as pl
import pytest

from deeplimit.papers.cohen2021.networks import SETTINGS, TANH
from deeplimit.papers.cohen2021.verdicts import JUDGED, STUDY, TrainedVerdict, judged, verdicts
from deeplimit.records import Context, frame


def table(pooled: str, alone: tuple[str, ...], setting: str = TANH) -> pl.DataFrame:
    rows: list[dict[str, object]] = [
        {"setting": setting, "role": "A", "quantity": "verdict", "seed": None, "found": pooled}
    ]
    rows += [{**rows[0], "seed": seed, "found": found} for seed, found in enumerate(alone)]
    return pl.DataFrame(rows, schema_overrides={"seed": pl.Int64})


def test_smooth_weights_of_trained_networks_are_judged():
    task = TrainedVerdict(SETTINGS["tanh, SGD 0.1"], (16, 32, 64), (0, 1))
    rows = frame(task.run(Context())).with_columns(setting=pl.lit("tanh, SGD 0.1"))
    assert len(verdicts(rows, "tanh, SGD 0.1", role="A", pooled=False)) == 2
    assert verdicts(rows, "tanh, SGD 0.1", role="A", pooled=True) == ["hypothesis 1"]
    evidence = rows.filter((pl.col("quantity") == "evidence.local_roughness") & pl.col("seed").is_null())
    assert evidence.height == 2
    assert (evidence["low"] <= evidence["value"]).all()
    assert task.cost().layer_steps > 0


def test_a_verdict_is_1_or_0_and_none_where_it_is_withheld():
    rows = table("hypothesis 1", ("hypothesis 1", "undecided"))
    assert judged(TANH, "hypothesis 1", "hypothesis 2")(rows).value == 1.0
    assert judged(TANH, "hypothesis 2")(rows).value == 0.0
    assert "undecided 1 times" in judged(TANH, "hypothesis 2")(rows).note
    with pytest.raises(LookupError, match="withheld"):
        judged(TANH, "hypothesis 2")(table("undecided", ("undecided",)))


def test_the_table_stars_the_verdict_on_all():
    parts = [table("hypothesis 1", ("hypothesis 1", "undecided"), setting) for setting in JUDGED]
    rows = pl.concat([pl.concat(parts).with_columns(role=pl.lit(role)) for role in ("A", "b")])
    left, _ = STUDY.figures[0].panels(rows)
    assert left.texts[0][0] == "1*"  # type: ignore[union-attr, index]
    assert left.values[0][0] == 0.5  # type: ignore[union-attr]
