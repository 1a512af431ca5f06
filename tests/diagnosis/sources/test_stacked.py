"""Weights stacked over depth."""

from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources import StackedSource
from deeplimit.diagnosis.sources.stacked import is_stacked
from tests.diagnosis.sources import Memory

V, W = torch.arange(24.0).reshape(4, 3, 2), torch.arange(24.0).reshape(4, 2, 3)


def test_every_slice_is_a_block():
    source = StackedSource(Memory({"V": V, "W": W}))
    assert dict(source.shapes) == {
        f"blocks.{k}.{role}": (3, 2) if role == "V" else (2, 3) for k in range(4) for role in "VW"
    }
    assert torch.equal(source.read("blocks.2.W"), W[2])
    assert torch.equal(source.read_at("blocks.2.W", 1), W[2, 1])
    assert source.notes == ("2 tensors stacked over depth are read as blocks",)


def test_what_stands_beside_the_weights_of_a_run_is_left_out():
    beside = {"initial.b": torch.zeros(4, 2), "states": torch.zeros(5, 7, 2), "outputs": torch.zeros(7, 2)}
    source = StackedSource(Memory({"b": torch.ones(4, 2), "s": torch.ones(4), **beside}))
    assert dict(source.shapes)["blocks.3.s"] == ()
    assert {name.split(".")[-1] for name in source.shapes} == {"b", "s"}
    assert "left out beside them: initial.b, states, outputs" in source.notes[0]


def test_the_first_seed_of_a_run_is_read():
    both = torch.stack([V, V + 100])
    source = StackedSource(Memory({"4/V": both, "4/A": torch.ones(2, 5, 3), "2/V": both[:, :2]}))
    assert list(source.shapes) == [
        *(f"depth4.blocks.{k}.V" for k in range(4)),
        "depth4.A",
        *(f"depth2.blocks.{k}.V" for k in range(2)),
    ]
    assert torch.equal(source.read("depth4.blocks.3.V"), V[3])
    assert source.shapes["depth4.A"] == (5, 3)
    assert "the first is read" in source.notes[0]


def test_scanned_layers_stand_beside_the_rest():
    tensors = {
        "params/decoder/layers/mlp/kernel": V,
        "params/decoder/layers/norm/scale": V[..., 0],
        "params/embed": torch.ones(9, 2),
    }
    source = StackedSource(Memory(tensors))
    assert list(source.shapes)[:2] == [
        "params/decoder/layers.0.mlp.kernel".replace("/", "."),
        "params.decoder.layers.0.norm.scale",
    ]
    assert torch.equal(source.read("params.decoder.layers.3.mlp.kernel"), V[3])
    assert torch.equal(source.read("params/embed"), torch.ones(9, 2))


@pytest.mark.parametrize(
    "shapes",
    [
        {"weight": (5, 3), "bias": (5,)},
        {"weight": (5, 3, 3, 3), "bias": (5,)},
        {"a": (5, 3, 2), "b": (4, 3, 2)},
        {"h.0.w": (5, 3, 2), "h.1.w": (5, 3, 2)},
        {"layers.0.w": (5, 3, 2), "layers.1.w": (5, 3, 2)},
        {"a": ()},
        {},
    ],
)
def test_other_networks_are_not_taken_for_stacked_ones(shapes):
    source = Memory({name: torch.ones(shape) for name, shape in shapes.items()})
    assert not is_stacked(source)
    with pytest.raises(InputError, match=r"memory: expected weights \[depth, \.\.\.\] of one depth"):
        StackedSource(source)
