"""The Gaussian mixture against scikit-learn's, from the same start, and against what can be seen by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.mixture
import torch

from regen.errors import UserError
from regen.estimators import gaussian_mixture
from regen.estimators.gaussian_mixture import GaussianMixture
from regen.estimators.gaussian_sums import GaussianSums
from regen.models.base import DataSpec

SHAPES = [(3, 2), (2, 5), (4, 20), (2, 20)]  # (K, D): the sums by expanded squares, and by whitening where K is small and D large


def blobs(n: int = 600, K: int = 3, D: int = 2, seed: int = 0, distance: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, n)
    centers = distance * rng.normal(size=(K, D)) / np.sqrt(D)
    mixing = rng.normal(size=(K, D, D)) / np.sqrt(D) + np.eye(D)
    return centers[labels] + np.einsum("nij,nj->ni", mixing[labels], rng.normal(size=(n, D))), labels


def peer(X: np.ndarray, K: int, iterations: int) -> sklearn.mixture.GaussianMixture:
    """scikit-learn's, after so many iterations from K of the data's points and unit covariances."""
    D = X.shape[1]
    start = {"weights_init": np.full(K, 1 / K), "means_init": X[:K], "precisions_init": np.stack([np.eye(D)] * K)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is told not to converge
        return sklearn.mixture.GaussianMixture(K, max_iter=iterations, tol=0, reg_covar=0, **start).fit(X)


def ours(X: np.ndarray, K: int, iterations: int) -> GaussianMixture:
    D = X.shape[1]
    start = {"weights_init": np.full(K, 1 / K), "means_init": X[:K], "covariances_init": np.stack([np.eye(D)] * K)}
    return GaussianMixture(K, max_iter=iterations, tol=0, **start).fit(X)


@pytest.mark.parametrize(("K", "D"), SHAPES)
def test_the_same_start_leads_to_scikit_learns_parameters(K, D):
    X, _ = blobs(K=K, D=D)
    a, b = peer(X, K, 25), ours(X, K, 25)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-6, atol=1e-8)
    assert b.score(X) == pytest.approx(a.score(X), rel=1e-10)


def test_score_predict_and_bic_are_scikit_learns():
    X, _ = blobs(K=3, D=4)
    a, b = peer(X, 3, 10), ours(X, 3, 10)
    np.testing.assert_allclose(b.score_samples(X), a.score_samples(X), rtol=1e-8)
    np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), atol=1e-9)
    np.testing.assert_array_equal(b.predict(X), a.predict(X))
    assert b.bic(X) == pytest.approx(a.bic(X), rel=1e-9)


@pytest.mark.parametrize(("K", "D"), SHAPES)
def test_the_likelihood_never_falls(K, D):
    X, _ = blobs(n=150, K=K, D=D, distance=1.0)
    bounds = GaussianMixture(K, max_iter=200, tol=0, reg_covar=1e-2).fit(X).lower_bounds_
    assert np.diff(bounds).min() > -1e-10


def test_the_likelihood_never_falls_where_the_floor_acts():
    X, _ = blobs(n=90, K=3, D=3)
    X[:, 2] = 1e-3 * X[:, 0]  # a flat cloud: scikit-learn's added diagonal may lower the likelihood here
    mixture_ = GaussianMixture(3, max_iter=100, tol=0, reg_covar=1e-2).fit(X)
    assert np.diff(mixture_.lower_bounds_).min() > -1e-10
    assert torch.linalg.eigvalsh(mixture_.covariances_).min() == pytest.approx(1e-2)


def test_components_far_narrower_than_the_data_keep_their_digits():
    rng = np.random.default_rng(0)
    X = np.concatenate([c + 1e-5 * rng.normal(size=(200, 2)) for c in ([0, 0], [1000, 0], [0, 1000])])
    fitted = GaussianMixture(3, reg_covar=1e-14, tol=1e-9, n_init=3).fit(X)
    order = fitted.predict(X[[0, 200, 400]])
    for k, cloud in zip(order, np.split(X, 3), strict=True):
        np.testing.assert_allclose(fitted.covariances_[k], np.cov(cloud.T, bias=True), rtol=1e-5, atol=1e-14)


def test_a_data_set_far_from_the_origin_gives_the_same_fit():
    X, _ = blobs()
    near, far = ours(X, 3, 20), ours(X + 1e6, 3, 20)
    np.testing.assert_allclose(far.covariances_, near.covariances_, rtol=1e-6)


def test_one_component_is_the_maximum_likelihood_gaussian():
    X, _ = blobs(D=4)
    fitted = GaussianMixture().fit(X)
    np.testing.assert_allclose(fitted.means_[0], X.mean(0))
    np.testing.assert_allclose(fitted.covariances_[0], np.cov(X.T, bias=True), rtol=1e-9)
    oracle = scipy.stats.multivariate_normal(X.mean(0), np.cov(X.T, bias=True)).logpdf(X)
    np.testing.assert_allclose(fitted.score_samples(X), oracle, rtol=1e-9)


def test_log_densities_far_out_do_not_underflow():
    X, _ = blobs()
    assert torch.isfinite(GaussianMixture(3).fit(X).score_samples(1e4 * X)).all()


def test_restarts_keep_the_best():
    X, _ = blobs(n=300, K=6, distance=8.0)
    many = GaussianMixture(6, n_init=8).fit(X).lower_bound_
    assert many >= GaussianMixture(6, n_init=1).fit(X).lower_bound_


def test_k_means_plus_plus_finds_well_separated_clusters():
    X, labels = blobs(distance=40.0)
    found = GaussianMixture(3, n_init=3).fit(X).predict(X).numpy()
    assert all(len(np.unique(found[labels == c])) == 1 for c in range(3))


def test_fit_stops_on_the_tolerance():
    X, _ = blobs()
    fitted = GaussianMixture(3, tol=1e-5, max_iter=1000).fit(X)
    assert fitted.converged_
    assert fitted.lower_bounds_[-1] - fitted.lower_bounds_[-2] < 1e-5 <= fitted.lower_bounds_[-2] - fitted.lower_bounds_[-3]


def test_samples_have_the_mixtures_moments():
    X, _ = blobs()
    fitted = ours(X, 3, 50)
    draws, labels = fitted.sample(200_000, seed=1)
    np.testing.assert_allclose(torch.bincount(labels) / 200_000, fitted.weights_, atol=5e-3)
    for k in range(3):
        np.testing.assert_allclose(draws[labels == k].mean(0), fitted.means_[k], atol=0.05)
        np.testing.assert_allclose(torch.cov(draws[labels == k].T), fitted.covariances_[k], rtol=0.05, atol=0.05)


def test_the_sums_never_hold_n_k_d_numbers():
    X = torch.zeros(20_000, 16, dtype=torch.float64).normal_()
    sums, seen = GaussianSums(X), []

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            seen.extend(t.numel() for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
            return result

    with Largest():
        sums(torch.full((8,), 1 / 8).double(), X[:8], torch.eye(16).double().repeat(8, 1, 1))
    assert max(seen) <= X.numel() + 2**21


BAD = {
    "NaN": ([[0.0, np.nan], [1.0, 1.0], [2.0, 0.0]], 1, "NaN or infinite"),
    "infinite": ([[0.0, np.inf], [1.0, 1.0], [2.0, 0.0]], 1, "NaN or infinite"),
    "K > N": ([[0.0, 1.0], [1.0, 0.0]], 3, "3 components for 2 examples"),
    "all equal": (np.ones((9, 2)), 2, "all 9 points are equal"),
    "two points": (np.repeat([[0.0, 1.0], [1.0, 0.0]], 5, 0), 3, "3 components for 2 different points"),
    "one-dimensional": (np.ones(5), 1, "expected (examples, dimensions)"),
}


@pytest.mark.parametrize(("X", "K", "message"), BAD.values(), ids=BAD)
def test_bad_data_are_refused_by_name(X, K, message):
    with pytest.raises(UserError) as raised:
        GaussianMixture(K).fit(np.array(X))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_collapsed_covariance_without_a_floor_is_refused():
    X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    with pytest.raises(UserError, match="raise reg_covar"):
        GaussianMixture(1, reg_covar=0).fit(X)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(UserError, match="means_init has shape"):
        GaussianMixture(3, means_init=np.zeros((2, 2))).fit(blobs()[0])


def member(**changes: object) -> gaussian_mixture.Model:
    config = gaussian_mixture.Config(dataset="latents", family="gaussian_mixture", **changes)
    return gaussian_mixture.Model(config, DataSpec(dataset="latents", kind="latents", shape=(2,), labels=("1", "4", "8")))


@pytest.mark.parametrize("initial", ["k-means++", "labels"])
def test_five_labels_a_class_name_the_clusters(initial):
    X, labels = blobs(n=900, distance=12.0, seed=3)
    model = member(initial=initial)
    model.fit({"x": X.astype(np.float32), "labels": labels})
    assert (model.classify(X).numpy() == labels).mean() > 0.99


def test_the_history_is_the_likelihood_of_each_iteration():
    rows = member().fit({"x": blobs()[0]})
    assert [row["iteration"] for row in rows] == list(range(len(rows)))
    assert rows[-1]["log_likelihood"] > rows[0]["log_likelihood"]


def test_means_from_labels_need_a_class_for_each_component():
    X, labels = blobs()
    with pytest.raises(UserError, match="set components to 3"):
        member(initial="labels", components=4).fit({"x": X, "labels": labels})
