"""Blocks of equal structure in a network, and what each of their tensors does."""

from __future__ import annotations
