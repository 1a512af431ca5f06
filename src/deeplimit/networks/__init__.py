"""Networks as specifications: `ResidualStack`, its ends and its initialisation, and the networks that are no stacks."""

from __future__ import annotations

from deeplimit.networks.convolutional import Convolutional
from deeplimit.networks.convolutional_stack import ConvolutionalStack
from deeplimit.networks.dense import FullyConnected
from deeplimit.networks.effective import effective
from deeplimit.networks.initialisation import ByRole, Initialisation, OwnInitialisation
from deeplimit.networks.maps import Dense, LastCoordinates, LinearMap, Padding
from deeplimit.networks.network import Network, Parameters
from deeplimit.networks.stack import ResidualStack, as_stack, ensemble, member
from deeplimit.networks.staged import Kernels, StagedResidual
from deeplimit.networks.wide_residual import WideResidual

__all__ = [
    "ByRole",
    "Convolutional",
    "ConvolutionalStack",
    "Dense",
    "FullyConnected",
    "Initialisation",
    "Kernels",
    "LastCoordinates",
    "LinearMap",
    "Network",
    "OwnInitialisation",
    "Padding",
    "Parameters",
    "ResidualStack",
    "StagedResidual",
    "WideResidual",
    "as_stack",
    "effective",
    "ensemble",
    "member",
]
