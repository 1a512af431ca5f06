from __future__ import annotations

import itertools

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.data import Images
from deeplimit.data.files import VARIABLE
from deeplimit.data.sets import SETS
from deeplimit.measures import Every, Loss
from deeplimit.networks import Convolutional, WideResidual, ensemble, member
from deeplimit.networks.images import convolved, layer, normalisation, normalised, pooled, same
from deeplimit.records import Context, frame
from deeplimit.training import SGD, Batches, CrossEntropy, TrainingRun
from tests.cases import normal
from tests.data.fakes import tiny_cifar

NETWORKS = {
    "wide residual": WideResidual(1, 1, base=2, image=(2, 8, 8), classes=3),
    "plain": Convolutional(((2, 3), (4,)), (5,), classes=3, image=(2, 8, 8), pool=3, stride=2),
    "normalised": Convolutional(((2,), (3,)), (), classes=3, image=(2, 8, 8), pool=2, norm=True),
}
each = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(network, seed=0):
    """Parameters in float64, with biases, scales and shifts away from where they start."""
    generator = gen(100 + seed)
    params = network.initialise(seed, dtype=torch.float64)
    return {role: p + 0.3 * normal(tuple(p.shape), generator) for role, p in params.items()}


def windows(x, kernel, *, stride, fill):
    """Every window of the maps as JAX places them, by the definition: `[n, c, rows, columns, kernel, kernel]`."""
    size = x.shape[-1]
    count = -(-size // stride)
    before = max((count - 1) * stride + kernel - size, 0) // 2
    found = x.new_full((*x.shape[:2], count, count, kernel, kernel), fill)
    for r, c, i, j in itertools.product(range(count), range(count), range(kernel), range(kernel)):
        row, column = r * stride + i - before, c * stride + j - before
        if 0 <= row < size and 0 <= column < size:
            found[:, :, r, c, i, j] = x[:, :, row, column]
    return found


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 1), (8, 3, 2), (7, 3, 2), (5, 5, 3), (6, 1, 1)])
def test_a_convolution_places_its_windows_as_jax_does(size, kernel, stride):
    x, weight = normal((2, 3, size, size), gen(1)), normal((4, 3, kernel, kernel), gen(2))
    bias = normal((4,), gen(3))
    found = convolved(x, {"a.W": weight, "a.b": bias}, name="a", stride=stride)
    expected = torch.einsum("ncrsij,ocij->nors", windows(x, kernel, stride=stride, fill=0.0), weight)
    torch.testing.assert_close(found, expected + bias[:, None, None])


def test_symmetric_zeros_differ_at_stride_2_alone():
    x, params = normal((2, 3, 8, 8), gen(1)), {"a.W": normal((4, 3, 3, 3), gen(2))}
    for stride in (1, 2):
        torch_s = torch.nn.functional.conv2d(x, params["a.W"], stride=stride, padding=1)
        torch.testing.assert_close(convolved(x, params, name="a", stride=stride, padding="symmetric"), torch_s)
        assert torch.allclose(convolved(x, params, name="a", stride=stride), torch_s) == (stride == 1)


