"""A conversion is right if training is the same: each convention is a training written out by hand or done by PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deeplimit.checks import InputError
from deeplimit.training.l2.conventions import CONVENTIONS, Convention, Setting, convention, convert, shrinkage

STEPS, B, K, N = 30, 8, 3, 48
EPS = 1e-3  # of Adam: large, so that it matters

Weights = list[Tensor]
CrossEntropy = Callable[[Weights], Tensor]


def start() -> Weights:
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 6), (6,), (6, K))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def batches() -> list[CrossEntropy]:
    """The cross entropy of every sample, of a new batch each step."""
    generator = torch.Generator().manual_seed(1)
    xs = torch.randn(STEPS, B, 5, generator=generator, dtype=torch.float64)
    ys = torch.randint(K, (STEPS, B), generator=generator)

    def each(x: Tensor, y: Tensor) -> CrossEntropy:
        return lambda w: functional.cross_entropy(torch.tanh(x @ w[0] + w[1]) @ w[2], y, reduction="none")

    return [each(x, y) for x, y in zip(xs, ys, strict=True)]


def squares(weights: Weights) -> Tensor:
    return torch.stack([w.square().sum() for w in weights]).sum()


def by_torch(
    make: Callable[[Weights], torch.optim.Optimizer], loss: Callable[[CrossEntropy, Weights], Tensor]
) -> Tensor:
    weights = start()
    optimizer = make(weights)
    for batch in batches():
        optimizer.zero_grad()
        loss(batch, weights).backward()
        optimizer.step()
    return torch.cat([w.detach().flatten() for w in weights])


def mean(batch: CrossEntropy, weights: Weights) -> Tensor:
    return batch(weights).mean()


def sgd(rate: float, momentum: float, decay: float = 0.0) -> Callable[[Weights], torch.optim.Optimizer]:
    return lambda weights: torch.optim.SGD(weights, lr=rate, momentum=momentum, weight_decay=decay)


def by_hand(step: Callable[[Tensor, Tensor, dict[str, Tensor], int], Tensor]) -> Tensor:
    """`step` of a weight, its gradient of the mean loss, its memory and the number of the step gives the new weight."""
    weights = start()
    memories: list[dict[str, Tensor]] = [{} for _ in weights]
    for number, batch in enumerate(batches()):
        grads = torch.autograd.grad(mean(batch, weights), weights)
        with torch.no_grad():
            new = [step(w, g, m, number) for w, g, m in zip(weights, grads, memories, strict=True)]
        weights = [w.requires_grad_() for w in new]
    return torch.cat([w.detach().flatten() for w in weights])


def trace(memory: dict[str, Tensor], gradient: Tensor, momentum: float) -> Tensor:
    memory["v"] = momentum * memory.get("v", torch.zeros(())) + gradient
    return memory["v"]


def adam(memory: dict[str, Tensor], gradient: Tensor, number: int) -> Tensor:
    m = memory["m"] = 0.9 * memory.get("m", torch.zeros(())) + 0.1 * gradient
    v = memory["v"] = 0.999 * memory.get("v", torch.zeros(())) + 0.001 * gradient**2
    found: Tensor = m / (1 - 0.9 ** (number + 1)) / ((v / (1 - 0.999 ** (number + 1))).sqrt() + EPS)
    return found


def train(name: str, decay: float, *, rate: float, momentum: float, eps: float = EPS) -> Tensor:
    """The weights after training in a convention, as whoever uses it would write it."""
    normalised = decay * math.sqrt(B / (N * (STEPS * B / N)))  # b/(B T): batch, training points, epochs
    trainings: dict[str, Callable[[], Tensor]] = {
        "house": lambda: by_torch(sgd(rate, momentum), lambda f, w: mean(f, w) + decay / 2 * squares(w)),
        "torch-sgd": lambda: by_torch(sgd(rate, momentum, decay), mean),
        "torch-adam": lambda: by_torch(lambda w: torch.optim.Adam(w, rate, eps=eps, weight_decay=decay), mean),
        "torch-adamw": lambda: by_torch(lambda w: torch.optim.AdamW(w, rate, eps=eps, weight_decay=decay), mean),
        "optax-sgd": lambda: by_hand(lambda w, g, m, _: w - rate * trace(m, g + decay * w, momentum)),
        "optax-sgdw": lambda: by_hand(lambda w, g, m, _: w - rate * (trace(m, g, momentum) + decay * w)),
        "optax-adamw": lambda: by_hand(lambda w, g, m, i: w - rate * (adam(m, g, i) + decay * w)),
        "keras-l2": lambda: by_torch(sgd(rate, momentum), lambda f, w: mean(f, w) + decay * squares(w)),
        "lewkowycz2020": lambda: by_torch(sgd(rate, momentum), lambda f, w: mean(f, w) / K + decay * squares(w)),
        "composer-decoupled": lambda: by_hand(lambda w, g, m, _: w * (1 - decay) - rate * trace(m, g, momentum)),
        "loshchilov-normalised": lambda: by_hand(
            lambda w, g, m, _: w * (1 - normalised) - rate * trace(m, g, momentum)
        ),
        "sum": lambda: by_torch(sgd(rate, momentum), lambda f, w: f(w).sum() + decay / 2 * squares(w)),
        "adam of a sum": lambda: by_torch(
            lambda w: torch.optim.Adam(w, rate, eps=eps), lambda f, w: f(w).sum() / K + decay * squares(w)
        ),
    }
    return trainings[name]()


SETTING = Setting(0.05, steps=STEPS, batch_size=B, classes=K, train_samples=N)
OURS: dict[str, Convention] = CONVENTIONS | {
    "sum": Convention(loss="sum", optimizer="sgd"),
    "adam of a sum": Convention(half=False, loss="sum", per_class=True, optimizer="adam"),
}
COUPLED = ["house", "optax-sgd", "keras-l2", "lewkowycz2020", "sum"]
DECOUPLED = ["composer-decoupled", "loshchilov-normalised"]


def distance(source: str, target: str, *, momentum: float = 0.0) -> float:
    """Between the weights of both trainings, the number and the rate of the second being converted."""
    setting = replace(SETTING, momentum=momentum)
    found = convert(0.3, setting, source=OURS[source], target=OURS[target])
    assert found.exact
    eps = EPS * float(found.note.split()[-1]) if "eps" in found.note else EPS
    first = train(source, 0.3, rate=0.05, momentum=momentum)
    second = train(target, found.weight_decay, rate=found.learning_rate, momentum=momentum, eps=eps)
    return float((first - second).abs().max())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("target", COUPLED)
def test_coupled_conventions_train_alike(target, momentum):
    assert distance("torch-sgd", target, momentum=momentum) < 1e-12
    assert distance(target, "torch-sgd", momentum=momentum) < 1e-12


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("target", DECOUPLED)
def test_decoupled_conventions_train_alike(target, momentum):
    assert distance("optax-sgdw", target, momentum=momentum) < 1e-12
    assert distance(target, "optax-sgdw", momentum=momentum) < 1e-12


@pytest.mark.parametrize(
    ("source", "target"), [("torch-adamw", "optax-adamw"), ("torch-adam", "adam of a sum"), ("adam of a sum", "torch-adam")]
)  # fmt: skip
def test_conventions_of_adam_train_alike(source, target):
    assert distance(source, target) < 1e-12


@pytest.mark.parametrize("source", ["house", "lewkowycz2020", "sum"])
@pytest.mark.parametrize("target", ["optax-sgdw", *DECOUPLED])
def test_plain_descent_trains_alike_coupled_or_not(source, target):
    assert distance(source, target) < 1e-12
    assert distance(target, source) < 1e-12


def test_another_number_trains_otherwise():
    """The comparison would see a factor that is missing."""
    right = train("torch-sgd", 0.3, rate=0.05, momentum=0.0)
    assert (train("keras-l2", 0.3, rate=0.05, momentum=0.0) - right).abs().max() > 1e-3
    assert (train("torch-sgd", 0.3001, rate=0.05, momentum=0.0) - right).abs().max() > 1e-6
    adams = [train(name, 0.3, rate=0.05, momentum=0.0) for name in ("adam of a sum", "torch-adam")]
    assert (adams[0] - adams[1]).abs().max() > 1e-3


def test_a_schedule_has_the_same_shape_in_both_forms_of_decoupled_decay():
    """ρ_t = η_t w is (η_0 w) · η_t/η_0: composer's number is converted at the first rate."""
    rates = [0.05 / (1 + i) for i in range(STEPS)]
    w = convert(0.3, SETTING, source="optax-sgdw", target="composer-decoupled").weight_decay
    first = by_hand(lambda θ, g, m, i: θ - rates[i] * (g + 0.3 * θ))
    second = by_hand(lambda θ, g, m, i: θ * (1 - w * rates[i] / rates[0]) - rates[i] * g)
    assert (first - second).abs().max() < 1e-12


