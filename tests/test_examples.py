from __future__ import annotations

from pathlib import Path

import pytest

from deeplimit.study import TIERS, load_file

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_first_figure_takes_fewer_than_60_plain_lines():
    lines = (EXAMPLES / "first_figure.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["first_figure", "attention_branch"])
def test_an_example_asks_for_enough_seeds_to_fit_an_exponent(name, tier):
    (study,) = load_file(EXAMPLES / f"{name}.py").studies
    tasks = study.plan(tier)
    assert tasks
    assert all(len(task.seeds) >= 5 for task in tasks)  # type: ignore[attr-defined]
