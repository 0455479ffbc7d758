"""VaDE: a variational autoencoder whose prior is a mixture of Gaussians, learned with it (Jiang et al. 2017).

p(z) = sum_c pi_c N(z; mu_c, diag sigma_c^2). With the best q(c|x), which is E_q(z|x)[p(c|z)] as in equation 16, the bound is

    E_q(z|x)[log p(x|z) + log p(z) - log q(z|x)],

estimated at one draw of z, as that of a VAE (equation 8 with the sum over c carried out). No label is seen. As published,
training begins with the autoencoder alone, for `pretrain_steps`, and the prior with a mixture that EM fits to its latents.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from regen.models import vae, variational
from regen.models.base import DataSpec, normal
from regen.seeding import generator

RESTARTS, REGULARISATION = 10, 1e-4  # of EM: from so many starts the best; added to variances
BOUNDS = -10, 10  # of the prior's log variances, so that no component collapses onto an example


class Config(vae.Config):
    """Parameters of VaDE."""

    components: int = Field(ge=2, le=10_000)  # K
    pretrain_steps: NonNegativeInt = 0  # steps of the autoencoder alone, before the mixture; 0 = the mixture begins at random


class Model(vae.Model):
    """A VAE with the weights, means and variances of its prior as parameters."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.prior_logits = nn.Parameter(torch.zeros(config.components))  # log pi_c, up to a constant
        self.prior_means = nn.Parameter(torch.randn(config.components, config.latent_dim))  # (K, d)
        self.prior_log_variances = nn.Parameter(torch.zeros(config.components, config.latent_dim))

    @property
    def pretrained_at(self) -> int:
        """The step at which the mixture is fitted to the autoencoder's latents."""
        return self.config.pretrain_steps

    def loss(self, batch: dict[str, Tensor], network: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the VAE's loss with this prior, and while it pretrains -log p(x|z) at z = mu(x), in nats an image."""
        if not self.training or self.step >= self.config.pretrain_steps:
            return super().loss(batch, network)
        mu, _ = self._posterior(batch["x"])
        distortion = -self._log_likelihood(batch["x"], self.decoder(mu)).mean()
        detached = distortion.detach()
        return distortion, {"loss": detached, "distortion": detached, "rate": torch.zeros_like(detached)}

    @torch.no_grad()
    def end_pretraining(self, images: Iterable[Tensor]) -> None:
        """Begin the prior as the mixture of diagonal Gaussians that EM fits to the latents of images (N, C, H, W) in [0, 1]."""
        from sklearn.mixture import GaussianMixture  # takes a second to import

        latents = torch.cat([self.encode(x).double().cpu() for x in images])
        draws = int(torch.randint(2**31, ()))
        mixture = GaussianMixture(
            self.config.components, covariance_type="diag", n_init=RESTARTS, reg_covar=REGULARISATION, random_state=draws
        ).fit(latents.numpy())
        self.prior_logits.copy_(torch.from_numpy(mixture.weights_).log())
        self.prior_means.copy_(torch.from_numpy(mixture.means_))
        self.prior_log_variances.copy_(torch.from_numpy(mixture.covariances_).log())

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
        squares = (z[:, None] - means).square() * torch.exp(-log_variances)
        return logits.log_softmax(0) - 0.5 * (squares + log_variances).sum(2)
