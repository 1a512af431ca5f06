"""Write the measured verdicts of a finished run into docs/reproduction.md, and for Marion et al. 2024 the figures' values.

    python docs/tabulate.py results/marion2024-paper

Replaces what stands between the two markers of the paper, or of the parts that were asked for with `--only`; everything else of the page
is left alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from deeplimit.papers.marion2024 import figure1_left, figure1_right, figure2

PAGE = Path(__file__).parent / "reproduction.md"


def main(out: Path) -> None:
    """Replace the section of the page."""
    request = json.loads((out / "deeplimit.json").read_text(encoding="utf-8"))["request"]
    part = " ".join([request["name"], *request["only"]])
    begin, end = (f"<!-- {part}: {word} -->" for word in ("begin", "end"))
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    lines = [*machine(out, request["tier"]), "", *verdicts(out)]
    lines += ["", *figures(out)] if part == "marion2024" else []
    section = "\n".join(lines)
    PAGE.write_text(f"{before}{begin}\n\n{section}\n\n{end}{after}", encoding="utf-8")


def machine(out: Path, tier: str) -> Iterator[str]:
    """Two sentences on what, where and how long."""
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    made = record["computed_with"][0]
    cpu, versions = made["cpu"], made["versions"]
    seconds = sum(run["seconds"] for run in record["runs"])
    model = cpu.get("model", "unknown processor") if isinstance(cpu, Mapping) else cpu
    yield (
        f"Tier {tier}: {len(record['runs'])} runs, {seconds / 60:.0f} minutes of computing in all, one thread per run, two runs at a"
        f" time on 2 cores ({model}); Python {versions['python']}, torch {versions['torch']}. The seconds of a claim are those of all runs"
        " of its study."
    )


def verdicts(out: Path) -> Iterator[str]:
    """The table of claims."""
    yield "| claim | quantity | expected | measured [interval] | verdict | seconds |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for v in json.loads((out / "verdicts.json").read_text(encoding="utf-8")):
        sign = {"within": "", "at most": "≤ ", "at least": "≥ "}[v["relation"]]
        band = f"{sign}{v['expected']:g}" + (f" ± {v['tolerance']:.2g}" if v["tolerance"] else "")
        measured = (
            "—" if v["measured"] is None else f"{v['measured']:.4g} [{v['interval'][0]:.4g}, {v['interval'][1]:.4g}]"
        )
        name = v["id"].partition(".")[2]
        known = " (as expected)" if v["verdict"] == v["expected_verdict"] == "not reproduced" else ""
        quantity = v["quantity"].replace("|", "\\|")
        yield f"| `{name}` | {quantity} | {band} ({v['source']}) | {measured} | {v['verdict']}{known} | {v['seconds']:.0f} |"


def figures(out: Path) -> Iterator[str]:
    """Published values beside ours, figure by figure; float64, authors' draw."""
    rows = pl.read_parquet((out / "rows.parquet").read_bytes()).filter(pl.col("dtype") == "float64")
    left = rows.filter(
        (pl.col("study") == "figure1-left") & (pl.col("model") == "released") & (pl.col("seed") == figure1_left.SEED)
    )
    yield from table("Figure 1, left: the released statistic", left, "gap.aggregate", figure1_left.PUBLISHED)
    right = rows.filter((pl.col("study") == "figure1-right") & (pl.col("draw") == "authors"))
    yield from table("Figure 1, right: L² distance of V to L = 2^14", right, "distance.l2.V", figure1_right.PUBLISHED_V)
    yield from table("Figure 1, right: L² distance of W to L = 2^14", right, "distance.l2.W", figure1_right.PUBLISHED_W)
    long = rows.filter((pl.col("study") == "figure2") & (pl.col("model") == "released"))
    loss = {t: {figure2.DEPTH: value} for t, value in figure2.PUBLISHED_LOSS.items()}
    yield from table("Figure 2: training loss", long, "loss", loss)


def table(title: str, rows: pl.DataFrame, quantity: str, published: Mapping[int, Mapping[int, float]]) -> Iterator[str]:
    """One published table beside ours."""
    yield f"**{title}**"
    yield ""
    yield "| iteration | L | published | ours | ours / published − 1 |"
    yield "| --- | --- | --- | --- | --- |"
    for t, row in published.items():
        for L, value in row.items():
            own = rows.filter((pl.col("quantity") == quantity) & (pl.col("iteration") == t) & (pl.col("depth") == L))
            ours = own["value"].item()
            yield f"| {t:,} | {L} | {value:.3g} | {ours:.4g} | {100 * (ours / value - 1):+.1f} % |"
    yield ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
