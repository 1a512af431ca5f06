"""A clock that stands still unless told, and contestants that take as long as they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deeplimit.bench.cases import Case
from deeplimit.bench.contestants import Contestant, Prepared, Problem
from deeplimit.bench.timing import Call, Clock


class Time:
    """Seconds that pass only in the calls that it makes."""

    def __init__(self) -> None:
        self.now = self.spent = 0.0
        self.called: list[str] = []
        self.clock = Clock(lambda: self.now, lambda: self.spent)

    def pass_by(self, seconds: float, cores: float = 1.0) -> None:
        self.now += seconds
        self.spent += cores * seconds

    def call(self, seconds: float, *, name: str = "", first: float | None = None, cores: float = 1.0) -> Call:
        """A call of so many seconds, the first of `first`."""
        durations = iter([] if first is None else [first])

        def run() -> None:
            self.called.append(name)
            self.pass_by(next(durations, seconds), cores)

        return Call(run)


@dataclass(frozen=True)
class Fake(Contestant):
    """Takes as many seconds as `seconds` says of the case."""

    time: Time | None = None
    seconds: Callable[[Case], float] = lambda case: 1.0
    absent: str = ""
    error: str = ""

    def missing(self) -> str:
        return self.absent

    def supports(self, case: Case) -> bool:
        return self.name != "nothing"

    def prepare(self, problem: Problem) -> Prepared:
        def run() -> None:
            if self.error:
                raise RuntimeError(self.error)
            assert self.time is not None
            self.time.pass_by(self.seconds(problem.case), float(self.threads))

        return Prepared(run, lambda found: {})
