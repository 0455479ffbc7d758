"""VaDE: its learned mixture prior and its bound, against torch.distributions and numerical integrals."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from regen import families
from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.errors import UserError
from regen.seeding import generator
from regen.training.loop import train
from tests.conftest import build

x = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def learned(**changes):
    """A model whose prior has unequal weights, means and variances, as after a training."""
    model = build("vade", **changes).eval()
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        model.prior_logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        model.prior_means.copy_(torch.randn(model.prior_means.shape, generator=draws) * 1.5)
        model.prior_log_variances.copy_(torch.randn(model.prior_log_variances.shape, generator=draws))
    return model


def prior(model):
    """The same prior by torch.distributions."""
    components = Normal(model.prior_means.detach(), torch.exp(model.prior_log_variances.detach() / 2))
    return MixtureSameFamily(Categorical(logits=model.prior_logits.detach()), Independent(components, 1))


def test_the_prior_is_the_mixture_s_density():
    model = learned()
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)) * 2
    density = model._log_prior(z).detach() - 4 * HALF_LOG_TAU  # which is left out, as it cancels against q's
    torch.testing.assert_close(density, prior(model).log_prob(z), rtol=1e-5, atol=1e-4)


def test_responsibilities_are_those_of_bayes_rule():
    model = learned()
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)) * 2
    mixture = prior(model)
    joint = mixture.mixture_distribution.probs * mixture.component_distribution.log_prob(z[:, None]).exp()
    torch.testing.assert_close(model.responsibilities(z), joint / joint.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_the_bound_is_the_expected_log_likelihood_less_log_q_over_the_prior_at_one_draw():
    model = learned()
    mu, sigma = model.posterior(x)
    z = mu + sigma * torch.randn(mu.shape, generator=generator(3, "elbo"))
    reconstruction, rate = model.elbo(x, seed=3)
    with torch.no_grad():
        expected = model._log_likelihood(x, model.decoder(z))
    torch.testing.assert_close(reconstruction, expected)
    torch.testing.assert_close(rate, Normal(mu, sigma).log_prob(z).sum(1) - prior(model).log_prob(z), rtol=1e-4, atol=1e-3)


def test_the_loss_is_the_negative_bound_with_beta_1():
    model = learned()
    loss, figures = model.loss({"x": x}, "network")
    torch.testing.assert_close(loss.detach(), figures["distortion"] + figures["rate"])


def test_the_rate_is_an_unbiased_estimate_of_the_divergence_from_the_mixture():
    model = learned(latent_dim=2)
    mu, log_variance = torch.tensor([[0.3, 0.9]]), torch.tensor([[-2.0, -1.0]])
    n = 40_000
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    estimates = model._rate(mu.expand(n, 2), log_variance.expand(n, 2), noise).detach().double()
    axes = [torch.linspace(-7, 7, 801).double() * s + m for m, s in zip(mu[0], (log_variance[0] / 2).exp(), strict=True)]
    z = torch.stack(torch.meshgrid(*axes, indexing="ij"), 2).flatten(0, 1)
    log_q = Normal(mu[0].double(), (log_variance[0] / 2).exp().double()).log_prob(z).sum(1)
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    divergence = float((log_q.exp() * (log_q - prior(model).log_prob(z))).sum() * cell)
    assert float(estimates.mean()) == pytest.approx(divergence, abs=4 * float(estimates.std()) / math.sqrt(n))


def test_where_all_components_are_the_standard_normal_it_is_a_vae():
    model = build("vade").eval()
    with torch.no_grad():
        model.prior_means.zero_()
    mu, sigma = model.posterior(x)
    rate = torch.stack([model.elbo(x, seed)[1] for seed in range(400)])
    expected = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(1)
    error = rate.std(0) / math.sqrt(400)
    assert bool(((rate.mean(0) - expected).abs() < 4.5 * error + 1e-4).all())
    assert float(model.responsibilities(mu).std()) == pytest.approx(0, abs=1e-6)


def test_the_importance_weighted_bound_reaches_the_exact_likelihood_of_a_linear_decoder():
    sigma = 0.5
    model = learned(output_std=sigma, latent_dim=2)
    W = torch.randn(2, 768, generator=torch.Generator().manual_seed(2)) * 0.02

    class Linear(torch.nn.Module):
        def forward(self, z):
            return torch.logit((0.5 + z @ W).clamp(1e-4, 1 - 1e-4)).view(-1, 3, 16, 16)

    class Posterior(torch.nn.Module):  # wide enough for all components
        def forward(self, images):
            return torch.cat([torch.zeros(len(images), 2), torch.full((len(images), 2), math.log(6.0))], 1)

    model.decoder, model.encoder = Linear(), Posterior()
    components = []
    for mean, log_variance in zip(model.prior_means.detach(), model.prior_log_variances.detach(), strict=True):
        covariance = (W.T * log_variance.exp()) @ W + sigma**2 * torch.eye(768)
        p = MultivariateNormal((0.5 + mean @ W).double(), covariance.double())
        components.append(p.log_prob(x.flatten(1).double()))
    weights = model.prior_logits.detach().log_softmax(0).double()
    exact = torch.logsumexp(torch.stack(components, 1) + weights, 1)
    torch.testing.assert_close(model.log_likelihood_bound(x, 1500, seed=0).double(), exact, atol=0.15, rtol=0)


def test_samples_follow_the_prior():
    model = learned(latent_dim=2)
    z = model.sample_prior(60_000, seed=1)
    mixture = prior(model)
    torch.testing.assert_close(z.mean(0), mixture.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(z.var(0), mixture.variance, rtol=0.05, atol=0)
    shares = model.responsibilities(z).mean(0)  # E[p(c|z)] = pi_c
    torch.testing.assert_close(shares, mixture.mixture_distribution.probs, atol=0.01, rtol=0)


def test_a_component_that_has_collapsed_is_drawn_from_with_the_variance_that_its_density_has():
    model = learned(latent_dim=2)
    with torch.no_grad():
        model.prior_logits.copy_(torch.tensor([0.0, -100.0, -100.0]))
        model.prior_log_variances.fill_(-30.0)
        model.prior_means.zero_()
    z = model.sample_prior(20_000, seed=1)
    assert float(z.var()) == pytest.approx(math.exp(-10), rel=0.05)


def test_one_component_is_refused():
    with pytest.raises(UserError, match="vade: components: expected greater than or equal to 2, got 1"):
        build("vade", components=1)


def test_while_it_pretrains_only_the_autoencoder_is_moved():
    model = build("vade", pretrain_steps=3).train()
    for step in (0, 2, 3):
        model.step = step
        loss, figures = model.loss({"x": x}, "network")
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        still = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None}
        assert still == ({"prior_logits", "prior_means", "prior_log_variances"} if step < 3 else set())
        assert (float(figures["rate"]) == 0) == (step < 3)


def test_pretraining_ends_with_the_mixture_that_em_fits_to_the_latents(monkeypatch):
    model, truth = build("vade").eval(), learned()
    with torch.no_grad():
        truth.prior_means.mul_(8)  # well apart
    z = prior(truth).sample((6000,))
    monkeypatch.setattr(model, "encode", lambda part: part)
    model.end_pretraining(torch.split(z, 500))
    order, expected = (m.prior_means.detach()[:, 0].argsort() for m in (model, truth))
    torch.testing.assert_close(model.prior_means.detach()[order], truth.prior_means.detach()[expected], atol=0.2, rtol=0.05)
    weights, true = (m.prior_logits.detach().softmax(0) for m in (model, truth))
    torch.testing.assert_close(weights[order], true[expected], atol=0.03, rtol=0)


def pretrained(toy, devices, folder):
    folder.mkdir(exist_ok=True)
    model = build("vade", epochs=3, pretrain_steps=5, batch_size=8)
    return train(model, ArrayBatches(toy, Share(8, 0)), devices, name="toy", seed=0, folder=folder, checkpoint_seconds=0)


def test_a_training_fits_the_mixture_at_its_step_and_goes_on(toy, devices, tmp_path, monkeypatch):
    at = []
    fit = families.family("vade").Model.end_pretraining
    monkeypatch.setattr(
        families.family("vade").Model, "end_pretraining", lambda m, images: (at.append(m.training), fit(m, images))
    )
    trained = pretrained(toy, devices, tmp_path)
    assert at == [False]
    assert not torch.equal(trained.prior_means, build("vade").prior_means)


@pytest.mark.parametrize("cut", [4, 5, 6])
def test_cut_at_the_end_of_pretraining_it_goes_on_to_the_same_weights(toy, devices, tmp_path, monkeypatch, cut):
    whole = pretrained(toy, devices, tmp_path / "whole")
    loss = families.family("vade").Model.loss

    def until(model, batch, network):
        if model.step == cut:
            raise KeyboardInterrupt
        return loss(model, batch, network)

    with monkeypatch.context() as patch:
        patch.setattr(families.family("vade").Model, "loss", until)
        with pytest.raises(KeyboardInterrupt):
            pretrained(toy, devices, tmp_path / "cut")
    resumed = pretrained(toy, devices, tmp_path / "cut")
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())
