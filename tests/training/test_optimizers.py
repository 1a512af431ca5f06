from __future__ import annotations

from typing import Any

import pytest
import torch

from deeplimit.branches import OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.networks import Dense, ResidualStack, ensemble, member
from deeplimit.networks.module import StackModule
from deeplimit.processes import IID, Normal
from deeplimit.training import SGD, Adam, CoordinateClip, GradientFlow, NormClip, Optimizer, State, Step, TorchOptimizer
from deeplimit.training.optimizers import scaled
from tests.cases import normal, relative

D, Q, OUT, N, L = 2, 3, 2, 5, 4
NETWORK = ResidualStack(
    Perceptron(Q, 5, Tanh(), bias=True),
    L,
    init=IID(Normal(0.7)),
    embedding=Dense(D, Q, 1.0, trainable=False),
    readout=Dense(Q, OUT, 1.0),
)
DELTAS = [
    ResidualStack(OneMatrix(D, delta="shared"), L, init=IID(Normal(0.7))),
    ResidualStack(OneMatrix(D, delta="layer"), L, init=IID(Normal(0.7))),
]
GENERATOR = torch.Generator().manual_seed(1)
X, Y = normal((1, N, D), GENERATOR), normal((1, N, OUT), GENERATOR)


def start(network=NETWORK, members=1):
    return ensemble([network.initialise(seed, dtype=torch.float64) for seed in range(members)])


# --- step by step beside torch.optim ---


def torch_steps(kind, options, *, factor, rate, steps):
    """The parameters after each step of PyTorch's own loop; layered roles learn `factor` times faster."""
    module = StackModule(NETWORK, member(start(), 0), engine="reference")
    own = [p for name, p in module.named_parameters() if name in NETWORK.layer_roles]
    other = [p for name, p in module.named_parameters() if name not in NETWORK.layer_roles]
    optimizer = kind([{"params": own, "lr": factor * rate}, {"params": other, "lr": rate}], lr=rate, **options)
    for _ in range(steps):
        loss = (module(X[0]) - Y[0]).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield {name: p.detach().clone() for name, p in module.named_parameters()}


OPTIM = torch.optim
BESIDE: list[tuple[Optimizer, Any, dict[str, Any], float]] = [
    (SGD(0.1), OPTIM.SGD, {}, 1),
    (SGD(0.1, weight_decay=0.3), OPTIM.SGD, {"weight_decay": 0.3}, 1),
    (SGD(0.1, momentum=0.9), OPTIM.SGD, {"momentum": 0.9}, 1),
    (SGD(0.1, momentum=0.5, weight_decay=0.3), OPTIM.SGD, {"momentum": 0.5, "weight_decay": 0.3}, 1),
    (SGD(0.1, momentum=0.5, layer_factor=True), OPTIM.SGD, {"momentum": 0.5}, L),
    (GradientFlow(0.1), OPTIM.SGD, {}, L),
    (GradientFlow((0.1,)), OPTIM.SGD, {}, L),
    (Adam(0.1), OPTIM.Adam, {}, 1),
    (Adam(0.1, (0.8, 0.9), 1e-3), OPTIM.Adam, {"betas": (0.8, 0.9), "eps": 1e-3}, 1),
    (Adam(0.1, weight_decay=0.3), OPTIM.Adam, {"weight_decay": 0.3}, 1),
    (Adam(0.1, weight_decay=0.3, decoupled=True), OPTIM.AdamW, {"weight_decay": 0.3}, 1),
    (Adam(0.1, decoupled=True), OPTIM.AdamW, {"weight_decay": 0.0}, 1),
    (Adam((0.1,), weight_decay=0.3, decoupled=True, layer_factor=True), OPTIM.AdamW, {"weight_decay": 0.3}, L),
    (TorchOptimizer("SGD", 0.1, {"momentum": 0.9, "nesterov": True}), OPTIM.SGD, {"momentum": 0.9, "nesterov": True}, 1),
    (TorchOptimizer("SGD", 0.1, {}, layer_factor=True), OPTIM.SGD, {}, L),
    (TorchOptimizer("Adam", 0.1, {"amsgrad": True}), OPTIM.Adam, {"amsgrad": True}, 1),
    (TorchOptimizer("AdamW", 0.1, {"weight_decay": 0.3}, layer_factor=True), OPTIM.AdamW, {"weight_decay": 0.3}, L),
    (TorchOptimizer("RMSprop", 0.1, {"momentum": 0.5, "centered": True}), OPTIM.RMSprop, {"momentum": 0.5, "centered": True}, 1),
    *((TorchOptimizer(kind.__name__, 0.1), kind, {}, 1.0) for kind in (OPTIM.Adagrad, OPTIM.Adamax, OPTIM.NAdam, OPTIM.RAdam)),
    *((TorchOptimizer(kind.__name__, 0.1), kind, {}, 1.0) for kind in (OPTIM.Adadelta, OPTIM.ASGD, OPTIM.Rprop)),
]  # fmt: skip


