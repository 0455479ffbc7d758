"""New images of a trained model in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from regen import trained
from regen.drawing import collage
from regen.drawing.collage import save
from regen.errors import UserError

__all__ = ["picture", "save"]


def picture(model: str | Path, n: int, seed: int, wanted: Sequence[str] = (), guidance: float = 2.0) -> collage.Picture:
    """Return n samples of a trained model, ten to a row; fewer are laid out in a square.

    Args:
        model: its key, or its folder.
        n: how many.
        seed: of every draw.
        wanted: labels that each of them is asked for.
        guidance: how strongly.

    Raises:
        UserError: no such model, one that draws no images, or one that cannot be asked for these labels.
    """
    folder, loaded = trained.load(model)
    found: Any = loaded
    images: Tensor | None
    if wanted:
        images = _asked(folder, found, n, seed, wanted, guidance)
    else:
        images = found.sample(n, seed=seed) if hasattr(found, "sample") else None
    if images is None or getattr(images, "ndim", 0) != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"{folder}: the family {found.config.family} draws no images; name a vae, a gan or the like")
    return collage.grid(images, columns=min(10, math.ceil(math.sqrt(n))))


def _asked(folder: Path, found: Any, n: int, seed: int, wanted: Sequence[str], guidance: float) -> Tensor:
    flow = getattr(found, "latents", found)  # of two stages, the first draws
    if not hasattr(flow, "asked"):
        raise UserError(
            f"{folder}: the family {found.config.family} cannot be asked for labels; name a flow with conditional: true"
        )
    drawn: Tensor = flow.sample(n, seed=seed, asked=flow.asked(wanted), guidance=guidance)
    return found.images.decode(drawn) if flow is not found else drawn
