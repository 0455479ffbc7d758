"""What is said of a measure, and of a picture, wherever they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        title: may hold `{features}`, the model whose features it is taken in.
        unit: of value and error.
        better: which way.
        meaning: one or two sentences.
        bound, baseline, real: what the figure beside it is, where it is held against one; a measure that several tasks have may
            be held against one thing in one task and another in the next.
    """

    title: str
    unit: str
    better: Literal["lower", "higher", "none"]
    meaning: str
    bound: str = ""
    baseline: str = ""
    real: str = ""

    def against(self, which: str) -> str:
        """Return what the figure is that stands beside it: `which` is bound, baseline or real."""
        return {"bound": self.bound, "baseline": self.baseline, "real": self.real}[which]


class Caption(NamedTuple):
    """What is said of a picture."""

    title: str
    text: str
