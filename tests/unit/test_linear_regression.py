"""Linear-Gaussian regression against numpy's lstsq, scipy's linregress and scikit-learn's Ridge."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.linear_model

from regen import families
from regen.errors import UserError
from regen.estimators import linear_regression
from regen.models.base import DataSpec


def data(N: int = 200, D: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * 10.0 ** np.arange(-2, D - 2)  # columns in different units
    return {"x": x, "targets": x @ rng.normal(size=D) + 7 + rng.normal(size=N)}


def fitted(arrays: dict[str, np.ndarray], **changes: object) -> linear_regression.Model:
    config = linear_regression.Config(dataset="toy", family="linear_regression", **changes)
    model = linear_regression.Model(config, DataSpec(dataset="toy", kind="toy", shape=arrays["x"].shape[1:]))
    model.fit(arrays)
    return model


def test_weights_are_lstsqs_to_ten_digits():
    arrays = data()
    expected = np.linalg.lstsq(np.c_[arrays["x"], np.ones(200)], arrays["targets"], rcond=None)[0]
    model = fitted(arrays)
    np.testing.assert_allclose(np.r_[model.weights, model.intercept], expected, rtol=1e-10)
    without = np.linalg.lstsq(arrays["x"], arrays["targets"], rcond=None)[0]
    np.testing.assert_allclose(fitted(arrays, intercept=False).weights, without, rtol=1e-10)


def test_the_variance_is_the_mean_squared_residual():
    arrays = data()
    model = fitted(arrays)
    residual = arrays["targets"] - model.predict(arrays["x"]).numpy()
    assert float(model.variance) == pytest.approx(np.square(residual).mean())


def test_standard_errors_are_linregress_s():
    arrays = data(D=1)
    model = fitted(arrays)
    peer = scipy.stats.linregress(arrays["x"][:, 0], arrays["targets"])
    assert float(model.weight_errors[0]) == pytest.approx(peer.stderr, rel=1e-10)
    assert float(model.intercept_error) == pytest.approx(peer.intercept_stderr, rel=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_standard_errors_are_the_estimates_spread_over_new_noise(ridge):
    arrays, rng = data(D=2), np.random.default_rng(1)
    mean = arrays["x"] @ [5.0, 2.0] + 7
    fits = [fitted({"x": arrays["x"], "targets": mean + rng.normal(size=200)}, ridge=ridge) for _ in range(400)]
    spread = np.std([fit.weights.numpy() for fit in fits], axis=0)
    np.testing.assert_allclose(np.sqrt(np.mean([fit.weight_errors.numpy() ** 2 for fit in fits], 0)), spread, rtol=0.1)


def test_the_likelihood_is_the_normal_density_of_the_residual():
    arrays = data()
    model = fitted(arrays)
    oracle = scipy.stats.norm(model.predict(arrays["x"]), float(model.variance) ** 0.5).logpdf(arrays["targets"])
    np.testing.assert_allclose(model.log_likelihood(arrays["x"], arrays["targets"]), oracle, rtol=1e-10)


def test_a_ridge_gives_scikit_learns_weights_and_leaves_the_intercept_alone():
    arrays = data()
    peer = sklearn.linear_model.Ridge(alpha=2.5, tol=1e-12, solver="cholesky").fit(arrays["x"], arrays["targets"])
    model = fitted(arrays, ridge=2.5)
    np.testing.assert_allclose(model.weights, peer.coef_, rtol=1e-8)
    assert float(model.intercept) == pytest.approx(peer.intercept_, rel=1e-8)


def test_draws_have_the_models_mean_and_variance():
    model = fitted(data())
    draws = model.draw(np.zeros((50_000, 5)), seed=1)
    assert float(draws.mean()) == pytest.approx(float(model.intercept), abs=0.03)
    assert float(draws.var()) == pytest.approx(float(model.variance), rel=0.03)


def deficient() -> dict[str, np.ndarray]:
    arrays = data()
    return {**arrays, "x": np.c_[arrays["x"], arrays["x"][:, 0] + arrays["x"][:, 1]]}


def test_a_rank_deficient_x_is_refused_with_its_rank():
    with pytest.raises(UserError, match=r"X has rank 6, expected 7 .* set ridge"):
        fitted(deficient())


def test_a_constant_column_beside_an_intercept_is_rank_deficient():
    arrays = data()
    with pytest.raises(UserError, match="rank"):
        fitted({**arrays, "x": np.c_[arrays["x"], np.full(200, 3.0)]})


def test_a_rank_deficient_x_is_fitted_with_a_ridge():
    assert np.isfinite(fitted(deficient(), ridge=1.0).weights.numpy()).all()


@pytest.mark.parametrize("key", ["x", "targets"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_by_name(key, value):
    arrays = data()
    arrays[key].flat[3] = value
    with pytest.raises(UserError, match=f"linear_regression: {key}: 1 values of the data are NaN or infinite"):
        fitted(arrays)


def test_no_more_examples_than_weights_are_refused():
    with pytest.raises(UserError, match="6 examples for 6 weights"):
        fitted(data(N=6))


def test_a_saved_model_is_the_same_model(tmp_path):
    arrays = data()
    model = fitted(arrays)
    families.save(model, tmp_path)
    np.testing.assert_array_equal(families.load(tmp_path).predict(arrays["x"]), model.predict(arrays["x"]))
