"""Seconds of the figures of Marion et al. 2024 at tier paper, against the plain loop in PyTorch extrapolated to the same work.

    python benchmarks/paper.py results/marion2024-paper

The seconds of a figure are those in the records of its training runs. The plain loop, as one writes it in PyTorch, is timed here, on one
thread, beside the fastest engine: forward and all gradients of a stack of at most 256 layers at the size and precision of each run, per
layer, times layers, members and iterations. Optimiser and measures are not in the loop's seconds, and are in those of the figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deeplimit.bench.cases import Case
from deeplimit.bench.contestants import Contestant, EngineRun, PlainLoop, problem
from deeplimit.bench.timing import Call, race, spread
from deeplimit.papers.marion2024 import figure1_left, figure1_right, figure2
from deeplimit.records import run_id
from deeplimit.study import Request
from deeplimit.study.plan import plan
from deeplimit.training import TrainingRun

FIGURES = {"Figure 1 left": figure1_left, "Figure 1 right": figure1_right, "Figure 2": figure2}
DEEPEST = 256


def main(out: Path) -> None:
    """Print one line per figure, as a table in Markdown."""
    seconds = {run["id"]: run["seconds"] for run in json.loads((out / "record.json").read_text())["runs"]}
    print("| Figure | runs | layers × members × iterations | seconds | plain loop, extrapolated | ratio |")
    print("|---|---|---|---|---|---|")
    for title, module in FIGURES.items():
        tasks = list(runs(module))
        work = sum(layers(task) for task in tasks)
        taken = sum(seconds[run_id(task)] for task in tasks)
        loop = sum(layers(task) * per_layer(task) for task in tasks)
        print(f"| {title} | {len(tasks)} | {work:.2e} | {taken:.0f} | {loop:.0f} | {loop / taken:.1f} |")


def runs(module: Any) -> Iterator[TrainingRun]:
    """The training runs of a figure at tier paper, each once."""
    request = Request("paper", "marion2024", tier="paper")
    jobs = plan(module.STUDIES, request).jobs
    return (job.task for job in jobs if isinstance(job.task, TrainingRun))


def layers(task: TrainingRun) -> int:
    """Layers times members times evaluations."""
    return sum(network.depth for network in task.networks) * len(task.seeds) * (task.iterations + 1)


def per_layer(task: TrainingRun) -> float:
    """Seconds of the plain loop for one layer of one member at the size of a run."""
    network = task.networks[-1]
    case = Case("", network.branch, task.data.samples, min(network.depth, DEEPEST), dtype=task.dtype)
    tracks = race({c.title: call(c, case) for c in (PlainLoop("plain", "loop"), EngineRun("", "own", engine="auto"))})
    print(f"{case.title}: " + ", ".join(f"{t} {1e6 * spread(v.seconds).median / case.depth:.2f} µs" for t, v in tracks.items()),
          file=sys.stderr)  # fmt: skip
    return spread(tracks["loop"].seconds).median / case.depth


def call(contestant: Contestant, case: Case) -> Call:
    """A call of the race, prepared."""
    prepared = contestant.prepare(problem(case))
    return Call(prepared.run, lambda: None)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
