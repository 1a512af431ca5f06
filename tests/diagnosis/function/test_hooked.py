"""Seeing and changing the states that blocks hand on, in every form that blocks have."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis.function import hooked
from deeplimit.diagnosis.sources.module import unwrapped


@dataclass
class Result:
    note: str
    state: torch.Tensor


class Doubling(nn.Module):
    """Doubles its state; returns it in one of several forms."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        self.form = form

    def forward(self, mask, hidden_states):
        out = 2 * hidden_states
        forms = {
            "tensor": out,
            "tuple": (mask, out),
            "mapping": OrderedDict(mask=mask, state=out),
            "dataclass": Result("note", out),
        }
        return forms[self.form]


class Chain(nn.Module):
    """Two blocks that are called with a mask beside their state."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Doubling(form), Doubling(form)])

    def forward(self, x):
        mask = torch.ones(1, 1)
        for block in self.blocks:
            out = block(mask, hidden_states=x)
            x = {
                torch.Tensor: lambda o: o,
                tuple: lambda o: o[1],
                OrderedDict: lambda o: o["state"],
                Result: lambda o: o.state,
            }[type(out)](out)
        return x


def blocks_of(network):
    return dict(zip("ab", hooked.submodules(network, ["blocks.0", "blocks.1"]), strict=True))


@pytest.mark.parametrize("form", ["tensor", "tuple", "mapping", "dataclass"])
def test_states_are_found_and_replaced_in_every_form(form):
    network, seen = Chain(form), []

    def edit(k, call):
        seen.append((call.before.clone(), call.after.clone(), call.again(torch.ones(1, 3))))
        return call.before if k == 0 else None

    out = hooked.forward(network, blocks_of(network), batch=torch.full((1, 3), 5.0), edit=edit)
    assert [tuple(float(part[0, 0]) for part in three) for three in seen] == [(5, 10, 2), (5, 10, 2)]
    assert float(out[0, 0]) == 10
    assert not any(part._forward_hooks for part in network.modules())


def test_a_batch_is_a_tensor_or_arguments():
    network = Chain("tensor")
    x = torch.ones(2, 3)
    outs = [
        hooked.forward(network, blocks_of(network), batch=b, edit=lambda k, call: None) for b in (x, (x,), {"x": x})
    ]
    assert all(torch.equal(out, 4 * x) for out in outs)


def test_a_batch_that_does_not_fit_is_told_and_no_hook_is_left():
    network = Chain("tensor")
    with pytest.raises(
        InputError, match="batch: expected one that the network runs on, found that it raises TypeError"
    ):
        hooked.forward(network, blocks_of(network), batch={"y": torch.ones(1, 3)}, edit=lambda k, call: None)
    assert not any(part._forward_hooks for part in network.modules())


class Order(nn.Module):
    """Calls its blocks in a given order."""

    def __init__(self, order, width=3):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, width) for _ in range(2)])
        self.order = order

    def forward(self, x):
        for k in self.order:
            x = self.blocks[k](x)
        return x


@pytest.mark.parametrize(
    ("order", "width", "message"),
    [
        ((0,), 3, "found b not called"),
        ((0, 0, 1), 3, "a: expected one call in a forward pass, found a second: steps of a recurrence"),
        ((1, 0), 3, "expected a to be called next, found b"),
        ((0, 1), 4, r"a: expected an output of the shape of an input, found inputs \[\(2, 3\)\], outputs \[\(2, 4\)\]"),
    ],
)
def test_what_is_no_chain_is_refused(order, width, message):
    network = Order(order, width)
    with pytest.raises(InputError, match=message):
        hooked.forward(network, blocks_of(network), batch=torch.ones(2, 3), edit=lambda k, call: None)


def test_wrappers_are_taken_off():
    network = Order((0, 1))
    compiled = torch.compile(network, backend="eager")
    assert isinstance(compiled, nn.Module)
    wrapped = nn.DataParallel(compiled)
    assert unwrapped(wrapped) is network
    assert hooked.submodules(network, ["module._orig_mod.blocks.0", "blocks.1"]) == tuple(network.blocks)
    with pytest.raises(InputError, match=r"block: expected one of blocks.1, blocks.0, blocks; found 'blocks.7'"):
        hooked.submodules(network, ["blocks.0", "blocks.7"])
    with pytest.raises(InputError, match="at least 2 different ones"):
        hooked.submodules(network, ["blocks.0", "blocks.0"])


def test_observing_leaves_no_trace():
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    network[1].eval()
    network[0]._compiled_call_impl = compiled = len
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with pytest.raises(RuntimeError, match="inside"), hooked.observing(network):  # noqa: PT012
        assert not network.training
        assert network[0]._compiled_call_impl is None
        assert not torch.is_grad_enabled()
        torch.rand(5)
        raise RuntimeError("inside")
    assert torch.equal(torch.rand(1), expected)
    assert (network.training, network[0].training, network[1].training) == (True, True, False)
    assert network[0]._compiled_call_impl is compiled
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_loss_is_no_output():
    logits = torch.ones(2, 3)
    assert hooked.tensor_of({"loss": torch.tensor(1.0), "more": (torch.arange(2), logits)}) is logits
    assert hooked.tensor_of("nothing") is None
