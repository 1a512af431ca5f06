"""The reproducibility variables of the paper: what a public index answers for it, and what our record answers for us.

Ours are those that every report derives from its record; see `marion2024.scorecard` for where both come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeplimit.papers.marion2024.scorecard import partly_known
from deeplimit.report.document import ScoreRow

PUBLISHED = {
    "pseudocode": "No",
    "dataset splits": "No",
    "hardware specification": "No",
    "software dependencies": "No",
}
"""Variable -> answer of the index, of those that are known here."""

OWN = {
    "dataset splits": (
        "synthetic pairs and the part `train` of MNIST, all trained on; of CIFAR-10 the published parts; where a subset is taken"
        " `record.json` has the SHA-256 of its places in the original files"
    ),
    "open datasets": (
        "synthetic: `runs/*/run.json` has distribution and seeds; MNIST and CIFAR-10 from the original files, by checksum;"
        " `record.json` has the SHA-256 of what was drawn"
    ),
}
"""Variable -> evidence where it is another than for synthetic data alone."""


def scorecard(record: Mapping[str, Any]) -> tuple[ScoreRow, ...]:
    """The nine variables: the index's answer, ours, and the evidence.

    Args:
        record: what `record.json` of an output directory holds: `request`, `computed_with`, `runs`.

    >>> rows = scorecard({"request": {"tier": "quick"}, "computed_with": [], "runs": []})
    >>> [row.published for row in rows if row.variable == "hardware specification"]
    ['No']
    """
    return partly_known(record, published=PUBLISHED, evidence=OWN)
