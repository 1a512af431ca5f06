"""A claim is data: what is said, where, the value expected, how it is measured, and the verdict.

A verdict rests on an interval. With e ± t the expected band and [low, high] the measured interval:
*reproduced* when the interval lies inside the band, *not reproduced* when it is disjoint from it, *undecided* otherwise or
when the tier is too small, *unverifiable* when the source of the expected value is not sure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from deeplimit import checks

if TYPE_CHECKING:
    import polars as pl

UNSURE = "the source of the expected value is not sure"

Source = Literal["text", "table", "figure", "code", "theorem", "derived", "measured", "unverified"]
Ruling = Literal["reproduced", "not reproduced", "undecided", "unverifiable"]
Relation = Literal["within", "at most", "at least"]
#: Why a claim is undecided: files of a data set are missing, the tier is too small, nothing was measured, or the interval leaves it open.
Why = Literal["", "files", "tier", "failed", "open"]


@dataclass(frozen=True)
class Measured:
    """A measured number with its interval.

    Args:
        value: the number itself.
        low, high: the interval that the verdict is read from: a confidence interval of a fit, or the spread over engines and precisions
            of a deterministic number.
        sample: how many independent values stand behind it (seeds, depths, cells).
        note: one sentence on how the interval was made, shown in the report.
    """

    value: float
    low: float
    high: float
    sample: int = 1
    note: str = ""

    @classmethod
    def spread(cls, values: list[float], note: str = "spread over precisions and engines") -> Measured:
        """A deterministic number computed several times: the first value, the range of all."""
        return cls(values[0], min(values), max(values), len(values), note)


@dataclass(frozen=True)
class Claim:
    """One statement of a paper and how it is judged.

    Args:
        id: `paper.row.name`, unique, e.g. `marion2024.4.true-maximum`.
        statement: the statement in our words.
        where: where the paper says it ("Prop. 3, Fig. 1 left").
        quantity: the number that is measured, in words.
        measure: rows of the study -> Measured. Raises LookupError when the rows needed are absent.
        expected: e, the expected value, in the unit of `quantity`.
        tolerance: t ≥ 0, absolute half-width of the band around e.
        source: where e comes from; `unverified` makes the verdict *unverifiable*.
        relation: `within` e ± t, `at most` e + t, or `at least` e − t.
        tiers: the tiers at which the sizes can decide the claim; elsewhere it is *undecided*.
        expected_ruling: `not reproduced` for a statement known to be false as printed; `--strict` compares with it.
        minimum_sample: smaller samples leave the claim *undecided* (5 seeds for an exponent).
    """

    id: str
    statement: str
    where: str
    quantity: str
    measure: Callable[[pl.DataFrame], Measured]
    expected: float
    tolerance: float
    source: Source
    relation: Relation = "within"
    tiers: tuple[str, ...] = ("quick", "paper")
    expected_ruling: Ruling = "reproduced"
    minimum_sample: int = 1

    def __post_init__(self) -> None:
        """Refuse what no verdict could rest on."""
        checks.fields(
            self,
            measure=checks.function,
            expected=checks.finite,
            tolerance=checks.not_negative,
            source=checks.among(get_args(Source)),
            relation=checks.among(get_args(Relation)),
            tiers=checks.each(checks.text),
            expected_ruling=checks.among(get_args(Ruling)),
            minimum_sample=checks.positive_int,
        )

    def decided_at(self, tier: str) -> bool:
        """Whether the sizes of a tier can decide it: those of `full` can where those of `paper` can."""
        return tier in self.tiers or (tier == "full" and "paper" in self.tiers)


@dataclass(frozen=True)
class Verdict:
    """A claim, what was measured, and the ruling.

    Args:
        seconds: computing time of the rows behind it.
        why: why it is undecided; empty for the other rulings.
        needs: what would decide it: the data sets whose files are missing, or a tier.
    """

    claim: Claim
    measured: Measured | None
    ruling: Ruling
    reason: str
    tier: str
    seconds: float = 0.0
    why: Why = ""
    needs: str = ""

    @property
    def as_expected(self) -> bool | None:
        """Whether the ruling is the expected one; None where nothing was decided."""
        if self.ruling in ("undecided", "unverifiable"):
            return None
        return self.ruling == self.claim.expected_ruling


@dataclass(frozen=True)
class Lack:
    """What is lacking for a verdict: in words, of which kind, and what would mend it (`Verdict.needs`)."""

    reason: str
    why: Why = "failed"
    needs: str = ""


def unmeasured(claim: Claim, lack: Lack, *, tier: str, seconds: float = 0.0) -> Verdict:
    """*Undecided* for want of a measured value; where the tier could not decide it either, that is the reason."""
    lack = _too_small(claim, tier) or lack
    return Verdict(claim, None, "undecided", lack.reason, tier, seconds, lack.why, lack.needs)


def band(claim: Claim) -> tuple[float, float]:
    """The interval of values that agree with the claim."""
    low = -math.inf if claim.relation == "at most" else claim.expected - claim.tolerance
    high = math.inf if claim.relation == "at least" else claim.expected + claim.tolerance
    return low, high


def judge(claim: Claim, rows: pl.DataFrame, *, tier: str, seconds: float = 0.0) -> Verdict:
    """Measure a claim on the rows of its study and rule on it.

    A claim whose rows are absent is *undecided* with that reason; nothing is ever ruled without a measured value.
    """
    try:
        measured = claim.measure(rows)
    except LookupError as missing:
        if claim.source == "unverified":
            return Verdict(claim, None, "unverifiable", UNSURE, tier, seconds)
        return unmeasured(claim, Lack(f"not measured: {missing}"), tier=tier, seconds=seconds)
    ruling, reason = rule(claim, measured, tier=tier)
    lack = (_too_small(claim, tier) or Lack(reason, "open")) if ruling == "undecided" else Lack(reason, "")
    return Verdict(claim, measured, ruling, reason, tier, seconds, lack.why, lack.needs)


def rule(claim: Claim, measured: Measured, *, tier: str) -> tuple[Ruling, str]:
    """The ruling on a measured value, with its reason in words."""
    if claim.source == "unverified":
        return "unverifiable", UNSURE
    small = _too_small(claim, tier)
    if small:
        return "undecided", small.reason
    if measured.sample < claim.minimum_sample:
        return "undecided", f"needs {claim.minimum_sample} independent values, has {measured.sample}"
    if not all(map(math.isfinite, (measured.value, measured.low, measured.high))):
        return "undecided", "the measured value or its interval is not finite"
    low, high = band(claim)
    if low <= measured.low and measured.high <= high:
        return "reproduced", "the measured interval lies inside the expected band"
    if measured.high < low or measured.low > high:
        return "not reproduced", "the measured interval is disjoint from the expected band"
    return "undecided", "the measured interval straddles an edge of the expected band"


def _too_small(claim: Claim, tier: str) -> Lack | None:
    """Why a tier cannot decide a claim; None where it can."""
    if claim.decided_at(tier):
        return None
    reason = f"the sizes of tier {tier} do not decide it; tier {' or '.join(claim.tiers)} does"
    return Lack(reason, "tier", next(iter(claim.tiers), ""))
