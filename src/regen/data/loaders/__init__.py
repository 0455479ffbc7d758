"""Loaders: the batch of step n as a function of n, so that a training resumes from a step's number alone.

A loader takes plain values and knows no model. Which one reads a data set stands in its statistics.json (`loader`):

* `arrays`: examples, one row each, of any number;
* `tiles`: tiles of large sections, read from a file when they are wanted;
* `arithmetic`: queries, written in new handwriting at each step.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from regen.data.arrays import STATISTICS, statistics
from regen.data.rows import remedy
from regen.errors import UserError, shown


@dataclass(frozen=True)
class Share:
    """How much is read, and which part of it is one process's.

    Attributes:
        batch_size: examples a step, over all processes together.
        seed: of the order and of all draws.
        steps_per_epoch: 0 = one pass over the examples.
        train_fraction: share of the training examples that is used.
        device: where batches are wanted.
        rank, processes: of `processes` that train together, this is number `rank`.
        name: of the model, for messages.
        flip, shift: how training images are augmented: mirrored left to right by chance, moved by so many pixels at the most.
    """

    batch_size: int
    seed: int
    steps_per_epoch: int = 0
    train_fraction: float = 1.0
    device: torch.device | str = "cpu"
    rank: int = 0
    processes: int = 1
    name: str = "model"
    flip: bool = False
    shift: int = 0

    @property
    def mine(self) -> slice:
        """This process's examples of a batch."""
        return slice(self.rank, None, self.processes)


class Batches(Protocol):
    """What the training loop asks of its data."""

    per_epoch: int  # steps an epoch

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of one step's batch, on the device."""
        ...

    def validation(self) -> Iterator[dict[str, Tensor]]:
        """Yield the same batches of the validation split each time; none where there is no such split."""
        ...


def read(folder: Path, share: Share, options: Mapping[str, Any] | None = None) -> Batches:
    """Return the batches of the prepared data set in `folder`; `options` are what its loader takes besides.

    Raises:
        UserError: the data set is missing or damaged, or has too few examples.
    """
    name = statistics(folder).get("loader", "arrays")
    if not name.isidentifier() or importlib.util.find_spec(f"regen.data.loaders.{name}") is None:
        raise UserError(f"{folder / STATISTICS}: damaged (loader: no loader is called {shown(name)}); {remedy(folder)}")
    module = importlib.import_module(f"regen.data.loaders.{name}")
    batches: Batches = module.read(folder, share, **(options or {}))
    return batches
