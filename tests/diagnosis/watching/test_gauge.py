from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis import Group, Pair, Role
from deeplimit.diagnosis.watching.gauge import ENTRIES, WeightGauge, branch_paths, compared, passage, whole
from deeplimit.regimes.verdict import smoothness
from tests.diagnosis.watching.blocks import Residual, group_of


def stored(tensors: list[torch.Tensor], name: str = "w") -> nn.Module:
    model = nn.Module()
    model.layers = nn.ModuleList()
    for tensor in tensors:
        layer = nn.Module()
        layer.register_parameter(name, nn.Parameter(tensor))
        model.layers.append(layer)
    return model


def group(depth: int, *roles: Role, pairs: tuple[Pair, ...] = ()) -> Group:
    return Group("layers", tuple(f"layers.{k}" for k in range(depth)), roles, pairs)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def brownian(depth: int, *shape: int) -> list[torch.Tensor]:
    return list(random(depth, *shape).cumsum(0))


STREAM = Role("w", "other", "stream", "w", (20, 20))


@pytest.mark.parametrize("weights", [list(random(16, 20, 20)), brownian(16, 20, 20)])
def test_order_and_roughness_are_those_of_a_verdict(weights):
    reading = WeightGauge(stored(weights), group(16, STREAM)).read()
    expected = smoothness(torch.stack(weights)[None])
    assert reading.order_ratio == pytest.approx(expected.ratio, rel=1e-4)
    assert expected.roughness is not None
    assert reading.roughness == pytest.approx(expected.roughness.value, abs=1e-3)
    whole = torch.stack(weights)
    assert reading.spread == pytest.approx(float((whole - whole.mean(0)).norm() / whole.norm()), rel=1e-4)


def test_a_sample_is_close_to_all_of_a_large_tensor():
    weights = brownian(12, 200, 200)
    assert weights[0].numel() > 4 * ENTRIES
    reading = WeightGauge(stored(weights), group(12, Role("w", "other", "stream", "w", (200, 200)))).read()
    whole, steps = torch.stack(weights), torch.stack(weights).diff(dim=0)
    ratio = steps.square().sum() / (whole - whole.mean(0)).square().sum()
    assert reading.order_ratio == pytest.approx(float(ratio), rel=0.05)
    increment = (steps.square().sum() / 11 / (whole.square().sum() / 12)).sqrt()
    assert reading.increment == pytest.approx(float(increment), rel=0.05)


def test_gains_are_products_of_operator_norms():
    network = Residual()
    gauge = WeightGauge(network, group_of(network))
    for _ in range(200):
        reading = gauge.read()
    expected = [
        math.prod(float(torch.linalg.matrix_norm(part.weight.detach(), 2)) for part in (block.up, block.down))
        for block in map(network.block, range(8))
    ]
    assert reading.gains == pytest.approx(expected, rel=1e-4)
    first = WeightGauge(network, group_of(network)).read().gains
    assert all(0.7 * gain < found <= gain * (1 + 1e-5) for gain, found in zip(expected, first, strict=True))


def test_a_matrix_that_was_zero_is_followed():
    network = Residual()
    nn.init.zeros_(network.block(3).down.weight)
    gauge = WeightGauge(network, group_of(network))
    assert gauge.read().gains[3] == 0.0
    with torch.no_grad():
        network.block(3).down.weight[0, 0] = 2.0
    norm = float(torch.linalg.matrix_norm(network.block(3).up.weight, 2).detach())
    found = [gauge.read().gains[3] for _ in range(5)][-1]
    assert found == pytest.approx(2 * norm, rel=0.1)


