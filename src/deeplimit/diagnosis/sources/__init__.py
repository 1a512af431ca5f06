"""Every way to name a trained network: a file, a folder, a function, a model of a library, a module in memory."""

from __future__ import annotations

from deeplimit.diagnosis.sources.module import ModuleSource
from deeplimit.diagnosis.sources.stacked import StackedSource
from deeplimit.diagnosis.sources.target import open_target

__all__ = ["ModuleSource", "StackedSource", "open_target"]
