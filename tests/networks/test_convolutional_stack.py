"""The network of the released code, layer by layer, and against PyTorch's modules in training and in evaluation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplimit.branches import GELU, Identity, ReLU, SiLU, Tanh
from deeplimit.checks import InputError
from deeplimit.data import FixedPairs, GaussianPairs
from deeplimit.engines.extension import MISSING
from deeplimit.measures import Every, HeldOut, Loss
from deeplimit.networks import ConvolutionalStack, ensemble, member
from deeplimit.networks.convolutional_stack import _grouped
from deeplimit.records import Context, frame
from deeplimit.training import SGD, Batches, CosineDecay, CrossEntropy, Step, TrainingRun
from tests.cases import normal

SMALL = ConvolutionalStack(3, channels=4, image=(3, 16, 13), classes=5)
FUNCTIONS = {GELU: F.gelu, ReLU: F.relu, Identity: lambda z: z, Tanh: torch.tanh, SiLU: F.silu}


class Layer(nn.Module):
    def __init__(self, channels, norm, σ):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm2d(channels) if norm else nn.Identity() for _ in range(2))
        self.σ = σ

    def forward(self, h):
        return self.norm2(self.conv2(self.σ(self.norm1(self.conv1(h)))))


class Modules(nn.Module):
    """The network as one would write it with PyTorch's modules."""

    def __init__(self, network, params):
        super().__init__()
        channels = network.channels
        self.stem = nn.Conv2d(network.image[0], channels, 5, stride=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        σ = FUNCTIONS[type(network.activation)]
        self.layers = nn.ModuleList(Layer(channels, network.norm, σ) for _ in range(network.depth))
        self.dense = nn.Linear(params["dense.W"].shape[-1], network.classes)
        self.scale = network.depth**-network.scaling.beta
        self.double()
        for name, target in self.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                target.copy_(self.source(name, params))

    @staticmethod
    def source(name, params):
        parts = name.split(".")
        kinds = {"weight": "W", "bias": "b"}
        if "norm" in parts[-2]:
            kinds = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}
        if parts[0] == "layers":
            return params[f"{parts[2]}.{kinds[parts[3]]}"][int(parts[1])]
        return params[("stem.norm" if parts[0] == "norm" else parts[0]) + "." + kinds[parts[1]]]

    def forward(self, x):
        h = F.relu(self.norm(self.stem(x)))
        for layer in self.layers:
            h = h + self.scale * layer(h)
        return self.dense(F.avg_pool2d(h, 4).flatten(1))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(network, seed=0):
    """Parameters in float64 away from where they start; variances stay positive."""
    generator = gen(100 + seed)
    params = network.initialise(seed, dtype=torch.float64)
    return {
        role: p + 0.3 * (noise.abs() if role.endswith("variance") else noise)
        for role, p in params.items()
        for noise in [normal(tuple(p.shape), generator)]
    }


# --- as the released code has it ---


def test_the_network_of_the_paper_has_the_released_shapes_and_size():
    network = ConvolutionalStack(256)
    shapes = {role: shape for role, shape in network.shapes.items() if role in network.trainable}
    assert shapes == {
        "stem.W": (16, 3, 5, 5),
        "stem.norm.scale": (16,),
        "stem.norm.shift": (16,),
        "conv1.W": (256, 16, 16, 3, 3),
        "conv1.b": (256, 16),
        "norm1.scale": (256, 16),
        "norm1.shift": (256, 16),
        "conv2.W": (256, 16, 16, 3, 3),
        "conv2.b": (256, 16),
        "norm2.scale": (256, 16),
        "norm2.shift": (256, 16),
        "dense.W": (10, 64),
        "dense.b": (10,),
    }
    assert sum(math.prod(shapes[role]) for role in network.layer_roles) == 256 * 4704
    assert network.size == 256 * 4704 + 1200 + 32 + 650
    assert set(network.shapes) - set(shapes) == {
        f"{norm}.{kind}" for norm in ("stem.norm", "norm1", "norm2") for kind in ("mean", "variance")
    }
    assert [network.start(role) for role in ("norm1.mean", "norm1.variance")] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("tied", [True, False])
def test_entries_start_as_pytorchs_modules(tied):
    params = ConvolutionalStack(64, tied=tied).initialise(1)
    bounds = {
        "stem.W": 75,
        "conv1.W": 144,
        "conv1.b": 144,
        "conv2.W": 144,
        "conv2.b": 144,
        "dense.W": 64,
        "dense.b": 64,
    }
    for role, fan in bounds.items():
        entries = params[role] if role.startswith(("stem", "dense")) else params[role][0]
        assert entries.abs().max() <= fan**-0.5 * (1 + 1e-6)
        if entries.numel() > 600:
            assert entries.abs().max() > 0.98 * fan**-0.5
            assert entries.double().var() == pytest.approx(1 / (3 * fan), rel=0.12)
    for role, value in {
        "norm1.scale": 1,
        "norm1.shift": 0,
        "norm2.scale": 0,
        "norm2.shift": 0,
        "stem.norm.scale": 1,
    }.items():
        assert (params[role] == value).all()
    for role in ("conv1.W", "conv2.b"):
        assert bool((params[role] == params[role][:1]).all()) == tied