@pytest.mark.parametrize("kind", ["transposed", "rows", "both", "kernel"])
def test_a_role_is_read_as_its_group_says(kind):
    plain = list(random(6, 30, 8))
    role = Role("w", "mlp", "reads", "w", (30, 8))
    expected = WeightGauge(stored(plain), group(6, role)).read()
    if kind == "transposed":
        turned = [tensor.T.contiguous() for tensor in plain]
        role = Role("w", "mlp", "reads", "w", (30, 8), transposed=True)
    elif kind == "kernel":
        turned = [torch.stack([tensor, 0 * tensor, 0 * tensor], dim=-1)[..., None] for tensor in plain]
        role = Role("w", "mlp", "reads", "w", (30, 8, 3, 1))
    else:
        turned = [torch.cat([tensor[:10], random(5, 8, seed=k), tensor[10:]]) for k, tensor in enumerate(plain)]
        role = Role("w", "mlp", "reads", "w", (30, 8), transposed=kind == "both", rows=((0, 10), (15, 35)))
        turned = [tensor.T.contiguous() for tensor in turned] if kind == "both" else turned
    found = WeightGauge(stored(turned), group(6, role)).read()
    assert found.gains == pytest.approx(expected.gains, rel=1e-5)
    assert found.order_ratio == pytest.approx(expected.order_ratio, rel=1e-5)
    assert found.increment == pytest.approx(expected.increment, rel=1e-5)


def test_large_fused_and_transposed_entries_are_those_of_the_role():
    part = [random(100, 90, seed=k) * 0 + 10**k for k in range(4)]
    fused = [torch.cat([random(7, 90), tensor]).T.contiguous() for tensor in part]
    role = Role("w", "mlp", "reads", "w", (100, 90), transposed=True, rows=((7, 107),))
    found = WeightGauge(stored(fused), group(4, role)).read()
    # Only the entries 1, 10, 100 and 1000 are seen, none of the rows before them.
    steps = 9**2 + 90**2 + 900**2
    assert found.increment == pytest.approx(math.sqrt(steps / 3 / ((1 + 100 + 10_000 + 1_000_000) / 4)), rel=1e-5)


def test_layer_scale_takes_part_in_the_gain():
    model = stored(list(random(4, 20, 20)))
    for number, layer in enumerate(model.get_submodule("layers").children()):
        layer.register_parameter("gamma", nn.Parameter(torch.full((20,), 0.5 * number)))
    scale = Role("gamma", "other", "scale", "gamma", (20,))
    plain, scaled = (WeightGauge(model, group(4, *roles)).read().gains for roles in ((STREAM,), (STREAM, scale)))
    assert scaled == pytest.approx([0.5 * k * gain for k, gain in enumerate(plain)])


def test_movement_is_counted_from_the_first_reading():
    network = Residual()
    gauge = WeightGauge(network, group_of(network))
    assert gauge.read().movement == 0.0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.25)
    assert gauge.read().movement == pytest.approx(0.25, rel=1e-5)


def test_half_precision_is_read_in_float32():
    network = Residual()
    expected = WeightGauge(network, group_of(network)).read()
    found = WeightGauge(network.to(torch.bfloat16), group_of(network)).read()
    assert found.gains == pytest.approx(expected.gains, rel=0.02)
    assert found.order_ratio == pytest.approx(expected.order_ratio, rel=0.02)


def test_what_is_not_finite_is_a_number():
    network = Residual()
    gauge = WeightGauge(network, group_of(network))
    gauge.read()
    with torch.no_grad():
        network.block(2).up.weight[0, 0] = math.nan
        network.block(5).down.weight[0, 0] = math.inf
    gains = gauge.read().gains
    assert [block for block, gain in enumerate(gains) if not math.isfinite(gain)] == [2, 5]


def test_equal_blocks_have_an_order():
    reading = WeightGauge(stored([random(20, 20)] * 6), group(6, STREAM)).read()
    assert (reading.order_ratio, reading.roughness, reading.increment) == (0.0, 2.0, 0.0)
    assert reading.spread < 1e-6


def test_few_blocks_have_no_roughness():
    reading = WeightGauge(stored(list(random(4, 20, 20))), group(4, STREAM)).read()
    assert math.isnan(reading.roughness)
    assert 0 < reading.order_ratio < 4
    with pytest.raises(InputError, match="layers: expected at least 3 blocks, found 2"):
        WeightGauge(stored(list(random(2, 20, 20))), group(2, STREAM))


def test_sums_that_are_not_finite_give_no_number():
    plain = [4.0, 2.0, 3.0, 1.0, 1.0]
    assert compared([plain], 4) == pytest.approx((1.5, 0.0, math.sqrt(0.5), 1.0))
    assert compared([plain, [0.0] * 5], 4) == compared([plain], 4)
    assert all(math.isnan(number) for number in compared([plain, [math.nan] * 5], 4))
    assert all(math.isnan(number) for number in compared([plain, [math.inf] * 5], 4))


