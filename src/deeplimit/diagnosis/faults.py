"""Single blocks that do not fit the others: dead, of another size, noisy, tied or swapped by mistake, from another network.

Nothing is known of what a block should be but the other blocks. So each feature of block k (the logarithm of a norm, of the number of
directions that carry a matrix, the angle to the blocks nearby) is compared with its median over the blocks nearby, and the rest is measured in
units of a threshold: `FACTOR` times its usual size (1.4826 times the median of its absolute value), and never below what a person would
care for. At the ends of a network, where blocks differ for good reasons, thresholds are `END` times as large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeplimit.diagnosis.report import Finding
from deeplimit.diagnosis.verdict import FEWEST

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.diagnosis.group import Group
    from deeplimit.diagnosis.profiles import Observed

FACTOR, END = 6.0, 1.5
NEARBY = 2
"""Blocks on either side that a block is compared with."""

SIZE = math.log(1.8)
"""Least logarithm of a ratio of norms that counts as another size."""

DEAD, IDENTITY = 1e-3, 0.2
"""Norms beside those nearby below which a block is dead, or close to the identity."""

TIED = 1e-3
"""Distance of two blocks, beside that of other neighbours, below which one was copied from the other."""