def test_with_momentum_coupled_and_decoupled_have_an_equal_clock_and_not_more():
    setting = replace(SETTING, momentum=0.9, learning_rate=1e-3)
    found = convert(0.3, setting, source="torch-sgd", target="optax-sgdw")
    assert not found.exact
    assert "equal clock" in found.note
    assert found.weight_decay == pytest.approx(3.0)
    assert shrinkage(0.3, setting) == pytest.approx(shrinkage(found.weight_decay, setting, source="optax-sgdw"))
    # Without data a weight decays by the penalty alone: slowly, both alike; the exact rates differ at second order.
    w, v = 1.0, 0.0
    for _ in range(2000):
        v = 0.9 * v + 0.03 * w
        w -= 1e-3 * v
    assert math.log(w) == pytest.approx(2000 * math.log(1 - shrinkage(0.03, setting)), rel=0.003)


def test_adam_has_no_equivalent():
    for target in ("torch-adamw", "composer-decoupled"):
        found = convert(0.3, SETTING, source="torch-adam", target=target)
        assert math.isnan(found.weight_decay)
        assert not found.exact
        assert "no decoupled number" in found.note
    assert math.isnan(convert(0.3, SETTING, source="torch-adamw", target="torch-adam").weight_decay)
    assert math.isnan(convert(0.3, SETTING, source="torch-sgd", target="torch-adam", learning_rate=1e-3).weight_decay)
    assert math.isnan(shrinkage(0.3, SETTING, source="torch-adam"))


