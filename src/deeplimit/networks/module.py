"""A stack as an `nn.Module`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from deeplimit.networks.network import Parameters
    from deeplimit.networks.stack import ResidualStack


class StackModule(nn.Module):
    """A `ResidualStack` with its numbers: parameters stacked over depth, frozen maps as buffers."""

    def __init__(self, network: ResidualStack, params: Parameters, *, engine: str = "auto") -> None:
        super().__init__()
        self.network, self.engine = network, engine
        self._roles = {role: role.replace(".", "_") for role in params}
        for role, name in self._roles.items():
            if role in network.trainable:
                self.register_parameter(name, nn.Parameter(params[role].clone()))
            else:
                self.register_buffer(name, params[role].clone())

    def parameters_by_role(self) -> dict[str, Tensor]:
        """The current parameters, as the functions of this package take them."""
        return {role: getattr(self, name) for role, name in self._roles.items()}

    def forward(self, x: Tensor) -> Tensor:
        """The output F(x) `[n, d′]`."""
        return self.network(self.parameters_by_role(), x, engine=self.engine)
