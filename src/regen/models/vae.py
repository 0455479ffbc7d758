"""Convolutional variational autoencoder (Kingma and Welling 2014; beta as in Higgins et al. 2017).

L = E_q[-log p(x|z)] + beta KL(q(z|x) || N(0, I)), with q(z|x) = N(mu(x), diag sigma(x)^2) and
KL = -1/2 sum(1 + log sigma^2 - mu^2 - sigma^2), in nats an image.

Where the data are known to be of K kinds, the prior may be K Gaussians instead of one (Dilokthanakul et al. 2016, in its
simplest form: they are fixed). Seen from afar it is still N(0, I): its mean is 0, its covariance I.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
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
    kinds: PositiveInt = 1  # K of the prior: 1 = N(0, I); 3 or more = so many equal Gaussians, on a circle in two dimensions
    separation: PositiveFloat = 5.0  # radius of that circle, in standard deviations of one of them
    beta: float = Field(1.0, ge=0)  # weight of the KL term; 0 leaves an autoencoder with noise in its latents
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    output_std: float = Field(
        0.0, ge=0
    )  # sigma of p(x|z); 0 = learned, one for all pixels. C of the C ||x - x^||^2 form is 1 / (2 sigma^2)

    @model_validator(mode="after")
    def _prior_has_room(self) -> Self:
        if self.kinds == 2 or (self.kinds > 1 and self.latent_dim < 2):
            raise ValueError("kinds of 1, or of 3 or more in at least two latent dimensions")
        return self


class Model(TrainedModel):
    """Encoder to the mean and log variance of `latent_dim` normal variables, and decoder back."""

    config: Config
    log_std: Tensor

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        inner = config.hidden or 2 * config.latent_dim
        self.encoder: nn.Module = layers.encoder(data.expect(3, "images"), config.channels, inner)
        self.decoder: nn.Module = layers.decoder(data.expect(3, "images"), config.channels, config.hidden or config.latent_dim)
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
        noise = torch.randn_like(mu)
        z = mu + torch.exp(log_variance / 2) * noise
        distortion = -self._log_likelihood(x, self.decoder(z).float()).mean()
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
        return torch.cat([self.decoder(part).sigmoid() for part in chunks(z)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return E[x|z] at z = mu(x): images (N, C, H, W) in [0, 1]."""
        return self.decode(self.encode(x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return n new images (n, C, H, W) in [0, 1]: E[x|z] at z from the prior, without the pixel noise of p(x|z)."""
        z = normal(n, self.config.latent_dim, seed, self.device)
        if self.config.kinds > 1:
            means, stds = self._prior()
            drawn = torch.randint(self.config.kinds, (n,), generator=generator(seed, "kinds")).to(z.device)
            z = means[drawn] + stds * z
        return self.decode(z)

    @torch.no_grad()
    def elbo(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return E_q[log p(x|z)] (one draw of z) and KL(q(z|x) || p(z)), each (N,), in nats an image."""
        draws = generator(seed, "elbo")
        reconstruction, rate = [], []
        for part in chunks(x):
            mu, log_variance = self._posterior(part)
            noise = torch.randn(mu.shape, generator=draws).to(mu.device)
            z = mu + torch.exp(log_variance / 2) * noise
            reconstruction.append(self._log_likelihood(part, self.decoder(z)))
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
                z = mu + torch.exp(log_variance / 2) * noise
                log_posterior = -0.5 * (noise.square() + log_variance).sum(1)  # without the factors of 2 pi, as the prior
                weights.append(self._log_likelihood(part, self.decoder(z)) + self._log_prior(z) - log_posterior)
            bounds.append(torch.logsumexp(torch.stack(weights), 0) - math.log(importance_samples))
        return torch.cat(bounds)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_variance = self.encoder(x).float().chunk(2, dim=1)
        return mu, log_variance.clamp(-20, 10)  # exp() of an untrained network's output stays finite

    def _rate(self, mu: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)), (N,), in nats; of several kinds an unbiased estimate, log q(z|x) - log p(z) at one draw."""
        if self.config.kinds == 1:
            return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(1)
        z = mu + torch.exp(log_variance / 2) * noise
        return -0.5 * (noise.square() + log_variance).sum(1) - self._log_prior(z)

    def _log_prior(self, z: Tensor) -> Tensor:
        """log p(z), (N,), without the factors of 2 pi, which cancel against those of q."""
        if self.config.kinds == 1:
            return -0.5 * z.square().sum(1)
        means, stds = self._prior()
        squares = ((z[:, None] - means) / stds).square().sum(2)  # (N, K)
        return torch.logsumexp(-0.5 * squares, 1) - math.log(self.config.kinds) - stds.log().sum()

    def _prior(self) -> tuple[Tensor, Tensor]:
        """Means (K, latent_dim) of the prior's Gaussians and their common standard deviations (latent_dim,)."""
        K, q = self.config.kinds, self.config.separation
        std = 1 / math.sqrt(1 + q**2 / 2)  # of the circle's two dimensions: with the means' variance q^2 std^2 / 2 it makes 1
        angles = torch.arange(K, device=self.device) * (2 * math.pi / K)
        means = F.pad(q * std * torch.stack([angles.sin(), angles.cos()], 1), (0, self.config.latent_dim - 2))
        stds = torch.ones(self.config.latent_dim, device=self.device)
        stds[:2] = std
        return means, stds

    def _log_likelihood(self, x: Tensor, logits: Tensor) -> Tensor:
        """log p(x|z), (N,), in nats an image: of pixel densities for `gaussian`, of probabilities for `bernoulli`."""
        if self.config.likelihood == "bernoulli":
            return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
        log_std = self.log_std.clamp(min=-math.log(255))  # one grey level: finer, the density of 8-bit pixels has no bound
        squared = (x - logits.sigmoid()).square() * torch.exp(-2 * log_std)
        return -0.5 * (squared + 2 * log_std + math.log(2 * math.pi)).sum((1, 2, 3))
