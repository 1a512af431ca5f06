"""Deep residual networks and what they become: limits of depth, of training time and of width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeplimit.diagnosis.diagnose import diagnose

__all__ = ["__version__", "diagnose"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`deeplimit.diagnose`, imported once it is asked for."""
    if name != "diagnose":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deeplimit.diagnosis.diagnose import diagnose

    return diagnose
