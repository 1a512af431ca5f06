"""Deep residual networks and what they become: limits of depth, of training time and of width."""

from __future__ import annotations

__version__ = "0.1.0"
