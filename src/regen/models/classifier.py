"""A classifier of images. Its features measure other models' images, its readings tell what they show.

It is trained like any other model, on the training split of real images alone, as if the models that it measures did not exist.
Data without labels label themselves: the classifier reads by how many quarter turns an image was rotated (Gidaris, Singh and
Komodakis 2018, arXiv 1803.07728).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from regen.errors import UserError
from regen.models.base import DataSpec, Depth, TrainedConfig, TrainedModel, chunks

ROTATIONS = ("0 degrees", "90 degrees", "180 degrees", "270 degrees")  # counter-clockwise


class Config(TrainedConfig):
    """Parameters of a classifier."""

    target: Literal[
        "class", "attributes", "rotation"
    ]  # one label of several, any subset of binary ones, or quarter turns: no labels
    channels: list[PositiveInt] = Field(min_length=1)  # one block a number; each block halves the image
    convolutions: Depth = 1  # 3x3 convolutions a block
    stride: Literal[1, 2] = 1  # of the first convolution: 2 for large or coarse images
    features: PositiveInt = 128  # size of the layer whose activations are compared
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: float = Field(0.0, ge=0, le=1)  # strength of random rotation (15 degrees), scale and shift (15 %) at 1


class Model(TrainedModel):
    """Blocks of 3x3 convolutions, batch normalisation, ReLU and 2x2 max pooling, then a feature layer and one output a label."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        layers: list[nn.Module] = []
        previous, height, width = data.expect(3, "images")
        if config.target == "rotation" and height != width:
            raise UserError(
                f"target: rotation turns square images, those of {data.dataset} are {height}x{width}; prepare squares"
            )
        if config.target != "rotation" and not data.labels:
            raise UserError(f"target: {config.target} needs labels, and {data.dataset} has none; set target: rotation")
        height, width = height // config.stride, width // config.stride
        for block, count in enumerate(config.channels):
            for convolution in range(config.convolutions):
                stride = config.stride if block == convolution == 0 else 1
                layers += [nn.Conv2d(previous, count, 3, stride, 1, bias=False), nn.BatchNorm2d(count), nn.ReLU(inplace=True)]
                previous = count
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(previous * height * width, config.features), nn.ReLU())
        self.head = nn.Linear(config.features, len(self.labels))

    @property
    def labels(self) -> tuple[str, ...]:
        """What each output stands for."""
        return ROTATIONS if self.config.target == "rotation" else self.data.labels

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy in nats an image (summed over the attributes where there are several)."""
        x, labels = rotated(batch["x"]) if self.config.target == "rotation" else (batch["x"], self._labels(batch))
        if self.config.augment:
            x = _moved(x, self.config.augment)
        logits = self.head(self.body(x)).float()
        if self.config.target != "attributes":
            loss = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
            correct = (logits.argmax(1) == labels).float().mean()
        else:
            smooth = self.config.label_smoothing
            targets = labels.float() * (1 - smooth) + smooth / 2
            loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1).mean()
            correct = ((logits > 0) == (labels > 0)).all(1).float().mean()
        return loss, {"loss": loss.detach(), "accuracy": correct}

    def _labels(self, batch: dict[str, Tensor]) -> Tensor:
        labels = batch.get("labels")
        found = "none" if labels is None else "class" if labels.ndim == 1 else "attributes"
        if labels is None or found != self.config.target:
            raise UserError(f"target: {self.config.target}, but the labels of {self.data.dataset} are: {found}")
        return labels

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return the activations (N, features) of the layer under the outputs, for images in [0, 1].

        Raises:
            UserError: images of another shape than it was trained on.
        """
        if x.shape[1:] != self.data.shape:
            shapes = [" x ".join(map(str, shape)) for shape in (self.data.shape, x.shape[1:])]
            raise UserError(f"classifier: trained on the images of {self.data.dataset}, {shapes[0]}, got images of {shapes[1]}; "
                            "name one that was trained on images of that size")  # fmt: skip
        return torch.cat([self.body(part) for part in chunks(x)])

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return (N, labels): log-odds of each class or attribute."""
        return torch.cat([self.head(self.body(part)) for part in chunks(x)])


def rotated(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the four rotations of square images (N, C, S, S), as (4 N, C, S, S), and by how many quarter turns each is rotated.

    All four of each image, as the paper feeds them (section 3.1): a step costs four times as much, and needs fewer images.
    """
    turns = torch.arange(len(ROTATIONS), device=x.device).repeat_interleave(len(x))
    return torch.cat([x.rot90(k, (2, 3)) for k in range(len(ROTATIONS))]), turns


def _moved(x: Tensor, strength: float) -> Tensor:
    """Rotate, scale and shift each image at random (bilinear)."""
    n, device = len(x), x.device
    angle = (torch.rand(n, device=device) * 2 - 1) * strength * math.radians(15)
    scale = 1 + (torch.rand(n, device=device) * 2 - 1) * strength * 0.15
    shift = (torch.rand(n, 2, device=device) * 2 - 1) * strength * 0.15
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", align_corners=False)