def described(row):
    optimizer, kind, options, factor = row
    return "-".join([type(optimizer).__name__, kind.__name__, *options, f"factor{factor:g}"])


@pytest.mark.parametrize("row", BESIDE, ids=described)
def test_every_step_is_that_of_torch_optim(row):
    optimizer, kind, options, factor = row
    step = Step(NETWORK, optimizer)
    state = step.start(start())
    for known in torch_steps(kind, options, factor=factor, rate=0.1, steps=25):
        state, _ = step(state, (X, Y))
        assert all(relative(state.params[role][0], known[role]) <= 1e-12 for role in known)
    assert all(relative(state.params[role], start()[role]) > 1e-4 for role in NETWORK.trainable)


@pytest.mark.parametrize("row", BESIDE, ids=described)
def test_options_are_what_makes_the_difference(row):
    """The comparison above would fail for the plain optimiser: 25 steps of SGD end somewhere else."""
    _, kind, options, factor = row
    *_, known = torch_steps(kind, options, factor=factor, rate=0.1, steps=25)
    *_, plain = torch_steps(OPTIM.SGD, {}, factor=1, rate=0.1, steps=25)
    same = all(relative(known[role], plain[role]) <= 1e-6 for role in known)
    assert same is (kind is OPTIM.SGD and not options and factor == 1)


@pytest.mark.parametrize("row", BESIDE, ids=described)
def test_an_update_leaves_its_arguments_as_they_were(row):
    optimizer, *_ = row
    step = Step(NETWORK, optimizer)
    state = step.start(start())
    for _ in range(2):  # the second finds slots
        held = [*state.params.values(), *state.slots.values()]
        before = [t.clone() for t in held]
        after, info = step(state, (X, Y))
        assert all(torch.equal(t, b) for t, b in zip(held, before, strict=True))
        assert not any(t.requires_grad or t.grad is not None for t in (*after.params.values(), *info.grads.values()))
        state = after


# --- the flow ---


def one_step(optimizer: Optimizer, network: ResidualStack, params) -> tuple[State, dict[str, torch.Tensor]]:
    step = Step(network, optimizer)
    count = len(next(iter(params.values())))
    pairs = X.expand(count, *X.shape[1:]), Y.expand(count, *Y.shape[1:])
    state, info = step(step.start(params), pairs)
    return state, info.grads


@pytest.mark.parametrize("network", [NETWORK, *DELTAS])
def test_the_factor_is_on_layered_roles_alone(network):
    params = start(network, 2)
    state, grads = one_step(GradientFlow((0.1, 0.01)), network, params)
    rate = torch.tensor([0.1, 0.01], dtype=torch.float64)
    for role in network.trainable:
        factor = L if role in network.layer_roles else 1
        move = -factor * (rate * grads[role].movedim(0, -1)).movedim(-1, 0)
        assert relative(state.params[role] - params[role], move) <= 1e-11
    alike, _ = one_step(SGD((0.1, 0.01), layer_factor=True), network, params)
    assert all(torch.equal(alike.params[role], state.params[role]) for role in params)


