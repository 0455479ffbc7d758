"""What variational models share: the reparameterised posterior and its divergence from N(0, I) (Kingma and Welling 2014)."""

from __future__ import annotations

import torch
from torch import Tensor


def split(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu and log sigma^2, each (N, d) in fp32, of an encoder's output (N, 2 d).

    log sigma^2 is held within [-20, 10], so that exp() of an untrained network's output stays finite.
    """
    mu, log_variance = output.float().chunk(2, dim=1)
    return mu, log_variance.clamp(-20, 10)


def draw(mu: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Return z = mu + sigma noise, (N, d)."""
    return mu + torch.exp(log_variance / 2) * noise


def kl(mu: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mu, diag sigma^2) || N(0, I)) = -1/2 sum(1 + log sigma^2 - mu^2 - sigma^2), (N,), in nats."""
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(1)


def log_posterior(log_variance: Tensor, noise: Tensor) -> Tensor:
    """Return log q(z|x) at z = mu + sigma noise, (N,), in nats, without the factors of 2 pi, which cancel against the prior's."""
    return -0.5 * (noise.square() + log_variance).sum(1)
