"""Frechet and kernel distances against closed forms, scipy and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from regen.errors import UserError
from regen.metrics import distances
from regen.metrics.frechet import frechet_distance, kernel_distance


def draws(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing + shift


def with_moments(n: int, mean: np.ndarray, covariance: np.ndarray, seed: int) -> torch.Tensor:
    """Examples whose sample mean and unbiased covariance are exactly these."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T @ np.linalg.cholesky(covariance).T
    return torch.from_numpy(x + mean)


def by_scipy(x: torch.Tensor, y: torch.Tensor) -> float:
    A, B = np.cov(x.numpy().T), np.cov(y.numpy().T)
    shift = x.numpy().mean(0) - y.numpy().mean(0)
    return float(shift @ shift + np.trace(A + B - 2 * scipy.linalg.sqrtm(A @ B).real))


def by_pairs(x: torch.Tensor, y: torch.Tensor) -> float:
    """The unbiased estimate, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    a, b = x.numpy(), y.numpy()
    n, m = len(a), len(b)
    xx = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(p, q) for p in a for q in b) / (n * m)


def test_frechet_distance_of_axis_aligned_gaussians_is_the_closed_form() -> None:
    x = with_moments(50, np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]), seed=1)
    y = with_moments(70, np.array([1.0, 1.0, 0.0]), np.diag([4.0, 1.0, 9.0]), seed=2)
    assert frechet_distance(x, y) == pytest.approx(1 + 0 + 4 + (1 - 2) ** 2 + (2 - 1) ** 2 + 0, rel=1e-9)


def test_frechet_distance_agrees_with_scipys_matrix_root() -> None:
    x, y = draws(300, 20, 1), draws(400, 20, 2, shift=0.3)
    assert frechet_distance(x, y) == pytest.approx(by_scipy(x, y), rel=1e-8)


def test_frechet_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.fid import _compute_fid

    x, y = draws(300, 20, 3), draws(300, 20, 4)
    oracle = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)).item()
    assert frechet_distance(x, y) == pytest.approx(oracle, rel=1e-8)


def test_frechet_distance_of_a_set_to_itself_is_zero_even_with_fewer_examples_than_dimensions() -> None:
    x = draws(10, 128, 5) * 100
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12 * x.square().sum().item())


def test_frechet_distance_of_features_that_never_vary_is_that_of_the_means() -> None:
    assert frechet_distance(torch.zeros(5, 3), torch.ones(7, 3)) == pytest.approx(3)


def test_frechet_distance_is_symmetric() -> None:
    x, y = draws(50, 8, 6), draws(60, 8, 7)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-10)


def test_frechet_distance_does_not_depend_on_the_order_of_examples() -> None:
    x, y = draws(50, 8, 8), draws(60, 8, 9)
    assert frechet_distance(x.flip(0), y) == pytest.approx(frechet_distance(x, y), rel=1e-10)


def test_kernel_distance_agrees_with_a_sum_over_pairs() -> None:
    x, y = draws(12, 4, 1), draws(9, 4, 2)
    assert kernel_distance(x, y) == pytest.approx(by_pairs(x, y), rel=1e-9)


def test_kernel_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = draws(100, 16, 3), draws(100, 16, 4)
    assert kernel_distance(x, y) == pytest.approx(poly_mmd(x, y).item(), rel=1e-9)


def test_kernel_distance_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(0)
    values = [kernel_distance(*torch.randn(2, 30, 5, generator=generator)) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_kernel_distance_does_not_depend_on_the_chunk() -> None:
    x, y = draws(40, 6, 5), draws(50, 6, 6)
    assert kernel_distance(x, y, chunk=7) == pytest.approx(kernel_distance(x, y), rel=1e-10)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 3), "too few"),
        (torch.tensor([[0.0, 1.0, float("nan")], *[[0.0, 1.0, 2.0]] * 4]), "1 of 5 examples have NaN"),
        (torch.zeros(5, 4), "differ in shape"),
        (torch.zeros(5), r"expected features of shape"),
    ],
)
def test_features_that_give_no_distance_are_refused(distance, x, message) -> None:
    with pytest.raises(UserError, match=message):
        distance(x, torch.zeros(5, 3))


def test_compare_gives_samples_of_the_same_distribution_a_value_near_that_of_training_data() -> None:
    generator = torch.Generator().manual_seed(0)
    samples, test, train = (torch.randn(n, 8, generator=generator) for n in (500, 500, 2000))
    measures = distances.compare([samples], test, train)
    assert set(measures) == {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"}
    assert measures["frechet_distance"]["value"] == pytest.approx(measures["frechet_distance"]["real"], rel=0.5)
    assert measures["coverage"]["value"] == pytest.approx(measures["coverage"]["real"], abs=0.1)


def test_sets_from_places_of_the_latent_space_are_measured_as_the_samples_are() -> None:
    generator = torch.Generator().manual_seed(0)
    samples, others = ([torch.randn(40, 4, generator=generator) + shift for _ in range(3)] for shift in (0.0, 1.0))
    test, train = torch.randn(50, 4, generator=generator), torch.randn(200, 4, generator=generator)
    copies = [x.clone() for x in samples]
    measures = distances.compare(samples, test, train, places={"prior": samples, "fitted": copies, "midpoints": others})
    elsewhere = distances.compare(others, test, train)
    for place, of in (("prior", measures), ("fitted", measures), ("midpoints", elsewhere)):
        assert measures[f"completeness_{place}"] == of["precision"]
        assert measures[f"frechet_distance_{place}"] == of["frechet_distance"]
    assert measures["completeness_midpoints"]["value"] < measures["completeness_prior"]["value"]


def test_compare_stands_beside_as_many_training_examples_as_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    test, train = torch.randn(50, 4, generator=generator), torch.randn(60, 4, generator=generator)
    measures = distances.compare([train], test, train)  # the samples are all of the training data, in another order
    for name, entry in measures.items():
        assert entry["value"] == pytest.approx(entry["real"], rel=1e-9), name


def test_compare_uses_no_more_training_examples_than_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    samples, test, train = (torch.randn(n, 8, generator=generator) for n in (20, 500, 5000))
    real = distances.compare([samples], test, train)["frechet_distance"]["real"]
    assert real > 10 * frechet_distance(train, test)  # few examples are far from the test examples by their number alone


def test_compare_needs_as_many_training_examples_as_samples() -> None:
    with pytest.raises(UserError, match="21 are more than the 20 training examples"):
        distances.compare([torch.zeros(21, 2)], torch.zeros(20, 2), torch.zeros(20, 2))
