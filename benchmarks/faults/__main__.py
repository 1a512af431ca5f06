"""Trains the networks where they are not in the cache, diagnoses faulty and clean ones, and writes how often it was right.

    python -m benchmarks.faults --cache DIR [--seeds 2 3 4] [--draws 2] [--workers 1] [--json FILE] [--page docs/diagnose.md]

From the root of the repository; MNIST and CIFAR-10 must be at hand (docs/data.md). Training takes two minutes a seed on one core. The
thresholds of the diagnosis were set on seeds 0 and 1, which are therefore not among those that are asked for unless told otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import asdict
from pathlib import Path

import torch
from loky import ProcessPoolExecutor

from benchmarks.faults import scoring, training
from deeplimit.diagnosis.diagnose import diagnose


def judged(case: scoring.Case) -> scoring.Outcome:
    """The diagnosis of a case: from its weights, and with a batch where that is what shows the fault."""
    torch.set_num_threads(1)
    batch = training.batch(case.architecture) if case.needs_batch else None
    return scoring.outcome(case, diagnose(training.module(case.architecture, case.state), batch))


def main() -> None:
    """Train, diagnose, print and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    options.add_argument("--cache", type=Path, required=True, help="folder of the trained networks")
    options.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
    options.add_argument("--draws", type=int, default=2, help="of each fault in each network")
    options.add_argument("--workers", type=int, default=1, help="processes")
    options.add_argument("--json", type=Path, help="every outcome")
    options.add_argument("--page", type=Path, help="a page with the markers of the table")
    chosen = options.parse_args()
    torch.set_num_threads(1)  # training is the same again only then
    cases = itertools.chain(
        scoring.faulty(chosen.seeds, cache=chosen.cache, draws=chosen.draws),
        scoring.clean(chosen.seeds, cache=chosen.cache),
    )
    with ProcessPoolExecutor(chosen.workers) as pool:
        found = list(pool.map(judged, cases))
    text = scoring.lines(found)
    print("\n".join(text))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(o) for o in found], indent=1) + "\n", encoding="utf-8")
    if chosen.page:
        scoring.write(text, chosen.page)


if __name__ == "__main__":
    main()
