"""Verdicts as JSON, and the schema of that JSON (docs/verdicts.schema.json is this one, written out)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from deeplimit.claims import Ruling, Source, Why

if TYPE_CHECKING:
    from deeplimit.claims import Verdict

_TEXT = {"type": "string"}
_NUMBER = {"type": ["number", "null"]}

VERDICTS_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Verdicts of a deeplimit report, one per claim",
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "id": _TEXT | {"description": "unique name of the claim"},
            "statement": _TEXT | {"description": "what is claimed"},
            "where": _TEXT | {"description": "where the paper says it"},
            "quantity": _TEXT | {"description": "the number that is measured, in words"},
            "expected": _NUMBER | {"description": "the expected value e"},
            "tolerance": _NUMBER | {"description": "the absolute half-width t of the band around e"},
            "relation": {
                "enum": ["within", "at most", "at least"],
                "description": "the band: e ± t, up to e + t, or from e − t",
            },
            "source": {"enum": list(get_args(Source)), "description": "where e comes from"},
            "measured": _NUMBER | {"description": "null when nothing was measured or the value is not finite"},
            "interval": {
                "type": ["array", "null"],
                "items": _NUMBER,
                "minItems": 2,
                "maxItems": 2,
                "description": "[low, high], from which the verdict is read",
            },
            "sample": {"type": ["integer", "null"], "description": "independent values behind the measured one"},
            "verdict": {"enum": list(get_args(Ruling))},
            "expected_verdict": {
                "enum": list(get_args(Ruling)),
                "description": "`not reproduced` for a statement known to be false as printed",
            },
            "reason": _TEXT | {"description": "why this verdict"},
            "why": {"enum": list(get_args(Why)), "description": "why it is undecided; empty for the other verdicts"},
            "needs": _TEXT | {"description": "what would decide it: data sets whose files are missing, or a tier"},
            "note": _TEXT | {"description": "how the interval was made"},
            "tier": _TEXT,
            "seconds": _NUMBER | {"description": "computing time of the rows behind it"},
        },
    },
}
VERDICTS_SCHEMA["items"]["required"] = list(VERDICTS_SCHEMA["items"]["properties"])


def _finite(value: float | None) -> float | None:
    """The number, or None where JSON has no word for it."""
    return float(value) if value is not None and math.isfinite(value) else None


def _one(verdict: Verdict) -> dict[str, Any]:
    claim, found = verdict.claim, verdict.measured
    return {
        "id": claim.id,
        "statement": claim.statement,
        "where": claim.where,
        "quantity": claim.quantity,
        "expected": _finite(claim.expected),
        "tolerance": _finite(claim.tolerance),
        "relation": claim.relation,
        "source": claim.source,
        "measured": _finite(found.value) if found else None,
        "interval": [_finite(found.low), _finite(found.high)] if found else None,
        "sample": int(found.sample) if found else None,
        "verdict": verdict.ruling,
        "expected_verdict": claim.expected_ruling,
        "reason": verdict.reason,
        "why": verdict.why,
        "needs": verdict.needs,
        "note": found.note if found else "",
        "tier": verdict.tier,
        "seconds": _finite(verdict.seconds),
    }


def verdict_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain values that any JSON reader accepts: numbers that are not finite become null."""
    return [_one(verdict) for verdict in verdicts]


def common_prefix(verdicts: Sequence[Verdict]) -> str:
    """What every id begins with, up to a dot: the name of the paper."""
    heads = {verdict.claim.id.partition(".")[0] + "." for verdict in verdicts}
    head = heads.pop() if len(heads) == 1 else ""
    return head if all(verdict.claim.id.startswith(head) for verdict in verdicts) else ""


def undecided(verdicts: Iterable[Verdict]) -> list[str]:
    """The undecided claims by what would decide them, in words: files of a data set, a tier, missing rows, or sharper numbers."""
    count = Counter((verdict.why, verdict.needs) for verdict in verdicts if verdict.ruling == "undecided")
    parts = [
        f"{found} {'needs' if found == 1 else 'need'} {_NEEDED[why].format(needs)}"
        for why in _NEEDED
        for (kind, needs), found in count.most_common()
        if kind == why
    ]
    return [*parts, f"{sum(found for (why, _), found in count.items() if why in ('open', ''))} open"] if count else []


_NEEDED: dict[Why, str] = {
    "files": "files of {0} (deeplimit data fetch {0})",
    "tier": "tier {0}",
    "failed": "rows that are not there",
}
