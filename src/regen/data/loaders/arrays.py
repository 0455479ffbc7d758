"""Batches of prepared arrays: kept on the device where they fit, else read ahead of the training. The batches are the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.data import arrays
from regen.data.loaders import Share
from regen.data.loaders.ahead import Ahead
from regen.data.loaders.augment import augmented, refuse
from regen.data.loaders.memory import free, sent
from regen.data.loaders.passes import Passes

KEPT = 0.25  # of the device's free memory: a training split within it stays there
AHEAD = 4  # batches that are read ahead of larger ones
PART = 4096  # examples that are moved to the device at a time


def read(folder: Path, share: Share, names: Sequence[str] = ()) -> ArrayBatches:
    """Return the batches of a prepared data set, with its validation split where it has one: of all its arrays or of `names`."""
    splits = [name for name in ("train", "validation") if name in arrays.statistics(folder)["splits"]]
    loaded = [arrays.load(folder, split) for split in splits]
    wanted = [{name: array for name, array in split.items() if not names or name in names} for split in loaded]
    return ArrayBatches(wanted[0], share, *wanted[1:])


class ArrayBatches:
    """Every example once a pass, in a new order each time; training images are augmented where `share` says so.

    Args:
        content: `x` and perhaps `labels`, first axis = examples. uint8 images (N, H, W, C) arrive as floats in [0, 1].
        share: how much, and whose part.
        validation: the same of a validation split.

    Raises:
        UserError: there are fewer examples than a batch, processes cannot share one equally, or what is no image is augmented.
    """

    def __init__(self, content: Mapping[str, Any], share: Share, validation: Mapping[str, Any] | None = None) -> None:
        self.passes, self.share, self.held_out = Passes(len(content["x"]), share), share, validation
        self.per_epoch = self.passes.per_epoch
        if not _are_images(content["x"]):
            refuse(share, "the examples are no images")
        used = self.passes.examples
        self.content = content
        self.kept: dict[str, Tensor] = {}
        self._ahead = Ahead(self._read, AHEAD)
        if sum(used * math.prod(value.shape[1:]) * value.dtype.itemsize for value in content.values()) <= KEPT * free(share):
            self.kept = {name: _moved(value, used, share) for name, value in content.items()}

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch."""
        if self.kept:
            index = sent(self.passes(step), self.share.device)
            batch = {name: value[index] for name, value in self.kept.items()}
        else:
            batch = {name: value.to(self.share.device, non_blocking=True) for name, value in self._ahead(step).items()}
        if _are_images(batch["x"]):
            batch["x"] = augmented(batch["x"], self.share, step)
        return _floats(batch)

    def validation(self) -> Iterator[dict[str, Tensor]]:
        """Yield the validation split in order."""
        held_out = self.held_out or {"x": ()}
        for start in range(0, len(held_out["x"]), self.share.batch_size):
            part = {name: np.array(value[start : start + self.share.batch_size]) for name, value in held_out.items()}
            yield _floats({name: torch.from_numpy(value).to(self.share.device) for name, value in part.items()})

    def _read(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch from the files, in memory that a GPU copies from by itself."""
        index = self.passes(step).numpy()
        batch = {name: torch.from_numpy(np.ascontiguousarray(value[index])) for name, value in self.content.items()}
        gpu = torch.device(self.share.device).type == "cuda"
        return {name: value.pin_memory() for name, value in batch.items()} if gpu else batch


def as_images(x: Any) -> Tensor:
    """Return uint8 (N, H, W, C) as float (N, C, H, W) in [0, 1], channels_last in memory: a view, then one conversion."""
    return torch.as_tensor(x).permute(0, 3, 1, 2).float().div_(255)


def _moved(array: Any, rows: int, share: Share) -> Tensor:
    """Return the first rows on the device: moved in parts, so that the host never holds all of them twice."""
    moved = torch.empty((rows, *array.shape[1:]), dtype=torch.from_numpy(np.array(array[:1])).dtype, device=share.device)
    for start in range(0, rows, PART):
        moved[start : start + PART] = torch.from_numpy(np.array(array[start : min(rows, start + PART)]))
    return moved


def _are_images(x: Any) -> bool:
    return x.ndim == 4 and x.dtype in (np.uint8, torch.uint8)


def _floats(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    if _are_images(batch["x"]):
        batch["x"] = as_images(batch["x"])
    return batch
