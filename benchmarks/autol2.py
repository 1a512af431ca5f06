"""AutoL2 inside a whole training step on MNIST: with against without, in one run.

    python benchmarks/autol2.py

A step is a random batch of 128 images, the forward pass of a fully connected network of 3 hidden layers, cross-entropy, all gradients
and an update with momentum; with AutoL2 also the accuracy, where it is measured. Blocks of 10 steps, one of which is measured,
alternate, and so does which of a pair comes first. Printed is the median of the ratios of the pairs, in processor time of one thread,
with its 95 % interval, from ranks alone, for two widths.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplimit.data import Images
from deeplimit.draws import NamedDraw
from deeplimit.training.l2 import AutoL2, RobustRule

BATCH, STEPS, PAIRS, WARM = 128, 10, 400, 10


def batches(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Random batches without end."""
    generator = torch.Generator().manual_seed(0)
    while True:
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            yield x[rows], y[rows]


class Training:
    """One network for both, so that its place in memory is not measured."""

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor]], width: int) -> None:
        torch.manual_seed(0)
        hidden = [layer for _ in range(2) for layer in (nn.Linear(width, width), nn.ReLU())]
        self.network = nn.Sequential(nn.Linear(784, width), nn.ReLU(), *hidden, nn.Linear(width, 10))
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.auto = AutoL2(self.optimizer, rule=RobustRule(every=STEPS))
        self.batches = batches

    def seconds(self, *, with_auto: bool) -> float:
        """Processor seconds of a block."""
        start = time.process_time()
        for x, y in itertools.islice(self.batches, STEPS):
            output = self.network(x)
            loss = F.cross_entropy(output, y)
            self.optimizer.zero_grad()
            loss.backward()
            if with_auto:
                self.auto.step(loss, int((output.argmax(1) == y).sum()) / len(y) if self.auto.due() else None)
            self.optimizer.step()
        return time.process_time() - start


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    x, y = Images("mnist", targets="labels").sample(NamedDraw().stream(0))
    for width in (64, 512):
        training, ratios = Training(batches(x, y.long()), width), []
        for pair in range(WARM + PAIRS):
            order = (False, True) if pair % 2 else (True, False)
            found = {with_auto: training.seconds(with_auto=with_auto) for with_auto in order}
            ratios.append(found[True] / found[False])
        ratios = sorted(ratios[WARM:])
        reach = 0.98 * math.sqrt(PAIRS)
        median, low, high = (ratios[round(PAIRS / 2 + side * reach)] for side in (0, -1, 1))
        print(f"width {width}: with AutoL2 {median:.4f} of the time without, 95 % interval {low:.4f} to {high:.4f}")


if __name__ == "__main__":
    main()