@pytest.mark.parametrize(("size", "window", "stride"), [(8, 2, 2), (8, 6, 6), (8, 6, 1), (7, 3, 2)])
def test_pooling_takes_the_largest_number_of_each_window(size, window, stride):
    x = normal((2, 3, size, size), gen(1)) - 5.0
    expected = windows(x, window, stride=stride, fill=-torch.inf).amax((-2, -1))
    torch.testing.assert_close(pooled(x, window, stride=stride), expected)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("kernel", [1, 2, 3, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_fit_as_often_as_the_stride_says(size, kernel, stride):
    before, after = same(size, kernel, stride=stride)
    assert 0 <= after - before <= 1
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_normalisation_takes_the_statistics_of_the_batch():
    x = normal((6, 3, 4, 4), gen(1)) * 3 + 2
    params = {"a.scale": torch.tensor([1.0, 2.0, -1.0]).double(), "a.shift": torch.tensor([0.0, 5.0, 1.0]).double()}
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    scale, shift = (p[:, None, None] for p in params.values())
    torch.testing.assert_close(normalised(x, params, name="a"), (x - mean) / (variance + 1e-5).sqrt() * scale + shift)


def test_layers_name_their_roles():
    assert layer("a", 4, inputs=3, kernel=5) == {"a.W": (4, 3, 5, 5), "a.b": (4,)}
    assert layer("a", 4, inputs=3) == {"a.W": (4, 3), "a.b": (4,)}
    assert normalisation("a", 4) == {"a.scale": (4,), "a.shift": (4,)}


@each
@pytest.mark.parametrize("own_inputs", [False, True])
def test_an_ensemble_equals_separate_networks(network, own_inputs):
    params = ensemble([drawn(network, seed) for seed in range(3)])
    x = normal((3, 5, *network.image) if own_inputs else (5, *network.image), gen(7))
    leaves = {role: p.clone().requires_grad_() for role, p in params.items()}
    found = network(leaves, x)
    found.square().sum().backward()
    assert found.shape == (3, 5, 3)
    for e in range(3):
        alone = {role: p.clone().requires_grad_() for role, p in member(params, e).items()}
        output = network(alone, x[e] if own_inputs else x)
        output.square().sum().backward()
        torch.testing.assert_close(found[e], output)
        for role, p in alone.items():
            torch.testing.assert_close(leaves[role].grad[e], p.grad)  # type: ignore[index]
    assert not torch.allclose(found[0], found[1])


@each
def test_gradients_are_those_of_finite_differences(network):
    params = drawn(network)
    x = normal((3, *network.image), gen(7))
    leaves = [p.requires_grad_() for p in params.values()]
    assert torch.autograd.gradcheck(
        lambda *p: network(dict(zip(params, p, strict=True)), x), leaves, fast_mode=True, atol=1e-4
    )


@pytest.mark.parametrize("batches", [None, Batches(4)])
@pytest.mark.parametrize("network", [WideResidual(1, 1, base=2), Convolutional(((4,),), (), pool=8)])
def test_training_takes_it_as_it_is(network, batches, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setitem(SETS, "cifar-10", tiny_cifar(tmp_path))
    images = Images("cifar-10", flatten=False, targets="labels")
    run = TrainingRun(
        (network,), images, SGD(0.05), 40, (Loss(Every(40)),), (0, 1), CrossEntropy(), batches=batches, dtype="float32"
    )
    losses = frame(run.run(Context())).pivot("iteration", index="seed", values="value")
    assert losses.height == 2
    assert (losses["40"] < 0.9 * losses["0"]).all()
    assert losses["40"][0] != losses["40"][1]


@each
def test_the_order_of_memory_of_the_images_does_not_matter(network):
    x = normal((5, *network.image), gen(7))
    params = drawn(network)
    torch.testing.assert_close(network(params, x.contiguous(memory_format=torch.channels_last)), network(params, x))


@each
def test_images_of_another_shape_are_refused(network):
    with pytest.raises(InputError, match=r"input x: expected shape \(5, 2, 8, 8\), found \(5, 8, 8, 2\)"):
        network(drawn(network), torch.zeros(5, 8, 8, 2))


@each
def test_weights_have_deviation_g_over_the_root_of_the_fan_in_and_normalisations_start_at_the_identity(network):
    for role in network.shapes:
        kind = role.split(".")[-1]
        expected = {"b": (0.0, 0.0), "shift": (0.0, 0.0), "scale": (1.0, 0.0)}
        if kind == "W":
            fan_in = network.shapes[role][1] * (9 if len(network.shapes[role]) == 4 else 1)
            expected["W"] = (0.0, network.gain / fan_in**0.5)
        assert network.start(role) == pytest.approx(expected[kind])
