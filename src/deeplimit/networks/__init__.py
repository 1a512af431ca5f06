"""Deep residual networks as specifications: `ResidualStack`, its ends and its initialisation."""

from __future__ import annotations

from deeplimit.networks.dense import FullyConnected
from deeplimit.networks.effective import effective
from deeplimit.networks.initialisation import ByRole, Initialisation, OwnInitialisation
from deeplimit.networks.maps import Dense, LastCoordinates, LinearMap, Padding
from deeplimit.networks.network import Network, Parameters
from deeplimit.networks.stack import ResidualStack, as_stack, ensemble, member

__all__ = [
    "ByRole",
    "Dense",
    "FullyConnected",
    "Initialisation",
    "LastCoordinates",
    "LinearMap",
    "Network",
    "OwnInitialisation",
    "Padding",
    "Parameters",
    "ResidualStack",
    "as_stack",
    "effective",
    "ensemble",
    "member",
]
