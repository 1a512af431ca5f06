"""A network in memory."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils import parametrizations

from deeplimit.checks import InputError
from deeplimit.diagnosis.sources import ModuleSource
from tests.diagnosis.sources.test_folder import SMALL


def test_names_are_those_of_the_state_dict():
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    source = ModuleSource(module, title="mine")
    floats = {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
    assert "1.running_mean" in floats
    assert {name: tuple(tensor.shape) for name, tensor in floats.items()} == dict(source.shapes)
    assert all(torch.equal(source.read(name), tensor) for name, tensor in floats.items())
    assert not source.read("0.weight").requires_grad
    assert dict(source.classes) == {"": "Sequential", "0": "Conv2d", "1": "BatchNorm2d"}
    assert source.title == "mine"
    assert ModuleSource(module).title == "Sequential"
    assert source.module is module
    assert not source.config
    assert source.notes == ()


def test_what_was_put_around_a_module_is_taken_off():
    module = nn.Linear(2, 3)
    for wrapped in (nn.DataParallel(module), torch.compile(module, backend="eager")):
        source = ModuleSource(wrapped)  # type: ignore[arg-type]
        assert list(source.shapes) == ["weight", "bias"]
        assert source.module is module


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.weight_norm, nn.utils.spectral_norm],
)
def test_a_computed_weight_stands_as_the_forward_pass_uses_it(wrap):
    torch.manual_seed(0)
    module = nn.Sequential(wrap(nn.Linear(4, 3)), nn.Linear(3, 2))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("_g", "original0")):
                parameter.mul_(2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    source = ModuleSource(module)
    assert set(source.shapes) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    weight = source.read("0.weight")
    assert torch.equal(source.read("0.weight"), weight)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert module[0].training
    module.eval()
    x = torch.randn(5, 4)
    assert torch.allclose(module[0](x), x @ weight.T + source.read("0.bias"), atol=1e-6)


def test_tied_parameters_stand_under_every_name():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    source = ModuleSource(nn.Sequential(first, second))
    assert torch.equal(source.read("0.weight"), source.read("1.weight"))
    assert source.notes == ("the same tensor under several names: 1.weight = 0.weight",)


def test_tensors_without_numbers_and_other_things_are_refused():
    with pytest.raises(InputError, match="expected tensors with numbers, found the device meta: weight, bias"):
        ModuleSource(nn.Linear(2, 3, device="meta"))
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module, found int"):
        ModuleSource(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tensor: expected one of bias, weight; found 'w'"):
        ModuleSource(nn.Linear(2, 3)).read("w")


def test_a_module_of_transformers_brings_its_configuration():
    source = ModuleSource(transformers.AutoModel.from_config(SMALL["bert"]))
    assert source.config["num_attention_heads"] == 2
    assert source.classes["encoder.layer.1.attention.self"].startswith("Bert")
