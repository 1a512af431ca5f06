"""The papers' tasks: drawn ones, and images from the original files."""

from __future__ import annotations

from deeplimit.data.augment import Augmentation, Chain, Flip, Mixup, PaddedCrop
from deeplimit.data.embedding import EmbeddedMnist
from deeplimit.data.images import CIFAR_CHANNELS, OVERALL, Images, Standard
from deeplimit.data.pairs import FixedPairs, GaussianPairs, OscillatingFlow, Pairs, SpherePairs, sample_members
from deeplimit.data.splits import Split, checksum_of_indices

__all__ = [
    "CIFAR_CHANNELS",
    "OVERALL",
    "Augmentation",
    "Chain",
    "EmbeddedMnist",
    "FixedPairs",
    "Flip",
    "GaussianPairs",
    "Images",
    "Mixup",
    "OscillatingFlow",
    "PaddedCrop",
    "Pairs",
    "SpherePairs",
    "Split",
    "Standard",
    "checksum_of_indices",
    "sample_members",
]
