"""Examples of a strategy, all of them tried rather than shrunk: hundreds from a seed, the same every time."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def distinct_of(strategy: SearchStrategy[T], number: int, count: int) -> list[T]:
    """`count` different examples of a strategy, from the seed `number`."""
    found: dict[str, T] = {}

    @seed(number)
    @settings(
        max_examples=count * 3,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    @given(strategy)
    def collect(example: T) -> None:
        if len(found) < count:
            found.setdefault(repr(example), example)

    collect()
    return list(found.values())
