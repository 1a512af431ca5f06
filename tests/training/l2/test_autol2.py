from __future__ import annotations

import copy
import functools
import io
import math
import os
import random
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplimit.checks import InputError
from deeplimit.training.l2 import AutoL2, PublishedRule, RobustRule, Rule, decay_groups

unhurried = functools.partial(RobustRule, wait=1.0, patience=0.5, memory=0.25, reach=1.0)
"""Whole decay times are easy to count."""


OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
}
RULES: list[Rule] = [PublishedRule(classes=3, every=2), unhurried(every=1, fewest=4)]


class Loop:
    """A plain training loop on noise: batches by step, loss and accuracy of the step about to be applied."""

    def __init__(self, optimizer="sgd", rule=RULES[0]):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
        self.optimizer = OPTIMIZERS[optimizer](decay_groups(self.network, 1.0))
        self.auto = AutoL2(self.optimizer, 2.0, rule=rule)

    def run(self, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            x, y = torch.randn(16, 5, generator=generator), torch.randint(3, (16,), generator=generator)
            output = self.network(x)
            loss = F.cross_entropy(output, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.auto.step(loss, (output.argmax(1) == y).float().mean() if self.auto.due() else None)
            self.optimizer.step()
        return self

    @property
    def weights(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(optimizer, rule, tmp_path):
    steps = 100
    whole = Loop(optimizer, rule).run(range(steps))
    cut = random.Random(optimizer).randrange(1, steps)
    first = Loop(optimizer, rule).run(range(cut))
    file = tmp_path / "checkpoint.pt"
    torch.save([first.network.state_dict(), first.optimizer.state_dict(), first.auto.state_dict()], file)
    second = Loop(optimizer, rule)
    network, slots, auto = torch.load(file, weights_only=True)
    second.network.load_state_dict(network)
    second.optimizer.load_state_dict(slots)
    second.auto.load_state_dict(auto)
    second.run(range(cut, steps))
    assert second.auto.state == whole.auto.state
    assert second.auto.history == whole.auto.history != []
    assert torch.equal(second.weights, whole.weights)
    # What is not loaded is missed: without the state of AutoL2 the run is another one.
    forgotten = Loop(optimizer, rule)
    forgotten.network.load_state_dict(network)
    assert forgotten.run(range(cut, steps)).auto.state != whole.auto.state


def test_the_published_rule_reads_the_coming_updates_batch():
    seen = []

    class Spy(PublishedRule):
        def __call__(self, state, signal):
            seen.append(signal)
            return super().__call__(state, signal)

    loop = Loop("momentum", Spy(classes=3, every=10)).run(range(25))
    assert [signal.step for signal in seen] == [0, 10, 20]
    fresh = Loop("momentum").network
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 5, generator=generator), torch.randint(3, (16,), generator=generator)
    output = fresh(x).detach()
    assert seen[0].loss == float(F.cross_entropy(output, y))
    assert seen[0].accuracy == float((output.argmax(1) == y).float().mean())
    assert (seen[0].learning_rate, seen[0].momentum) == (0.02, 0.9)
    assert loop.auto.steps == 25


def stalled(auto, steps):
    for _ in range(steps):
        auto.step(1.0)
    return auto


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_excluded_parameters_are_never_penalised(optimizer):
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    made = OPTIMIZERS[optimizer](decay_groups(network, 1.0))
    auto = AutoL2(made, rule=PublishedRule(classes=None))
    before = copy.deepcopy(network.state_dict())
    for _ in range(30):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        auto.step(1.0)
        made.step()
    assert auto.history[0] == (20, 0.1)
    after = network.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["0.weight"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_decay_applied_is_that_of_pytorch_at_the_coefficients_of_the_rule(optimizer):
    """A run whose groups are set by hand from the history has the same weights."""
    loop = Loop(optimizer).run(range(60))
    assert len(loop.auto.history) > 1
    again = Loop(optimizer)
    by_step = dict(loop.auto.history)

    class Fixed:
        steps = 0

        def due(self):
            return False

        def step(self, loss, accuracy):
            if self.steps in by_step:
                again.optimizer.param_groups[0]["weight_decay"] = by_step[self.steps]
            self.steps += 1

    again.auto = Fixed()  # type: ignore[assignment]
    assert torch.equal(again.run(range(60)).weights, loop.weights)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.001),
        lambda p: torch.optim.SGD(p, lr=0.0001, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.0001, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.002, momentum=0.9, dampening=0.95),
        lambda p: torch.optim.AdamW(p, lr=0.001, betas=(0.9, 0.999)),
    ],
)
def test_the_decay_time_is_that_of_the_optimiser(make):
    """The penalty alone takes a weight to 1/e in the time after which the rule divides λ."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make([weight])
    auto = AutoL2(optimizer, 1.0, rule=unhurried())
    while not auto.history:
        weight.grad = torch.zeros_like(weight)
        auto.step(1.0)
        optimizer.step()
    assert auto.history == [(1000, 0.1)]
    assert float(weight.detach()) == pytest.approx(math.exp(-1), rel=0.03)  # momentum starts empty or full


def test_the_groups_keep_their_ratios():
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(3)]
    groups = [{"params": [p], "weight_decay": wd} for p, wd in zip(parameters, (0.5, 2.0, 0.0), strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    auto = AutoL2(optimizer, rule=PublishedRule(classes=None))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 2.0, 0.0]
    stalled(auto, 21)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.2, 0.0]
    AutoL2(optimizer, 8.0)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [2.0, 8.0, 0.0]


def test_a_loss_is_read_only_where_a_measurement_is_due():
    class Unread:
        pass

    auto = AutoL2(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), 1.0)
    assert auto.due()
    with pytest.raises(InputError, match="loss: expected one number"):
        auto.step(Unread())  # type: ignore[arg-type]
    auto.step(torch.tensor([1.0]), torch.tensor(1))
    for _ in range(9):
        assert not auto.due()
        auto.step(Unread())  # type: ignore[arg-type]
    assert auto.due()


def test_a_learning_rate_schedule_is_followed():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    auto = AutoL2(optimizer, 0.01, rule=unhurried())
    stalled(auto, 51)
    optimizer.param_groups[0]["lr"] = 0.1
    stalled(auto, 501)
    assert auto.history == [(550, 0.001)]  # 50 steps at 1.0 and 500 at 0.1


def test_divergence_is_no_decay():
    auto = AutoL2(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0), 0.1)
    for _ in range(1000):
        auto.step(torch.tensor(torch.nan))
    assert auto.state.diverged
    assert (auto.weight_decay, auto.history) == (0.1, [])


def test_groups_of_a_module():
    network = nn.ModuleDict(
        {
            "linear": nn.Linear(3, 3),
            "batch": nn.BatchNorm1d(3),
            "attention": nn.MultiheadAttention(4, 2),
            "frozen": nn.Linear(2, 2, bias=False).requires_grad_(False),
        }
    )
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    def split(**options):
        groups = decay_groups(network, 0.5, **options)
        return {group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in groups}

    weights = {"linear.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
    biases = {"linear.bias", "attention.in_proj_bias", "attention.out_proj.bias"}
    norms = {"batch.weight", "batch.bias"}
    assert split() == {0.5: weights, 0.0: biases | norms}
    assert split(exclude=("norm",)) == {0.5: weights | biases, 0.0: norms}
    assert split(exclude=("bias",)) == {0.5: weights | {"batch.weight"}, 0.0: biases | {"batch.bias"}}
    assert split(exclude=()) == {0.5: weights | biases | norms}


def one(weight_decay=0.0):
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=weight_decay)


def two(weight_decay):
    return torch.optim.SGD(
        [{"params": [nn.Parameter(torch.ones(1))]} for _ in range(2)], 0.1, weight_decay=weight_decay
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoL2(one()), "weight_decay: expected a finite number above 0"),
        (lambda: AutoL2(one(), math.inf), "weight_decay: expected a finite number above 0"),
        (lambda: AutoL2(two(0.0), 1.0), "expected a group with a weight_decay above 0"),
        (lambda: AutoL2(one(), 1.0).step("low"), "loss: expected one number, found 'low'"),  # type: ignore[arg-type]
        (lambda: AutoL2(one(), 1.0).step(torch.ones(3)), r"loss: expected one number, found a tensor of shape \(3,\)"),
        (lambda: AutoL2(one(), 1.0).step(1.0, torch.ones(3)), "accuracy: expected one number"),
        (lambda: AutoL2(one(), 1.0).load_state_dict({}), "expected the entries"),
        (
            lambda: AutoL2(one(), 1.0).load_state_dict(AutoL2(one(), 1.0, rule=PublishedRule(None)).state_dict()),
            "rule of the state: expected one of RobustRule; found 'PublishedRule'",
        ),
        (lambda: AutoL2(one(), 1.0).load_state_dict(AutoL2(two(1.0)).state_dict()), "expected 1 groups, found 2"),
        (lambda: decay_groups(nn.Linear(1, 1), 0.0), "weight_decay: expected"),
        (lambda: decay_groups(nn.Linear(1, 1), 1.0, exclude=("weights",)), "exclude: expected one of bias, norm"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_group_added_later_is_refused():
    optimizer = one()
    auto = AutoL2(optimizer, 1.0, rule=PublishedRule(None))
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(InputError, match="expected its 1 groups, found 2"):
        stalled(auto, 100)


MEMBER = """
import sys, torch
from deeplimit.training.l2 import AutoL2

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
auto = AutoL2(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), 1.0)
auto.step(float(rank), 1.0 + rank)
print(auto.state.loss.latest, auto.state.error.latest)
torch.distributed.destroy_process_group()
"""


def test_processes_follow_their_mean(tmp_path):
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(rank), str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    assert [member.communicate(timeout=120)[0] for member in members] == ["0.5 -1.5\n"] * 2


def test_the_state_is_plain_numbers():
    auto = stalled(AutoL2(one(), 1.0, rule=PublishedRule(None)), 50)
    buffer = io.BytesIO()
    torch.save(auto.state_dict(), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == auto.state_dict()
