from __future__ import annotations

from dataclasses import replace

from deeplimit.bench.cases import names
from deeplimit.bench.tables import cases_sheet, machine_line, markdown, missing_lines, sheets
from tests.bench.test_report import REPORT

EXPECTED = r"""2026-01-02, A | CPU (avx2, fma), 2 processors; python 3.11; commit abc.

| case | contestant | µs a layer | ratio | of matmul rate | processors | first call |
| --- | --- | --- | --- | --- | --- | --- |
| deep | native | 12.3 | 1.00 [1.00 … 1.00] | 50 % | 1.0 | 42 ms |
|  | plain loop | 123 (at L = 1024) | 10.0 [10.0 … 10.0] | 5 % | 1.0 | 2.5 s |
|  | torch.compile | failed |  |  |  | RuntimeError: no |
|  | large matrix product |  |  | 97 GFLOP/s |  |  |

| series | number | ms a call | ratio | exponent |
| --- | --- | --- | --- | --- |
| time against depth (native) | L = 1 | 1.00 | 1.00 [1.00 … 1.00] | 1.000 [0.900 … 1.100] |
|  | L = 2 | 1.00 | 1.00 [1.00 … 1.00] |  |
|  | L = 4 | 1.00 | 1.00 [1.00 … 1.00] |  |

| case | contestant | activations |
| --- | --- | --- |
| deep | native | 3.4 MB |

| training | step | ms a step | % besides evaluation |
| --- | --- | --- | --- |
| L = 9 (native) | evaluation alone | 1.00 [1.00 … 1.00] |  |
|  | Adam | 2.00 [2.00 … 2.00] | 50.0 [25.0 … 75.0] |
|  | SGD | 1.00 [1.00 … 1.00] | -0.20 [-20.0 … 0.000] |

| training | measure | every | ms | % of a step |
| --- | --- | --- | --- | --- |
| L = 9 (native) | Drift | 50 | 0.032 [0.032 … 0.032] | 0.50 [0.25 … 0.75] |
|  | Loss | 1 | 0.004 [0.004 … 0.004] | 50.0 [25.0 … 75.0] |

Not measured: JAX (not installed)."""


def test_a_report_in_markdown():
    assert markdown(REPORT) == EXPECTED


def test_tables_without_rows_are_left_out():
    case = replace(REPORT.cases[0], lines=REPORT.cases[0].lines[1:])
    assert [sheet.header[0] for sheet in sheets(replace(REPORT, cases=(case,), series=(), training=()))] == ["case"]
    assert [sheet.header[0] for sheet in sheets(REPORT)] == ["case", "series", "case", "training", "training"]


def test_every_row_is_as_long_as_its_header():
    for sheet in [*sheets(REPORT), cases_sheet()]:
        assert {len(row) for block in sheet.blocks for row in block} == {len(sheet.header)}


def test_a_cell_cannot_break_its_table():
    case = replace(REPORT.cases[0], failed={"a|b": "x"})
    assert r"| a\|b |" in markdown(replace(REPORT, cases=(case,)))


def test_machine_and_absent_contestants_are_said():
    assert missing_lines(REPORT) == ["Not measured: JAX (not installed)."]
    bare = replace(REPORT.machine, instruction_sets=(), commit="")
    assert machine_line(bare) == "2026-01-02, A | CPU, 2 processors; python 3.11."
    assert machine_line(replace(bare, gpus=("A GPU",))) == "2026-01-02, A | CPU, 2 processors, A GPU; python 3.11."


def test_the_list_names_everything():
    cases, others = cases_sheet().blocks
    assert [name for name, _ in (*cases, *others)] == names()
    assert others[0][1] == "time against depth, L = 64, 256, 1024, 4096, 16384; fastest engine"
    assert others[-1][1].endswith("L = 16384; L = 64, E = 5, float64; fastest engine")
