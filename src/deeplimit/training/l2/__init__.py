"""L2 for users: what a coefficient means elsewhere, and which one to take for a budget."""

from __future__ import annotations

from deeplimit.training.l2.conventions import CONVENTIONS, Convention, Converted, Setting, convert, shrinkage

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Converted",
    "Setting",
    "convert",
    "shrinkage",
]
