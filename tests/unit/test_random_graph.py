"""Random graphs against finite differences, scikit-learn's logistic regression, and the truth that they are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.linear_model
import torch

from regen import families
from regen.data.sets import classrooms
from regen.errors import UserError
from regen.estimators import random_graph
from regen.models.base import DataSpec


def graphs(tmp_path: Path, seed: int = 0, **changes: object) -> dict[str, np.ndarray]:
    config = classrooms.Config(kind="classrooms", source="generated", **changes)
    classrooms.download(config, tmp_path)
    arrays, _ = classrooms.prepare(config, tmp_path, seed)
    return {"x": arrays["train"], "edges": arrays["train_edges"]}


def build(**changes: object) -> random_graph.Model:
    config = random_graph.Config(dataset="classrooms", family="random_graph", **changes)
    return random_graph.Model(config, DataSpec(dataset="classrooms", kind="classrooms", shape=(15, 3)))


@pytest.fixture
def arrays(tmp_path) -> dict[str, np.ndarray]:
    return graphs(tmp_path)


@pytest.fixture
def fitted(arrays) -> random_graph.Model:
    model = build()
    model.fit(arrays)
    return model


def by_hand(arrays: dict[str, np.ndarray], a: float, b: float) -> float:
    """Log-likelihood, pair by pair."""
    total = 0.0
    for x, e in zip(arrays["x"], arrays["edges"], strict=True):
        for i in range(len(x)):
            for j in range(i + 1, len(x)):
                p = 1 / (1 + np.exp(-(a * float(x[i] @ x[j]) + b)))
                total += np.log(p if e[i, j] else 1 - p)
    return total


def test_the_likelihood_is_the_product_over_pairs(fitted, arrays):
    few = {name: array[:3] for name, array in arrays.items()}
    a, b = fitted.coefficients.tolist()
    assert float(fitted.log_likelihood(few["x"], few["edges"]).sum()) == pytest.approx(by_hand(few, a, b), rel=1e-10)


def test_gradient_and_information_are_those_of_finite_differences(arrays):
    S, e = random_graph.pairs(*random_graph.checked(arrays["x"], arrays["edges"]))
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def value(at: torch.Tensor) -> float:
        p = 1 / (1 + np.exp(-(S @ at).numpy()))
        return float(np.log(np.where(e.numpy() == 1, p, 1 - p)).sum())

    h, eye = 1e-4, torch.eye(2, dtype=torch.float64)
    slopes = [(value(theta + h * u) - value(theta - h * u)) / (2 * h) for u in eye]
    np.testing.assert_allclose(random_graph._gradient(S, e, theta), slopes, rtol=1e-6)
    curves = [
        (random_graph._gradient(S, e, theta + h * u) - random_graph._gradient(S, e, theta - h * u)).numpy() / (2 * h) for u in eye
    ]  # of the gradient, which the line above has held against the likelihood
    np.testing.assert_allclose(random_graph._information(S, theta), -np.array(curves), rtol=1e-6)


def test_the_likelihood_never_falls_along_the_ascent(fitted):
    assert np.diff(fitted.ascent[:, 2].numpy()).min() >= 0
    assert len(fitted.ascent) > 100


def test_the_ascent_ends_at_newtons_optimum(fitted):
    np.testing.assert_allclose(fitted.ascent[-1, :2], fitted.coefficients, rtol=1e-6)


def test_newton_reaches_the_optimum_within_ten_steps_to_1e_10(fitted):
    assert len(fitted.newton) - 1 < 10
    assert fitted.newton[-1, 3] < 1e-10
    assert fitted.newton[-1, 2] >= fitted.ascent[-1, 2]


def test_the_optimum_is_that_of_a_logistic_regression(fitted, arrays):
    i, j = np.triu_indices(15, 1)
    s = np.einsum("nif,njf->nij", arrays["x"], arrays["x"])[:, i, j].ravel()
    peer = sklearn.linear_model.LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")
    peer.fit(s[:, None], arrays["edges"][:, i, j].ravel())
    np.testing.assert_allclose(fitted.coefficients, [peer.coef_[0, 0], peer.intercept_[0]], rtol=1e-6)


def test_the_truth_lies_within_two_standard_errors(fitted):
    assert (fitted.coefficients - torch.tensor([3.0, -3.5])).abs().div(fitted.standard_errors).max() < 2


def test_standard_errors_are_the_estimates_spread_over_new_graphs(tmp_path):
    estimates, errors = [], []
    for seed in range(60):
        model = build()
        model.fit(graphs(tmp_path, seed))
        estimates.append(model.coefficients.numpy())
        errors.append(model.standard_errors.numpy())
    np.testing.assert_allclose(np.mean(errors, 0), np.std(estimates, 0), rtol=0.3)


def test_sampled_graphs_are_undirected_without_self_loops_and_as_dense_as_the_data(fitted, arrays):
    x, edges = fitted.sample_graphs(400, seed=0)
    assert x.abs().max() <= 1
    assert torch.equal(edges, edges.mT)
    assert int(edges.diagonal(dim1=1, dim2=2).sum()) == 0
    assert float(edges.float().mean()) == pytest.approx(float(arrays["edges"].mean()), rel=0.1)


def test_edge_probabilities_are_the_sigmoid_of_the_features_product(fitted, arrays):
    x, (a, b) = arrays["x"][0], fitted.coefficients.tolist()
    expected = 1 / (1 + np.exp(-(a * x @ x.T + b)))
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(fitted.edge_probability(x[None])[0], expected, rtol=1e-10)


def damaged(arrays: dict[str, np.ndarray], graph: int, i: int, j: int, value: float) -> dict[str, np.ndarray]:
    edges = arrays["edges"].astype(np.float64)
    edges[graph, i, j] = value
    return {**arrays, "edges": edges}


@pytest.mark.parametrize(
    ("i", "j", "value", "message"),
    [(4, 4, 1, "self-loops"), (1, 2, 0.5, "neither 0 nor 1"), (1, 2, np.nan, "neither 0 nor 1"), (1, 2, None, "asymmetric")],
)
def test_bad_edges_are_refused_with_their_graph(arrays, i, j, value, message):
    value = 1 - arrays["edges"][7, i, j] if value is None else value
    with pytest.raises(UserError, match=rf"graph 7 has .*{message}.* \(at \[{i}, {j}\]"):
        build().fit(damaged(arrays, 7, i, j, value))


def test_features_that_are_not_finite_are_refused(arrays):
    arrays["x"][0, 0, 0] = np.nan
    with pytest.raises(UserError, match="random_graph: x: 1 values of the data are NaN"):
        build().fit(arrays)


def test_shapes_that_do_not_fit_are_refused(arrays):
    with pytest.raises(UserError, match="expected \\(graphs, nodes, features\\)"):
        build().fit({"x": arrays["x"], "edges": arrays["edges"][:, :14]})


@pytest.mark.parametrize("share", [0, 1])
def test_graphs_without_or_with_all_edges_have_no_optimum(arrays, share):
    edges = np.zeros_like(arrays["edges"]) + share * (1 - np.eye(15, dtype=np.uint8))
    with pytest.raises(UserError, match="b has no finite estimate"):
        build().fit({**arrays, "edges": edges})


def test_edges_that_a_threshold_separates_have_no_optimum(arrays):
    s = arrays["x"] @ arrays["x"].swapaxes(1, 2)
    with pytest.raises(UserError, match="a has no finite estimate"):
        build().fit({**arrays, "edges": ((s > 0.5) & ~np.eye(15, dtype=bool)).astype(np.uint8)})


def test_a_saved_model_is_the_same_model(fitted, tmp_path):
    families.save(fitted, tmp_path)
    again = families.load(tmp_path)
    for name, buffer in fitted.named_buffers():
        assert torch.equal(getattr(again, name), buffer)
