"""The stack of convolutions with batch normalisation on the native engine, beside the loop over modules that one writes in PyTorch.

    python benchmarks/convolutions.py [DEPTH]

The network of Marion et al. 2024, section 5.2: maps of 16 channels and 10 × 10 pixels, 64 of them, in float32; 32 layers unless given.
Timed are forward and backward pass, and a training step with them (SGD with momentum), on 1 and on 2 threads. All take turns, and ratios
are over the native engine, turn by turn: median and quartiles. The modules run in the memory format that PyTorch makes by default, and
channels last.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from deeplimit.bench.timing import Call, race, ratio, spread
from deeplimit.branches import ReLU
from deeplimit.engines.convolutions import convolution_stack

SAMPLES, CHANNELS, SIZE = 64, 16, 10
RATE = 1e-3
OWN = "native"

ROLES = {
    "conv1.W": "conv1.weight",
    "conv1.b": "conv1.bias",
    "norm1.scale": "norm1.weight",
    "norm1.shift": "norm1.bias",
    "conv2.W": "conv2.weight",
    "conv2.b": "conv2.bias",
    "norm2.scale": "norm2.weight",
    "norm2.shift": "norm2.bias",
}
"""Role of the stack -> parameter of the module."""


class Layer(nn.Module):
    """The branch of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm2d(CHANNELS) for _ in range(2))
        self.act = nn.ReLU()

    def forward(self, h: Tensor) -> Tensor:
        """What is added to the state."""
        out: Tensor = self.norm2(self.conv2(self.act(self.norm1(self.conv1(h)))))
        return out


class Modules(nn.Module):
    """The loop."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(depth))

    def forward(self, h: Tensor) -> Tensor:
        """The last state."""
        for layer in self.layers:
            h = h + layer(h) / len(self.layers)
        return h


def passes(
    network: Callable[[Tensor], Tensor], parameters: Iterable[Tensor], *, h: Tensor, p: Tensor, steps: bool
) -> Callable[[], None]:
    """A forward and a backward pass; with a step, those of training."""
    optimizer = torch.optim.SGD(list(parameters), lr=RATE, momentum=0.9)

    def run() -> None:
        h.grad = None
        optimizer.zero_grad()
        network(h).backward(p)
        if steps:
            optimizer.step()

    return run


def contestants(depth: int, *, steps: bool) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    torch.manual_seed(0)
    h, p = torch.randn(2, SAMPLES, CHANNELS, SIZE, SIZE).unbind()
    modules = Modules(depth)
    layers = [dict(layer.named_parameters()) for layer in modules.layers]
    theta = {
        role: torch.stack([layer[name].detach() for layer in layers]).requires_grad_() for role, name in ROLES.items()
    }

    def stack(h: Tensor) -> Tensor:
        return convolution_stack(h, theta, activation=ReLU(), scale=1 / depth, engine=OWN)[0]

    last = Modules(depth).to(memory_format=torch.channels_last)
    inner = {
        "h": h.clone(memory_format=torch.channels_last).requires_grad_(),
        "p": p.clone(memory_format=torch.channels_last),
    }
    return {
        OWN: passes(stack, theta.values(), steps=steps, **inner),
        "modules": passes(modules, modules.parameters(), h=h.requires_grad_(), p=p, steps=steps),
        "modules, channels last": passes(last, last.parameters(), steps=steps, **inner),
    }


def main(depth: int) -> None:
    """Measure and print a table in Markdown."""
    print("| what | threads | contestant | ms a layer | ratio |\n|---|---|---|---|---|")
    for steps in (False, True):
        runs = contestants(depth, steps=steps)
        for threads in (1, 2):
            before = functools.partial(torch.set_num_threads, threads)
            tracks = race({name: Call(run, before) for name, run in runs.items()})
            for name, track in tracks.items():
                over = ratio(track.seconds, tracks[OWN].seconds)
                print(
                    f"| {'training step' if steps else 'both passes'} | {threads} | {name} | "
                    f"{1e3 * spread(track.seconds).median / depth:.2f} | {over.median:.2f} [{over.low:.2f} … {over.high:.2f}] |"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 32)
