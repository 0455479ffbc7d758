"""The VAE's bounds, against independent ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from regen import families
from regen.errors import UserError
from regen.models.base import DataSpec
from regen.seeding import generator
from tests.conftest import block, build

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


# -- standardised pixels, as of tiles

TILE = DataSpec(dataset="toy", kind="brains", shape=(1, 64, 64), mean=0.6, std=0.2)
SCALED = {"batch_norm": False, "standardise": True}
tiles = torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def of_tiles(**changes):
    spec = DataSpec(dataset="toy", kind="brains", shape=(1, 16, 16), mean=0.6, std=0.2)
    return families.build(families.config(block("vae", **SCALED, **changes), "vae"), spec).eval()


def test_the_reference_s_network_of_tiles_has_its_255_393_parameters():
    config = block("vae", latent_dim=128, channels=[16, 16, 32, 32], output_std=math.sqrt(0.5), **SCALED)
    model = families.build(families.config(config, "vae"), TILE)
    assert sum(parameter.numel() for parameter in model.parameters()) == 255_393


def test_with_an_output_deviation_of_root_half_the_loss_is_the_squared_error_of_a_deviation_plus_beta_times_the_divergence():
    model = of_tiles(beta=2.5, output_std=math.sqrt(0.5))
    mu, sigma = model.posterior(tiles)
    rate = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(1).mean()
    torch.manual_seed(3)
    loss, figures = model.loss({"x": tiles}, "network")
    torch.manual_seed(3)
    z = mu + sigma * torch.randn_like(mu)
    error = ((model.decoder(z) - (tiles - 0.6) / 0.2) ** 2).flatten(1).sum(1).mean()
    constant = 256 * 0.5 * math.log(math.pi * 0.2**2)  # of the density N(x; x^, 0.2^2 / 2), whatever x^ is
    torch.testing.assert_close(figures["rate"], rate)
    torch.testing.assert_close(figures["distortion"], (error + constant).detach())
    torch.testing.assert_close(loss, error + constant + 2.5 * rate)


@pytest.mark.parametrize("sigma", [0.3, math.sqrt(0.5)])
def test_the_elbo_of_standardised_pixels_is_a_density_of_pixels_in_the_unit_range(sigma):
    model = of_tiles(output_std=sigma)
    mu, deviation = model.posterior(tiles)
    z = mu + deviation * torch.randn(mu.shape, generator=generator(5, "elbo"))
    with torch.no_grad():
        expected = Normal(0.6 + 0.2 * model.decoder(z), 0.2 * sigma).log_prob(tiles).sum((1, 2, 3))
    torch.testing.assert_close(model.elbo(tiles, seed=5)[0], expected, rtol=1e-4, atol=1e-2)


def test_images_of_standardised_pixels_are_the_decoder_s_output_on_the_scale_of_pixels():
    model = of_tiles()
    z = torch.randn(3, 4)
    with torch.no_grad():
        torch.testing.assert_close(model.decode(z), (0.6 + 0.2 * model.decoder(z)).clamp(0, 1))


def test_a_learned_deviation_of_standardised_pixels_never_falls_below_one_grey_level():
    model = of_tiles()
    with torch.no_grad():
        model.log_std.fill_(-100.0)
        density = model._log_likelihood(tiles, (tiles - 0.6) / 0.2)
    assert float(density.max()) == pytest.approx(256 * (math.log(255) - 0.5 * math.log(2 * math.pi)), rel=1e-4)


def test_probabilities_of_standardised_pixels_are_refused():
    with pytest.raises(UserError, match=r"vae: likelihood: expected gaussian where pixels are standardised, .* got 'bernoulli'"):
        of_tiles(likelihood="bernoulli")


def test_a_bernoulli_likelihood_is_the_cross_entropy_of_the_pixels():
    model = build("vae", likelihood="bernoulli").eval()
    z = model.encode(x)
    with torch.no_grad():
        p = model.decode(z).double()
        expected = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
        torch.testing.assert_close(model._log_likelihood(x, model.decoder(z)).double(), expected, rtol=1e-4, atol=1e-3)


def test_a_layer_that_forgets_places_is_refused_where_latents_keep_theirs():
    with pytest.raises(UserError, match="hidden: 0 where latents are spatial"):
        build("vae", spatial=True, latent_dim=16, hidden=8)
