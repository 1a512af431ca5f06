"""The weights of a network that its function identifies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks.stack import ResidualStack


def effective(network: ResidualStack, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that statistics are taken of, role -> `[E, L, *shape]`.

    With a δ per layer and a positively homogeneous σ only |δ_k| A_k and |δ_k| b_k are identified, and stand for A and b (Cohen et al. 2021,
    released code); δ itself is then a sign.
    """
    from deeplimit.branches import ReLU

    weights = {role: params[role] for role in network.layer_roles}
    if "delta" in weights and isinstance(getattr(network.branch, "activation", None), ReLU):
        size = weights.pop("delta").abs()
        weights = {role: w * size.reshape(*size.shape, *[1] * (w.dim() - 2)) for role, w in weights.items()}
    return weights