def test_nothing_is_nothing_everywhere():
    found = convert(0.0, SETTING, source="torch-adam", target="torch-adamw")
    assert (found.weight_decay, found.exact) == (0.0, True)


def test_another_optimiser_needs_its_rate():
    with pytest.raises(InputError, match="one of adam does not follow from one of sgd"):
        convert(5e-4, SETTING, source="torch-sgd", target="torch-adamw")
    setting = replace(SETTING, momentum=0.9)
    found = convert(5e-4, setting, source="torch-sgd", target="torch-adamw", learning_rate=1e-3)
    assert found.weight_decay == pytest.approx(0.05 * 5e-4 / 0.1 / 1e-3)
    assert (found.learning_rate, found.exact) == (1e-3, False)
    assert "different steps" in found.note
    with pytest.raises(InputError, match="because it follows"):
        convert(5e-4, SETTING, source="torch-sgd", target="keras-l2", learning_rate=1e-3)


def test_the_published_flag_is_translated():
    setting = Setting(0.2, momentum=0.9, classes=10)
    for flag, expected in ((1e-4, 2e-3), (5e-4, 1e-2), (0.01, 0.2), (0.1, 2.0)):
        found = convert(flag, setting, source="lewkowycz2020", target="torch-sgd")
        assert found.weight_decay == pytest.approx(expected)
        assert found.learning_rate == pytest.approx(0.02)
    assert 1 / shrinkage(0.01, setting, source="lewkowycz2020") == pytest.approx(25)  # steps


@pytest.mark.parametrize(("source", "target"), list(product(OURS, OURS)))
def test_there_and_back_is_the_same_number(source, target):
    kinds = {OURS[name].optimizer for name in (source, target)} - {"any"}
    there = convert(
        0.3, SETTING, source=OURS[source], target=OURS[target], learning_rate=0.01 if len(kinds) > 1 else None
    )
    if math.isnan(there.weight_decay):
        assert not there.exact
        return
    setting = replace(SETTING, learning_rate=there.learning_rate)
    back = convert(
        there.weight_decay,
        setting,
        source=OURS[target],
        target=OURS[source],
        learning_rate=0.05 if len(kinds) > 1 else None,
    )
    assert back.weight_decay == pytest.approx(0.3, rel=1e-12)
    assert back.learning_rate == pytest.approx(0.05, rel=1e-12)
    assert back.exact == there.exact


def test_what_is_missing_or_wrong_is_said():
    with pytest.raises(InputError, match="classes: expected a number, because the loss is divided"):
        convert(1e-4, Setting(0.1), source="lewkowycz2020", target="house")
    with pytest.raises(InputError, match="batch_size: expected a number"):
        convert(1e-4, Setting(0.1), source=Convention(loss="sum"), target="house")
    with pytest.raises(InputError, match="steps: expected a number"):
        convert(1e-4, Setting(0.1), source="loshchilov-normalised", target="composer-decoupled")
    with pytest.raises(InputError, match="convention: expected one of torch-adamw"):
        convention("adamw")
    with pytest.raises(InputError, match="weight_decay: expected a finite number"):
        convert(-1.0, Setting(0.1), source="house", target="keras-l2")
    with pytest.raises(InputError, match="momentum: expected"):
        Setting(0.1, momentum=1.0)
    with pytest.raises(InputError, match="steps: expected an integer"):
        Setting(0.1, steps=0)
