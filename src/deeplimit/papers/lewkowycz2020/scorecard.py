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
    "open source code": "No",
    "dataset splits": "No",
    "hardware specification": "No",
    "software dependencies": "No",
}
"""Variable -> answer of the index, of those that are known here. The authors' code is public all the same."""

OWN = {
    "dataset splits": (
        "images trained on and a validation split, both of the part `train`, and the part `test`: `record.json` has the SHA-256 of the"
        " places of those trained on in the original files, `runs/*/run.json` part, number and offset of the others"
    ),
    "open datasets": (
        "MNIST and CIFAR-10 from the original files, by checksum; `record.json` has the SHA-256 of what was drawn"
    ),
}
"""Variable -> evidence where it is another than for synthetic data."""


def scorecard(record: Mapping[str, Any]) -> tuple[ScoreRow, ...]:
    """The nine variables: the index's answer, ours, and the evidence.

    Args:
        record: what `record.json` of an output directory holds: `request`, `computed_with`, `runs`.

    >>> rows = scorecard({"request": {"tier": "quick"}, "computed_with": [], "runs": []})
    >>> [row.published for row in rows if row.variable == "open source code"]
    ['No']
    """
    return partly_known(record, published=PUBLISHED, evidence=OWN)
