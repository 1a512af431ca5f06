"""The theory of wide networks against trained ones: the kernel, the function, the clock of λ, and where infinite width ends."""

from __future__ import annotations

from deeplimit.papers.lewkowycz2020.wide.clock import CLOCK
from deeplimit.papers.lewkowycz2020.wide.collapse import COLLAPSE
from deeplimit.papers.lewkowycz2020.wide.identities import IDENTITIES
from deeplimit.papers.lewkowycz2020.wide.kernel import KERNEL

STUDIES = (KERNEL, CLOCK, COLLAPSE, IDENTITIES)
