"""Batches of tiles of large sections, read from their file one step ahead of the training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regen.data import arrays
from regen.data.loaders import Share
from regen.data.loaders.ahead import Ahead
from regen.data.loaders.augment import refuse
from regen.data.loaders.memory import sent
from regen.data.loaders.passes import check_batch_size
from regen.data.tiles.samplers import Tiles
from regen.errors import UserError

VALIDATED, PART = 2048, 256  # tiles of the validation split, always the same; so many at a time


def read(folder: Path, share: Share) -> TileBatches:
    """Return the batches of a prepared data set of sections."""
    return TileBatches(folder, share)


class TileBatches:
    """Tiles of the training split, where the data set's sampler takes them. Tiles never run out: `steps_per_epoch` ends an epoch.

    Raises:
        UserError: no `steps_per_epoch`, a share of tiles, augmentation, a process without tiles, or a file that is missing or has
            changed.
    """

    def __init__(self, folder: Path, share: Share) -> None:
        check_batch_size(share)
        where = f"models.{share.name}"
        if not share.steps_per_epoch:
            raise UserError(f"{where}.steps_per_epoch: expected 1 or more, as tiles never run out; got 0")
        if share.train_fraction < 1:
            raise UserError(f"{where}.train_fraction: expected 1, as tiles cannot be counted; got {share.train_fraction}")
        refuse(share, "tiles are taken anywhere in a section and as they lie there")
        self.per_epoch, self.share = share.steps_per_epoch, share
        self.tiles = Tiles(folder, "train", share.batch_size, share.seed)
        validated = "validation" in arrays.statistics(folder)["splits"]
        self.held_out = Tiles(folder, "validation", VALIDATED, share.seed, purpose="validation") if validated else None
        self._ahead = Ahead(lambda step: self.tiles.batch(step, share.mine), 1)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch: `x` (n, 1, T, T) in [0, 1]."""
        return self._on_device(self._ahead(step))

    def validation(self) -> Iterator[dict[str, Tensor]]:
        """Yield tiles of the validation split."""
        if self.held_out is not None:
            tiles = self.held_out.batch(0)
            for start in range(0, len(tiles), PART):
                yield self._on_device(tiles[start : start + PART])

    def _on_device(self, tiles: Any) -> dict[str, Tensor]:
        return {"x": sent(torch.from_numpy(tiles), self.share.device)[:, None].float().div_(255)}
