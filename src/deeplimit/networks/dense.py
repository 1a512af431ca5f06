"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.branches.activations import ACTIVATION, Activation, Identity, LeakyReLU, ReLU
from deeplimit.networks.drawn import DrawnNetwork

if TYPE_CHECKING:
    from torch import Tensor

PARAMETERISATIONS = ("standard", "ntk")


@dataclass(frozen=True)
class FullyConnected(DrawnNetwork):
    """The network h_k = σ(c_k W_k h_{k−1} + b_k), k = 1…L−1, with h_0 = x; F(x) = c_L W_L h_{L−1} + b_L.

    The entries of W_k have standard deviation g/√n_{k−1} and c_k is 1 (`standard`), or 1 and c_k = g/√n_{k−1} (`ntk`, Jacot et al. 2018):
    the same functions at the start, moved differently by a gradient. Biases stand without a factor in both.

    The roles of the parameters are `W1` … `WL`, W_k `[n_k, n_{k−1}]`, and `b1` … `bL`, b_k `[n_k]`.

    Args:
        inputs: n_0.
        widths: n_1 … n_{L−1}; empty for a linear model.
        outputs: n_L.
        activation: σ.
        gain: g.
        bias_std: standard deviation of the biases at the start.
        biases: whether there are b_k at all.
        parameterisation: `standard` or `ntk`.

    >>> network = FullyConnected(784, (64, 64, 64), 10, biases=False)
    >>> network.depth, network.homogeneity
    (4, 4)
    >>> network.initialise(seed=0)["W4"].shape
    torch.Size([10, 64])
    """

    inputs: int
    widths: tuple[int, ...]
    outputs: int
    activation: Activation = field(default_factory=ReLU)
    gain: float = math.sqrt(2)
    bias_std: float = 0.0
    biases: bool = True
    parameterisation: str = "standard"

    def __post_init__(self) -> None:
        """Refuse sizes and scales that are not positive."""
        sizes = {"inputs": checks.positive_int, "widths": checks.sizes(), "outputs": checks.positive_int}
        checks.fields(self, **sizes, gain=checks.positive, bias_std=checks.not_negative, activation=ACTIVATION)
        checks.one_of("parameterisation", self.parameterisation, PARAMETERISATIONS)

    @property
    def depth(self) -> int:  # type: ignore[override]  # a field elsewhere
        """The number L of weight layers."""
        return len(self.widths) + 1

    @property
    def homogeneity(self) -> int | None:
        """The k of F(a θ) = a^k F(θ) for all a > 0: L without biases and with a σ that is homogeneous itself; else None."""
        homogeneous = isinstance(self.activation, ReLU | LeakyReLU | Identity) and not self.biases
        return self.depth if homogeneous else None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role -> shape of one member."""
        sizes = (self.inputs, *self.widths, self.outputs)
        shapes: dict[str, tuple[int, ...]] = {}
        for k in range(1, self.depth + 1):
            shapes[f"W{k}"] = (sizes[k], sizes[k - 1])
            if self.biases:
                shapes[f"b{k}"] = (sizes[k],)
        return shapes

    def start(self, role: str) -> tuple[float, float]:
        """Mean 0; g/√fan-in or 1 for weights, `bias_std` for biases."""
        if role.startswith("b"):
            return 0.0, self.bias_std
        return 0.0, self._factor(self.shapes[role][1]) if self.parameterisation == "standard" else 1.0

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        """The output F(x) `[n, n_L]`, or `[E, n, n_L]` for an ensemble; differentiable."""
        checks.shape("input x", tuple(x.shape), (*x.shape[:-1], self.inputs))
        h = x
        for k in range(1, self.depth + 1):
            W = params[f"W{k}"]
            # The factor on the states: where the network is wide there are fewer of them than weights. Members share one batched product:
            # on one thread within 5 % of baddbmm (E = 1 … 16, widths 64 … 256), and 1.1 to 1.3 times as fast as a loop from E = 4 on.
            h = (h if self.parameterisation == "standard" else self._factor(W.shape[-1]) * h) @ W.mT
            if self.biases:
                h = h + params[f"b{k}"].unsqueeze(-2)
            if k < self.depth:
                h = self.activation(h)
        return h

    def floats(self, samples: int) -> tuple[int, int]:
        """The weights and biases; the inputs, both sides of every σ, and the outputs."""
        states = self.inputs + 2 * sum(self.widths) + self.outputs
        return self.size, samples * states

    def _factor(self, fan_in: int) -> float:
        return self.gain / math.sqrt(fan_in)