def test_the_first_convolution_has_the_norm_that_was_measured():
    params = ConvolutionalStack(64, tied=False).initialise(3)
    assert params["conv1.W"].flatten(1).norm(dim=1).mean().item() == pytest.approx(2.31, abs=0.01)


def test_without_normalisation_the_second_convolution_starts_at_zero():
    network = ConvolutionalStack(8, norm=False)
    params = network.initialise(1)
    assert network.size == 8 * 4640 + 1200 + 32 + 650
    assert not params["conv2.W"].any()
    assert not params["conv2.b"].any()
    bound = 1e-4 * (6 / 288) ** 0.5
    assert 0.98 * bound < params["conv1.W"].abs().max() <= bound * (1 + 1e-6)
    assert 1 / 24 < params["conv1.b"].abs().max() <= 1 / 12


@pytest.mark.parametrize("norm", [True, False])
def test_the_network_starts_as_if_it_had_no_layers(norm):
    network = ConvolutionalStack(4, norm=norm)
    params, x = network.initialise(2), torch.randn(3, 3, 32, 32, generator=gen())
    alone = {role: p for role, p in params.items() if role not in network.layer_roles}
    h = F.relu(F.batch_norm(F.conv2d(x, alone["stem.W"], stride=3, padding=1), None, None, training=True))
    expected = F.avg_pool2d(h, 4).flatten(1) @ alone["dense.W"].T + alone["dense.b"]
    torch.testing.assert_close(network.in_training(params, x)[0], expected)


# --- against modules ---


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("norm", [True, False])
def test_outputs_gradients_and_averages_are_those_of_modules(activation, norm):
    network = ConvolutionalStack(3, channels=4, image=(3, 16, 13), classes=5, activation=activation(), norm=norm)
    params, x = drawn(network), normal((6, 3, 16, 13), gen(1))
    modules = Modules(network, params)
    leaves = {role: params[role].requires_grad_() for role in network.trainable}
    output, running = network.in_training({**params, **leaves}, x)
    direction = normal(tuple(output.shape), gen(2))
    grads = dict(zip(leaves, torch.autograd.grad((output * direction).sum(), list(leaves.values())), strict=True))
    modules.train()
    expected = modules(x)
    (expected * direction).sum().backward()
    torch.testing.assert_close(output, expected)
    for name, p in modules.named_parameters():
        torch.testing.assert_close(modules.source(name, grads), p.grad, msg=name)
    after = {**params, **running}
    for name, buffer in modules.named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(modules.source(name, after), buffer, msg=name)
    modules.eval()
    torch.testing.assert_close(network(after, x), modules(x))


