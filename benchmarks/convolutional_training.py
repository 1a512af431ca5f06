"""Training steps per second of the convolutional network of Marion et al. 2024, on a GPU where there is one.

    python benchmarks/convolutional_training.py [--depth 256] [--samples 64] [--members 5 10 20] [--device cuda]

The network of section 5.2 in float32, one step of SGD with momentum: as one writes it with PyTorch's modules, by `Step` kernel by kernel
(engine `reference`), and with the evaluation recorded as a CUDA graph (engine `auto`), for one run and for ensembles, whose steps count
once for each run. How an ensemble is best laid out is a question of its own: members in groups, or apart (`auto:apart`). All take turns
in one process; ratios are over the modules, turn by turn, with median and quartiles. On the CPU nothing is recorded and members are apart.

What does not fit into memory says so and is out of the race; give fewer members then.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplimit.bench.timing import Call, race, spread
from deeplimit.branches import ReLU
from deeplimit.engines.numerics import numerics
from deeplimit.networks import ConvolutionalStack, ensemble
from deeplimit.training import SGD, CrossEntropy, Step
from deeplimit.training.graphs import evaluation

RATE, MOMENTUM = 1e-3, 0.9
CHANNELS, CLASSES = 16, 10


class Layer(nn.Module):
    """The branch of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm2d(CHANNELS) for _ in range(2))

    def forward(self, h: Tensor) -> Tensor:
        """What is added to the state."""
        out: Tensor = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(h)))))
        return out


class Modules(nn.Module):
    """The loop."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, CHANNELS, 5, stride=3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)
        self.layers = nn.ModuleList(Layer() for _ in range(depth))
        self.dense = nn.Linear(4 * CHANNELS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        h = F.relu(self.norm(self.stem(x)))
        for layer in self.layers:
            h = h + layer(h) / len(self.layers)
        out: Tensor = self.dense(F.avg_pool2d(h, 4).flatten(1))
        return out


def modules_step(depth: int, x: Tensor, *, y: Tensor) -> Callable[[], object]:
    """One step of the loop over modules."""
    network = Modules(depth).to(x.device)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()

    return run


def own_step(depth: int, x: Tensor, *, y: Tensor, members: int, engine: str) -> Callable[[], object]:
    """One step of an ensemble."""
    network = ConvolutionalStack(depth, CHANNELS, ReLU())
    params = {role: p.to(x.device) for role, p in ensemble([network.initialise(e) for e in range(members)]).items()}
    step = Step(network, SGD(RATE, MOMENTUM), CrossEntropy(), engine)
    state, evaluate = step.start(params), evaluation(step, x.device.type)
    batch = x.repeat(members, 1, 1, 1, 1), y.repeat(members, 1)

    def run() -> None:
        nonlocal state
        state = step.update(state, evaluate(state.params, batch))

    return run


def repeated(step: Callable[[], object], steps: int, *, device: str) -> Callable[[], None]:
    """Several steps, and the end of the last one."""

    def run() -> None:
        for _ in range(steps):
            step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def measure(arguments: argparse.Namespace) -> list[str]:
    """The lines of a table in Markdown."""
    depth, device, steps = arguments.depth, arguments.device, arguments.steps
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(arguments.samples, 3, 32, 32, generator=generator).to(device)
    y = torch.randint(CLASSES, (arguments.samples,), generator=generator).to(device)
    rows = {"modules": (1, modules_step(depth, x, y=y))}
    ways = [(1, "reference"), *((members, "auto") for members in (1, *arguments.members))]
    ways += [(1, "auto:bf16"), (arguments.members[-1], "auto:bf16"), (arguments.members[0], "auto:apart")]
    for members, engine in ways:
        run = own_step(depth, x, y=y, members=members, engine=engine)
        rows[f"{engine}, {members} run{'s' * (members > 1)}"] = (members, run)
    with numerics(device, deterministic=arguments.deterministic) as facts:
        calls = {name: Call(repeated(step, steps, device=device)) for name, (_, step) in rows.items()}
        tracks = race(calls, rounds=arguments.rounds)
    lines = [
        f"{device}, L = {depth}, batch {arguments.samples}, {facts}",
        "",
        "| what | steps/s per run | times modules |",
    ]
    lines.append("|---|---|---|")
    base = tracks["modules"].seconds
    for name, (members, _) in rows.items():
        own = tracks[name]
        if own.failed:
            lines.append(f"| {name} | {own.failed} | |")
            continue
        rate = spread([members * steps / seconds for seconds in own.seconds])
        times = spread([members * slow / fast for slow, fast in zip(base, own.seconds, strict=True)])
        lines.append(f"| {name} | {rate.median:.1f} | {times.median:.2f} [{times.low:.2f} … {times.high:.2f}] |")
    return lines


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; sizes of the paper on a GPU, small ones without."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda" if gpu else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--depth", type=int, default=256 if gpu else 4)
    parser.add_argument("--samples", type=int, default=64 if gpu else 8)
    parser.add_argument("--members", type=int, nargs="+", default=[5, 10, 20] if gpu else [2])
    parser.add_argument("--steps", type=int, default=10 if gpu else 1, help="in a turn")
    parser.add_argument("--rounds", type=int, default=9 if gpu else 3)
    parser.add_argument("--deterministic", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    print("\n".join(measure(parsed())))
