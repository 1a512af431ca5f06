"""Draw the figure of README from a finished run of `deeplimit reproduce marion2024 --only gaps`.

    python docs/figures/neighbours.py results/marion2024-quick

Writes neighbours.svg beside this file: text stays text, nothing is painted behind it, and its colours can be read on white and on dark.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

PAGE = Path(__file__).with_suffix(".svg")
INK = "#7b7b7b"
CASES = {
    "independent": ("independent at the start", "21.independent-layers", "#d06a2c", 8.0),
    "smooth": ("smooth at the start", "15b.gap", "#3f82c8", 0.1),
}
"""Case -> label, claim, colour, height of the label."""
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "neighbours",
    "font.family": "sans-serif",
    "font.size": 18,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def main(out: Path, page: Path = PAGE) -> None:
    """Draw it."""
    rows = pl.read_parquet(out / "rows.parquet").filter(study="gaps", quantity="gap.max")
    verdicts = {row["id"]: row for row in json.loads((out / "verdicts.json").read_text(encoding="utf-8"))}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.4), layout="constrained")
        axes = figure.subplots()
        for case, (label, claim, colour, height) in CASES.items():
            own = rows.filter(case=case).group_by("depth").agg(
                mean=pl.col("value").mean(), low=pl.col("value").min(), high=pl.col("value").max()
            ).sort("depth")  # fmt: skip
            axes.fill_between(own["depth"], own["low"], own["high"], color=colour, alpha=0.35, linewidth=0)
            axes.plot(own["depth"], own["mean"], "o-", color=colour, linewidth=2.5, markersize=7)
            axes.text(16, height, f"{label}: exponent {exponent(verdicts[f'marion2024.{claim}'])}", color=colour)
        axes.set(
            xscale="log",
            yscale="log",
            ylim=(0.06, 30),
            xlabel="depth L",
            ylabel="distance between\nneighbouring layers",
        )
        depths = sorted(set(rows["depth"]))
        axes.set_xticks(depths, map(str, depths))
        axes.minorticks_off()
        figure.savefig(page, transparent=True, metadata={"Date": None})


def exponent(verdict: dict) -> str:
    """The measured exponent to two decimals, with a minus sign."""
    return f"{verdict['measured']:.2f}".replace("-", "−")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
