"""Batches from arrays that fit in memory: kept on the device as they are stored, gathered by index at each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from regen.errors import UserError
from regen.models.base import as_images
from regen.seeding import generator
from regen.training.devices import Devices


class Batches(Protocol):
    """What the loop asks of its data: the batch of any step, as a function of the step number alone."""

    per_epoch: int  # steps an epoch

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch, on the device."""
        ...


class ArrayBatches:
    """Every example once an epoch, in an order drawn from (seed, epoch); the last incomplete batch is left out.

    Args:
        arrays: `x` and perhaps `labels`, first axis = examples. uint8 images (N, H, W, C) arrive as floats in [0, 1].
        batch_size: examples a step, over all processes together.
        seed: of the order.
        devices: where the batches are wanted, and which share of them.
        name: of the model, for the error message.

    Raises:
        UserError: there are fewer examples than one batch needs, or a process would get none.
    """

    def __init__(self, arrays: Mapping[str, Any], batch_size: int, seed: int, devices: Devices, name: str = "model") -> None:
        self.arrays = {key: torch.from_numpy(np.array(value)).to(devices.device) for key, value in arrays.items()}
        self.examples = len(self.arrays["x"])
        if not devices.world_size <= batch_size <= self.examples:
            raise UserError(
                f"models.{name}.batch_size: expected {devices.world_size} (processes) to {self.examples} (training examples), "
                f"got {batch_size}"
            )
        self.per_epoch = self.examples // batch_size
        self.batch_size = batch_size
        self.seed = seed
        self.devices = devices
        self._epoch = -1
        self._order = torch.empty(0)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = torch.randperm(self.examples, generator=generator(self.seed, "order", epoch)).to(self.devices.device)
            self._epoch = epoch
        start = position * self.batch_size
        index = self._order[start : start + self.batch_size][self.devices.rank :: self.devices.world_size]
        batch = {key: value[index] for key, value in self.arrays.items()}
        if batch["x"].dtype == torch.uint8 and batch["x"].ndim == 4:
            batch["x"] = as_images(batch["x"])
        return batch
