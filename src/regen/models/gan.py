"""Deep convolutional generative adversarial network (Goodfellow et al. 2014; Radford et al. 2016).

min_G max_D E log D(x) + E log(1 - D(G(z))), z ~ N(0, I). The two networks take turns at every step. What they minimise is,
with d the discriminator's logit and f(t) = log(1 + e^-t):

* `non_saturating`: D: f(d(x)) + f(-d(G(z))); G: f(d(G(z))).
* `hinge` (Lim and Ye 2017): D: max(0, 1 - d(x)) + max(0, 1 + d(G(z))); G: -d(G(z)).
* `relativistic` (Jolicoeur-Martineau 2019): D: f(d(x) - d(G(z))); G: f(d(G(z)) - d(x)).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from regen.models import layers
from regen.models.base import DataSpec, TrainedConfig, TrainedModel, chunks, normal


class Config(TrainedConfig):
    """Parameters of a GAN. `learning_rate` is the generator's."""

    latent_dim: PositiveInt
    channels: list[PositiveInt] = Field(min_length=1)  # of both networks, after each halving of the image
    objective: Literal["non_saturating", "hinge", "relativistic"] = "non_saturating"
    discriminator_norm: Literal["batch", "spectral", "none"] = "batch"  # spectral bounds its slope (Miyato et al. 2018)
    discriminator_rate: float = Field(1.0, gt=0)  # learning rate of the discriminator, as a multiple of the generator's
    r1: float = Field(0.0, ge=0)  # weight of gamma/2 |grad d(x)|^2 on real images (Mescheder et al. 2018)
    r2: float = Field(0.0, ge=0)  # the same on generated images
    patience: Literal[0] = 0  # neither network's loss tells how good the images are
    penalty_every: PositiveInt = 1  # r1 and r2 apply at every such step, with so many times the weight (Karras et al. 2020)

    @field_validator("r1", "r2")
    @classmethod
    def _of_no_compiled_network(cls, weight: float, info: ValidationInfo) -> float:
        if weight and info.data.get("compile"):
            raise ValueError("0 where compile is true, as torch.compile has no second derivatives")
        return weight


class Model(TrainedModel):
    """Generator from `latent_dim` normal variables to images, and the discriminator that it was trained against."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        shape = data.expect(3, "images")
        self.generator = nn.Sequential(layers.decoder(shape, config.channels, config.latent_dim), nn.Tanh())
        self.discriminator = discriminator(shape, config.channels, config.discriminator_norm)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, 0, 0.02)  # Radford et al. 2016, section 4
        if config.discriminator_norm == "spectral":
            for layer in self.discriminator:
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)
        self._drawn = torch.empty(0)  # one forward pass of G serves both networks of a step, but for parts of a batch

    def networks(self) -> dict[str, dict[str, nn.Parameter]]:
        """The discriminator, then the generator."""
        return {name: dict(getattr(self, name).named_parameters()) for name in ("discriminator", "generator")}

    def learning_rate(self, network: str) -> float:
        """Peak learning rate of one network."""
        return self.config.learning_rate * (self.config.discriminator_rate if network == "discriminator" else 1)

    def averaged(self) -> nn.Module:
        """The generator: samples are drawn from its averaged weights."""
        return self.generator

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one network, mean over the batch. The generator's turn follows the discriminator's."""
        real = batch["x"] * 2 - 1
        if network == "generator":
            drawn, self._drawn = self._drawn, torch.empty(0)
            loss = self._generator_loss(real, drawn if len(drawn) else self._draw(len(real)))
            return loss, {"generator": loss.detach()}
        drawn = self._draw(len(real))
        self._drawn = torch.empty(0) if self.config.microbatch else drawn  # of many, only the last ones could be kept
        drawn = drawn.detach().to(real.dtype)
        on_real, on_drawn = self._logit(real), self._logit(drawn)
        if self.config.objective == "hinge":
            loss = F.relu(1 - on_real).mean() + F.relu(1 + on_drawn).mean()
        elif self.config.objective == "relativistic":
            loss = F.softplus(on_drawn - on_real).mean()
        else:
            loss = F.softplus(-on_real).mean() + F.softplus(on_drawn).mean()
        figures = {"discriminator": loss.detach(), "realness_gap": (on_real - on_drawn).detach().mean()}
        if self.step % self.config.penalty_every == 0:
            for images, weight in ((real, self.config.r1), (drawn, self.config.r2)):
                if weight:
                    loss = loss + weight / 2 * self.config.penalty_every * self._squared_slope(images)
        return loss, figures

    def _draw(self, count: int) -> Tensor:
        drawn: Tensor = self.generator(torch.randn(count, self.config.latent_dim, device=self.device))
        return drawn

    def recalibrate(self) -> None:
        """Recompute the generator's batch statistics with its averaged weights: an average of statistics is not theirs."""
        norms = [module for module in self.generator.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        training = self.generator.training
        self.generator.train()
        with torch.no_grad():
            for z in chunks(normal(2048, self.config.latent_dim, 0, self.device), 256):
                self.generator(z)
        self.generator.train(training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return G(z): images (N, C, H, W) in [0, 1] of latents (N, latent_dim)."""
        return torch.cat([self.generator(part) for part in chunks(z)]).add(1).div(2)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]: G(z) at z ~ N(0, I)."""
        return self.decode(normal(n, self.config.latent_dim, seed, self.device))

    def _logit(self, x: Tensor) -> Tensor:
        logit: Tensor = self.discriminator(x).float()
        return logit[:, 0]

    def _generator_loss(self, real: Tensor, drawn: Tensor) -> Tensor:
        on_drawn = self._logit(drawn)
        if self.config.objective == "hinge":
            return -on_drawn.mean()
        if self.config.objective == "relativistic":
            with torch.no_grad():  # d(x) does not depend on G
                on_real = self._logit(real)
            return F.softplus(on_real - on_drawn).mean()
        return F.softplus(-on_drawn).mean()

    def _squared_slope(self, images: Tensor) -> Tensor:
        x = images.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self._logit(x).sum(), x, create_graph=True)
        return slope.float().square().sum((1, 2, 3)).mean()


def discriminator(shape: tuple[int, ...], channels: list[int], norm: str) -> nn.Sequential:
    """Return a network from images of `shape` (C, H, W) to a logit (N, 1); no batch normalisation after the first convolution."""
    height, width = layers.smallest(shape, channels)
    stack: list[nn.Module] = []
    for before, count in zip([shape[0], *channels], channels, strict=False):
        normed = norm == "batch" and bool(stack)
        stack.append(nn.Conv2d(before, count, 4, 2, 1, bias=not normed))
        stack += [nn.BatchNorm2d(count), nn.LeakyReLU(0.2, inplace=True)] if normed else [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*stack, nn.Flatten(), nn.Linear(channels[-1] * height * width, 1))
