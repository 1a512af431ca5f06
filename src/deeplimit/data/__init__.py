"""The papers' synthetic tasks."""

from __future__ import annotations

from deeplimit.data.pairs import GaussianPairs, Pairs, SpherePairs

__all__ = ["GaussianPairs", "Pairs", "SpherePairs"]
