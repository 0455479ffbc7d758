"""Distances between sets of samples and test data in a classifier's features, each beside the same figure of training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from regen.errors import UserError
from regen.metrics.frechet import frechet_distance, kernel_distance
from regen.metrics.neighbours import Manifold
from regen.metrics.values import Measured, over_sets
from regen.seeding import generator

SETS = 4  # of samples, drawn with other seeds: a figure is their mean, its error their standard deviation


def compare(
    samples: Sequence[Tensor],
    test: Tensor,
    train: Tensor,
    seed: int = 0,
    places: Mapping[str, Sequence[Tensor]] = MappingProxyType({}),
) -> Measured:
    """Return Frechet and kernel distance, precision, recall, density and coverage of sets (n, d) against `test` (m, d).

    Each is the mean over the sets, beside the same figure of training examples in place of samples: what a model would get
    that had learned the distribution, with the same counts.

    And of sets from each place of a latent space, of which the samples may come from one:

    * completeness_<place>: the share of them on the real manifold, the precision of `neighbours.Manifold`.
    * frechet_distance_<place>.

    Raises:
        UserError: fewer training examples than samples in a set, values that are not finite, or different dimensions.
    """
    manifold = Manifold(test)

    def figures(x: Tensor) -> dict[str, float]:
        distances = {"frechet_distance": frechet_distance(x, test), "kernel_distance": kernel_distance(x, test)}
        return {**distances, **manifold.measures(x)}

    def in_place(x: Tensor) -> dict[str, float]:
        return {"precision": manifold.precision(x), "frechet_distance": frechet_distance(x, test)}

    of_samples = [*map(figures, samples)]
    real = [*map(figures, training_sets(train, len(samples[0]), len(samples), seed))]
    measures = over(of_samples, real)
    for place, sets in places.items():
        found = over(of_samples if sets is samples else [*map(in_place, sets)], real)
        measures[f"completeness_{place}"], measures[f"frechet_distance_{place}"] = found["precision"], found["frechet_distance"]
    return measures


def over(samples: Sequence[Mapping[str, float]], real: Sequence[Mapping[str, float]]) -> Measured:
    """Return the figures of sets of samples as one, beside those of sets of training examples."""
    return {name: over_sets([one[name] for one in samples], real=[one[name] for one in real]) for name in samples[0]}


def training_sets(train: Tensor, n: int, sets: int = SETS, seed: int = 0) -> list[Tensor]:
    """Return up to `sets` sets of n training examples, none of them in two.

    Raises:
        UserError: fewer than n training examples.
    """
    if len(train) < n:
        raise UserError(f"samples: {n} are more than the {len(train)} training examples beside them; draw fewer samples")
    order = torch.randperm(len(train), generator=generator(seed, "training sets")).to(train.device)
    return [train[chosen] for chosen in torch.split(order, n)[: min(sets, len(train) // n)]]
