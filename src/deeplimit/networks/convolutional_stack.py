"""The deep residual network of convolutions that Marion et al. train on CIFAR-10."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplimit import checks
from deeplimit.branches.activations import ACTIVATION, GELU, Activation
from deeplimit.networks.drawn import Law
from deeplimit.networks.images import ImageNetwork, by_member, layer, normalisation
from deeplimit.scaling import DepthScaling

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplimit.draws import Draw, Stream
    from deeplimit.networks.network import Parameters

KERNEL, STEM_KERNEL, STEM_STRIDE, POOL = 3, 5, 3, 4
MOMENTUM, EPSILON = 0.1, 1e-5
"""Of the running averages, and added to variances: PyTorch's."""

RUNNING = ("mean", "variance")
WAYS = ("bf16", "grouped", "apart")
"""What may follow the name of an engine."""

NO_NORM_GAIN = 1e-4
"""Of the first convolutions of a network without normalisation at the start (released code)."""


@dataclass(frozen=True)
class ConvolutionalStack(ImageNetwork):
    """h_0 = ReLU(norm(stem ∗ x)); h_{k+1} = h_k + L^(−β) norm2_k(conv2_k ∗ σ(norm1_k(conv1_k ∗ h_k))), k = 0…L−1; F(x) = dense(pool(h_L)).

    Reference: Marion et al. 2024, section 5.2 and appendix E, in the form of the released code: the stem has 5 × 5 kernels, stride 3, one
    line of zeros and no bias, so images of 32 × 32 become maps of 10 × 10 (the text has stride 2, which does not give the 64 features of
    the head); its ReLU does not depend on σ; all other kernels are 3 × 3 with biases and stride 1; at the end windows of 4 × 4 are
    averaged.

    The roles of the layers are stacked over depth: `conv1.W` `[L, C, C, 3, 3]`, `conv1.b` `[L, C]`, `norm1.scale`, `norm1.shift`, and the
    same with 2. They start as PyTorch's modules do, uniform on ± 1/√fan-in (the text has normal entries), but for norm2, whose scales and
    shifts start at 0: the network starts at h_L = h_0. Without normalisation conv2 starts at 0, and conv1 as Xavier's uniform distribution
    times 1e-4.

    In training batch normalisation takes the statistics of the batch, in evaluation running averages of momentum 0.1, which are the roles
    `norm1.mean`, `norm1.variance`, …: they are no parameters, and change with every batch (`in_training`).

    The members of an ensemble are evaluated one after the other on the CPU; on a GPU side by side, as one network whose channels fall
    into a group for each member, which launches the kernels of one network. The name of the engine may say otherwise: `auto:grouped`,
    `auto:apart`. With `auto:bf16` the layers compute in bfloat16, as `convolution_stack` does; `reference:bf16:apart` says both.

    Args:
        depth: L, at least 1.
        channels: C.
        activation: σ.
        tied: the same numbers in all layers at the start; else independent ones. Training moves every layer on its own in both cases.
        norm: batch normalisation.
        scaling: L ↦ L^(−β).
        classes: number of outputs.
        image: channels, height and width; at least 12 × 12 pixels.

    >>> network = ConvolutionalStack(256)
    >>> network.map_size, network.size
    ((10, 10), 1206106)
    """

    depth: int
    channels: int = 16
    activation: Activation = field(default_factory=GELU)
    tied: bool = True
    norm: bool = True
    scaling: DepthScaling = field(default_factory=DepthScaling)
    classes: int = 10
    image: tuple[int, int, int] = (3, 32, 32)

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive, and images whose maps are smaller than the window of the pooling."""
        for name in ("depth", "channels", "classes"):
            checks.positive_int(name, getattr(self, name))
        checks.fields(self, image=checks.sizes(3), activation=ACTIVATION)
        if min(self.map_size) < POOL:
            raise checks.InputError(f"image: expected at least 12 x 12 pixels, found {self.image[1]} x {self.image[2]}")

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the maps."""
        height, width = ((size + 2 - STEM_KERNEL) // STEM_STRIDE + 1 for size in self.image[1:])
        return height, width

    @property
    def layer_roles(self) -> tuple[str, ...]:
        """The roles of the layers that training moves, `[L, …]`."""
        return tuple(role for role in self._layer if not _is_running(role))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """All roles, those of the running averages among them."""
        stem = {"stem.W": (self.channels, self.image[0], STEM_KERNEL, STEM_KERNEL), **_norm("stem.norm", self.channels)}
        height, width = (size // POOL for size in self.map_size)
        layers = {role: (self.depth, *shape) for role, shape in self._layer.items()}
        return stem | layers | layer("dense", self.classes, inputs=self.channels * height * width)

    @property
    def _layer(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one layer."""
        found: dict[str, tuple[int, ...]] = {}
        for i in "12":
            found |= layer(f"conv{i}", self.channels, inputs=self.channels, kernel=KERNEL)
            found |= _norm(f"norm{i}", self.channels) if self.norm else {}
        return found

    @property
    def trainable(self) -> tuple[str, ...]:
        """All roles but the running averages."""
        return tuple(role for role in self.shapes if not _is_running(role))

    def start(self, role: str) -> tuple[float, float]:
        """Mean and standard deviation by the kind of role."""
        name, kind = role.rsplit(".", 1)
        if kind in ("W", "b"):
            return 0.0, self._spread(name, kind)
        return float(kind == "variance" or (kind == "scale" and name != "norm2")), 0.0

    def _spread(self, name: str, kind: str) -> float:
        """Deviation of the weights and biases of a layer at the start."""
        outputs, *inputs = (self.shapes | self._layer)[f"{name}.W"]
        fan = math.prod(inputs)
        if not self.norm and name == "conv2":
            return 0.0
        if not self.norm and (name, kind) == ("conv1", "W"):
            return NO_NORM_GAIN * math.sqrt(2 / (fan + outputs * KERNEL**2))
        return 1 / math.sqrt(3 * fan)

    def law(self, role: str) -> Law:
        """Uniform throughout."""
        return "uniform"

    def initialise(
        self, seed: int | Stream = 0, *, draw: Draw | None = None, dtype: torch.dtype | None = None
    ) -> Parameters:
        """Independent entries; where layers are tied, one layer is drawn and repeated."""
        if not self.tied:
            return super().initialise(seed, draw=draw, dtype=dtype)
        single = dataclasses.replace(self, depth=1, tied=False).initialise(seed, draw=draw, dtype=dtype)
        # Copies: training moves each layer on its own.
        return {role: p.expand(self.shapes[role]).clone() for role, p in single.items()}

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto") -> Tensor:
        """The output `[n, classes]`, or `[E, n, classes]`, with the running averages."""
        return self._evaluated(params, x, engine=engine, training=False)[0]

    def in_training(
        self, params: Mapping[str, Tensor], x: Tensor, *, engine: str = "auto"
    ) -> tuple[Tensor, Parameters]:
        """The output with the statistics of the batch, and the running averages after it."""
        return self._evaluated(params, x, engine=engine, training=True)

    def forward(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The output of one member with the running averages."""
        return self._alone(params, x, engine="auto", training=False)[0]

    @property
    def launch_bound(self) -> bool:
        """A layer is dozens of small kernels."""
        return True

    def engine_title(self, engine: str, *, like: Tensor) -> str:
        """The engine of the layers."""
        from deeplimit.engines.convolutions import takes_native

        name, ways = _ways(engine)
        other = {"bf16", "grouped"} & set(ways)
        native = not other and takes_native(name, self.activation, tensors=[like])
        return ":".join(["native" if native else "reference", *ways])

    def _evaluated(
        self, params: Mapping[str, Tensor], x: Tensor, *, engine: str, training: bool
    ) -> tuple[Tensor, Parameters]:
        """The members side by side or one after the other."""
        name, ways = _ways(engine)
        stack = f"{'reference' if name == 'auto' else name}:bf16" if "bf16" in ways else name
        if params["dense.b"].dim() == 2 and _grouped(ways, x.device.type):
            checks.shape("input x", tuple(x.shape), (*x.shape[:-3], *self.image))
            return self._side_by_side(params, x, engine=stack, training=training)
        return by_member(
            self, lambda m, images: self._alone(m, images, engine=stack, training=training), params=params, x=x
        )

    def _alone(
        self, params: Mapping[str, Tensor], x: Tensor, *, engine: str, training: bool
    ) -> tuple[Tensor, Parameters]:
        """One member, without the leading axis."""
        ensemble = {role: p.unsqueeze(0) for role, p in params.items()}
        output, running = self._side_by_side(ensemble, x, engine=engine, training=training)
        return output.squeeze(0), {role: value.squeeze(0) for role, value in running.items()}

    def _side_by_side(
        self, params: Mapping[str, Tensor], x: Tensor, *, engine: str, training: bool
    ) -> tuple[Tensor, Parameters]:
        """Output `[E, n, classes]` and running averages of E members, whose channels stand side by side in one network of E·C channels.

        The images are `[n, …]`, which all members share, or `[E, n, …]`.
        """
        from torch.nn.functional import avg_pool2d, conv2d

        from deeplimit.engines.convolutions import convolution_stack

        members, channels = len(params["dense.b"]), (len(params["dense.b"]), self.channels)
        layered = self._layer
        wide = {r: _wide(p, layered=r in layered) for r, p in params.items() if not r.startswith("dense")}
        own = x[None] if x.dim() == 4 else x
        # The channels of all members last in memory.
        maps = own.permute(1, 3, 4, 0, 2).flatten(3).contiguous().permute(0, 3, 1, 2)
        inner = conv2d(maps, wide["stem.W"], stride=STEM_STRIDE, padding=1, groups=len(own))
        h, running = _normalised(inner, wide, training=training)
        layers = {role: wide[role] for role in self.layer_roles}
        moments = _moments(wide) if self.norm and not training else None
        h, found = convolution_stack(
            h.relu_(),
            layers,
            activation=self.activation,
            scale=self.scaling(self.depth),
            engine=engine,
            moments=moments,
        )
        averages = {role: value.view(channels) for role, value in running.items()}
        if found is not None:
            batch = found.view(*found.shape[:-1], *channels).movedim(-2, 0)  # [E, L, 2, 2, C]
            after = {f"norm{i + 1}.{kind}": batch[:, :, i, j] for i in range(2) for j, kind in enumerate(RUNNING)}
            averages |= {role: params[role].lerp(value, MOMENTUM) for role, value in after.items()}
        features = avg_pool2d(h, POOL).reshape(len(h), members, -1).transpose(0, 1)
        return features @ params["dense.W"].mT + params["dense.b"].unsqueeze(1), averages

    def floats(self, samples: int) -> tuple[int, int]:
        """All parameters; the images, and per layer the state and the maps before each normalisation."""
        maps = self.channels * math.prod(self.map_size)
        return self.size, samples * (math.prod(self.image) + (3 * self.depth + 4) * maps)

    def probed(self) -> tuple[ConvolutionalStack, float]:
        """The network cut to 8 layers: what a layer costs does not depend on how many there are."""
        shallow = min(self.depth, 8)
        return dataclasses.replace(self, depth=shallow), self.depth / shallow


def _ways(engine: str) -> tuple[str, list[str]]:
    """The name of an engine, and what follows it.

    Raises:
        InputError: something follows that is unknown here.
    """
    name, *ways = engine.split(":")
    return name, [checks.one_of(f"engine {engine!r}", way, WAYS) for way in ways]


def _grouped(ways: list[str], device: str) -> bool:
    """Whether members are evaluated side by side on such a device."""
    return "grouped" in ways or (device == "cuda" and "apart" not in ways)


def _wide(p: Tensor, *, layered: bool) -> Tensor:
    """A role of E members `[E, C, …]` as that of one network `[E·C, …]`; with layers `[E, L, C, …]` to `[L, E·C, …]`."""
    return p.transpose(0, 1).flatten(1, 2) if layered else p.flatten(0, 1)


def _moments(params: Mapping[str, Tensor]) -> Tensor:
    """The running averages of the layers, `[L, 2, 2, C]`."""
    import torch

    return torch.stack([torch.stack([params[f"norm{i}.{kind}"] for kind in RUNNING], 1) for i in "12"], 1)


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return normalisation(name, channels) | {f"{name}.{kind}": (channels,) for kind in RUNNING}


def _is_running(role: str) -> bool:
    return role.rsplit(".", 1)[1] in RUNNING


def _normalised(x: Tensor, params: Mapping[str, Tensor], *, training: bool) -> tuple[Tensor, Parameters]:
    """The normalisation of the stem, and in training its running averages after this batch."""
    from torch.nn.functional import batch_norm

    roles = [f"stem.norm.{kind}" for kind in RUNNING]
    # PyTorch moves the averages that it is given in place.
    kept = [params[role].clone() if training else params[role] for role in roles]
    scale, shift = params["stem.norm.scale"], params["stem.norm.shift"]
    mean, variance = kept
    found = batch_norm(x, mean, variance, scale, shift, training=training, momentum=MOMENTUM, eps=EPSILON)
    return found, dict(zip(roles, kept, strict=True)) if training else {}
