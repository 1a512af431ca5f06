"""What differs from tier to tier, and what was asked of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from deeplimit import checks

T = TypeVar("T")

TIERS = ("quick", "paper", "full")
"""Minutes; the sizes of the paper as far as an hour goes; all of them. What a study does not say of `full` is as in `paper`."""
#: Replicates are drawn with this seed and the following ones, far from any that an author would choose.
FIRST_REPLICATE = 1000
#: Replicates at most: at 10,000 an interval is a hundredth of the spread, and more seeds are further studies.
MOST_REPLICATES = 10_000
DTYPES = ("float32", "float64")


def replicates(name: str, value: object) -> int:
    """Return `value` when it is a number of replicates."""
    return checks.integer(name, value, 0, MOST_REPLICATES)


@dataclass(frozen=True, init=False)
class Tiered(Generic[T]):
    """A value that differs from tier to tier; a plain value stands for all tiers. Without one for `full` that of `paper` is it.

    >>> Tiered(quick=100, paper=500).at("paper")
    500
    """

    by_tier: Mapping[str, T]

    def __init__(self, **by_tier: T) -> None:
        """One keyword per tier."""
        if not by_tier:
            raise checks.InputError("Tiered: expected a value for a tier, found none")
        for tier in by_tier:
            checks.one_of("tier", tier, TIERS)
        object.__setattr__(self, "by_tier", by_tier)

    def at(self, tier: str) -> T:
        """The value at a tier.

        Raises:
            InputError: there is none.
        """
        if tier == "full" and tier not in self.by_tier:
            tier = "paper"
        if tier not in self.by_tier:
            raise checks.InputError(f"expected a value for tier {tier}, found those for {', '.join(self.by_tier)}")
        return self.by_tier[tier]


@dataclass(frozen=True)
class Settings:
    """What was asked of a study: the tier, the number of replicates, the precisions.

    >>> Settings("quick", replicates=2).seeds(7)
    (7, 1000, 1001)
    """

    tier: str
    replicates: int = 0
    dtypes: tuple[str, ...] = ("float64",)

    def __post_init__(self) -> None:
        """Refuse an unknown tier or precision, and more replicates than make sense."""
        checks.one_of("tier", self.tier, TIERS)
        replicates("replicates", self.replicates)
        checks.each(checks.among(DTYPES))("dtypes", self.dtypes)

    @overload
    def pick(self, value: Tiered[T]) -> T: ...

    @overload
    def pick(self, value: T) -> T: ...

    def pick(self, value: Any) -> Any:
        """The value at this tier."""
        return value.at(self.tier) if isinstance(value, Tiered) else value

    def seeds(self, *authors: int) -> tuple[int, ...]:
        """The authors' seeds first, then those of the replicates."""
        return (*authors, *range(FIRST_REPLICATE, FIRST_REPLICATE + self.replicates))
