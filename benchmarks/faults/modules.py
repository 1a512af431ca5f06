"""Small residual networks in plain PyTorch, named as the networks that people save."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Perceptron(nn.Module):
    """h ↦ h + s · outer(tanh(inner(h)))."""

    def __init__(self, width: int, hidden: int, *, scale: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
        self.scale = scale

    def forward(self, h: Tensor) -> Tensor:
        return h + self.scale * self.outer(torch.tanh(self.inner(h)))


class Perceptrons(nn.Module):
    """Residual perceptrons between two linear maps."""

    def __init__(self, depth: int, sizes: tuple[int, int], *, scale: float) -> None:
        super().__init__()
        width, hidden = sizes
        self.embed, self.head = nn.Linear(width, width), nn.Linear(width, width)
        self.blocks = nn.ModuleList(Perceptron(width, hidden, scale=scale) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


class NormedPerceptron(nn.Module):
    """h ↦ h + s · down(gelu(up(norm(h))))."""

    def __init__(self, width: int, hidden: int, *, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.scale = scale

    def forward(self, h: Tensor) -> Tensor:
        return h + self.scale * self.down(F.gelu(self.up(self.norm(h))))


class NormedPerceptrons(nn.Module):
    """Pre-norm perceptrons on the pixels of small images."""

    def __init__(self, depth: int, width: int, hidden: int) -> None:
        super().__init__()
        self.stem = nn.Linear(196, width)
        self.layers = nn.ModuleList(NormedPerceptron(width, hidden, scale=depth**-0.5) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(F.avg_pool2d(x, 2).flatten(1))
        for layer in self.layers:
            h = layer(h)
        return self.head(self.norm(h))


def attend(qkv: tuple[Tensor, Tensor, Tensor], heads: int, *, causal: bool) -> Tensor:
    """Softmax attention of `[batch, tokens, width]`."""
    q, k, v = (z.unflatten(-1, (heads, -1)).transpose(1, 2) for z in qkv)
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


class FusedAttention(nn.Module):
    """Queries, keys and values from one matrix, as in GPT-2 and in timm; only the names differ."""

    def __init__(self, width: int, heads: int, *, names: tuple[str, str], causal: bool) -> None:
        super().__init__()
        self.heads, self.causal, self.names = heads, causal, names
        self.add_module(names[0], nn.Linear(width, 3 * width))
        self.add_module(names[1], nn.Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.get_submodule(self.names[0])(h).chunk(3, -1)
        return self.get_submodule(self.names[1])(attend((q, k, v), self.heads, causal=self.causal))


class TwoLayers(nn.Module):
    """The perceptron of a transformer."""

    def __init__(self, width: int, names: tuple[str, str]) -> None:
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Linear(width, 4 * width))
        self.add_module(names[1], nn.Linear(4 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        return self.get_submodule(self.names[1])(F.gelu(self.get_submodule(self.names[0])(h)))


class DecoderBlock(nn.Module):
    """A block of GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = FusedAttention(width, heads, names=("c_attn", "c_proj"), causal=True)
        self.mlp = TwoLayers(width, ("c_fc", "c_proj"))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.attn(self.ln_1(h))
        return h + self.mlp(self.ln_2(h))


class Decoder(nn.Module):
    """A small GPT-2 over bytes, with its initialisation: 0.02, and 0.02/√(2L) where a branch ends."""

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(256, width), nn.Embedding(64, width)
        self.h = nn.ModuleList(DecoderBlock(width, heads) for _ in range(depth))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, 256, bias=False)
        for name, value in self.named_parameters():
            if value.ndim == 2:
                nn.init.normal_(value, std=0.02 / ((2 * depth) ** 0.5 if "c_proj" in name else 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.wte(x) + self.wpe.weight[: x.shape[1]]
        for block in self.h:
            h = block(h)
        return self.lm_head(self.ln_f(h)).flatten(0, 1)


class SelfAttention(nn.Module):
    """Queries, keys and values from matrices of their own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, h: Tensor) -> Tensor:
        return self.output(attend((self.query(h), self.key(h), self.value(h)), self.heads, causal=False))


class EncoderBlock(nn.Module):
    """A pre-norm block of an encoder."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = SelfAttention(width, heads), TwoLayers(width, ("intermediate", "output"))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.attention(self.attention_norm(h))
        return h + self.mlp(self.mlp_norm(h))


class Encoder(nn.Module):
    """Reads 16 digits and says them in order of size; PyTorch's own initialisation."""

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.embeddings, self.positions = nn.Embedding(10, width), nn.Embedding(16, width)
        self.layer = nn.ModuleList(EncoderBlock(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embeddings(x) + self.positions.weight
        for block in self.layer:
            h = block(h)
        return self.head(self.norm(h)).flatten(0, 1)


class VisionBlock(nn.Module):
    """A block of timm's vision transformer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = FusedAttention(width, heads, names=("qkv", "proj"), causal=False)
        self.mlp = TwoLayers(width, ("fc1", "fc2"))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.attn(self.norm1(h))
        return h + self.mlp(self.norm2(h))


class VisionTransformer(nn.Module):
    """16 patches of 7 × 7 pixels, and the mean over them."""

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(1, width, 7, stride=7)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks = nn.ModuleList(VisionBlock(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)
        for name, value in self.blocks.named_parameters():
            if value.ndim == 2:
                nn.init.trunc_normal_(value, std=0.02 if "head" not in name else 0.01)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patch_embed(x).flatten(2).mT + self.pos_embed
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h).mean(1))


class ConvolutionalBlock(nn.Module):
    """h ↦ h + bn2(conv2(relu(bn1(conv1(h))))), named as in torchvision, without its relu on the stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(h)))))


class ConvolutionalStage(nn.Module):
    """One stage of a residual network, on images of 16 × 16 pixels."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.layer1 = nn.ModuleList(ConvolutionalBlock(channels) for _ in range(depth))
        self.bn, self.fc = nn.BatchNorm2d(channels), nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(F.avg_pool2d(x, 2))
        for block in self.layer1:
            h = block(h)
        return self.fc(F.relu(self.bn(h)).mean((-1, -2)))
