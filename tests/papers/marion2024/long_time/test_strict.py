from __future__ import annotations

import math

import pytest

from deeplimit import theory
from deeplimit.papers.marion2024.long_time.strict import GELU, TANH


def test_the_constants_are_those_of_the_activations():
    gelu = lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2))  # noqa: E731
    assert theory.hermite_coefficient(math.tanh, 3) == pytest.approx(TANH.hermite, abs=1e-4)
    assert theory.hermite_coefficient(gelu, 2) == pytest.approx(GELU.hermite, abs=1e-4)
    steepest = max((gelu(z + 1e-4) - gelu(z - 1e-4)) / 2e-4 for z in (1.4, math.sqrt(2), 1.43))
    assert steepest == pytest.approx(GELU.lipschitz, abs=1e-4)