def test_training_moves_everything_as_pytorchs_loop_does():
    network, data = SMALL, FixedPairs(GaussianPairs(12, (3, 16, 13), (5,)))
    run = TrainingRun(
        (network,),
        data,
        SGD(0.04, 0.9, 5e-4),
        iterations=9,
        measures=(Loss(Every(1)), HeldOut(FixedPairs(GaussianPairs(7, (3, 16, 13), (5,)), seed=5), Every(3))),
        loss=CrossEntropy(),
        batches=Batches(4, "fixed"),
        decay=CosineDecay(3),
    )
    context = Context()
    rows = frame(list(run.run(context)))
    from deeplimit.training import draw_members

    params, (x, y) = draw_members(network, data, seeds=(0,), dtype="float64")
    modules = Modules(network, member(params, 0))
    optimizer = torch.optim.SGD(modules.parameters(), 0.04, 0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    losses = []
    for _ in range(3):
        for start in range(0, 12, 4):
            loss = F.cross_entropy(modules(x[0, start : start + 4]), y[0, start : start + 4])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
    found = rows.filter(rows["quantity"] == "loss")["value"].to_list()
    assert found[:9] == pytest.approx(losses, rel=1e-9)
    for name, target in modules.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            trained = {role.removeprefix("3/"): torch.from_numpy(w)[0] for role, w in context.weights.items()}
            torch.testing.assert_close(modules.source(name, trained), target, msg=name)


# --- ensembles ---


def test_an_ensemble_is_its_members():
    params = [drawn(SMALL, seed) for seed in (0, 1)]
    both, x = ensemble(params), normal((2, 5, 3, 16, 13), gen(3))
    output, running = SMALL.in_training(both, x)
    for e, own in enumerate(params):
        alone, after = SMALL.in_training(own, x[e])
        torch.testing.assert_close(output[e], alone)
        assert running.keys() == after.keys() == set(SMALL.shapes) - set(SMALL.trainable)
        for role, value in after.items():
            torch.testing.assert_close(running[role][e], value)
        torch.testing.assert_close(SMALL(both, x)[e], SMALL(own, x[e]))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_members_side_by_side_are_members_apart(norm, shared):
    network = dataclasses.replace(SMALL, norm=norm)
    params = ensemble([drawn(network, seed) for seed in (0, 1, 2)])
    x = normal((5, 3, 16, 13) if shared else (3, 5, 3, 16, 13), gen(3))
    direction, found = normal((3, 5, 5), gen(4)), []
    for engine in ("auto:apart", "auto:grouped"):
        leaves = {role: params[role].detach().requires_grad_() for role in network.trainable}
        output, running = network.in_training({**params, **leaves}, x, engine=engine)
        grads = torch.autograd.grad((output * direction).sum(), list(leaves.values()))
        evaluated = network({**params, **running}, x, engine=engine)
        found.append([output.detach(), *grads, *(running[role] for role in sorted(running)), evaluated])
        assert len(running) == (6 if norm else 2)
    for apart, grouped in zip(*found, strict=True):
        torch.testing.assert_close(grouped, apart, rtol=1e-10, atol=1e-12)
    with pytest.raises(InputError, match="input x: expected shape"):
        network(params, x[..., 1:], engine="auto:grouped")


def test_on_a_gpu_members_stand_side_by_side_unless_told_otherwise():
    assert [_grouped([], device) for device in ("cpu", "cuda")] == [False, True]
    assert not _grouped(["bf16", "apart"], "cuda")
    assert _grouped(["grouped"], "cpu")
    assert SMALL.launch_bound


@pytest.mark.parametrize("engine", ["auto:grouped", "auto:apart"])
def test_an_evaluation_looks_at_no_number_and_makes_none_on_the_host(engine):
    """On a device without numbers both would fail: a CUDA graph can record what passes here."""
    params = {role: p.to("meta") for role, p in ensemble([SMALL.initialise(0), SMALL.initialise(1)]).items()}
    batch = torch.empty(2, 5, 3, 16, 13, device="meta"), torch.empty(2, 5, device="meta")
    info = Step(SMALL, SGD(0.1), CrossEntropy(), engine).evaluate(params, batch)
    tensors = [info.loss, info.output, *info.grads.values(), *info.running.values()]
    assert {t.device.type for t in tensors} == {"meta"}
    assert info.loss.shape == (2,)


def test_training_in_bfloat16_follows_that_in_float32():
    run = TrainingRun(
        (ConvolutionalStack(4, channels=4, image=(3, 16, 13), classes=3),),
        FixedPairs(GaussianPairs(16, (3, 16, 13), (3,))),
        SGD(0.02, 0.9),
        iterations=12,
        measures=(Loss(Every(1)),),
        seeds=(0, 1),
        dtype="float32",
    )
    losses = {}
    for engine in ("reference", "auto:bf16", "auto:bf16:grouped"):
        context = Context(engine=engine)
        found = frame(list(run.run(context)))
        losses[engine] = found.filter(found["quantity"] == "loss")["value"].to_list()
        assert ("bf16" in str(context.provenance["engine"])) == ("bf16" in engine)
    exact = losses.pop("reference")
    assert exact[-1] < 0.9 * exact[0]
    for rounded in losses.values():
        assert rounded == pytest.approx(exact, rel=0.03)
        assert rounded != pytest.approx(exact, rel=1e-7)


def test_the_name_of_the_engine_says_how():
    like = torch.zeros(1)
    assert SMALL.engine_title("reference", like=like) == "reference"
    assert SMALL.engine_title("auto:bf16", like=like) == "reference:bf16"
    assert SMALL.engine_title("auto", like=like) == ("reference" if MISSING else "native")
    with pytest.raises(InputError, match=r"engine 'auto:fast': expected one of .*; found 'fast'"):
        SMALL(SMALL.initialise(0), torch.zeros(1, 3, 16, 13), engine="auto:fast")
    with pytest.raises(InputError, match="found 'native:bf16'"):
        SMALL(SMALL.initialise(0), torch.zeros(1, 3, 16, 13), engine="native:bf16")


def test_averages_of_a_diverged_member_stay():
    step = Step(SMALL, SGD(0.1), CrossEntropy())
    state = step.start(ensemble([drawn(SMALL, seed) for seed in (0, 1)]))
    x, y = normal((2, 5, 3, 16, 13), gen(3)), torch.zeros(2, 5)
    x[1, 0] = torch.nan
    after = step(state, (x, y))[0]
    assert after.alive.tolist() == [True, False]
    assert torch.equal(after.params["norm1.mean"][1], state.params["norm1.mean"][1])
    assert not torch.equal(after.params["norm1.mean"][0], state.params["norm1.mean"][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"depth": 0}, "depth"), ({"channels": 0}, "channels"), ({"image": (3, 11, 32)}, "at least 12 x 12")],
)
def test_sizes_that_make_no_network_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        ConvolutionalStack(**{"depth": 2, **change})
