"""Networks with given weights against the limits that theory names for them: rows 3, 4, 5 and 19, and the mean ODE.

Nothing is trained here.
"""

from __future__ import annotations

from deeplimit.papers.cohen2021.limits.backward import BACKPROPAGATION
from deeplimit.papers.cohen2021.limits.mean import MEAN
from deeplimit.papers.cohen2021.limits.odes import ALTERNATIVE, NEURAL
from deeplimit.papers.cohen2021.limits.sde import SDE, WEAK

STUDIES = (NEURAL, ALTERNATIVE, SDE, WEAK, BACKPROPAGATION, MEAN)
