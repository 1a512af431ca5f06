"""Fractional Brownian motion beside the package `fbm` (Davies and Harte's method, one path a call), in one run.

    python benchmarks/fractional.py

Both draw 1000 paths of 1024 steps, in turn, five times; printed are the seconds of each and the ratio of the medians.
"""

from __future__ import annotations

import time
from statistics import median

import torch
from fbm import FBM

from deeplimit.processes import FractionalBrownianMotion

PATHS, STEPS, HURST, ROUNDS = 1000, 1024, 0.3, 5


def ours(seed: int) -> float:
    """Seconds of one call for all paths."""
    process, generator = FractionalBrownianMotion(HURST, finest=STEPS), torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    process.sample((PATHS,), generator)(STEPS)
    return time.perf_counter() - start


def theirs() -> float:
    """Seconds of one call a path, the set-up shared by all."""
    motion = FBM(n=STEPS, hurst=HURST, length=1, method="daviesharte")
    start = time.perf_counter()
    for _ in range(PATHS):
        motion.fbm()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    ours(0)
    pairs = [(ours(seed), theirs()) for seed in range(ROUNDS)]
    here, there = (median(column) for column in zip(*pairs, strict=True))
    print(f"deeplimit {here:.3f} s, fbm {there:.3f} s: {there / here:.0f} times")


if __name__ == "__main__":
    main()
