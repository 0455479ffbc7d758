"""VaDE: a variational autoencoder whose prior is a mixture of Gaussians, learned with it (Jiang et al. 2017).

p(z) = sum_c pi_c N(z; mu_c, diag sigma_c^2). With the best q(c|x), which is E_q(z|x)[p(c|z)] as in equation 16, the bound is

    E_q(z|x)[log p(x|z) + log p(z) - log q(z|x)],

estimated at one draw of z, as that of a VAE (equation 8 with the sum over c carried out). No label is seen. Jiang et al. begin
with a trained autoencoder and a mixture fitted to its latents; here the mixture is held still for the first `prior_steps`.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn
from torch.nn import functional as F

from regen.models import vae, variational
from regen.models.base import DataSpec, normal
from regen.seeding import generator

BOUNDS = -10, 10  # of the prior's log variances, so that no component collapses onto an example


class Config(vae.Config):
    """Parameters of VaDE."""

    components: int = Field(ge=2)  # K
    separation: float = Field(2.0, gt=0)  # distance of the means from 0 when training begins, in deviations of a component
    prior_steps: NonNegativeInt = 0  # steps of training in which the mixture keeps its beginning, until the encoder has found it


class Model(vae.Model):
    """A VAE with the weights, means and variances of its prior as parameters."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        directions = nn.init.orthogonal_(torch.empty(max(config.components, config.latent_dim), config.latent_dim))
        if config.latent_dim == 2:  # no more than two directions are orthogonal: evenly on a circle
            angles = torch.arange(config.components) * (2 * math.pi / config.components)
            directions = torch.stack([angles.sin(), angles.cos()], 1)
        elif config.latent_dim > 2:  # where there are more components than directions, rows of no unit length
            directions = F.normalize(directions)
        self.prior_logits = nn.Parameter(torch.zeros(config.components))  # log pi_c, up to a constant
        self.prior_means = nn.Parameter(config.separation * directions[: config.components])  # (K, d)
        self.prior_log_variances = nn.Parameter(torch.zeros(config.components, config.latent_dim))

    @torch.no_grad()
    def responsibilities(self, z: Tensor) -> Tensor:
        """Return p(c|z), (N, K), of latents (N, latent_dim)."""
        return self._joint(z).softmax(1)

    @torch.no_grad()
    def sample_prior(self, n: int, seed: int = 0) -> Tensor:
        """Return n draws of the mixture, (n, latent_dim)."""
        weights = self.prior_logits.softmax(0).cpu()
        c = torch.multinomial(weights, n, replacement=True, generator=generator(seed, "components")).to(self.device)
        noise = normal(n, self.config.latent_dim, seed, self.device)
        return variational.draw(self.prior_means[c], self.prior_log_variances.clamp(*BOUNDS)[c], noise)

    def _rate(self, mu: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
        """An unbiased estimate of KL(q(z|x) || p(z)), (N,), in nats: log q(z|x) - log p(z) at one draw."""
        z = variational.draw(mu, log_variance, noise)
        return variational.log_posterior(log_variance, noise) - self._log_prior(z)

    def _log_prior(self, z: Tensor) -> Tensor:
        return torch.logsumexp(self._joint(z), 1)

    def _joint(self, z: Tensor) -> Tensor:
        """log pi_c N(z; mu_c, diag sigma_c^2), (N, K), without the factors of 2 pi."""
        logits, means, log_variances = self.prior_logits, self.prior_means, self.prior_log_variances.clamp(*BOUNDS)
        if self.training and self.step < self.config.prior_steps:
            logits, means, log_variances = logits.detach(), means.detach(), log_variances.detach()  # type: ignore[assignment]
        squares = (z[:, None] - means).square() * torch.exp(-log_variances)
        return logits.log_softmax(0) - 0.5 * (squares + log_variances).sum(2)
