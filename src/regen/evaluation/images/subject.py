"""A subject of evaluation whose examples are images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.data import arrays
from regen.evaluation.subject import Subject
from regen.seeding import numpy_generator

# Images of a split that are evaluated; of more, so many are drawn at random, and of images larger than IMAGE bytes fewer in
# proportion: an evaluation's memory depends neither on their number nor on their size.
TRAIN, TEST = 50_000, 10_000
IMAGE = 1 << 14


@dataclass(frozen=True)
class Images(Subject):
    """A subject whose examples are images.

    Attributes:
        train, test: arrays of at most `TRAIN` and `TEST` images of each split, and what goes with them.
        train_x, test_x: uint8 (N, C, H, W).
        labels: of the test images, for a classifier's own evaluation.
        draws_labels: whether a sample has labels of its own, and so is more than what its latent decodes to.
    """

    draws_labels: bool = False

    @cached_property
    def train(self) -> dict[str, np.ndarray]:
        """Arrays of the training split, or of images drawn from it."""
        return some(arrays.load(self.data, "train"), TRAIN, numpy_generator(self.seed, "evaluated", "train"))

    @cached_property
    def test(self) -> dict[str, np.ndarray]:
        """Arrays of the test split, or of images drawn from it."""
        return some(arrays.load(self.data, "test"), TEST, numpy_generator(self.seed, "evaluated", "test"))

    @cached_property
    def train_x(self) -> Tensor:
        """Training images."""
        return images(self.train["x"])

    @cached_property
    def test_x(self) -> Tensor:
        """Test images."""
        return images(self.test["x"])

    @property
    def labels(self) -> Tensor | None:
        """Labels of the test images, where there are some."""
        return torch.as_tensor(self.test["labels"].copy()) if "labels" in self.test else None

    def features(self, x: Tensor) -> Tensor:
        """Return the classifier's features of images."""
        return self.apply(self.classifier.features, x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the images of latents."""
        return self.apply(self.model.decode, z)


def some(content: Mapping[str, Any], most: int, draws: np.random.Generator) -> dict[str, np.ndarray]:
    """Return all examples of a split where they are at most so many of `IMAGE` bytes each, else as many drawn at random."""
    count = len(content["x"])
    size = sum(math.prod(value.shape[1:]) * value.dtype.itemsize for value in content.values())  # of an example
    most = max(1, most * IMAGE // max(size, IMAGE))
    if count <= most:
        return {name: np.asarray(value) for name, value in content.items()}
    rows = draws.choice(count, most, replace=False)
    return {name: _drawn(value, rows) for name, value in content.items()}


def _drawn(array: Any, rows: np.ndarray) -> np.ndarray:
    """Return these rows of an array; images (N, H, W, C) lie channel by channel: flattening `images` of them copies nothing."""
    if array.ndim != 4:
        return np.asarray(array[rows])
    _, height, width, channels = array.shape
    found = np.empty((len(rows), channels, height, width), array.dtype)
    for start in range(0, len(rows), 1000):
        found[start : start + 1000] = array[rows[start : start + 1000]].transpose(0, 3, 1, 2)
    return found.transpose(0, 2, 3, 1)


def images(x: Any) -> Tensor:
    """Return uint8 (N, H, W, C) from disk as (N, C, H, W), a view."""
    with warnings.catch_warnings():  # the file is mapped read-only, and nobody writes to it
        warnings.simplefilter("ignore", UserWarning)
        return torch.as_tensor(x).permute(0, 3, 1, 2)
