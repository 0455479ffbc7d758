"""The aggregate posterior, q(z) = E_x q(z|x), against the prior: where the decoder has learned, and where it is asked."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from regen.metrics.bootstrap import standard_error
from regen.metrics.values import Measured, features, measured

ACTIVE = 0.01  # variance of a posterior mean, over tiles, above which its latent says something (Burda et al. 2016)


def moments(mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and covariance (d, d) of q(z) from posterior means and deviations (N, d).

    Cov[z] = Cov[mu] + E[diag sigma^2], the law of total covariance.
    """
    mu, sigma = features(mu, "posterior means"), features(sigma, "posterior deviations")
    centred = mu - mu.mean(0)
    return mu.mean(0), centred.T @ centred / len(mu) + torch.diag(sigma.square().mean(0))


def aggregate_measures(mu: Tensor, sigma: Tensor) -> Measured:
    """Return, of posterior means and deviations (N, d):

    * aggregate_divergence: KL(N(m, S) || N(0, I)) in nats with q(z)'s mean and covariance, (tr S + m'm - d - log det S) / 2:
      the part of the rate that says nothing of the tile, and how far draws of the prior are from what was decoded in training.
      Its bound is 0.
    * active_latents: latents whose posterior mean varies; the bound is d, all of them.

    Errors are bootstrapped over tiles.

    Raises:
        UserError: values that are not finite.
    """
    both = torch.stack([features(mu, "posterior means"), features(sigma, "posterior deviations")], 1)  # (N, 2, d)
    figures = {"aggregate_divergence": (_divergence, 0.0), "active_latents": (_active, both.shape[2])}
    return {
        name: measured(float(figure(both)), standard_error(figure, both), bound=bound)
        for name, (figure, bound) in figures.items()
    }


def _divergence(both: Tensor) -> Tensor:
    mean, covariance = moments(*both.unbind(1))
    divergence: Tensor = 0.5 * (covariance.trace() + mean @ mean - len(mean) - torch.linalg.slogdet(covariance).logabsdet)
    return divergence


def _active(both: Tensor) -> Tensor:
    return (both[:, 0].var(0, correction=0) > ACTIVE).sum()


def variances(mu: Tensor, sigma: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return lines to draw: each latent's Var[mu], E[sigma^2] and their sum, 1 in the prior, by falling variance of its mean."""
    of_means, of_draws = mu.double().var(0, correction=0), sigma.double().square().mean(0)
    order = of_means.argsort(descending=True)
    place = np.arange(1, len(order) + 1)
    lines = {"variance of means": of_means, "mean variance": of_draws, "aggregate": of_means + of_draws}
    return {name: (place, values[order].numpy()) for name, values in lines.items()}


def norms(mu: Tensor, sigma: Tensor, noise: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return lines to draw: densities of ||z|| under the aggregate posterior, z = mu + sigma noise, and under the prior."""
    from scipy.stats import chi

    length = (mu + sigma * noise).double().norm(dim=1).numpy()
    d = mu.shape[1]
    low, high = min(length.min(), chi.ppf(1e-4, d)), max(np.quantile(length, 0.995), chi.ppf(0.9999, d))
    edges = np.linspace(low, high, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.histogram(length, edges)[0] / len(length) / (edges[1] - edges[0])
    return {"aggregate posterior": (middle, density), "prior": (middle, chi.pdf(middle, d))}
