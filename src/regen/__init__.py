"""regen: a reproducible pipeline that trains, evaluates and compares generative models.

import regen
images = regen.load("models/punks_vae").sample(100, seed=0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regen.trained import loaded as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # imported on demand: the download stage needs no torch
        from regen.trained import loaded

        return loaded
    raise AttributeError(f"module 'regen' has no attribute {name!r}")
