"""Depth watched while a network trains."""

from __future__ import annotations
