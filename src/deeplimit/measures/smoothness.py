"""Smoothness of the weights over depth while a network trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from deeplimit.measures.measure import Last, Measure, Memory, Observation, Schedule, View
from deeplimit.statistics import smoothness


@dataclass(frozen=True)
class Smoothness(Measure):
    """Quantities `smooth.NAME.ROLE`: every statistic of `statistics.smoothness` of some layered roles.

    Args:
        at: the iterations.
        roles: of the network's `layer_roles`; all unless given.
    """

    at: Schedule = field(default_factory=Last)
    roles: tuple[str, ...] | None = None

    def observe(self, view: View, memory: Memory) -> Iterator[Observation]:
        """The statistics, role by role."""
        for role in self.roles or view.network.layer_roles:
            for name, values in smoothness(view.params[role]).items():
                yield Observation(f"smooth.{name}.{role}", values)
