"""Paths through latent spaces, draws from them, continuity and completeness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regen.errors import UserError
from regen.evaluation.images.latents import Gaussian, continuity, interpolations, latent_grid, traversals


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_linear_paths_are_straight_and_hold_both_ends() -> None:
    a, b = normal(4, 6, seed=1), normal(4, 6, seed=2)
    path = interpolations(a, b, 5)
    for step, t in enumerate(np.linspace(0, 1, 5)):
        torch.testing.assert_close(path[:, step], torch.lerp(a, b, float(t)))


def test_spherical_paths_keep_the_length_and_turn_evenly() -> None:
    a, b = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]])
    path = interpolations(a, b, 4, spherical=True)[0]
    angles = torch.tensor([0.0, 30.0, 60.0, 90.0]).deg2rad()
    torch.testing.assert_close(path, 2 * torch.stack([angles.cos(), angles.sin(), torch.zeros(4)], 1))


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0])
def test_spherical_paths_between_parallel_latents_are_finite(factor) -> None:
    a = normal(3, 5)
    path = interpolations(a, factor * a, 7, spherical=True)
    assert path.isfinite().all()
    torch.testing.assert_close(path[:, -1], factor * a, atol=1e-4, rtol=1e-4)


def test_a_fitted_gaussian_has_the_latents_mean_and_covariance() -> None:
    z = normal(500, 4) @ normal(4, 4, seed=1) + 3
    fitted = Gaussian.fitted(z)
    torch.testing.assert_close(fitted.mean, z.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fitted.axes @ fitted.axes.T, torch.cov(z.T, correction=0), rtol=1e-4, atol=1e-4)


def test_a_fitted_gaussians_axes_fall_in_variance() -> None:
    lengths = Gaussian.fitted(normal(500, 4) * torch.tensor([1.0, 5.0, 0.1, 2.0])).axes.norm(dim=0)
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


def test_draws_of_a_gaussian_have_its_moments_and_follow_the_seed() -> None:
    fitted = Gaussian.fitted(normal(200, 3) @ normal(3, 3, seed=1) + 2)
    draws = fitted.sample(50_000, seed=7)
    torch.testing.assert_close(draws.mean(0), fitted.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), fitted.axes @ fitted.axes.T, atol=0.1, rtol=0.05)
    assert torch.equal(draws, fitted.sample(50_000, seed=7))
    assert not torch.equal(draws, fitted.sample(50_000, seed=8))


def test_latents_that_fill_a_line_only_can_be_fitted_and_drawn() -> None:
    z = normal(50, 1) @ torch.tensor([[1.0, 2.0, -1.0]])
    draws = Gaussian.fitted(z).sample(100)
    torch.testing.assert_close(draws[:, 1], 2 * draws[:, 0], atol=1e-3, rtol=1e-3)


def test_traversals_of_the_prior_change_one_dimension_each() -> None:
    z = traversals(Gaussian.standard(6), dimensions=3, steps=5, span=2)
    assert z.shape == (3, 5, 6)
    for dimension in range(3):
        expected = torch.zeros(5, 6)
        expected[:, dimension] = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
        torch.testing.assert_close(z[dimension], expected)


def test_the_latent_grid_runs_rightwards_and_upwards() -> None:
    z = latent_grid(Gaussian.standard(2), side=3, span=1)
    assert z.tolist() == [[-1, 1], [0, 1], [1, 1], [-1, 0], [0, 0], [1, 0], [-1, -1], [0, -1], [1, -1]]


def test_a_linear_decoder_is_perfectly_continuous() -> None:
    A = normal(5, 3 * 4 * 4, seed=3)
    entry = continuity(lambda z: (z @ A).view(-1, 3, 4, 4), normal(20, 5, seed=4), normal(20, 5, seed=5))
    assert entry["value"] == pytest.approx(1, abs=1e-4)
    assert entry["bound"] == 1


def test_a_decoder_that_jumps_once_has_the_least_continuity() -> None:
    entry = continuity(lambda z: (z[:, :1] > 0).float().view(-1, 1, 1, 1), -torch.ones(20, 2), torch.ones(20, 2), steps=11)
    assert entry["value"] == pytest.approx(1 / 10)


def test_a_decoder_that_ignores_its_latent_changes_evenly() -> None:
    assert continuity(lambda z: torch.zeros(len(z), 1, 2, 2), normal(3, 2), normal(3, 2, seed=1))["value"] == 1


def test_latents_of_a_diverged_encoder_are_refused() -> None:
    with pytest.raises(UserError, match="latents: 3 of 3 examples have NaN"):
        Gaussian.fitted(torch.full((3, 2), float("nan")))


def test_fewer_latents_than_dimensions_can_be_fitted_and_drawn() -> None:
    fitted = Gaussian.fitted(normal(3, 6))
    assert fitted.sample(10).shape == (10, 6)
    assert torch.linalg.matrix_rank(fitted.axes) == 2
