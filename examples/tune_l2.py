"""Which L2 coefficient for a network on CIFAR-10? From a probe of a few steps; AutoL2, which needs no tuning; and none.

    deeplimit data fetch cifar-10
    python tune_l2.py --out tune_l2.png

A few minutes of one core. The training is plain PyTorch; `train` is all that a probe asks of it, so that the command
line can do the first part:

    deeplimit l2 predict tune_l2.py:train --weight-decay 0.03 --learning-rate 0.01 --momentum 0.9 --budget 16000
"""

import argparse
import functools
import math
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.nn import functional as F

from deeplimit.data import OVERALL, Images
from deeplimit.draws import NamedDraw
from deeplimit.statistics.peaks import smooth
from deeplimit.training.l2 import AutoL2, PublishedRule, Reading, RobustRule, Setting, predict_weight_decay, probe

SAMPLES, HELD, BATCH = 15_000, 2_000, 64  # images that are trained on, held out for validation, and in a batch
RATE, MOMENTUM = 0.01, 0.9
PROBED = 0.03  # a large coefficient, for the probe


class Network(nn.Sequential):
    """Two convolutions and two dense layers on images of half the size: a few milliseconds a step on a CPU."""

    def __init__(self):
        layers = [nn.AvgPool2d(2)]
        for inputs, outputs in ((3, 16), (16, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))


@functools.cache
def images(samples, offset=0):
    """Images of the training set and their labels; other places in its random order are other images."""
    scale = OVERALL["cifar-10", "train"]
    found = Images("cifar-10", samples=samples, offset=offset, flatten=False, targets="labels", scale=scale)
    x, y = found.sample(NamedDraw().stream(0))
    return x, y.long()


def batches(x, y, generator):
    while True:
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            yield x[rows], y[rows]


@torch.no_grad()
def accuracy(net, x, y):
    net.eval()
    found = (net(x).argmax(1) == y).double().mean().item()
    net.train()
    return found


def run(*, weight_decay, learning_rate, steps, seed, rule=None):
    """Train, with AutoL2 if there is a rule; yields step, validation and training accuracy, and the coefficient."""
    torch.manual_seed(seed)
    net, (x, y), held = Network(), images(SAMPLES), images(HELD, offset=SAMPLES)
    optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=MOMENTUM, weight_decay=weight_decay)
    auto = AutoL2(optimizer, rule=rule) if rule else None
    feed, due = batches(x, y, torch.Generator().manual_seed(seed)), 0
    for step in range(steps + 1):
        if step >= due or step == steps:
            trained, decay = accuracy(net, x[:HELD], y[:HELD]), optimizer.param_groups[0]["weight_decay"]
            yield step, accuracy(net, *held), trained, decay
            due = max(step + 5, int(1.08 * step))  # evenly on the scale of log time
        inputs, labels = next(feed)
        output = net(inputs)
        loss = F.cross_entropy(output, labels)
        optimizer.zero_grad()
        loss.backward()
        if auto:
            auto.step(loss, (output.argmax(1) == labels).double().mean())
        optimizer.step()


def train(*, weight_decay, learning_rate, steps, seed):
    """What a probe asks for: a generator of (step, validation accuracy, training accuracy)."""
    for *found, _ in run(weight_decay=weight_decay, learning_rate=learning_rate, steps=steps, seed=seed):
        yield found


def tuned(steps):
    """The coefficient for a budget of steps, from runs of under 5 % of them."""
    setting, reading = Setting(RATE, momentum=MOMENTUM, steps=steps), Reading(samples=HELD)
    probes = probe(train, setting, weight_decay=PROBED, reading=reading, steps=steps // 21)  # one run alone fits
    prediction = predict_weight_decay(probes.curves, setting, weight_decay=probes.weight_decay, reading=reading)
    print(probes, prediction, sep="\n")
    return prediction.value


def draw(curves, out):
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(7, 6), height_ratios=(2, 1), layout="constrained")
    for name, rows in curves.items():
        steps, validation, _, decay = zip(*rows, strict=True)
        above.plot(steps[1:], smooth(steps, validation)[1:], label=name)
        below.step(steps[1:], decay[1:], where="post")
    above.set(xscale="log", ylabel="validation accuracy, smoothed")
    above.legend()
    below.set(yscale="log", xlabel="steps", ylabel="λ")
    figure.savefig(out)


def main(steps, out):
    value = tuned(steps)
    ways = {f"λ = {value:.2g}, from the probe": (value, None)} if math.isfinite(value) else {}
    ways |= {
        "AutoL2, the authors' rule": (2.0, PublishedRule(classes=10)),  # their start, whatever the network
        "AutoL2, our rule": (0.1, RobustRule(horizon=steps)),
        "without L2": (0.0, None),
    }
    curves = {}
    for name, (weight_decay, rule) in ways.items():
        rows = run(weight_decay=weight_decay, learning_rate=RATE, steps=steps, seed=1, rule=rule)
        curves[name] = list(rows)
        times, validation, trained, _ = zip(*curves[name], strict=True)
        held = smooth(times, validation)
        print(f"{name}: validation {held[-1]:.3f}, best on the way {held.max():.3f}; training {trained[-1]:.3f}")
    draw(curves, out)


if __name__ == "__main__":
    torch.set_num_threads(1)  # more gain nothing at this size
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--out", type=Path, default=Path("tune_l2.png"))
    main(**vars(parser.parse_args()))
