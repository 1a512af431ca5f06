from __future__ import annotations

import torch

from deeplimit.branches import Perceptron
from deeplimit.measures import Smoothness
from deeplimit.networks import ResidualStack
from deeplimit.processes import IID
from deeplimit.statistics import smoothness
from tests.measures.views import drawn, look, seen

NETWORK = ResidualStack(Perceptron(2, 3), 6, init=IID())


def test_every_statistic_of_every_layered_role_is_seen():
    view = look(NETWORK, drawn(NETWORK))
    found = seen(Smoothness(), view)
    assert len(found) == 8
    for role in "VW":
        for name, values in smoothness(view.params[role]).items():
            assert torch.equal(found[f"smooth.{name}.{role}"], values)


def test_roles_can_be_chosen():
    found = seen(Smoothness(roles=("W",)), look(NETWORK, drawn(NETWORK)))
    assert {name.rsplit(".", 1)[1] for name in found} == {"W"}
