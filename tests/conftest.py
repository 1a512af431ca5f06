from __future__ import annotations

import signal

import hypothesis
import pytest

# A shell has what runs in its background ignore Ctrl-C, and every process that a test starts would do so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a busy machine is no failure. The same examples in every run: a test fails for everybody or for nobody.
hypothesis.settings.register_profile("deeplimit", deadline=None, derandomize=True)
hypothesis.settings.load_profile("deeplimit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often test_resume.py kills a run (make kills: 50)")
    parser.addoption("--fuzz", type=int, default=40, help="how many command lines tests/fuzz draws (make fuzz: 10000)")
    parser.addoption("--fuzz-seed", type=int, default=0, help="the first seed of what tests/fuzz draws")
