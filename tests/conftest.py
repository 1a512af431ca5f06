from __future__ import annotations

import hypothesis
import pytest

# No deadline: a busy machine is no failure. The same examples in every run: a test fails for everybody or for nobody.
hypothesis.settings.register_profile("deeplimit", deadline=None, derandomize=True)
hypothesis.settings.load_profile("deeplimit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often test_resume.py kills a run (make kills: 50)")
