"""What blocks do to a batch of inputs: its passage, the verdict, and the multipliers."""

from __future__ import annotations
