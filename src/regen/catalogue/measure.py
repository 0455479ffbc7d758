"""What is said of a measure, wherever it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One measure; `title` may hold `{features}`, the model whose features it is taken in."""

    title: str
    unit: str
    better: Literal["lower", "higher", "none"]
    meaning: str
    limit: str
