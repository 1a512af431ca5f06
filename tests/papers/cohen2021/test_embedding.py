"""The study on MNIST."""

from __future__ import annotations

import pytest

from deeplimit.checks import InputError
from deeplimit.papers.cohen2021.embedding import STUDY
from deeplimit.records import Context
from deeplimit.training import TrainingRun


@pytest.mark.parametrize(("tier", "samples", "seeds", "deepest"), [("quick", 2048, 5, 128), ("paper", 60_000, 1, 1024)])
def test_sizes(tier, samples, seeds, deepest):
    runs = STUDY.plan(tier)
    assert all(isinstance(run, TrainingRun) for run in runs)
    assert {run.data.samples for run in runs} == {samples}  # type: ignore[attr-defined]
    assert {len(run.seeds) for run in runs} == {seeds}  # type: ignore[attr-defined]
    assert max(run.networks[0].depth for run in runs) == deepest  # type: ignore[attr-defined]
    assert {run.networks[0].branch.state for run in runs} == {25}  # type: ignore[attr-defined]


def test_without_the_files_a_run_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPLIMIT_DATA", str(tmp_path))
    with pytest.raises(InputError, match="mnist"):
        list(STUDY.plan("quick")[0].run(Context()))