def test_ways_through_a_block():
    query = Role("query", "attention", "reads", "q", (4, 4))
    value = Role("value", "attention", "reads", "v", (4, 4))
    output = Role("output", "attention", "writes", "o", (4, 4))
    down_scale = Role("scale", "mlp", "scale", "s", (4,))
    bottleneck = [
        Role("first", "mlp", "reads", "a", (2, 4)),
        Role("mid", "mlp", "hidden", "b", (2, 2)),
        Role("last", "mlp", "writes", "c", (4, 2)),
    ]
    roles = (query, value, output, *bottleneck, down_scale)
    pairs = (Pair("scores", "attention", "query", "query", scores=True), Pair("values", "attention", "value", "output"))
    assert branch_paths(group(3, *roles, pairs=pairs), roles[:-1]) == [
        ("output", "value"),
        ("last", "first", "mid", "scale"),
    ]
    alone = Role("w", "other", "other", "w", (3, 5))
    assert branch_paths(group(3, alone), [alone]) == [("w",)]


def test_a_group_without_matrices_or_of_another_model_is_refused():
    model = stored(list(random(4, 20)))
    with pytest.raises(InputError, match="layers: expected a role of matrices, found none"):
        WeightGauge(model, group(4, Role("w", "norm", "gain", "w", (20,))))
    with pytest.raises(InputError, match=r"model: expected a parameter or buffer layers\.0\.other, found none"):
        WeightGauge(model, group(4, Role("w", "mlp", "reads", "other", (20, 20))))


def test_wrappers_are_taken_off():
    network = Residual()
    assert whole(network) is network
    compiled: Any = torch.compile(network, backend="eager")
    assert compiled is not network
    assert whole(compiled) is network
    assert whole(nn.DataParallel(network)) is network

    class FullyShardedDataParallel(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self._fsdp_wrapped_module = module

    with pytest.raises(InputError, match="found weights that are spread over processes"):
        whole(FullyShardedDataParallel(network))


def test_sharded_tensors_are_refused():
    network = Residual()
    network.block(1).up.weight.placements = ()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"blocks\.1\.up\.weight: expected whole weights"):
        WeightGauge(network, group_of(network))


def test_a_batch_passes_and_leaves_the_model_as_it_was():
    network = Residual()
    network.train()
    network.head.eval()
    x = random(5, 6)
    ratios, alignment = passage(network, group_of(network), batch=x)
    states = [x]
    with torch.no_grad():
        for block in network.blocks:
            states.append(block(states[-1]))
    updates = [after - before for before, after in itertools.pairwise(states)]
    assert ratios == pytest.approx(
        [float(u.norm() / h.norm()) for u, h in zip(updates, states, strict=False)], rel=1e-5
    )
    cosines = [float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in itertools.pairwise(updates)]
    assert alignment == pytest.approx(sum(cosines) / 7, rel=1e-5)
    assert network.training
    assert not network.head.training
    assert not network.block(0)._forward_hooks
    for arguments in ([x], {"x": x}):
        assert passage(network, group_of(network), batch=arguments) == (ratios, alignment)


def test_blocks_that_change_the_shape_are_refused():
    class Growing(nn.Module):
        def forward(self, h: Any) -> Any:
            return torch.cat([h, h], dim=-1)

    network = Residual()
    network.blocks[0] = Growing()
    network.blocks[1].up = nn.Linear(12, 10)
    network.blocks[1].down = nn.Linear(10, 6)
    with pytest.raises(InputError, match=r"blocks\.0: expected an output of the shape of an input"):
        passage(network, group_of(Residual()), batch=random(5, 6))
    assert not network.blocks[0]._forward_hooks

    class Skipping(Residual):
        def forward(self, x: torch.Tensor) -> Any:
            return self.head(self.blocks[0](x))

    network = Skipping(depth=4)
    with pytest.raises(InputError, match=r"found blocks\.1, blocks\.2, blocks\.3 not called"):
        passage(network, group_of(network), batch=random(5, 6))


def test_what_is_no_module_is_refused():
    with pytest.raises(InputError, match="model: expected a module of PyTorch, found int"):
        whole(3)  # type: ignore[arg-type]
