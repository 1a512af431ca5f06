"""The numbers of a passage, against closed forms and against networks that others wrote."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from deeplimit.checks import InputError
from deeplimit.diagnosis.passage import pass_through
from tests.diagnosis.nets import inputs, paths, stack


class Adds(nn.Module):
    """h + u, whatever h is."""

    def __init__(self, update):
        super().__init__()
        self.update = nn.Parameter(torch.as_tensor(update))

    def forward(self, h):
        return h + self.update


def chain(updates):
    return nn.Sequential(*[Adds(update) for update in updates])


def test_a_straight_path():
    found = pass_through(chain([[2.0, 0.0]] * 8), paths(8), torch.tensor([[0.0, 4.0], [0.0, -4.0]]))
    numbers = {name: round(number.value, 6) for name, number in found.numbers.items()}
    assert numbers["drift_share"] == 1
    assert numbers["drift"] == 7
    assert numbers["variation"] == 1 / 8
    assert numbers["variation_exponent"] == -1
    assert numbers["local_drift"] == (2 * 7 + 2 * 6) / 8
    assert numbers["halving_defect"] == 0
    assert numbers["effective_depth"] == 8
    assert numbers["largest_share"] == 1 / 8
    assert numbers["displacement"] == 4
    assert found.numbers["hurst"].value == pytest.approx(1)
    assert found.curves["update_norm"] == pytest.approx([math.sqrt(2)] * 8)
    assert found.curves["stream_norm"][::8] == pytest.approx([math.sqrt(8), math.sqrt((16**2 + 4**2) / 2)])
    assert found.curves["update_ratio"][0] == pytest.approx(0.5)
    assert found.curves["alignment"] == pytest.approx([1] * 7)
    assert found.curves["removal"] == pytest.approx([2 / math.hypot(16, 4)] * 8)
    assert found.curves["tail"] == pytest.approx([2 * (8 - k) / math.hypot(16, 4) for k in range(8)])
    assert found.curves["gain"] == pytest.approx([1] * 8, abs=1e-4)
    assert found.curves["branch_gain"] == pytest.approx([0] * 8, abs=1e-4)


def test_one_number_of_one_input():
    found = pass_through(chain([[1.0]] * 6), paths(6), torch.ones(1, 1))
    assert found.numbers["drift_share"].value == 1
    assert found.numbers["path_length"].note == "one input: no interval"
    assert "hurst" not in found.numbers


def test_orthogonal_updates():
    found = pass_through(chain(torch.eye(8)), paths(8), inputs(8))
    numbers = {name: round(number.value, 6) for name, number in found.numbers.items()}
    assert numbers["drift_share"] == 0
    assert numbers["drift"] == 0
    assert numbers["variation"] == 1
    assert numbers["variation_exponent"] == 0
    assert numbers["halving_defect"] == 1
    assert found.numbers["hurst"].value == pytest.approx(0.5)
    assert found.curves["alignment"] == pytest.approx([0] * 7, abs=1e-6)


def test_one_block_that_matters():
    updates = torch.zeros(7, 2)
    updates[3] = 1.0
    found = pass_through(chain(updates), paths(7), inputs(2))
    assert found.numbers["effective_depth"].value == pytest.approx(1)
    assert found.numbers["largest_share"].value == pytest.approx(1)
    assert found.numbers["largest_share"].note.startswith("block 3;")
    assert found.numbers["hurst"].value < 1
    assert found.curves["removal"][3] > 0
    assert found.curves["removal"][2] == 0


def test_gains_of_linear_blocks():
    block = nn.Linear(64, 64, bias=False)
    with torch.no_grad():
        block.weight.copy_(
            torch.eye(64).roll(1, 0) * 3
        )  # a shift, three times as long: ‖Jv‖ = 3‖v‖, ‖Jv − v‖² ≈ 10‖v‖²
    found = pass_through(nn.Sequential(block, nn.Linear(64, 64)), paths(2), inputs(64))
    assert found.curves["gain"][0] == pytest.approx(3, rel=1e-3)
    assert found.curves["branch_gain"][0] == pytest.approx(math.sqrt(10), rel=0.05)


def test_a_token_of_huge_norm_does_not_decide_alone():
    x = inputs(16, samples=60).reshape(3, 20, 16)
    x[0, 0] *= 1e4
    same, free = (pass_through(stack("gradients", 8, width=16), paths(8), y) for y in (x, x[:, 1:]))
    assert same.numbers["drift_share"].value == pytest.approx(free.numbers["drift_share"].value, abs=0.03)


def test_masked_tokens_are_left_out():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = stack("diffusion", 6, width=8)

        def forward(self, x, attention_mask):
            return self.blocks(x)

    network, x = Masked(), inputs(8).reshape(4, 6, 8)
    mask = torch.ones(4, 6)
    mask[:, 3:] = 0
    names = [f"blocks.{k}" for k in range(6)]
    other = x.clone()
    other[:, 3:] = 7.0
    first, second = (pass_through(network, names, {"x": y, "attention_mask": mask}, removals=False) for y in (x, other))
    assert first.curves["stream_norm"] == second.curves["stream_norm"]
    whole = pass_through(network, names, {"x": other, "attention_mask": torch.ones(4, 6)}, removals=False)
    assert whole.curves["stream_norm"] != first.curves["stream_norm"]
    with pytest.raises(InputError, match="at least one position that is not masked, found none"):
        pass_through(network, names, {"x": x, "attention_mask": 0 * mask})


def test_large_states_are_sampled():
    network = stack("diffusion", 6, width=16)
    small, large = (pass_through(network, paths(6), inputs(16, samples=n), removals=False) for n in (4000, 5000))
    assert (small.inputs, large.inputs) == (4000, 5000)
    assert large.curves["stream_norm"] == pytest.approx(small.curves["stream_norm"], rel=0.02)


def test_images_have_one_path_each():
    torch.manual_seed(0)

    class Block(nn.Conv2d):
        def forward(self, x):
            return x + super().forward(x).relu()

    found = pass_through(
        nn.Sequential(*[Block(4, 4, 3, padding=1) for _ in range(6)]), paths(6), torch.randn(5, 4, 6, 6)
    )
    assert found.inputs == 5
    assert found.numbers["drift_share"].sample in (5, 6)
    assert len(found.curves["tail"]) == 6


def test_states_that_are_not_finite_end_the_curves():
    network = chain([[1.0], [1.0], [math.inf], [1.0]])
    found = pass_through(network, paths(4), torch.ones(2, 1))
    assert found.curves["stream_norm"][:3] == pytest.approx([1, 2, 3])
    assert all(map(math.isnan, found.curves["stream_norm"][3:]))
    assert "removal" not in found.curves
    assert len(found.curves["alignment"]) == 3
    broken = pass_through(network, paths(4), torch.full((2, 1), math.nan))
    assert all(map(math.isnan, broken.curves["stream_norm"]))
    assert not broken.numbers


def test_a_stream_that_moves_between_blocks():
    network = nn.Sequential(Adds([1.0, 0.0]), Adds([5.0, 0.0]), Adds([1.0, 0.0]), Adds([1.0, 0.0]))
    found = pass_through(network, ["0", "2", "3"], torch.ones(3, 2), removals=False)
    assert found.numbers["gap"].value == pytest.approx(5 / math.sqrt(3))
    assert "effective_depth" not in found.numbers


def test_states_of_two_shapes_are_refused():
    class Pool(nn.AvgPool1d):
        def forward(self, x):
            return super().forward(x)

    network = nn.Sequential(Adds([1.0] * 4), Pool(2), Adds([1.0] * 2))
    with pytest.raises(InputError, match=r"states of one shape, found \(3, 4\) at block 0 and \(3, 2\) at block 1"):
        pass_through(network, ["0", "2"], torch.ones(3, 4))


def clean(network):
    return not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 32}


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=50, **SIZES)), "encoder.layer"


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=6, n_head=2, **ends)), "transformer.h"


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(vocab_size=50, **SIZES)), "model.layers"


def vit():
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(image_size=16, patch_size=8, **SIZES)), "layers"


def encoder():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), "layers"


BATCHES = {bert: "tokens", gpt2: "tokens", llama: "tokens", vit: "image", encoder: "states"}


@pytest.mark.parametrize("make", BATCHES, ids=lambda make: make.__name__)
def test_networks_that_others_wrote(make):
    torch.manual_seed(0)
    network, name = make()
    batch = {
        "tokens": {"input_ids": torch.randint(0, 50, (4, 5))},
        "image": (torch.randn(4, 3, 16, 16),),
        "states": torch.randn(4, 5, 16),
    }[BATCHES[make]]
    network.train()
    state = torch.get_rng_state()
    found = pass_through(network, [f"{name}.{k}" for k in range(6)], batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert clean(network)
    assert all(part.training for part in network.modules())
    assert all(math.isfinite(number) for curve in found.curves.values() for number in curve)
    assert found.numbers["gap"].value == 0
    assert found.numbers["normalised"].value == (1 if make in (bert, encoder) else 0)
    # equal seeds give equal numbers
    assert pass_through(network, [f"{name}.{k}" for k in range(6)], batch) == found


def test_a_decoder_is_called_again_without_its_cache():
    torch.manual_seed(0)
    network, name = gpt2()
    ids = torch.randint(0, 50, (4, 5))
    with_cache, without = (
        pass_through(network, [f"{name}.{k}" for k in range(6)], {"input_ids": ids, "use_cache": use})
        for use in (True, False)
    )
    assert with_cache.curves["gain"] == pytest.approx(without.curves["gain"], rel=1e-4)
