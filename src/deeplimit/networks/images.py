"""Networks of images: what they share, member by member."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.networks.drawn import DrawnNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from deeplimit.networks.network import Parameters

PADDINGS = ("same", "symmetric")


class ImageNetwork(DrawnNetwork):
    """A network of images `[n, channels, height, width]`, or `[E, n, …]` for an ensemble, that evaluates one member at a time.

    The roles of a layer named `name` are `name.W`, `name.b` of a convolution or a dense layer, with W ~ N(0, g²/fan-in) and b = 0 at the
    start, and `name.scale`, `name.shift` of a batch normalisation, 1 and 0 at the start.

    Members are a loop: `torch.func.vmap`, which groups the convolutions, takes 1.2 times as long (three small wide residual networks, batch
    128, 32 × 32, forward and backward pass on one thread). With channels last in memory it takes 0.7 times as long as without.
    """

    image: tuple[int, int, int]
    gain: float

    @abstractmethod
    def forward(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The output `[n, classes]` of one member for images with channels last in memory."""

    def start(self, role: str) -> tuple[float, float]:
        """Mean and standard deviation by the kind of role."""
        if not role.endswith(".W"):
            return float(role.endswith(".scale")), 0.0
        return 0.0, self.gain / math.sqrt(math.prod(self.shapes[role][1:]))

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        """The output `[n, classes]`, or `[E, n, classes]`; batch normalisation takes its statistics from these n images, of each member."""
        return by_member(self, lambda m, images: (self.forward(m, images), {}), params=params, x=x)[0]


def by_member(
    network: ImageNetwork,
    function: Callable[[Parameters, Tensor], tuple[Tensor, Parameters]],
    *,
    params: Mapping[str, Tensor],
    x: Tensor,
) -> tuple[Tensor, Parameters]:
    """A function of the parameters and the images of one member, for all members: outputs and roles, stacked where there is an ensemble.

    Raises:
        InputError: the images are of another shape than those of the network.
    """
    import torch

    role, shape = next(iter(network.shapes.items()))
    checks.shape("input x", tuple(x.shape), (*x.shape[:-3], *network.image))
    if params[role].dim() == len(shape):
        return function(dict(params), channels_last(x))
    # The gradient of unbind is one stack; that of indexing is a sum of E tensors that are zero outside one member.
    members = [dict(zip(params, tensors, strict=True)) for tensors in zip(*params.values(), strict=True)]
    own = list(x) if x.dim() == 5 else [x] * len(members)
    found = [function(m, channels_last(images)) for m, images in zip(members, own, strict=True)]
    outputs, roles = zip(*found, strict=True)
    return torch.stack(outputs), {role: torch.stack([own[role] for own in roles]) for role in roles[0]}


def channels_last(x: Tensor) -> Tensor:
    """The same numbers, with the channels of a pixel side by side in memory."""
    import torch

    return x.contiguous(memory_format=torch.channels_last)


def convolved(x: Tensor, params: Mapping[str, Tensor], *, name: str, stride: int = 1, padding: str = "same") -> Tensor:
    """The layer `name`: W ∗ x + b with an odd kernel, maps of ⌈size/stride⌉.

    Args:
        x: maps `[n, channels, height, width]`.
        params: `name.W` `[out, channels, kernel, kernel]` and, where it is there, `name.b` `[out]`.
        stride: in both directions.
        padding: `same` as JAX and TensorFlow do it, where at stride 2 maps of even size get no zeros before and one line after; `symmetric`
            as PyTorch does it, where they get one line before that counts and one after that does not.
    """
    from torch.nn.functional import conv2d, pad

    weight, bias = channels_last(params[f"{name}.W"]), params.get(f"{name}.b")
    kernel = weight.shape[-1]
    if padding == "symmetric":
        return conv2d(x, weight, bias, stride=stride, padding=kernel // 2)
    rows, columns = (same(size, kernel, stride=stride) for size in x.shape[-2:])
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return conv2d(x, weight, bias, stride=stride, padding=(rows[0], columns[0]))
    return conv2d(pad(x, (*columns, *rows)), weight, bias, stride=stride)


def pooled(x: Tensor, window: int, *, stride: int) -> Tensor:
    """The largest number of each window; maps of ⌈size/stride⌉, with windows placed as those of `same` convolutions."""
    from torch.nn.functional import max_pool2d, pad

    rows, columns = (same(size, window, stride=stride) for size in x.shape[-2:])
    outside = pad(x, (*columns, *rows), value=-math.inf) if any((*rows, *columns)) else x
    return max_pool2d(outside, window, stride)


def same(size: int, kernel: int, *, stride: int) -> tuple[int, int]:
    """Lines before and after, such that windows fit ⌈size/stride⌉ times; the odd one comes after.

    >>> same(32, 3, stride=1), same(32, 3, stride=2), same(33, 3, stride=2)
    ((1, 1), (0, 1), (1, 1))
    """
    lines = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return lines // 2, lines - lines // 2


def normalised(x: Tensor, params: Mapping[str, Tensor], *, name: str) -> Tensor:
    """The batch normalisation `name`: (x − mean) / √(variance + 1e-5) · scale + shift, by channel.

    Mean and variance (divided by the count) are those of this batch, in training and evaluation alike; nothing is kept. What a network
    says of one image therefore depends on the images beside it.
    """
    from torch.nn.functional import batch_norm

    scale, shift = params[f"{name}.scale"], params[f"{name}.shift"]
    return batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)


def layer(name: str, outputs: int, *, inputs: int, kernel: int | None = None) -> dict[str, tuple[int, ...]]:
    """Shapes of the roles of a convolution; of a dense layer without `kernel`."""
    window = () if kernel is None else (kernel, kernel)
    return {f"{name}.W": (outputs, inputs, *window), f"{name}.b": (outputs,)}


def normalisation(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the roles of a batch normalisation."""
    return {f"{name}.scale": (channels,), f"{name}.shift": (channels,)}
