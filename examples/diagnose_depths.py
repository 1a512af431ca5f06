"""Networks trained at four depths, from equal and from independent layers: what becomes of their weights, one by one and as a family.

    python examples/diagnose_depths.py

Residual perceptrons h + L^(−β) V tanh(W h) learn sin(x); each is saved with a tensor per layer, as a checkpoint of any library would be.
"""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from deeplimit import diagnose
from deeplimit.branches import Perceptron
from deeplimit.diagnosis.tasks import Options, as_family
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID, Tied
from deeplimit.scaling import DepthScaling

DEPTHS, STATE, WIDTH = (12, 24, 48, 96), 8, 16
STARTS = {"equal layers, 1/L": (Tied(), 1.0), "independent layers, 1/√L": (IID(), 0.5)}


def trained(depth, init, beta, steps):
    torch.manual_seed(0)
    x = torch.randn(64, STATE)
    net = ResidualStack(Perceptron(STATE, WIDTH), depth, scaling=DepthScaling(beta), init=init).module(seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1 * depth ** (2 * beta - 1))
    for _ in range(steps):
        loss = (net(x) - torch.sin(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, loss.item()


def saved(net, file):
    """One tensor for each layer and role, by the names that a list of blocks has."""
    roles = {role: tensor.detach() for role, tensor in net.parameters_by_role().items()}
    save_file({f"blocks.{k}.{role}": layer.clone() for role, own in roles.items() for k, layer in enumerate(own)}, file)
    return str(file)


def main(steps=200):
    for title, (init, beta) in STARTS.items():
        print(f"\n{title}")
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for depth in DEPTHS:
                net, loss = trained(depth, init, beta, steps)
                files.append(saved(net, Path(folder) / f"depth{depth}.safetensors"))
                (group,) = diagnose(files[-1]).groups
                print(f"  L = {depth}: loss {loss:.3f}, weights {group.weights.label}: {group.weights.reason}")
            for role, verdict in as_family(files, Options()).weights.items():
                print(f"  all depths, {role}: {verdict.label}: {verdict.reason}")


if __name__ == "__main__":
    main()
