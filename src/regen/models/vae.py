"""Convolutional variational autoencoder (Kingma and Welling 2014; beta as in Higgins et al. 2017).

L = E_q[-log p(x|z)] + beta KL(q(z|x) || N(0, I)), with q(z|x) = N(mu(x), diag sigma(x)^2) and
KL = -1/2 sum(1 + log sigma^2 - mu^2 - sigma^2), in nats an image.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from regen.models import layers
from regen.models.base import DataSpec, TrainedConfig, TrainedModel, chunks, normal
from regen.seeding import generator


class Config(TrainedConfig):
    """Parameters of a VAE."""

    latent_dim: PositiveInt
    channels: list[PositiveInt] = Field(
        min_length=1
    )  # of the encoder's convolutions, each halving the image; mirrored in the decoder
    hidden: int = Field(0, ge=0)  # units of a fully connected layer on either side of the latents; 0 = none
    beta: float = Field(1.0, ge=0)  # weight of the KL term; 0 leaves an autoencoder with noise in its latents
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    output_std: float = Field(
        0.0, ge=0
    )  # sigma of p(x|z); 0 = learned, one for all pixels. C of the C ||x - x^||^2 form is 1 / (2 sigma^2)


class Model(TrainedModel):
    """Encoder to the mean and log variance of `latent_dim` normal variables, and decoder back."""

    config: Config
    log_std: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        inner = config.hidden or 2 * config.latent_dim
        self.encoder: nn.Module = layers.encoder(data.shape, config.channels, inner)
        self.decoder: nn.Module = layers.decoder(data.shape, config.channels, config.hidden or config.latent_dim)
        if config.hidden:  # few latents need it: a linear map of two numbers is a plane
            head = [nn.BatchNorm1d(inner), nn.LeakyReLU(0.2), nn.Linear(inner, 2 * config.latent_dim)]
            self.encoder = nn.Sequential(self.encoder, *head)
            self.decoder = nn.Sequential(nn.Linear(config.latent_dim, inner), nn.BatchNorm1d(inner), nn.ReLU(), self.decoder)
        start = torch.tensor(math.log(config.output_std or 0.2))
        if config.likelihood == "gaussian" and not config.output_std:
            self.log_std = nn.Parameter(start)
        else:
            self.register_buffer("log_std", start)

    def loss(self, batch: dict[str, Tensor], player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return -E[log p(x|z)] + beta KL in nats an image, mean over the batch, with one draw of z an image."""
        x = batch["x"]
        mu, log_variance = self._posterior(x)
        z = mu + torch.exp(log_variance / 2) * torch.randn_like(mu)
        distortion = -self._log_likelihood(x, self.decoder(z).float()).mean()
        rate = _kl(mu, log_variance).mean()
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
        return torch.cat([self.decoder(part).sigmoid() for part in chunks(z)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return E[x|z] at z = mu(x): images (N, C, H, W) in [0, 1]."""
        return self.decode(self.encode(x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]: E[x|z] at z ~ N(0, I), without the pixel noise of p(x|z)."""
        return self.decode(normal(n, self.config.latent_dim, seed, self.device))

    @torch.no_grad()
    def elbo(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return E_q[log p(x|z)] (one draw of z) and KL(q(z|x) || N(0, I)), each (N,), in nats an image."""
        draws = generator(seed, "elbo")
        reconstruction, rate = [], []
        for part in chunks(x):
            mu, log_variance = self._posterior(part)
            z = mu + torch.exp(log_variance / 2) * torch.randn(mu.shape, generator=draws).to(mu.device)
            reconstruction.append(self._log_likelihood(part, self.decoder(z)))
            rate.append(_kl(mu, log_variance))
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
                z = mu + torch.exp(log_variance / 2) * noise
                log_prior = -0.5 * z.square().sum(1)  # the factors of 2 pi cancel against those of q
                log_posterior = -0.5 * (noise.square() + log_variance).sum(1)
                weights.append(self._log_likelihood(part, self.decoder(z)) + log_prior - log_posterior)
            bounds.append(torch.logsumexp(torch.stack(weights), 0) - math.log(importance_samples))
        return torch.cat(bounds)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_variance = self.encoder(x).float().chunk(2, dim=1)
        return mu, log_variance.clamp(-20, 10)  # exp() of an untrained network's output stays finite

    def _log_likelihood(self, x: Tensor, logits: Tensor) -> Tensor:
        """log p(x|z), (N,), in nats an image: of pixel densities for `gaussian`, of probabilities for `bernoulli`."""
        if self.config.likelihood == "bernoulli":
            return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
        log_std = self.log_std.clamp(min=-math.log(255))  # one grey level: finer, the density of 8-bit pixels has no bound
        squared = (x - logits.sigmoid()).square() * torch.exp(-2 * log_std)
        return -0.5 * (squared + 2 * log_std + math.log(2 * math.pi)).sum((1, 2, 3))


def _kl(mu: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)), (N,), in nats."""
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(1)
