from __future__ import annotations

import pytest
import torch

from deeplimit.checks import InputError
from deeplimit.processes import (
    IID,
    Constant,
    ContinuousPath,
    DepthScaled,
    Function,
    GaussianProcess,
    Normal,
    Process,
    Tied,
    Uniform,
)


def wave(s: torch.Tensor) -> torch.Tensor:
    return torch.stack([s.sin(), s.cos()], dim=-1)


ALL: dict[str, Process] = {
    "iid": IID(),
    "iid uniform": IID(Uniform(2.0)),
    "tied": Tied(Normal(0.5)),
    "constant": Constant(1.5),
    "gaussian process": GaussianProcess(0.4),
    "rough gaussian process": GaussianProcess(0.01, std=2.0),
    "function": Function(wave),
    "iid scaled with depth": DepthScaled(IID()),
}
CONTINUOUS = [name for name in ALL if not name.startswith("iid")]
RANDOM = [name for name in ALL if name not in ("constant", "function")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("depth", [1, 5])
def test_a_path_stacks_its_layers_over_depth(name, depth):
    assert ALL[name].sample((2,), generator())(depth).shape == (depth, 2)


@pytest.mark.parametrize("name", [name for name in ALL if name != "function"])
@pytest.mark.parametrize("shape", [(), (3, 2), (2, 1, 3, 3)])
def test_weights_of_any_shape(name, shape):
    assert ALL[name].sample(shape, generator())(4).shape == (4, *shape)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_deeper_network_refines_the_same_path(name):
    """Layer k of depth L stands at k/L: every second layer of depth 2L."""
    path = ALL[name].sample((2,), generator())
    torch.testing.assert_close(path(12)[1::2], path(6), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(path(9)[2::3], path(3), rtol=1e-12, atol=1e-12)
    at = torch.arange(1, 7, dtype=torch.float64) / 6
    assert torch.equal(path(6), path.at(at))


@pytest.mark.parametrize("name", ALL)
def test_reading_a_path_again_gives_the_same_weights_in_any_order_of_depths(name):
    one, other = (ALL[name].sample((2,), generator(3)) for _ in range(2))
    deep, shallow = one(8), one(3)
    assert torch.equal(other(3), shallow)
    assert torch.equal(other(8), deep)


@pytest.mark.parametrize("name", ALL)
def test_the_caller_may_change_what_it_got(name):
    path = ALL[name].sample((2,), generator())
    first = path(3).clone()
    path(3).fill_(7.0)
    assert torch.equal(path(3), first)


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_give_different_paths(name):
    paths = [ALL[name].sample((2,), generator(seed))(4) for seed in (0, 1)]
    assert not torch.equal(*paths)


@pytest.mark.parametrize("name", ALL)
def test_the_global_generator_is_left_alone(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    path = ALL[name].sample((2,), generator(3))
    first = path(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(ALL[name].sample((2,), generator(3))(4), first)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("depth", [0, -2, 2.0, True])
def test_a_depth_that_is_no_positive_integer_is_refused(name, depth):
    with pytest.raises(InputError, match="depth: expected an integer of at least 1, found"):
        ALL[name].sample((2,), generator())(depth)


def test_a_path_of_one_s_own_needs_only_its_function():
    class Line(ContinuousPath):
        def at(self, s: torch.Tensor) -> torch.Tensor:
            return s

    assert Line()(4).tolist() == [0.25, 0.5, 0.75, 1.0]
    assert Line()(4).dtype == torch.float64
