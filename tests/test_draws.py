from __future__ import annotations

import pytest
import torch

from deeplimit.draws import Draw, NamedDraw, SequentialDraw

both = pytest.mark.parametrize("draw", [NamedDraw(), SequentialDraw()], ids=["named", "sequential"])


def numbers(stream, name):
    return torch.randn(4, generator=stream.generator(name))


def test_a_named_stream_gives_each_name_numbers_of_its_own_in_any_order():
    one, other = NamedDraw().stream(3), NamedDraw().stream(3)
    forward = {name: numbers(one, name) for name in ("V", "W", "x")}
    backward = {name: numbers(other, name) for name in ("x", "W", "V")}
    assert all(torch.equal(forward[name], backward[name]) for name in forward)
    assert not torch.equal(forward["V"], forward["W"])
    assert torch.equal(numbers(one, "V"), forward["V"])


def test_named_streams_are_the_same_on_every_machine():
    """The seed of `W` under seed 3 is the first eight bytes of SHA-256("3/W"), big end first."""
    assert NamedDraw().stream(3).generator("W").initial_seed() % 2**64 == 0x0B6A081DDAB91511


def test_a_sequential_stream_goes_on_where_it_was_whatever_the_name():
    stream, known = SequentialDraw().stream(2), torch.Generator().manual_seed(2)
    for name in ("W", "x", "W"):
        assert torch.equal(numbers(stream, name), torch.randn(4, generator=known))


def test_a_sequential_stream_repeats_the_global_generator_after_its_seed_is_set():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        expected = torch.randn(16, 32), torch.rand(3), torch.randn(2)
    generator = SequentialDraw().stream(2).generator("anything")
    assert torch.equal(torch.randn(16, 32, generator=generator), expected[0])
    assert torch.equal(torch.rand(3, generator=generator), expected[1])
    assert torch.equal(torch.randn(2, generator=generator), expected[2])


@both
def test_every_stream_starts_afresh_and_every_seed_is_another(draw):
    assert torch.equal(numbers(draw.stream(5), "W"), numbers(draw.stream(5), "W"))
    assert not torch.equal(numbers(draw.stream(5), "W"), numbers(draw.stream(6), "W"))


@both
def test_the_global_generator_is_neither_read_nor_moved(draw):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = numbers(draw.stream(5), "W")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(numbers(draw.stream(5), "W"), first)


def test_draws_are_values():
    draws: list[Draw] = [NamedDraw(), NamedDraw(), SequentialDraw(), SequentialDraw()]
    assert [draw == draws[0] for draw in draws] == [True, True, False, False]
