from __future__ import annotations

import pytest

from deeplimit.checks import InputError
from deeplimit.study import Settings, Tiered


def test_a_tiered_value_differs_from_tier_to_tier_and_a_plain_one_does_not():
    sizes = Tiered(quick=(2, 4), paper=(2, 4, 8))
    assert Settings("quick").pick(sizes) == (2, 4)
    assert Settings("paper").pick(sizes) == (2, 4, 8)
    assert Settings("paper").pick(7) == 7


def test_a_tier_without_a_value_is_named():
    with pytest.raises(InputError, match="expected a value for tier paper, found those for quick"):
        Tiered(quick=1).at("paper")


def test_replicates_come_after_the_authors_seeds():
    assert Settings("quick", replicates=3).seeds(2, 0) == (2, 0, 1000, 1001, 1002)
    assert Settings("quick").seeds(2) == (2,)


def test_the_full_tier_is_that_of_the_paper_unless_it_says_otherwise():
    assert Tiered(quick=1, paper=2).at("full") == 2
    assert Tiered(quick=1, paper=2, full=3).at("full") == 3
    with pytest.raises(InputError, match="tier"):
        Tiered(quick=1).at("full")
