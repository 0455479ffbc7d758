"""New images of a trained model in one picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from regen import trained
from regen.drawing import collage
from regen.drawing.collage import save
from regen.errors import UserError

__all__ = ["picture", "save"]


def picture(model: str | Path, n: int, seed: int) -> collage.Picture:
    """Return n samples of a trained model, ten to a row; fewer are laid out in a square.

    Raises:
        UserError: no such model, or one that draws no images.
    """
    folder, loaded = trained.load(model)
    found: Any = loaded
    images = found.sample(n, seed=seed) if hasattr(found, "sample") else None
    if images is None or getattr(images, "ndim", 0) != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"{folder}: the family {found.config.family} draws no images; name a vae, a gan or the like")
    return collage.grid(images, columns=min(10, math.ceil(math.sqrt(n))))
