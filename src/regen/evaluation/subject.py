"""What is evaluated: a trained model, the data that it was trained and is tested on, and the classifier that reads its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.data import arrays
from regen.drawing import collage
from regen.metrics.values import pixels


@dataclass(frozen=True)
class Subject:
    """A trained model and all that its evaluation may need.

    Attributes:
        model: with any of the capabilities of `regen.models`, on the device where it is evaluated.
        classifier: gives `features`; None where there is none.
        seed: of every draw.
        data: folder of the prepared data set.
        history: folder of the trained model, with its history.csv.
        folder: where pictures and tables go.
    """

    model: Any
    classifier: Any
    seed: int
    data: Path
    history: Path
    folder: Path

    @cached_property
    def train(self) -> dict[str, np.ndarray]:
        """Arrays of the training split, memory-mapped: `x` and what goes with it (`labels`, ...)."""
        return arrays.load(self.data, "train")

    @cached_property
    def test(self) -> dict[str, np.ndarray]:
        """Arrays of the test split."""
        return arrays.load(self.data, "test")

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """statistics.json of the data set."""
        return arrays.statistics(self.data)

    def apply(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return function(x) on the CPU, computed in parts on the model's device; uint8 arrives as floats in [0, 1]."""
        return torch.cat([function(pixels(part).to(self.model.device)).cpu() for part in torch.split(x, 500)])

    def picture(self, name: str, picture: collage.Picture) -> None:
        """Write one collage."""
        collage.save(picture, self.folder / f"{name}.png")
