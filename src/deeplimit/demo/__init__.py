"""Files to try the program on: a trained network, its faulty twin, families of depths, a study.

None of them is shipped: they are trained when they are asked for, in seconds, from fixed seeds.
"""

from __future__ import annotations

import os
import runpy
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplimit import checks

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.processes import Process

    Tensors = dict[str, Tensor]

HERE = Path(__file__).parent
SEED = 0
NET_STEPS, NET_RATE, NET_SAMPLES, BATCH = 600, 14.0, 256, 64
"""Training of the network: plain gradient descent, with a learning rate for blocks that are divided by their number."""

EXCHANGED, SCALED, FACTOR = (3, 12), 9, 3.0
"""The faults that are planted: two blocks exchanged, and what one adds multiplied."""

DEPTHS, RUNS, STATE, WIDTH = (16, 32, 64, 128), 5, 10, 20
STEPS, RATE, SAMPLES = 150, 7.0, 32
"""The families of depths: perceptrons that learn the end of an oscillating flow, at a rate that grows with depth."""


@dataclass(frozen=True)
class Try:
    """A command line on the files, and what it shows."""

    command: str
    shows: str


def write_demo(place: str | Path) -> tuple[Try, ...]:
    """Train and write everything; returns what to try on it.

    Args:
        place: a folder that is new or empty.

    Raises:
        InputError: it is neither.
    """
    directory = _free(place)
    with _one_thread():
        net, batch = _trained_net()
        files = {"net": net, "faulty": _with_faults(net), "batch": {"input": batch}}
        for name, process in _starts().items():
            files |= {f"{name}/{run}": tensors for run, tensors in _family(process)}
    _write(directory, files)
    return tries(directory)


def tries(directory: Path) -> tuple[Try, ...]:
    """What to try on the files of a folder."""
    at = shlex.quote(str(directory))
    (first, second), times = EXCHANGED, f"{FACTOR:g}"
    rows = (
        ("diagnose {0}/net.safetensors", "a trained network: its weights are smooth over depth, and no block is odd"),
        (
            "diagnose {0}/faulty.safetensors",
            f"a copy with blocks {first} and {second} exchanged and block {SCALED} {times} times too large: both are found",
        ),
        (
            "diagnose {0}/net.py:net --batch {0}/batch.safetensors",
            "the same network as a module, with inputs: its blocks make the small steps of one flow",
        ),
        (
            "regime {0}/equal/*.safetensors",
            f"{len(DEPTHS)} depths, {RUNS} runs each, from equal layers: hypothesis 1, and a neural ODE",
        ),
        (
            "regime {0}/independent/*.safetensors",
            "the same from independent layers: i.i.d.-like weights that stay rough, and yet an ODE, the mean ODE",
        ),
        (
            "study {0}/study.py",
            "a study of your own to start from: one exponent falls as 1/L, the other does not (half a minute)",
        ),
    )
    return tuple(Try("deeplimit " + command.format(at), shows) for command, shows in rows)


def _free(place: str | Path) -> Path:
    """The folder, where it is empty or can be made; everything else is refused."""
    directory = Path(place)
    if str(place) in ("", "-") or not directory.absolute().parent.is_dir():
        raise checks.InputError(f"folder: expected a new or empty one in a folder that exists, found {str(place)!r}")
    if os.path.lexists(directory) and not (directory.is_dir() and not any(directory.iterdir())):
        raise checks.InputError(f"folder: expected a new or empty one, found something at {directory}")
    return directory


def _write(directory: Path, files: Mapping[str, Tensors]) -> None:
    """Write tensors as safetensors, and the two Python files."""
    from safetensors.torch import save_file

    directory.mkdir(exist_ok=True)
    for name, tensors in files.items():
        path = directory / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file({role: tensor.detach().float().contiguous() for role, tensor in tensors.items()}, path)
    for source in HERE.glob("*.py.txt"):
        (directory / source.stem).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread: the same numbers whatever the machine has, and faster for tensors this small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trained_net() -> tuple[Tensors, Tensor]:
    """The weights of the network of net.py after training from equal blocks, and a batch of its inputs."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = runpy.run_path(str(HERE / "net.py.txt"))["Net"]()
        width = module.blocks[0].up.in_features
        x, rotation = torch.randn(NET_SAMPLES, width), torch.linalg.qr(torch.randn(width, width))[0]
    for block in module.blocks:
        block.load_state_dict(module.blocks[0].state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=NET_RATE)
    target = torch.tanh(2 * x @ rotation)
    for _ in range(NET_STEPS):
        optimizer.zero_grad()
        (module(x) - target).square().mean().backward()
        optimizer.step()
    return dict(module.state_dict()), x[:BATCH]


def _with_faults(net: Tensors) -> Tensors:
    """The network with two blocks exchanged, and another that adds too much."""
    first, second = (f"blocks.{block}." for block in EXCHANGED)
    swap = {first: second, second: first}
    faulty = {}
    for name, tensor in net.items():
        head = next((head for head in swap if name.startswith(head)), "")
        faulty[swap.get(head, "") + name.removeprefix(head)] = tensor
    for name in ("weight", "bias"):
        faulty[f"blocks.{SCALED}.down.{name}"] = FACTOR * faulty[f"blocks.{SCALED}.down.{name}"]
    return faulty


def _starts() -> dict[str, Process]:
    """Folder of a family -> how its layers start."""
    from deeplimit.processes import IID, Tied

    return {"equal": Tied(), "independent": IID()}


def _family(start: Process) -> Iterator[tuple[str, Tensors]]:
    """Name and tensors of each run of a family, as `deeplimit regime` reads them."""
    from deeplimit.data import FixedPairs, OscillatingFlow
    from deeplimit.draws import NamedDraw

    task = FixedPairs(OscillatingFlow(SAMPLES, STATE))
    x = OscillatingFlow(SAMPLES // 2, STATE).sample(NamedDraw().stream(SEED + 1))[0]
    for depth in DEPTHS:
        initial, final, states = _ensemble(start, depth, task=task, x=x)
        for run in range(RUNS):
            tensors = {role: tensor[run] for role, tensor in final.items()}
            tensors |= {f"initial.{role}": initial[role][run] for role in final}
            yield f"depth{depth}-run{run}", tensors | {"states": states[:, run]}


def _ensemble(start: Process, depth: int, *, task: Any, x: Tensor) -> tuple[Tensors, Tensors, Tensor]:
    """Layers `[E, L, …]` before and after training, and the states that `x` goes through after it."""
    import torch

    from deeplimit.branches import GELU, Perceptron
    from deeplimit.networks import ResidualStack
    from deeplimit.records import Context
    from deeplimit.training import SGD, SquaredError, TrainingRun, draw_members

    network = ResidualStack(Perceptron(STATE, WIDTH, GELU()), depth, init=start)
    loss, seeds, context = SquaredError(per_entry=True), tuple(range(RUNS)), Context()
    run = TrainingRun((network,), task, SGD(RATE * depth), STEPS, (), seeds, loss, dtype="float64")
    for _ in run.run(context):
        pass
    final = {name.partition("/")[2]: torch.from_numpy(array) for name, array in context.weights.items()}
    initial, _ = draw_members(network, task, seeds=seeds, draw=run.draw, dtype=run.dtype)
    with torch.no_grad():
        states = network.states(final, x.double())
    return initial, final, states
