"""A subject of evaluation whose examples are images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from regen.evaluation.subject import Subject


@dataclass(frozen=True)
class Images(Subject):
    """A subject whose examples are images.

    Attributes:
        train_x, test_x: uint8 (N, C, H, W).
        labels: of the test images, for a classifier's own evaluation.
    """

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


def images(x: Any) -> Tensor:
    """Return uint8 (N, H, W, C) from disk as (N, C, H, W), a view."""
    with warnings.catch_warnings():  # the file is mapped read-only, and nobody writes to it
        warnings.simplefilter("ignore", UserWarning)
        return torch.as_tensor(x).permute(0, 3, 1, 2)
