"""Components of a mixture, which no label has shaped, named after classes by a few labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.seeding import numpy_generator


def labelled(labels: Any, per_class: int, seed: int) -> dict[int, np.ndarray] | None:
    """A few examples a class, drawn from (seed, class): {class: rows}; None where there is not one label an example."""
    if labels is None or np.ndim(labels) != 1:
        return None
    labels = np.asarray(labels)
    return {
        int(c): np.sort(numpy_generator(seed, "labelled", int(c)).permutation(np.flatnonzero(labels == c))[:per_class])
        for c in np.unique(labels)
    }


def named(responsibilities: Callable[[np.ndarray], Tensor], examples: dict[int, np.ndarray]) -> Tensor:
    """The class of each component (K,): one to one where the numbers agree, else the class with most of the responsibility.

    Args:
        responsibilities: of some rows of the data, (rows, K).
        examples: rows by class, of `labelled`.
    """
    from scipy.optimize import linear_sum_assignment  # here, for the start-up of everything else

    classes = list(examples)
    shares = np.stack([responsibilities(rows).mean(0).cpu().numpy() for rows in examples.values()], 1)  # (K, classes)
    columns = linear_sum_assignment(-shares)[1] if shares.shape[0] == shares.shape[1] else shares.argmax(1)
    return torch.tensor([classes[column] for column in columns])
