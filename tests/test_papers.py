from __future__ import annotations

import pytest

from deeplimit.checks import InputError
from deeplimit.papers import PAPERS, Paper, load


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_loads_under_its_own_name(name):
    paper = load(name)
    assert isinstance(paper, Paper)
    assert paper.name == name
    assert paper.citation
    assert paper.claims
    assert all(claim.id.startswith(f"{name}.") for claim in paper.claims)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("tier", ["quick", "paper"])
def test_every_study_can_be_planned_at_its_tiers(name, tier):
    for study in load(name).studies:
        if tier in study.tiers:
            assert study.plan(tier)


def test_an_unknown_paper_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"expected one of .*marion2024.*; found 'marion2023'"):
        load("marion2023")
