"""The papers' tasks: drawn ones, and images from the original files."""

from __future__ import annotations

from deeplimit.data.embedding import EmbeddedMnist
from deeplimit.data.images import Images, Standard
from deeplimit.data.pairs import FixedPairs, GaussianPairs, OscillatingFlow, Pairs, SpherePairs, sample_members
from deeplimit.data.splits import Split, checksum_of_indices

__all__ = [
    "EmbeddedMnist",
    "FixedPairs",
    "GaussianPairs",
    "Images",
    "OscillatingFlow",
    "Pairs",
    "SpherePairs",
    "Split",
    "Standard",
    "checksum_of_indices",
    "sample_members",
]
