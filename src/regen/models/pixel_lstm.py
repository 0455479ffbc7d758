"""Pixel LSTM: p(x) = prod_i p(x_i | x_1..x_{i-1}) for binary images, each conditional a Bernoulli from a recurrent network.

van den Oord, Kalchbrenner and Kavukcuoglu (2016) in its simplest form: pixels in reading order, the input is the pixel
before (0 before the first), the loss is the exact negative log-likelihood, in nats a pixel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from regen.models.base import DataSpec, Depth, TrainedConfig, TrainedModel
from regen.seeding import generator

TASK = "letters"


class Config(TrainedConfig):
    """Pixel LSTM on binary images."""

    layers: Depth = 2
    hidden: PositiveInt = 32  # units a layer: with 2 layers 12,961 parameters


class Model(TrainedModel):
    """LSTM over the pixels of a binary image."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.lstm = nn.LSTM(1, config.hidden, config.layers, batch_first=True)
        self.logit = nn.Linear(config.hidden, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of p(x_i = 1 | x_1..x_{i-1}), (N, D), of images (N, C, H, W)."""
        pixels = x.flatten(1)
        before = F.pad(pixels[:, :-1], (1, 0))  # the start symbol 0, then x_1..x_{D-1}
        hidden, _ = self.lstm(before.unsqueeze(2))  # (N, D, hidden)
        logits: Tensor = self.logit(hidden).squeeze(2)
        return logits

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative log-likelihood in nats a pixel: binary cross-entropy with logits."""
        x = batch["x"]
        with torch.autocast(x.device.type, enabled=False):  # the distance to the entropy is less than bf16 can tell
            loss = F.binary_cross_entropy_with_logits(self.logits(x.float()), x.flatten(1).float())
        return loss, {"nats_per_pixel": loss.detach()}

    @torch.no_grad()
    def log_likelihood(self, x: Tensor) -> Tensor:
        """Return log p(x) (N,), in nats an image, exactly."""
        logits, pixels = self.logits(x).double(), x.flatten(1).double()
        return -F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(1)

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n images (n, C, H, W) with values 0 and 1: each pixel drawn from its Bernoulli, given those before it."""
        D = math.prod(self.data.shape)
        uniform = torch.rand(D, n, generator=generator(seed, "sample")).to(self.device)
        pixel, state = torch.zeros(n, 1, 1, device=self.device), None
        pixels = []
        for u in uniform:
            hidden, state = self.lstm(pixel, state)
            pixel = (u[:, None, None] < torch.sigmoid(self.logit(hidden))).float()
            pixels.append(pixel[:, 0])
        return torch.cat(pixels, 1).view(n, *self.data.shape)
