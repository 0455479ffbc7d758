"""The VAE's bounds, against independent ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from regen.errors import UserError
from tests.conftest import build

x = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def linear_gaussian(sigma=0.5):
    """A VAE whose decoder is made linear, so that p(x) is a Gaussian known in closed form."""
    model = build("vae", output_std=sigma).eval()
    W = torch.randn(4, 768, generator=torch.Generator().manual_seed(2)) * 0.05

    class Linear(torch.nn.Module):
        def forward(self, z):
            return torch.logit((0.5 + z @ W).clamp(1e-4, 1 - 1e-4)).view(-1, 3, 16, 16)

    class Posterior(torch.nn.Module):
        def forward(self, images):
            M = W @ W.T + sigma**2 * torch.eye(4)
            mean = (images.flatten(1) - 0.5) @ W.T @ torch.linalg.inv(M)
            variance = sigma**2 * torch.linalg.inv(M).diagonal()
            return torch.cat([mean, variance.log().expand(len(images), -1)], 1)

    model.decoder, model.encoder = Linear(), Posterior()
    covariance = (W.T @ W + sigma**2 * torch.eye(768)).double()
    exact = torch.distributions.MultivariateNormal(torch.full((768,), 0.5).double(), covariance).log_prob(x.flatten(1).double())
    return model, exact


def test_the_importance_weighted_bound_reaches_the_exact_likelihood_of_a_linear_gaussian_model():
    model, exact = linear_gaussian()
    bound = model.log_likelihood_bound(x, 500, seed=0).double()
    torch.testing.assert_close(bound, exact, atol=0.1, rtol=0)


def test_more_importance_samples_tighten_the_bound():
    model, exact = linear_gaussian()
    gaps = [float((exact - model.log_likelihood_bound(x, k, seed=1).double()).mean()) for k in (1, 10, 300)]
    assert gaps[0] > gaps[2] - 0.02
    assert abs(gaps[2]) < 0.1


def test_the_rate_is_the_divergence_of_torch_distributions():
    model = build("vae").eval()
    mu, sigma = model.posterior(x)
    expected = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(model.elbo(x, seed=0)[1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_the_distortion_is_the_log_density_of_torch_distributions(sigma):
    model = build("vae", output_std=sigma).eval()
    z = model.encode(x)
    expected = Normal(model.decode(z), sigma).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(model._log_likelihood(x, model.decoder(z)), expected, rtol=1e-4, atol=1e-2)


def test_the_loss_is_distortion_plus_beta_times_rate():
    model = build("vae", beta=3.0)
    loss, figures = model.loss({"x": x}, "network")
    torch.testing.assert_close(loss, figures["distortion"] + 3 * figures["rate"])


def test_the_elbo_is_below_the_importance_weighted_bound_on_average():
    model = build("vae").eval()
    reconstruction, rate = model.elbo(x, seed=0)
    assert float((reconstruction - rate).mean()) <= float(model.log_likelihood_bound(x, 100, seed=0).mean()) + 1e-3


def test_a_learned_output_deviation_never_falls_below_one_grey_level():
    model = build("vae")
    with torch.no_grad():
        model.log_std.fill_(-100.0)
    density = model._log_likelihood(x, torch.logit(x.clamp(1e-6, 1 - 1e-6)))
    assert float(density.detach().max()) <= 768 * (math.log(255) - 0.5 * math.log(2 * math.pi)) + 1e-2


def of_kinds(**changes):
    return build("vae", latent_dim=3, kinds=3, **changes).eval()


def test_a_prior_of_three_kinds_has_mean_0_and_covariance_i():
    means, stds = of_kinds()._prior()
    assert means.mean(0).numpy() == pytest.approx(np.zeros(3), abs=1e-6)
    covariance = means.T @ means / 3 + torch.diag(stds.square())
    assert covariance.numpy() == pytest.approx(np.eye(3), abs=1e-6)
    apart = (means[0] - means[1]).norm() / stds[0]
    assert float(apart) == pytest.approx(5 * math.sqrt(3), rel=1e-5)  # of a triangle in a circle of radius 5


def test_a_prior_of_three_kinds_is_the_mixture_s_density():
    model = of_kinds()
    means, stds = (part.double().numpy() for part in model._prior())
    z = np.random.default_rng(0).normal(size=(20, 3))
    density = np.mean([scipy.stats.multivariate_normal(mean, np.diag(stds**2)).pdf(z) for mean in means], 0)
    got = model._log_prior(torch.from_numpy(z).float()).numpy() - 1.5 * math.log(2 * math.pi)
    assert got == pytest.approx(np.log(density), abs=1e-4)


def test_the_rate_of_three_kinds_is_an_unbiased_estimate_of_the_divergence():
    model = of_kinds()
    mu, log_variance = torch.tensor([[0.3, 0.9, -0.4]]), torch.tensor([[-2.0, -3.0, -1.0]])
    estimates = model._rate(mu.expand(20000, 3), log_variance.expand(20000, 3), torch.randn(20000, 3, generator=draws(0)))
    axes = [
        np.linspace(float(m) - 6 * s, float(m) + 6 * s, 81) for m, s in zip(mu[0], (0.5 * log_variance[0]).exp(), strict=True)
    ]
    z = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1)
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    q = scipy.stats.multivariate_normal(mu[0].numpy(), np.diag(log_variance[0].exp().numpy())).pdf(z)
    log_p = model._log_prior(torch.from_numpy(z).float()).double().numpy() - 1.5 * math.log(2 * math.pi)
    divergence = float((q * (np.log(q + 1e-300) - log_p)).sum() * cell)
    assert float(estimates.mean()) == pytest.approx(divergence, abs=4 * float(estimates.std()) / math.sqrt(20000))


def test_samples_of_three_kinds_come_from_all_of_them():
    model = of_kinds()
    seen = {}
    model.decode = lambda z: seen.setdefault("z", z)
    model.sample(3000, seed=1)
    means, stds = model._prior()
    nearest = torch.cdist(seen["z"], means).argmin(1)
    assert torch.bincount(nearest).tolist() == pytest.approx([1000] * 3, abs=120)
    assert float((seen["z"] - means[nearest])[:, 0].std()) == pytest.approx(float(stds[0]), rel=0.1)


@pytest.mark.parametrize("changes", [{"kinds": 2}, {"kinds": 3, "latent_dim": 1}])
def test_a_prior_without_room_is_refused(changes):
    with pytest.raises(UserError, match="kinds of 1, or of 3 or more"):
        build("vae", **changes)


def draws(seed):
    return torch.Generator().manual_seed(seed)
