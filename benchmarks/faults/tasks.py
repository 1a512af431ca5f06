"""What the networks are trained on: batches without end, the same for the same seed."""

from __future__ import annotations

import inspect
import json
import pathlib
import random
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from deeplimit.data import Images
from deeplimit.draws import NamedDraw

Batches = Iterator[tuple[Tensor, Tensor]]
Task = Callable[[torch.Generator], Batches]


def teacher(generator: torch.Generator, *, width: int = 24, samples: int = 128) -> Batches:
    """Regression on the flow of a smooth vector field, drawn anew for each network."""
    first, second = (torch.randn(width, width, generator=generator) / width**0.5 for _ in range(2))
    while True:
        x = torch.randn(samples, width, generator=generator)
        y = x
        for _ in range(8):
            y = y + torch.tanh(y @ first.T) @ second.T / 4
        yield x, y


@cache
def corpus() -> Tensor:
    """The source text of some modules of Python's own library, as bytes."""
    text = "".join(inspect.getsource(module) for module in (inspect, json, pathlib, random))
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()


def text(generator: torch.Generator, *, samples: int = 12, length: int = 64) -> Batches:
    """The next byte."""
    content = corpus()
    while True:
        starts = torch.randint(len(content) - length - 1, (samples, 1), generator=generator)
        piece = content[starts + torch.arange(length + 1)]
        yield piece[:, :-1], piece[:, 1:].flatten()


def sorting(generator: torch.Generator, *, samples: int = 32) -> Batches:
    """Sixteen digits, and the same in order of size."""
    while True:
        x = torch.randint(10, (samples, 16), generator=generator)
        yield x, x.sort(dim=1).values.flatten()


@cache
def images(name: str) -> tuple[Tensor, Tensor]:
    """The first 20,000 training images of a random order, and their labels."""
    x, y = Images(name, samples=20_000, flatten=False, targets="labels").sample(NamedDraw().stream(0))
    return x - x.mean(), y.long()


def pictures(name: str, *, samples: int = 64) -> Task:
    """Random batches of images."""

    def batches(generator: torch.Generator) -> Batches:
        x, y = images(name)
        while True:
            rows = torch.randint(len(x), (samples,), generator=generator)
            yield x[rows], y[rows]

    return batches
