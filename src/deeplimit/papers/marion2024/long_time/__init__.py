"""Long training time: the PL condition, linear width, the double limit, rest (rows 14 to 17 of the checklist; Theorem 6)."""

from __future__ import annotations

from deeplimit.papers.marion2024.long_time.conditions import CONDITIONS
from deeplimit.papers.marion2024.long_time.double_limit import DOUBLE
from deeplimit.papers.marion2024.long_time.pl_condition import PL
from deeplimit.papers.marion2024.long_time.pl_constant import KERNEL
from deeplimit.papers.marion2024.long_time.rest import REST
from deeplimit.papers.marion2024.long_time.smallest_width import WIDTH

STUDIES = (PL, KERNEL, WIDTH, DOUBLE, REST, CONDITIONS)
