"""A generator of two stages: a model of another model's latents, and that one's decoder. Together they make images."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt
from torch import Tensor

from regen.blocks import ModelConfig
from regen.models.base import GenerativeModel


class Config(ModelConfig):
    """What is asked of any model of images."""

    latent_dim: PositiveInt


class TwoStages(GenerativeModel):
    """Images of noise: `latents` carries it to latents, `images` decodes them.

    Args:
        latents: `sample(n, seed)`, `encode` and `decode` between noise and latents, both (N, d).
        images: `encode` and `decode` between latents and images (N, C, H, W) in [0, 1].
    """

    def __init__(self, latents: Any, images: Any) -> None:
        known = {name: getattr(latents.config, name) for name in ModelConfig.model_fields}
        super().__init__(Config(**known, latent_dim=images.config.latent_dim), images.data)
        self.latents, self.images = latents, images

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images."""
        return self.image(self.latents.sample(n, seed=seed))

    def encode(self, x: Tensor) -> Tensor:
        """Return the noise (N, d) of images."""
        noise: Tensor = self.latents.encode(self.images.encode(x))
        return noise

    def decode(self, z: Tensor) -> Tensor:
        """Return the images of noise (N, d)."""
        return self.image(self.latents.decode(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the images of images' noise: there and back."""
        return self.decode(self.encode(x))

    def image(self, z: Tensor) -> Tensor:
        """Return the images of latents."""
        image: Tensor = self.images.decode(z)
        return image
