"""Counts of a fuzz run: how much of each kind is drawn, and what all of it came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.fuzz.findings import Finding, distinct, tally
from tests.fuzz.sandbox import Sandbox
from tests.fuzz.server import Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `batch` is called for pieces of what is asked for: (first seed, count)."""
    if "batch" not in metafunc.fixturenames:
        return
    size, share = metafunc.module.SIZE, metafunc.module.SHARE
    count = max(1, round(metafunc.config.getoption("--fuzz") * share))
    first = metafunc.config.getoption("--fuzz-seed")
    batches = [(first + start, min(size, count - start)) for start in range(0, count, size)]
    metafunc.parametrize("batch", batches, ids=[f"{start}+{some}" for start, some in batches])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The warm process."""
    with Server() as warm:
        yield warm


@pytest.fixture(scope="session")
def sandbox(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox, which is whole again after every command line."""
    return Sandbox(tmp_path_factory.mktemp("fuzz") / "root", server)


@pytest.fixture
def check(record_property):
    """A function that counts what was tried, and fails where something was found."""

    def counted(what: str, count: int, found: list[Finding]) -> None:
        record_property("fuzz", [what, count, [[f.kind, f.what, f.place, f.repeat] for f in found]])
        told = "\n".join(f"{times} × {finding}" for finding, times in distinct(found))
        assert not found, f"{len(found)} findings in {count} {what}\n{told}"

    return counted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line of counts, and every distinct finding with the command that shows it again."""
    tried: Counter[str] = Counter()
    found: list[Finding] = []
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for name, content in getattr(report, "user_properties", ()):
            if name == "fuzz" and report.when == "call":
                what, count, findings = content
                tried[what] += count
                found += [Finding(*each) for each in findings]
    if tried:
        terminalreporter.section("fuzz")
        for finding, times in distinct(found):
            terminalreporter.write_line(f"{times} × {finding}")
        counts = ", ".join(f"{count} {what}" for what, count in sorted(tried.items()))
        terminalreporter.write_line(f"{counts}: {tally(found)}")
