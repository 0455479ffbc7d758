"""Values as MLflow takes them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from PIL import Image

LARGEST = 1.7976931348623157e308  # stands for infinity, in MLflow's databases and here


def picture(path: Path) -> Image.Image | None:
    """Read a picture; None for one that is damaged or gone."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested params by their path: {"layers": {"width": 8}} -> {"layers.width": "8"}."""
    flattened: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            flattened |= flat(value, f"{prefix}{name}.")
        else:
            flattened[named(f"{prefix}{name}")] = str(value)
    return flattened


def named(text: str) -> str:
    """Return a name that MLflow takes."""
    return re.sub(r"[^\w\-. /:]", "_", text)


def finite(value: float) -> float:
    """Return a number that MLflow keeps: the largest one for infinity."""
    return max(-LARGEST, min(LARGEST, value)) if not math.isnan(value) else value
