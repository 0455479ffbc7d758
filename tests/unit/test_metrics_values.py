"""Figures with their errors, and what they are held against."""

from __future__ import annotations

import math

import pytest
import torch

from regen.metrics.bootstrap import ratio, standard_error
from regen.metrics.distances import training_sets
from regen.metrics.values import mean, measured, over_sets


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_figure_is_held_against_one_thing_or_none() -> None:
    assert measured(1.0, 0.5) == {"value": 1.0, "error": 0.5}
    assert measured(1, 0, bound=2) == {"value": 1.0, "error": 0.0, "bound": 2.0}
    with pytest.raises(ValueError, match="one of bound, baseline, real, got bound, real"):
        measured(1.0, 0.0, bound=1.0, real=1.0)


def test_a_mean_has_its_standard_error_and_the_mean_of_what_it_is_held_against() -> None:
    assert mean(torch.tensor([1.0, 3.0]), real=torch.tensor([2.0, 4.0])) == {"value": 2.0, "error": 1.0, "real": 3.0}


def test_a_figure_over_sets_is_their_mean_with_their_standard_deviation() -> None:
    assert over_sets([1.0, 3.0], real=[4.0, 6.0]) == {"value": 2.0, "error": pytest.approx(math.sqrt(2)), "real": 5.0}
    assert over_sets([1.0]) == {"value": 1.0, "error": 0.0}


def test_a_share_that_is_none_or_all_has_an_error_too() -> None:
    """Seen in none of 50, it may still be so in one of 50."""
    for value in (0.0, 1.0):
        assert mean(torch.full((50,), value)) == {"value": value, "error": 0.02}
    assert mean(torch.full((50,), 0.5))["error"] == 0  # no share: all are the same number
    half = torch.arange(50) % 2
    assert mean(half.double())["error"] == pytest.approx(half.double().std().item() / math.sqrt(50))


def test_the_bootstrap_of_a_mean_is_its_standard_error() -> None:
    x = normal(2000)
    assert standard_error(torch.mean, x) == pytest.approx(float(x.std()) / math.sqrt(2000), rel=0.15)


def test_the_bootstrap_of_a_normal_median_is_known() -> None:
    assert standard_error(torch.median, normal(4000)) == pytest.approx(math.sqrt(math.pi / 2 / 4000), rel=0.25)


def test_samples_are_drawn_each_by_itself_and_the_rows_of_one_together() -> None:
    x, y = normal(500), normal(500, seed=1)
    apart = standard_error(lambda a, b: (a - b).mean(), x, x)
    assert apart == pytest.approx(float(x.std()) * math.sqrt(2 / 500), rel=0.2)
    assert standard_error(lambda both: (both[:, 0] - both[:, 1]).mean(), torch.stack([x, x], 1)) == 0
    assert standard_error(ratio, torch.stack([y, y], 1)) == pytest.approx(0, abs=1e-12)


def test_the_bootstrap_is_the_same_every_time_and_follows_the_seed() -> None:
    x = normal(100)
    assert standard_error(torch.mean, x) == standard_error(torch.mean, x) != standard_error(torch.mean, x, seed=1)


def test_sets_of_training_examples_share_none() -> None:
    sets = training_sets(torch.arange(10), 3)
    assert [len(x) for x in sets] == [3, 3, 3]
    assert len(set(torch.cat(sets).tolist())) == 9
    assert len(training_sets(torch.arange(100), 3)) == 4
