"""ELBO and importance-weighted bound of a model whose likelihood is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regen.errors import UserError
from regen.metrics.likelihood import likelihood_measures


class Known:
    """Bounds that can be told from the image alone: the first pixel, less 1 nat for the ELBO."""

    def elbo(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        return 100 * x[:, 0, 0, 0] + 2, torch.full((len(x),), 3.0)

    def log_likelihood_bound(self, x: Tensor, importance_samples: int, seed: int = 0) -> Tensor:
        return 100 * x[:, 0, 0, 0] + math.log(importance_samples)


def test_bounds_are_means_over_images_in_nats_a_dimension() -> None:
    x, train = torch.rand(10, 3, 2, 2), torch.rand(30, 3, 2, 2)
    got = likelihood_measures(Known(), x, train, importance_samples=50)
    first = x[:, 0, 0, 0].mean().item() * 100
    assert got["elbo"]["value"] == pytest.approx((first - 1) / 12, rel=1e-5)
    assert (
        got["elbo"]["bound"] == got["importance_weighted_bound"]["value"] == pytest.approx((first + math.log(50)) / 12, rel=1e-5)
    )
    of_train = train[:, 0, 0, 0].mean().item() * 100
    assert got["importance_weighted_bound_train"]["value"] == pytest.approx((of_train + math.log(50)) / 12, rel=1e-5)
    assert got["rate"] == {"value": 3.0, "error": 0.0}


def test_without_training_images_there_is_no_figure_of_them() -> None:
    assert "importance_weighted_bound_train" not in likelihood_measures(Known(), torch.rand(4, 1, 2, 2))


def test_a_diverged_model_is_named() -> None:
    class Diverged(Known):
        def elbo(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
            return torch.full((len(x),), float("nan")), torch.zeros(len(x))

    with pytest.raises(UserError, match="ELBO: not finite for 4 of 4 images"):
        likelihood_measures(Diverged(), torch.rand(4, 1, 2, 2))