@pytest.mark.parametrize("network", [NETWORK, *DELTAS])
def test_coordinate_clipping_bounds_every_entry_of_the_velocity(network):
    params, bound, rate = start(network, 2), 0.05, 0.1
    state, grads = one_step(GradientFlow(rate, CoordinateClip(bound)), network, params)
    for role in network.trainable:
        velocity = (state.params[role] - params[role]) / rate
        wanted = -grads[role] * (L if role in network.layer_roles else 1)
        assert float(velocity.abs().max()) <= bound * (1 + 1e-12)
        torch.testing.assert_close(velocity, wanted.clamp(-bound, bound), rtol=1e-10, atol=1e-14)


def matrices(tensor, *, layered):
    """One row per member and layer of a layered role, one per member of another."""
    stacked = tensor.flatten(0, 1) if layered else tensor
    return stacked.reshape(len(stacked), -1)


@pytest.mark.parametrize("network", [NETWORK, *DELTAS])
def test_norm_clipping_bounds_every_matrix_and_keeps_its_direction(network):
    params, bound, rate = start(network, 2), 0.3, 0.1
    state, grads = one_step(GradientFlow(rate, NormClip(bound)), network, params)
    clipped = 0
    for role in network.trainable:
        layered = role in network.layer_roles
        velocity = matrices((state.params[role] - params[role]) / rate, layered=layered)
        wanted = matrices(-grads[role] * (L if layered else 1), layered=layered)
        norms = wanted.norm(dim=1, keepdim=True)
        torch.testing.assert_close(velocity, wanted * (bound / norms).clamp_max(1), rtol=1e-9, atol=1e-13)
        assert float(velocity.norm(dim=1).max()) <= bound * (1 + 1e-12)
        clipped += int((norms > bound).sum())
    assert clipped > 0


def test_a_clip_is_the_identity_inside_its_ball_and_lipschitz_across_it():
    generator = torch.Generator().manual_seed(3)
    for clip in (CoordinateClip(1.0), NormClip(1.0)):
        small = 0.1 * torch.rand(4, 3, 2, generator=generator)
        assert torch.equal(clip(small), small)
        a, b = torch.randn(2, 200, 3, 2, generator=generator)
        moved = (clip(a) - clip(b)).flatten(1).norm(dim=1)
        assert bool((moved <= (a - b).flatten(1).norm(dim=1) * (1 + 1e-6)).all())
        assert not torch.equal(clip(a), a)
        assert torch.equal(clip(-a), -clip(a))


def test_a_bound_too_large_to_be_met_changes_nothing():
    params = start()
    free, _ = one_step(GradientFlow(0.1), NETWORK, params)
    for clip in (CoordinateClip(1e6), NormClip(1e6)):
        bounded, _ = one_step(GradientFlow(0.1, clip), NETWORK, params)
        assert all(relative(bounded.params[role], free.params[role]) <= 1e-15 for role in params)


def test_any_function_is_a_clip():
    state, _ = one_step(GradientFlow(0.1, torch.tanh), NETWORK, start())
    assert float((state.params["V"] - start()["V"]).abs().max()) <= 0.1


# --- rates and errors ---


def test_a_rate_is_a_number_or_one_number_per_member():
    like = torch.zeros(2, 3, 4, dtype=torch.float64)
    assert scaled(0.1, like) == 0.1
    assert scaled(0.1, like, factor=4) == 0.4
    rates = scaled((0.1, 0.2), like, factor=10)
    assert isinstance(rates, torch.Tensor)
    assert rates.shape == (2, 1, 1)
    assert rates.flatten().tolist() == [1.0, 2.0]
    assert rates.dtype == torch.float64


