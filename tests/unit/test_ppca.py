"""PPCA against scikit-learn, against scipy's multivariate normal, and against the closed form of Gaussian conditioning."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition
import torch

from regen import families
from regen.errors import UserError
from regen.estimators import ppca, spectrum
from regen.estimators.ppca import PPCA
from regen.models.base import DataSpec


def low_rank(N: int = 300, D: int = 12, rank: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, rank)) @ rng.normal(size=(rank, D)) + 0.5 * rng.normal(size=(N, D)) + rng.normal(size=D)


def normal(model: PPCA) -> scipy.stats.multivariate_normal:
    return scipy.stats.multivariate_normal(model.mean_.numpy(), model.get_covariance().numpy())


@pytest.mark.parametrize("d", [1, 4, 11])
def test_the_fit_is_scikit_learns(d):
    X = low_rank()
    peer, ours = sklearn.decomposition.PCA(d).fit(X), PPCA(d).fit(X)
    assert ours.score(X) == pytest.approx(peer.score(X), rel=1e-10)
    np.testing.assert_allclose(ours.explained_variance_, peer.explained_variance_, rtol=1e-9)
    assert float(ours.noise_variance_) == pytest.approx(peer.noise_variance_, rel=1e-9)
    np.testing.assert_allclose(ours.get_covariance(), peer.get_covariance(), rtol=1e-8, atol=1e-10)
    signs = np.sign((ours.components_.numpy() * peer.components_).sum(1))
    np.testing.assert_allclose(ours.project(X), peer.transform(X) * signs, atol=1e-8)


def test_with_fewer_examples_than_dimensions_the_score_is_scikit_learns_under_its_own_noise():
    X = low_rank(N=40, D=90)
    peer, ours = sklearn.decomposition.PCA(5, svd_solver="full").fit(X), PPCA(5, noise="observed").fit(X)
    assert ours.score(X) == pytest.approx(peer.score(X), rel=1e-10)


def test_the_noise_over_all_dimensions_is_the_more_likely_one():
    X = low_rank(N=40, D=90)
    best = PPCA(5).fit(X)
    assert best.score(X) > PPCA(5, noise="observed").fit(X).score(X)
    for factor in (0.99, 1.01):  # the maximum, by finite differences
        other = PPCA.from_parameters(
            best.mean_, best.components_, best.explained_variance_, best.noise_variance_ * factor, best.noise_dimensions_
        )
        assert other.score(X) < best.score(X) + 1e-2
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    assert float(best.noise_variance_) == pytest.approx(eigenvalues[5:].mean())


@pytest.mark.parametrize(("N", "D"), [(900, 300), (300, 900)])
def test_iterating_for_the_leading_part_gives_the_whole_decompositions(N, D, monkeypatch):
    X = low_rank(N, D)
    whole = PPCA(4).fit(X)
    monkeypatch.setattr(spectrum, "DIRECT", 0)
    leading = PPCA(4).fit(X)
    assert leading.score(X) == pytest.approx(whole.score(X), rel=1e-9)
    np.testing.assert_allclose(leading.explained_variance_, whole.explained_variance_, rtol=1e-6)
    assert len(leading.spectrum_) == 4


def test_where_iterating_does_not_converge_the_whole_decomposition_is_made(monkeypatch):
    X = np.random.default_rng(0).normal(size=(100, 90))
    monkeypatch.setattr(spectrum, "DIRECT", 0)
    peer = sklearn.decomposition.PCA(5, svd_solver="full").fit(X)
    assert PPCA(5).fit(X).score(X) == pytest.approx(peer.score(X), rel=1e-10)


def test_the_density_is_the_normal_with_the_models_covariance():
    X = low_rank()
    model = PPCA(3).fit(X)
    np.testing.assert_allclose(model.score_samples(X), normal(model).logpdf(X), rtol=1e-9)


def test_the_posterior_is_that_of_the_joint_normal():
    X = low_rank()
    model = PPCA(3).fit(X)
    W, C = model.W.numpy(), model.get_covariance().numpy()
    np.testing.assert_allclose(model.transform(X), (X - X.mean(0)) @ np.linalg.solve(C, W), atol=1e-9)
    np.testing.assert_allclose(model.posterior_covariance(), np.eye(3) - W.T @ np.linalg.solve(C, W), atol=1e-9)


def test_components_are_orthonormal_and_scores_uncorrelated_in_order_of_variance():
    X = low_rank()
    model = PPCA(6).fit(X)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(6), atol=1e-12)
    covariance = np.cov(model.project(X).numpy().T)
    np.testing.assert_allclose(covariance, np.diag(np.linalg.eigvalsh(np.cov(X.T))[::-1][:6]), atol=1e-10)


@pytest.mark.parametrize("N", [300, 10])
def test_a_truncated_fit_is_the_smaller_fit(N):
    X = low_rank(N)
    small, cut = PPCA(2).fit(X), PPCA(6).fit(X).truncated(2)
    assert cut.score(X) == pytest.approx(small.score(X), rel=1e-10)
    np.testing.assert_allclose(cut.W, small.W, atol=1e-10)


def test_float32_and_integers_are_fitted_in_float64():
    X = np.random.default_rng(0).integers(0, 256, (50, 8)).astype(np.uint8)
    expected = PPCA(2).fit(X.astype(np.float64))
    for dtype in (np.uint8, np.float32):
        got = PPCA(2).fit(X.astype(dtype))
        assert got.mean_.dtype == torch.float64
        np.testing.assert_allclose(got.explained_variance_, expected.explained_variance_, rtol=1e-12)


def test_samples_have_the_models_mean_and_covariance():
    model = PPCA(3).fit(low_rank())
    draws = model.sample(100_000, seed=1)
    np.testing.assert_allclose(draws.mean(0), model.mean_, atol=0.05)
    np.testing.assert_allclose(torch.cov(draws.T), model.get_covariance(), atol=0.15)
    clean = model.sample(1000, seed=1, noise=False)
    assert torch.linalg.matrix_rank(clean - clean.mean(0)) == 3


def holes(X: np.ndarray, share: float = 0.2) -> np.ndarray:
    return np.where(np.random.default_rng(1).uniform(size=X.shape) < share, np.nan, X)


def test_missing_values_are_expected_as_the_normals_conditional():
    X = low_rank()
    model = PPCA(3).fit(X)
    C, mean, x = model.get_covariance().numpy(), X.mean(0), holes(X[:1])
    seen, lost = ~np.isnan(x[0]), np.isnan(x[0])
    expected = mean[lost] + C[np.ix_(lost, seen)] @ np.linalg.solve(C[np.ix_(seen, seen)], x[0, seen] - mean[seen])
    np.testing.assert_allclose(model.complete(x)[0, lost], expected, atol=1e-9)
    np.testing.assert_array_equal(model.complete(x)[0, seen], x[0, seen])
    marginal = scipy.stats.multivariate_normal(mean[seen], C[np.ix_(seen, seen)]).logpdf(x[0, seen])
    assert float(model.score_samples(x)[0]) == pytest.approx(marginal)


def test_em_with_missing_values_never_lowers_the_likelihood_and_ends_where_it_is_flat():
    X = holes(low_rank(N=80, D=6, rank=2))
    model = PPCA(2, tol=1e-10, max_iter=5000).fit(X)
    assert np.diff(model.log_likelihoods_).min() > -1e-10
    best = model.score(X)
    for step in (-1e-4, 1e-4):  # finite differences in every direction of the parameters
        for name in ("mean_", "explained_variance_", "noise_variance_"):
            values = getattr(model, name)
            for at in range(values.numel()):
                moved = values.clone()
                moved.view(-1)[at] += step
                setattr(model, name, moved)
                assert model.score(X) < best + 1e-8
            setattr(model, name, values)


def test_em_with_nothing_but_one_value_missing_is_nearly_the_closed_form():
    X = low_rank(N=300, D=6, rank=2)
    almost = X.copy()
    almost[0, 0] = np.nan
    em, closed = PPCA(2, tol=1e-12, max_iter=5000).fit(almost), PPCA(2).fit(X)
    np.testing.assert_allclose(em.get_covariance() * 300 / 299, closed.get_covariance(), atol=0.02)


def test_missing_values_are_recovered_better_than_by_the_mean():
    X = low_rank(N=400)
    Y = holes(X)
    lost = np.isnan(Y)
    error = np.square(PPCA(4).fit(Y).complete(Y).numpy() - X)[lost].mean()
    assert error < 0.5 * np.square(X.mean(0) - X)[lost].mean()


rng = np.random.default_rng(0)
flat = np.outer(rng.normal(size=20), np.ones(5))
lost = np.where(np.arange(5) == 2, np.nan, rng.normal(size=(20, 5)))
BAD = {
    "infinite": (np.array([[0.0, np.inf, 1.0], [1.0, 2.0, 0.0], [3.0, 1.0, 1.0]]), 1, "NaN or infinite"),
    "one image only": (np.ones((1, 5)), 1, "one example only"),
    "all points equal": (np.full((9, 5), 0.3), 1, "all 9 examples are equal"),
    "latent dimension as the data's": (rng.normal(size=(20, 5)), 5, "5 latent dimensions for 20 examples of 5 dimensions"),
    "latent dimension as the examples": (rng.normal(size=(4, 9)), 4, "4 latent dimensions for 4 examples"),
    "no noise": (flat, 1, "sigma = 0"),
    "a column never observed": (lost, 1, "column 2 has no observed value"),
    "a row never observed": (np.where(np.arange(20)[:, None] == 3, np.nan, rng.normal(size=(20, 5))), 1, "row 3 has no"),
}


@pytest.mark.parametrize(("X", "d", "message"), BAD.values(), ids=BAD)
def test_bad_data_are_refused_by_name(X, d, message):
    with pytest.raises(UserError) as raised:
        PPCA(d).fit(X)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_data_of_other_dimensions_are_refused():
    with pytest.raises(UserError, match="expected 12 as in the fit"):
        PPCA(2).fit(low_rank()).score(np.zeros((3, 5)))


@pytest.fixture
def member(toy: dict[str, np.ndarray]) -> ppca.Model:
    config = families.config({"dataset": "toy", "family": "ppca", "latent_dim": 8, "sizes": [2, 4]}, "ppca")
    model = families.build(config, DataSpec(dataset="toy", kind="toy", shape=(3, 16, 16)))
    assert isinstance(model, ppca.Model)
    model.fit(toy)
    return model


def test_a_saved_model_is_the_same_model(member, tmp_path, toy):
    families.save(member, tmp_path)
    x = torch.from_numpy(toy["x"]).permute(0, 3, 1, 2).float() / 255
    again = families.load(tmp_path)
    for d in (None, 2):
        assert torch.equal(again.log_likelihood(x, d), member.log_likelihood(x, d))
    assert torch.equal(again.spectrum, member.spectrum)


def test_more_dimensions_reconstruct_better_and_keep_the_images_layout(member, toy):
    x = torch.from_numpy(toy["x"]).permute(0, 3, 1, 2).float() / 255
    errors = [float((member.reconstruct(x, d) - x).square().mean()) for d in (2, 4, 8)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] < float(x.var(0, unbiased=False).mean())
    assert member.sample(5).shape == (5, 3, 16, 16)


def test_sizes_beyond_the_fit_are_refused():
    with pytest.raises(UserError, match="sizes"):
        families.config({"dataset": "toy", "family": "ppca", "latent_dim": 8, "sizes": [16]}, "ppca")
