from __future__ import annotations

import re

import pytest

from deeplimit.data import OVERALL, PaddedCrop
from deeplimit.papers import load
from deeplimit.papers.lewkowycz2020.cifar import AUGMENTED
from deeplimit.papers.lewkowycz2020.discrepancies import DISCREPANCIES, NORMALISATION, STANDARDISATION
from deeplimit.training.l2 import Setting, convert


def test_every_claim_that_is_named_exists() -> None:
    known = {claim.id for claim in load("lewkowycz2020").claims}
    for discrepancy in DISCREPANCIES:
        assert discrepancy.claim_ids
        assert known.issuperset(discrepancy.claim_ids), discrepancy.topic


def test_each_says_what_the_code_does_and_what_is_done_here() -> None:
    assert load("lewkowycz2020").discrepancies == DISCREPANCIES
    for discrepancy in DISCREPANCIES:
        assert discrepancy.code_says
        assert discrepancy.computed
    assert len({discrepancy.topic for discrepancy in DISCREPANCIES}) == len(DISCREPANCIES)


def test_numbers_of_the_normalisation_are_those_of_the_conversion() -> None:
    for flag, house in ((0.1, "2"), (1e-4, "2e-3")):
        found = convert(flag, Setting(0.2, classes=10), source="lewkowycz2020", target="house")
        assert found.weight_decay == pytest.approx(float(house))
        assert found.learning_rate == pytest.approx(0.02)
        assert f"{flag:g}".replace("e-0", "e-").replace("0.0001", "1e-4") + f" is {house}" in NORMALISATION.computed
    assert "0.2 is 0.02" in NORMALISATION.computed


def test_parts_differ_by_what_is_said() -> None:
    train, test = (OVERALL["cifar-10", part] for part in ("train", "test"))
    assert f"{(test.mean[0] - train.mean[0]) / train.sd[0]:.3f} deviations" in STANDARDISATION.computed


def test_the_crop_of_the_wide_network_is_the_published_one() -> None:
    assert PaddedCrop(4, published=True) in AUGMENTED.parts
    assert PaddedCrop(4) not in AUGMENTED.parts


def test_nothing_is_cited_that_was_not_read() -> None:
    """Of the body of the paper the numbers of its sections, and its figures from 3 on."""
    unread = re.compile(r"[Ss]ection|[Ee]quation|Figure [3-9]|[Rr]ecalled")
    paper = load("lewkowycz2020")
    cited = [claim.where for claim in paper.claims]
    cited += [figure.where for study in paper.studies for figure in study.figures]
    cited += [d.paper_says for d in DISCREPANCIES] + [d.figure_says for d in DISCREPANCIES]
    assert [text for text in cited if unread.search(text)] == []
    assert unread.search("section 2, Figure 4")
