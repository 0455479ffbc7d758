"""The standard error of any statistic of examples, by the bootstrap (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from regen.seeding import generator

RESAMPLES = 200


def standard_error(statistic: Callable[..., float | Tensor], *samples: Tensor, seed: int = 0) -> float:
    """Return the standard deviation of statistic(*samples) over resamples of the examples, drawn with replacement.

    Each of `samples` (n, ...) is drawn by itself; what belongs to one example stands in one row.
    """
    draws = generator(seed, "bootstrap")
    values = []
    for _ in range(RESAMPLES):
        drawn = (x[torch.randint(len(x), (len(x),), generator=draws)] for x in samples)
        values.append(float(statistic(*drawn)))
    return torch.tensor(values, dtype=torch.float64).std().item()


def ratio(parts: Tensor) -> Tensor:
    """Return sum_i a_i / sum_i b_i of examples (N, 2): a statistic for `standard_error`."""
    a, b = parts.sum(0)
    return torch.div(a, b)
