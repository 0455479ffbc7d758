"""Convolutional autoencoder, and denoising autoencoder where `noise` > 0.

L = ||x - d(e(x + noise))||^2 (Vincent et al. 2008 for the denoising one): good reconstructions, but no distribution over
its latent space, so it is no generator.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor
from torch.nn import functional as F

from regen.models import layers
from regen.models.base import DataSpec, chunks


class Config(layers.ConvolutionalConfig):
    """Parameters of an autoencoder."""

    reconstruction: Literal["l2", "bce"] = "l2"
    noise: float = Field(0.0, ge=0, le=1)  # > 0: learns to remove it. Standard deviation, or share of masked pixels
    noise_kind: Literal["gaussian", "masking"] = "gaussian"

    @field_validator("reconstruction")
    @classmethod
    def _of_pixels(cls, reconstruction: str, info: ValidationInfo) -> str:
        if reconstruction == "bce" and info.data.get("standardise"):
            raise ValueError("l2 where pixels are standardised, which no probability is")
        return reconstruction


class Model(layers.ConvolutionalModel):
    """Encoder to `latent_dim` numbers and decoder back."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.encoder, self.decoder = layers.of_data(config, data, config.latent_dim, config.latent_dim)

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error (or cross-entropy in nats) summed over an image, mean over the batch."""
        x = batch["x"]
        seen = self.corrupt(x) if self.config.noise else x
        output = self.decoder(self.encoder(self.scaled(seen)))
        if self.config.reconstruction == "bce":
            loss = F.binary_cross_entropy_with_logits(output.float(), x, reduction="sum") / len(x)
        else:
            loss = F.mse_loss(self.predicted(output), self.scaled(x), reduction="sum") / len(x)
        return loss, {"loss": loss.detach()}

    def corrupt(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return x with the noise that the model learns to remove: values may leave [0, 1] under Gaussian noise."""
        where = generator.device if generator else x.device
        if self.config.noise_kind == "masking":
            kept = torch.rand(len(x), 1, *x.shape[2:], generator=generator, device=where).to(x.device) >= self.config.noise
            return x * kept
        return x + self.config.noise * torch.randn(x.shape, generator=generator, device=where).to(x.device)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (N, latent_dim) of images (N, C, H, W) in [0, 1]."""
        return torch.cat([self.encoder(self.scaled(part)) for part in chunks(x)])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images (N, C, H, W) in [0, 1] of latents (N, latent_dim)."""
        return torch.cat([self.image(self.decoder(part)) for part in chunks(z)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return d(e(x)): images (N, C, H, W) in [0, 1]."""
        return self.decode(self.encode(x))
