"""A report as tables of text, for a terminal and for benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deeplimit.bench import cases
from deeplimit.bench.report import CaseReport, Line, Machine, Report, SeriesReport, TrainingReport
from deeplimit.bench.timing import Spread

Row = tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A table of text; `blocks` are its rows, those of one case together."""

    header: Row
    blocks: tuple[tuple[Row, ...], ...]


def cases_sheet() -> Sheet:
    """Names and meaning of everything that can be measured."""
    single = tuple((case.name, case.title) for case in cases.CASES)
    series = (
        (row.name, f"{row.title}, {row.symbol} = {', '.join(map(str, row.along))}; fastest engine")
        for row in cases.SERIES
    )
    training = (
        (row.name, f"{row.title}, {'; '.join(case.name for case in row.cases)}; fastest engine")
        for row in cases.TRAINING
    )
    return Sheet(("name", "what"), (single, (*series, *training)))


def sheets(report: Report) -> list[Sheet]:
    """The tables of a report that have rows."""
    header = ("case", "contestant", "µs a layer", "ratio", "of matmul rate", "processors", "first call")
    found = [
        Sheet(header, tuple(_case_block(case) for case in report.cases)),
        Sheet(("series", "number", "ms a call", "ratio", "exponent"), tuple(map(_series_block, report.series))),
        Sheet(("case", "contestant", "activations"), (tuple(_memory(report)),)),
        Sheet(("training", "step", "ms a step", "% besides evaluation"), tuple(map(_steps_block, report.training))),
        Sheet(("training", "measure", "every", "ms", "% of a step"), tuple(map(_measures_block, report.training))),
    ]
    return [sheet for sheet in found if any(sheet.blocks)]


def _case_block(case: CaseReport) -> tuple[Row, ...]:
    """One row per contestant; the case is named in the first, the yardstick in the last."""
    names = [case.name, *[""] * len(case.lines)]
    rows = [(name, *_line(line, case)) for name, line in zip(names, case.lines, strict=False)]
    failed = [("", title, "failed", "", "", "", error) for title, error in case.failed.items()]
    product = ("", "large matrix product", "", "", f"{case.matmul_gflops.median:.0f} GFLOP/s", "", "")
    return (*rows, *failed, product)


def _line(line: Line, case: CaseReport) -> Row:
    capped = f" (at L = {line.depth})" if line.depth < case.depth else ""
    first = f"{line.first_seconds:.1f} s" if line.first_seconds >= 1 else f"{1e3 * line.first_seconds:.0f} ms"
    return (
        line.contestant,
        _number(line.microseconds.median) + capped,
        _spread(line.ratio),
        f"{100 * line.share.median:.3g} %",
        f"{line.cores:.1f}",
        first,
    )


def _series_block(row: SeriesReport) -> tuple[Row, ...]:
    names = [f"{row.title} ({row.contestant})", *[""] * len(row.along)]
    exponent = "{:.3f} [{:.3f} … {:.3f}]".format(*row.exponent) if row.exponent else ""
    exponents = [exponent, *[""] * len(row.along)]
    columns = zip(names, row.along, row.milliseconds, row.ratio, exponents, strict=False)
    return tuple(
        (name, f"{row.symbol} = {number}", _number(time.median), _spread(ratio), exponent)
        for name, number, time, ratio, exponent in columns
    )


def _steps_block(row: TrainingReport) -> tuple[Row, ...]:
    steps = (("", part.name, _spread(part.milliseconds), _spread(part.share.times(100))) for part in row.steps)
    return ((f"{row.name} ({row.contestant})", "evaluation alone", _spread(row.evaluation), ""), *steps)


def _measures_block(row: TrainingReport) -> tuple[Row, ...]:
    names = [f"{row.name} ({row.contestant})", *[""] * len(row.measures)]
    return tuple(
        (name, part.name, str(part.interval), _spread(part.milliseconds), _spread(part.share.times(100)))
        for name, part in zip(names, row.measures, strict=False)
    )


def _memory(report: Report) -> Iterator[Row]:
    """The memory held beyond the gradients, of the contestants that know it."""
    for case in report.cases:
        for line in case.lines:
            if line.activation_bytes is not None:
                yield case.name, line.contestant, f"{line.activation_bytes / 1e6:.3g} MB"


def _spread(found: Spread) -> str:
    """Median and quartiles."""
    return f"{_number(found.median)} [{_number(found.low)} … {_number(found.high)}]"


def _number(value: float) -> str:
    """Three digits where they are not decimals beyond the third, and no exponent."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:.{digits}f}"


def markdown(report: Report) -> str:
    """The results section of benchmarks/README.md: where and when, the tables, and what was not there."""
    parts = [machine_line(report.machine), *map(_pipes, sheets(report)), *missing_lines(report)]
    return "\n\n".join(parts)


def machine_line(machine: Machine) -> str:
    """Date, processor and versions in one sentence."""
    sets = f" ({', '.join(machine.instruction_sets)})" if machine.instruction_sets else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    commit = f"; commit {machine.commit}" if machine.commit else ""
    gpus = "".join(f", {name}" for name in machine.gpus)
    return f"{machine.date}, {machine.cpu}{sets}, {machine.processors} processors{gpus}; {versions}{commit}."


def missing_lines(report: Report) -> list[str]:
    """One sentence per contestant that could not take part."""
    return [f"Not measured: {title} ({reason})." for title, reason in report.missing.items()]


def _pipes(sheet: Sheet) -> str:
    rows = (sheet.header, ("---",) * len(sheet.header), *(row for block in sheet.blocks for row in block))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
