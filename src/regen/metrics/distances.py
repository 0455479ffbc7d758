"""All distances between samples and test data in a classifier's features, each beside the same figure for training data."""

from __future__ import annotations

import torch
from torch import Tensor

from regen.errors import UserError
from regen.metrics.frechet import frechet_distance, kernel_distance
from regen.metrics.neighbours import manifold_measures
from regen.metrics.values import Measured, measured
from regen.seeding import generator


def compare(samples: Tensor, test: Tensor, train: Tensor, seed: int = 0) -> Measured:
    """Return Frechet and kernel distance, precision, recall, density and coverage of `samples` (n, d) against `test` (m, d).

    The limit of each is the same figure for n training examples, drawn without replacement, in place of the samples: what a
    model would get that had learned the distribution, with the same counts.

    Raises:
        UserError: fewer training examples than samples, values that are not finite, or different dimensions.
    """
    if len(train) < len(samples):
        raise UserError(
            f"samples: {len(samples)} are more than the {len(train)} training examples that set the limit; draw fewer samples"
        )
    chosen = torch.randperm(len(train), generator=generator(seed, "limit"))[: len(samples)]
    limits = _compare(train[chosen.to(train.device)], test)
    return {name: measured(value, limits[name]) for name, value in _compare(samples, test).items()}


def _compare(x: Tensor, y: Tensor) -> dict[str, float]:
    return {"frechet_distance": frechet_distance(x, y), "kernel_distance": kernel_distance(x, y), **manifold_measures(x, y)}
