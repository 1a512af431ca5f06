"""Trained networks, made once and kept in a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.faults.architectures import Architecture
from benchmarks.faults.tasks import Batches

STAGES = ("early", "half", "late", "end", "tuned")
"""After 1/4, 1/2, 3/4 and all of the training, and after some more steps at a tenth of the largest rate on other batches."""

State = dict[str, Tensor]


def trained(architecture: Architecture, seed: int, *, cache: Path) -> dict[str, State]:
    """The weights of one network at every stage, read from the folder, or trained and written there."""
    files = {stage: cache / f"{architecture.name}-{seed}-{stage}.safetensors" for stage in STAGES}
    if not all(path.exists() for path in files.values()):
        cache.mkdir(parents=True, exist_ok=True)
        for stage, state in train(architecture, seed).items():
            save_file(state, files[stage])
    return {stage: load_file(path) for stage, path in files.items()}


def train(architecture: Architecture, seed: int) -> dict[str, State]:
    """Adam with a rate that rises and falls (one cycle); the same weights for the same seed on the same machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.build()
    batches = architecture.task(torch.Generator().manual_seed(seed))
    quarter, states = architecture.steps // 4, {}
    optimizer = torch.optim.AdamW(network.parameters(), lr=architecture.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, architecture.rate, total_steps=4 * quarter)
    for stage in STAGES[:4]:
        for _ in range(quarter):
            step(network, optimizer, batches)
            schedule.step()
        states[stage] = state_of(network)
    tuning = torch.optim.SGD(network.parameters(), lr=architecture.rate)
    for _ in range(20):
        step(network, tuning, batches)
    states["tuned"] = state_of(network)
    return states


def step(network: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> float:
    """One step of training; the loss before it."""
    x, y = next(batches)
    loss = loss_of(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def loss_of(output: Tensor, y: Tensor) -> Tensor:
    """Squares for numbers, cross-entropy for labels."""
    return F.mse_loss(output, y) if y.is_floating_point() else F.cross_entropy(output, y)


def state_of(network: nn.Module) -> State:
    """A copy of all weights."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def module(architecture: Architecture, state: State) -> nn.Module:
    """A network with these weights, in evaluation."""
    with torch.random.fork_rng(devices=[]):
        network = architecture.build()
    network.load_state_dict(state)
    return network.eval()


def batch(architecture: Architecture, *, samples: int = 16) -> Tensor:
    """Inputs that no network was trained on in this order."""
    x, _ = next(architecture.task(torch.Generator().manual_seed(10**6)))
    return x[:samples]
