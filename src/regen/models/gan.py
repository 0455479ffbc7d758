"""Deep convolutional generative adversarial network (Goodfellow et al. 2014; architecture after Radford et al. 2016).

min_G max_D E log D(x) + E log(1 - D(G(z))), z ~ N(0, I). Two players take turns at every step: the discriminator on the
batch and as many samples, the generator by the non-saturating loss -log D(G(z)) or the hinge loss (Lim and Ye 2017).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from regen.models import layers
from regen.models.base import DataSpec, TrainedConfig, TrainedModel, chunks, normal


class Config(TrainedConfig):
    """Parameters of a GAN. `learning_rate` is the generator's."""

    latent_dim: PositiveInt
    channels: list[PositiveInt] = Field(min_length=1)  # of the discriminator's convolutions, mirrored in the generator
    objective: Literal["non_saturating", "hinge"] = "non_saturating"
    discriminator_rate: float = Field(1.0, gt=0)  # learning rate of the discriminator, as a multiple of the generator's
    spectral_norm: bool = True  # bound the discriminator's slope (Miyato et al. 2018)
    r1: float = Field(0.0, ge=0)  # weight of the gradient penalty gamma/2 |grad D(x)|^2 on real images (Mescheder et al. 2018)
    grid: NonNegativeInt = 0  # pixel art drawn on so coarse a grid is generated on it and enlarged: 24 for punks; 0 = every pixel


class Model(TrainedModel):
    """Generator from `latent_dim` normal variables to images, and the discriminator that it was trained against."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        depth, height, width = data.shape
        self.drawn = (depth, config.grid or height, config.grid or width)  # the size at which G draws and D looks
        self.generator = nn.Sequential(layers.decoder(self.drawn, config.channels, config.latent_dim), nn.Tanh())
        self.discriminator = layers.encoder(self.drawn, config.channels, 1)
        for name, module in list(self.discriminator.named_children()):
            if isinstance(module, nn.BatchNorm2d):
                self.discriminator[int(name)] = nn.Identity()
            elif config.spectral_norm and isinstance(module, nn.Conv2d | nn.Linear):
                spectral_norm(module)
        self.register_buffer("enlarged", _nearest(self.drawn[1], height), persistent=False)
        self.register_buffer("centres", _nearest(height, self.drawn[1]), persistent=False)

    enlarged: Tensor
    centres: Tensor

    def players(self) -> dict[str, dict[str, nn.Parameter]]:
        """The discriminator, then the generator."""
        return {name: dict(getattr(self, name).named_parameters()) for name in ("discriminator", "generator")}

    def learning_rate(self, player: str) -> float:
        """Peak learning rate of one player."""
        return self.config.learning_rate * (self.config.discriminator_rate if player == "discriminator" else 1)

    def averaged(self) -> nn.Module:
        """The generator: samples are drawn from its averaged weights."""
        return self.generator

    def loss(self, batch: dict[str, Tensor], player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one player, mean over the batch."""
        real = batch["x"][..., self.centres, :][..., self.centres] * 2 - 1
        z = torch.randn(len(real), self.config.latent_dim, device=real.device)
        if player == "generator":
            fake = self.discriminator(self.generator(z)).float()
            loss = -fake.mean() if self.config.objective == "hinge" else F.softplus(-fake).mean()
            return loss, {"generator": loss.detach()}
        with torch.no_grad():
            drawn = self.generator(z)
        on_real, on_fake = self.discriminator(torch.cat([real, drawn.to(real.dtype)])).float().chunk(2)
        if self.config.objective == "hinge":
            loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        else:
            loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        figures = {"discriminator": loss.detach(), "D(x)": on_real.detach().mean(), "D(G(z))": on_fake.detach().mean()}
        if self.config.r1:
            x = real.requires_grad_()
            (slope,) = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=True)
            loss = loss + self.config.r1 / 2 * slope.float().square().sum((1, 2, 3)).mean()
        return loss, figures

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return G(z): images (N, C, H, W) in [0, 1] of latents (N, latent_dim)."""
        drawn = torch.cat([self.generator(part) for part in chunks(z)])
        return drawn[..., self.enlarged, :][..., self.enlarged].add(1).div(2)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]: G(z) at z ~ N(0, I)."""
        return self.decode(normal(n, self.config.latent_dim, seed, self.device))


def _nearest(source: int, target: int) -> Tensor:
    """Index of the source pixel whose cell holds the centre of each target pixel: enlarging and its exact inverse."""
    return torch.div((2 * torch.arange(target) + 1) * source, 2 * target, rounding_mode="floor")
