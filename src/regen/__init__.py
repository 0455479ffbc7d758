"""regen: a reproducible pipeline that trains, evaluates and compares generative models.

import regen
images = regen.load("models/punks_vae").sample(100, seed=0)
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

# A thread that waits at OpenMP's barrier spins for milliseconds by default. On a machine with other work that takes away
# the core its partner needs: trainings ran ten times slower. It must be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# The imports make hundreds of thousands of objects that stay. Looked through for garbage while they are made, they cost a short
# stage a fifth of its time.
gc.set_threshold(max(5000, gc.get_threshold()[0]), *gc.get_threshold()[1:])

if TYPE_CHECKING:
    from regen.families import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # imported on demand: the download stage needs no torch
        from regen.families import load

        return load
    raise AttributeError(f"module 'regen' has no attribute {name!r}")
