"""Deep residual networks as specifications: `ResidualStack`, its ends and its initialisation."""

from __future__ import annotations

from deeplimit.networks.effective import effective
from deeplimit.networks.initialisation import ByRole, Initialisation, OwnInitialisation
from deeplimit.networks.maps import Dense, LastCoordinates, LinearMap, Padding
from deeplimit.networks.stack import Parameters, ResidualStack, ensemble, member

__all__ = [
    "ByRole",
    "Dense",
    "Initialisation",
    "LastCoordinates",
    "LinearMap",
    "OwnInitialisation",
    "Padding",
    "Parameters",
    "ResidualStack",
    "effective",
    "ensemble",
    "member",
]
