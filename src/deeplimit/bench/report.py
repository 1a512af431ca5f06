"""What a benchmark found, as data: written as JSON and read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deeplimit.bench.timing import Spread
from deeplimit.checks import InputError


@dataclass(frozen=True)
class Machine:
    """Where and when it was measured.

    Args:
        date: day, UTC.
        cpu: model of the processor.
        processors: how many of them the process may use.
        instruction_sets: those that arithmetic depends on.
        versions: package -> version.
        commit: of our code; empty where it is unknown.
        gpus: their names.
    """

    date: str
    cpu: str
    processors: int
    instruction_sets: tuple[str, ...]
    versions: dict[str, str]
    commit: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One contestant in one case.

    Args:
        contestant: its title.
        depth: the depth at which it was timed: the case's, or the most that it is asked for.
        first_seconds: the very first call, with compilation where there is one.
        microseconds: per layer, all members, forward and all gradients.
        ratio: that over the time per layer of the first contestant of the case, round by round.
        share: its floating-point operations per second over those of the large matrix product, round by round.
        cores: about how many processors it kept busy.
        activation_bytes: the most memory held beyond the gradients, where the contestant can say.
    """

    contestant: str
    depth: int
    first_seconds: float
    microseconds: Spread
    ratio: Spread
    share: Spread
    cores: float
    activation_bytes: int | None = None


@dataclass(frozen=True)
class CaseReport:
    """One case.

    Args:
        name, title: of the case.
        depth: L of the case.
        matmul_gflops: the rate of the large matrix product on one thread, in the same rounds.
        lines: one per contestant, the one that ratios refer to first.
        failed: title -> error of the contestants that could not run.
    """

    name: str
    title: str
    depth: int
    matmul_gflops: Spread
    lines: tuple[Line, ...]
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesReport:
    """One engine along a series of cases.

    Args:
        name, title, symbol, along: of the series.
        contestant: title of the engine.
        milliseconds: a call, forward and all gradients, for each number of `along`.
        ratio: that over the first one, round by round.
        exponent: slope of log time against log number, with its 95 % interval along the line: value, low, high; None for few numbers.
    """

    name: str
    title: str
    symbol: str
    along: tuple[int, ...]
    contestant: str
    milliseconds: tuple[Spread, ...]
    ratio: tuple[Spread, ...]
    exponent: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Part:
    """One thing that training does.

    Args:
        name: the optimiser, or the measure.
        milliseconds: a step, or one observation.
        share: of a step, what is not evaluation; of an observation, its time over its interval and over a step of the gradient flow. Round
            by round.
        interval: iterations from one observation to the next.
    """

    name: str
    milliseconds: Spread
    share: Spread
    interval: int = 1


@dataclass(frozen=True)
class TrainingReport:
    """The training of one network.

    Args:
        name, title: of the case.
        contestant: title of the engine.
        evaluation: milliseconds for network, loss and all gradients.
        steps: whole steps, one per optimiser.
        measures: observations, one per measure.
    """

    name: str
    title: str
    contestant: str
    evaluation: Spread
    steps: tuple[Part, ...]
    measures: tuple[Part, ...]


@dataclass(frozen=True)
class Report:
    """Everything that one run of the benchmark found.

    Args:
        machine: where and when.
        threads: of the contestants that use several.
        cases, series, training: what was asked for.
        missing: title -> what is not installed, of the contestants that could not take part.
    """

    machine: Machine
    threads: int
    cases: tuple[CaseReport, ...]
    series: tuple[SeriesReport, ...]
    training: tuple[TrainingReport, ...]
    missing: dict[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """As JSON."""
        from pydantic import TypeAdapter

        return TypeAdapter(Report).dump_json(self, indent=1).decode()


def read(file: Path) -> Report:
    """The report that was written to a file.

    Raises:
        InputError: the file does not hold one.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Report).validate_json(file.read_bytes())
    except ValidationError as error:
        raise InputError(f"{file}: expected the output of `deeplimit bench --json`, found {error}") from None
