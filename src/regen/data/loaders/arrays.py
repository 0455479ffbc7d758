"""Batches of a data set that fits in memory: kept on the device as it is stored, gathered by index at each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.data import arrays
from regen.data.loaders import Share
from regen.data.loaders.passes import Passes


def read(folder: Path, share: Share) -> ArrayBatches:
    """Return the batches of a prepared data set, with its validation split where it has one."""
    validation = arrays.load(folder, "validation") if "validation" in arrays.statistics(folder)["splits"] else None
    return ArrayBatches(arrays.load(folder, "train"), share, validation)


class ArrayBatches:
    """Every example once a pass, in a new order each time.

    Args:
        content: `x` and perhaps `labels`, first axis = examples. uint8 images (N, H, W, C) arrive as floats in [0, 1].
        share: how much, and whose part.
        validation: the same of a validation split.

    Raises:
        UserError: there are fewer examples than one batch needs, or a process would get none.
    """

    def __init__(self, content: Mapping[str, Any], share: Share, validation: Mapping[str, Any] | None = None) -> None:
        self.passes, self.share, self.held_out = Passes(len(content["x"]), share), share, validation
        self.per_epoch = self.passes.per_epoch
        self.content = {name: torch.from_numpy(np.array(value)).to(share.device) for name, value in content.items()}

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch."""
        index = self.passes(step).to(self.share.device)
        return _floats({name: value[index] for name, value in self.content.items()})

    def validation(self) -> Iterator[dict[str, Tensor]]:
        """Yield the validation split in order."""
        held_out = self.held_out or {"x": ()}
        for start in range(0, len(held_out["x"]), self.share.batch_size):
            part = {name: np.array(value[start : start + self.share.batch_size]) for name, value in held_out.items()}
            yield _floats({name: torch.from_numpy(value).to(self.share.device) for name, value in part.items()})


def as_images(x: Any) -> Tensor:
    """Return uint8 (N, H, W, C) as float (N, C, H, W) in [0, 1], channels_last in memory: a view, then one conversion."""
    return torch.as_tensor(x).permute(0, 3, 1, 2).float().div_(255)


def _floats(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    if batch["x"].dtype == torch.uint8 and batch["x"].ndim == 4:
        batch["x"] = as_images(batch["x"])
    return batch