@pytest.mark.parametrize("build", [GradientFlow, SGD, Adam, lambda rate: GradientFlow(rate, CoordinateClip(1.0))])
def test_rates_that_do_not_match_the_members_are_refused(build):
    with pytest.raises(InputError, match="expected one number per member, 3; found 2"):
        one_step(build((0.1, 0.2)), NETWORK, start(members=3))
    one_step(build((0.1, 0.2, 0.3)), NETWORK, start(members=3))


def test_an_optimiser_of_pytorch_takes_single_runs_alone():
    with pytest.raises(InputError, match="TorchOptimizer: expected a single run, found an ensemble of 3"):
        one_step(TorchOptimizer("SGD", 0.1), NETWORK, start(members=3))


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam", "Muon", "Optimizer", "lr_scheduler"])
def test_an_optimiser_that_cannot_take_a_step_here_is_refused(name):
    with pytest.raises(InputError, match=rf"optimizer: expected one of .*; found '{name}'"):
        one_step(TorchOptimizer(name, 0.1), NETWORK, start())


def test_an_unknown_optimiser_is_refused_with_the_nearest_names():
    with pytest.raises(InputError, match=r"optimizer: expected one of .*RMSprop.*; found 'RMSporp'"):
        one_step(TorchOptimizer("RMSporp", 0.1), NETWORK, start())


@pytest.mark.parametrize("clip", [CoordinateClip, NormClip])
@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_not_positive_is_refused(clip, bound):
    with pytest.raises(InputError, match="bound: expected a finite number above 0, found"):
        clip(bound)


def test_optimisers_without_memory_have_no_slots():
    params = {role: t for role, t in start().items() if role in NETWORK.trainable}
    assert GradientFlow(0.1).slots(params) == {}
    assert SGD(0.1).slots(params) == {}
    assert SGD(0.1, momentum=0.9).slots(params).keys() == params.keys()
    moments = Adam(0.1).slots(params)
    assert moments.keys() == {"steps", *(f"{kind}.{role}" for kind in ("first", "second") for role in params)}
    assert not any(bool(t.any()) for t in moments.values())


# --- the L2 coefficient ---


@pytest.mark.parametrize(
    "build",
    [
        lambda rate, decay: SGD(rate, momentum=0.5, weight_decay=decay),
        lambda rate, decay: SGD(rate, momentum=0.5, weight_decay=decay, decoupled=True),
        lambda rate, decay: Adam(rate, weight_decay=decay),
        lambda rate, decay: Adam(rate, weight_decay=decay, decoupled=True),
    ],
)
def test_members_with_a_coefficient_each_are_runs_of_their_own(build):
    rates, decays = (0.1, 0.2, 0.1), (0.3, 0.0, 2.0)
    together = one_step(build(rates, decays), NETWORK, start(members=3))[0].params
    for e in range(3):
        single = {r: p[e : e + 1] for r, p in start(members=3).items()}
        alone = one_step(build(rates[e], decays[e]), NETWORK, single)[0].params
        assert all(relative(together[role][e], alone[role][0]) <= 1e-13 for role in NETWORK.trainable)


def test_decoupled_decay_shrinks_before_a_step_that_does_not_see_it():
    step, plain = (Step(NETWORK, SGD(0.1, momentum=0.9, weight_decay=w, decoupled=True)) for w in (0.3, 0.0))
    state = step.start(start())
    for _ in range(3):
        free, _ = plain(state, (X, Y))
        after, _ = step(state, (X, Y))
        for role in NETWORK.trainable:
            expected = free.params[role] - 0.1 * 0.3 * state.params[role]
            torch.testing.assert_close(after.params[role], expected, rtol=1e-12, atol=1e-14)
        state = after
    coupled = one_step(SGD(0.1, weight_decay=0.3), NETWORK, start())[0].params
    decoupled = one_step(SGD(0.1, weight_decay=0.3, decoupled=True), NETWORK, start())[0].params
    assert all(relative(coupled[role], decoupled[role]) <= 1e-13 for role in NETWORK.trainable)
