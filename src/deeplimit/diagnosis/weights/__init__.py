"""What the weights of blocks are over depth: their statistics, the verdict, and blocks that do not fit."""

from __future__ import annotations
