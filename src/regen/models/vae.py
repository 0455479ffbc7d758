"""Convolutional variational autoencoder (Kingma and Welling 2014; beta as in Higgins et al. 2017).

L = E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)), with q(z|x) = N(mu(x), diag sigma(x)^2), p(z) = N(0, I) and
KL = -1/2 sum(1 + log sigma^2 - mu^2 - sigma^2), in nats an image.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from regen.errors import UserError
from regen.models import layers, variational
from regen.models.base import DataSpec, chunks, normal
from regen.seeding import generator


class Config(layers.ConvolutionalConfig):
    """Parameters of a VAE."""

    hidden: int = Field(0, ge=0)  # units of a fully connected layer on either side of the latents; 0 = none
    beta: float = Field(1.0, ge=0)  # weight of the KL term; 0 leaves an autoencoder with noise in its latents
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    output_std: float = Field(0.0, ge=0)  # sigma of p(x|z), on the scale of the pixels that the networks see; 0 = learned,
    # one for all pixels. C of the form C ||x - x^||^2 is 1 / (2 sigma^2): sqrt(1/2) makes it 1

    @field_validator("likelihood")
    @classmethod
    def _of_pixels(cls, likelihood: str, info: ValidationInfo) -> str:
        if likelihood == "bernoulli" and info.data.get("standardise"):
            raise ValueError("gaussian where pixels are standardised, which no probability is")
        return likelihood


class Model(layers.ConvolutionalModel):
    """Encoder to the mean and log variance of `latent_dim` normal variables, and decoder back."""

    config: Config
    log_std: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        if config.hidden and config.spatial:
            raise UserError("hidden: 0 where latents are spatial: such a layer forgets where they were")
        inner = config.hidden or 2 * config.latent_dim
        encoder, decoder = layers.of_data(config, data, inner, config.hidden or config.latent_dim)
        self.encoder: nn.Module = encoder
        self.decoder: nn.Module = decoder
        if config.hidden:  # a linear map of a few latents spans no more than a plane of them
            head = [nn.BatchNorm1d(inner), nn.LeakyReLU(0.2), nn.Linear(inner, 2 * config.latent_dim)]
            self.encoder = nn.Sequential(encoder, *head)
            self.decoder = nn.Sequential(nn.Linear(config.latent_dim, inner), nn.BatchNorm1d(inner), nn.ReLU(), decoder)
        start = torch.tensor(math.log(config.output_std or 0.2))
        if config.likelihood == "gaussian" and not config.output_std:
            self.log_std = nn.Parameter(start)
        else:
            self.register_buffer("log_std", start)

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return -E[log p(x|z)] + beta KL in nats an image, mean over the batch, with one draw of z an image."""
        x = batch["x"]
        mu, log_variance = self._posterior(x)
        noise = torch.randn_like(mu)
        distortion = -self._log_likelihood(x, self.decoder(variational.draw(mu, log_variance, noise))).mean()
        rate = self._rate(mu, log_variance, noise).mean()
        loss = distortion + self.config.beta * rate
        return loss, {"loss": loss.detach(), "distortion": distortion.detach(), "rate": rate.detach()}

    @torch.no_grad()
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and sigma of q(z|x), each (N, latent_dim), for images (N, C, H, W) in [0, 1]."""
        parts = [self._posterior(part) for part in chunks(x)]
        return torch.cat([mu for mu, _ in parts]), torch.cat([torch.exp(log_variance / 2) for _, log_variance in parts])

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior means (N, latent_dim) of images (N, C, H, W) in [0, 1]."""
        return self.posterior(x)[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return E[x|z]: images (N, C, H, W) in [0, 1] of latents (N, latent_dim)."""
        return torch.cat([self.image(self.decoder(part)) for part in chunks(z)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return E[x|z] at z = mu(x): images (N, C, H, W) in [0, 1]."""
        return self.decode(self.encode(x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]: E[x|z] at z from the prior, without the pixel noise of p(x|z)."""
        return self.decode(self.sample_prior(n, seed))

    def sample_prior(self, n: int, seed: int = 0) -> Tensor:
        """Return n draws of p(z), (n, latent_dim)."""
        return normal(n, self.config.latent_dim, seed, self.device)

    @torch.no_grad()
    def elbo(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return E_q[log p(x|z)] (one draw of z) and KL(q(z|x) || p(z)), each (N,), in nats an image."""
        draws = generator(seed, "elbo")
        reconstruction, rate = [], []
        for part in chunks(x):
            mu, log_variance = self._posterior(part)
            noise = torch.randn(mu.shape, generator=draws).to(mu.device)
            reconstruction.append(self._log_likelihood(part, self.decoder(variational.draw(mu, log_variance, noise))))
            rate.append(self._rate(mu, log_variance, noise))
        return torch.cat(reconstruction), torch.cat(rate)

    @torch.no_grad()
    def log_likelihood_bound(self, x: Tensor, importance_samples: int = 50, seed: int = 0) -> Tensor:
        """Return log 1/K sum_k p(x, z_k) / q(z_k|x), (N,) in nats an image: tighter as K grows (Burda et al. 2016)."""
        draws = generator(seed, "importance")
        bounds = []
        for part in chunks(x):
            mu, log_variance = self._posterior(part)
            weights = []
            for _ in range(importance_samples):
                noise = torch.randn(mu.shape, generator=draws).to(mu.device)
                z = variational.draw(mu, log_variance, noise)
                log_posterior = variational.log_posterior(log_variance, noise)
                weights.append(self._log_likelihood(part, self.decoder(z)) + self._log_prior(z) - log_posterior)
            bounds.append(torch.logsumexp(torch.stack(weights), 0) - math.log(importance_samples))
        return torch.cat(bounds)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return variational.split(self.encoder(self.scaled(x)))

    def _rate(self, mu: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)), (N,), in nats."""
        return variational.kl(mu, log_variance)

    def _log_prior(self, z: Tensor) -> Tensor:
        """log p(z), (N,), without the factors of 2 pi, which cancel against those of q."""
        return -0.5 * z.square().sum(1)

    def _log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z), (N,), in nats an image: of pixel densities for `gaussian`, of probabilities for `bernoulli`."""
        if self.config.likelihood == "bernoulli":
            return -F.binary_cross_entropy_with_logits(output.float(), x, reduction="none").sum((1, 2, 3))
        unit = self.data.std if self.config.standardise else 1.0  # of a pixel, which densities are relative to
        log_std = self.log_std.clamp(min=-math.log(255 * unit))  # one grey level: finer, 8-bit pixels have no density
        squared = (self.scaled(x) - self.predicted(output)).square() * torch.exp(-2 * log_std)
        return -0.5 * (squared + 2 * log_std + math.log(2 * math.pi * unit**2)).sum((1, 2, 3))
