"""A network at one moment of its training, as the measures see it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deeplimit.measures import Measure, Memory, Observation, View
from deeplimit.networks import ResidualStack, ensemble
from deeplimit.training import GradientFlow, SquaredError, Step
from tests.cases import normal


def drawn(network: ResidualStack, members: int = 2) -> dict[str, Tensor]:
    return ensemble([network.initialise(seed, dtype=torch.float64) for seed in range(members)])


def look(
    network: ResidualStack,
    params: Mapping[str, Tensor],
    *,
    pairs: tuple[Tensor, Tensor] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    iteration: int = 0,
) -> View:
    """The view that a run would hand over, with the gradients that it would have."""
    params = dict(params)
    x, y = pairs or data(network, params)
    info = Step(network, GradientFlow(1.0)).evaluate(params, (x, y))
    return View(
        network,
        params,
        info.grads,
        info.loss,
        iteration,
        x,
        y,
        dict(initial or params),
        "auto",
        batch_output=info.output,
        data=(x, y),
        criterion=SquaredError(),
        seeds=tuple(range(len(info.loss))),
    )


def data(network: ResidualStack, params: Mapping[str, Tensor], samples: int = 4) -> tuple[Tensor, Tensor]:
    """Normal inputs and targets, of the sizes that the ends of the network have."""
    role = network.layer_roles[0]
    members, state = params[role].shape[0], network.branch.state_shape
    inputs = state if network.embedding is None else (params["embedding"].shape[-1],)
    outputs = state if network.readout is None else (params["readout"].shape[-2],)
    generator = torch.Generator().manual_seed(11)
    return normal((members, samples, *inputs), generator), normal((members, samples, *outputs), generator)


def seen(measure: Measure, view: View, memory: Memory | None = None) -> dict[str, Tensor]:
    """What a measure observes, by quantity."""
    return by_quantity(measure.observe(view, {} if memory is None else memory))


def by_quantity(observations: object) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for o in observations:  # type: ignore[attr-defined]
        assert isinstance(o, Observation)
        assert o.quantity not in found
        assert o.values.dim() == (1 if o.index is None else 2)
        assert o.index is None or len(o.index) == o.values.shape[1]
        found[o.quantity] = o.values
    return found
