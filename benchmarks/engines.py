"""Microseconds per layer, forward and all gradients, of each engine and of the plain loop a researcher writes, in one interleaved run.

    python benchmarks/engines.py

One thread. Quote the ratios, not the times: they are taken round by round, so that a busy machine slows both sides.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from deeplimit.branches import Perceptron
from deeplimit.networks import ResidualStack

CASES = ((100, 16, 32, 64), (100, 16, 32, 1024), (50, 16, 64, 64))
ROUNDS = 7


def plain_loop(V: torch.Tensor, W: torch.Tensor, x: torch.Tensor, width: int) -> torch.Tensor:
    """The network as a loop over layers, nothing prepared."""
    h = x
    for Vk, Wk in zip(V, W, strict=True):
        h = h + torch.nn.functional.gelu(h @ Wk.T / x.shape[1] ** 0.5) @ Vk.T / (width**0.5 * len(V))
    return h


def contestants(n: int, d: int, m: int, L: int, dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """One call of each is one forward and backward pass."""
    network = ResidualStack(Perceptron(d, m), L)
    theta = {role: (p + 0.01).requires_grad_() for role, p in network.initialise(0, dtype=dtype).items()}
    x = torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(0))
    weights = list(theta.values())

    def engine(name: str) -> Callable[[], None]:
        return lambda: torch.autograd.grad(network(theta, x, engine=name).square().sum(), weights) and None

    loop = lambda: torch.autograd.grad(plain_loop(theta["V"], theta["W"], x, m).square().sum(), weights) and None  # noqa: E731
    return {"torch": engine("torch"), "reference": engine("reference"), "plain loop": loop}


def main() -> None:
    """Print one line per case, precision and contestant."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, median of {ROUNDS} interleaved rounds")
    print(f"{'n, d, m, L':>20} {'precision':>10} {'engine':>12} {'µs/layer':>9} {'ratio to torch':>15}")
    for n, d, m, L in CASES:
        for dtype in (torch.float32, torch.float64):
            calls = contestants(n, d, m, L, dtype)
            seconds = measure(calls)
            for name, times in seconds.items():
                ratio = statistics.median(t / own for t, own in zip(times, seconds["torch"], strict=True))
                micro = 1e6 * statistics.median(times) / L
                print(f"{f'{n}, {d}, {m}, {L}':>20} {str(dtype)[6:]:>10} {name:>12} {micro:9.1f} {ratio:15.2f}")


def measure(calls: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Seconds of each call, round by round, after one call of each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
