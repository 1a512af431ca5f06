from __future__ import annotations

import torch

from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.networks.drawn import DrawnNetwork


class Three(DrawnNetwork):
    """A normal role, a constant one, and another normal one."""

    depth = 1
    shapes = {"a": (300, 200), "b": (4,), "c": (3,)}  # noqa: RUF012  # what a property returns elsewhere

    def start(self, role):
        return {"a": (2.0, 0.5), "b": (1.5, 0.0), "c": (0.0, 1.0)}[role]

    def __call__(self, params, x, *, engine="auto"):
        return x

    def floats(self, samples):
        return self.size, 0


def test_entries_have_the_mean_and_the_deviation_of_their_role():
    params = Three().initialise(0)
    assert abs(float(params["a"].mean()) - 2.0) < 0.01
    assert abs(float(params["a"].std()) - 0.5) < 0.005
    assert params["b"].tolist() == [1.5] * 4


class Uniform(Three):
    """The same moments, with uniform entries in one role."""

    def law(self, role):
        return "uniform" if role == "a" else "normal"


def test_uniform_entries_have_the_same_moments_and_end_at_root_three_deviations():
    params, others = Uniform().initialise(0), Three().initialise(0)
    centred = (params["a"].double() - 2.0) / 0.5
    assert abs(float(centred.mean())) < 0.02
    assert abs(float(centred.std()) - 1.0) < 0.01
    assert 0.999 * 3**0.5 < float(centred.abs().max()) <= 3**0.5 + 1e-6
    assert abs(float(centred.pow(4).mean()) - 9 / 5) < 0.02  # 3 for normal entries
    assert float((others["a"] - 2.0).abs().max()) > 0.5 * 3**0.5
    assert all(torch.equal(params[role], others[role]) for role in ("b", "c"))


def test_the_shapes_say_what_is_trained_and_how_much():
    assert Three().trainable == tuple(Three().initialise(0)) == ("a", "b", "c")
    assert Three().size == 60000 + 4 + 3


def test_the_draw_is_the_stream_s():
    for draw in (NamedDraw(), SequentialDraw()):
        first, again, other = (Three().initialise(seed, draw=draw) for seed in (1, 1, 2))
        assert all(torch.equal(first[role], again[role]) for role in first)
        assert not torch.equal(first["c"], other["c"])
    generator = torch.Generator().manual_seed(1)
    torch.randn(300, 200, generator=generator)  # the constant role takes no number
    assert torch.equal(Three().initialise(1, draw=SequentialDraw())["c"], torch.randn(3, generator=generator))


def test_the_precision_does_not_move_the_numbers():
    single, double = Three().initialise(0), Three().initialise(0, dtype=torch.float64)
    assert (single["c"].dtype, double["c"].dtype) == (torch.float32, torch.float64)
    assert torch.equal(single["c"].double(), double["c"])


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Three().initialise(0)
    assert torch.equal(torch.get_rng_state(), before)
