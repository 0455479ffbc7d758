"""What all estimators share: `fit`, buffers whose size the data decides, and the check of their input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.errors import UserError
from regen.models.base import GenerativeModel


class Estimator(GenerativeModel):
    """A model fitted by one call of `fit` instead of gradient steps. Buffers are its whole fitted state."""

    data_sized: tuple[str, ...] = ()  # buffers whose shape only the data tell; loading takes the saved shape

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Fit to the training arrays (`x`, and `labels`, `targets`, `edges` as the data have them).

        Returns:
            The rows of history.csv: one an iteration, none where there is nothing to iterate.

        Raises:
            UserError: the data cannot be fitted; the message says why.
        """
        raise NotImplementedError

    def _buffer(self, name: str, *shape: int, value: float = 0.0) -> Tensor:
        """Register a float64 buffer, and only then write into its memory: too much of it may be refused in between."""
        self.register_buffer(name, torch.empty(shape, dtype=torch.float64))
        buffer: Tensor = getattr(self, name)
        return buffer.fill_(value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.data_sized:
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def flat_images(x: Any) -> Tensor:
    """Return uint8 images (N, H, W, C) as float32 rows (N, C * H * W) in [0, 1]; anything else as float rows (N, D)."""
    x = tensor(x)
    if x.ndim == 4 and x.dtype == torch.uint8:
        x = x.permute(0, 3, 1, 2).float().div_(255)
    rows: Tensor = x.flatten(1)
    return rows


def data_matrix(X: Any, name: str, missing: bool = False) -> Tensor:
    """Return `X` as a float tensor (N, D), on its own device, after checking it.

    Args:
        X: array or tensor of numbers; integers become float64.
        name: who asks, to begin the error with.
        missing: whether NaN is allowed, for a value that was not observed.

    Raises:
        UserError: not two-dimensional, empty, NaN or infinite.
    """
    X = tensor(X)
    if X.ndim != 2 or 0 in X.shape:
        raise UserError(f"{name}: data of shape {tuple(X.shape)}, expected (examples, dimensions), neither of them 0; reshape it")
    data: Tensor = X if X.is_floating_point() else X.double()
    if not bool(torch.isfinite(data.sum())):  # one pass without a temporary; a sum may overflow, so look again before refusing
        wrong = data.isinf() if missing else ~data.isfinite()
        if bool(wrong.any()):
            row, column = (int(i) for i in wrong.nonzero()[0])
            raise UserError(
                f"{name}: {int(wrong.sum())} values of the data are NaN or infinite (the first: X[{row}, {column}] = "
                f"{float(data[row, column])}), expected finite numbers; drop or fill them"
            )
    return data


def tensor(x: Any) -> Tensor:
    """Return a tensor as it is, an array as a tensor over the same memory; a read-only one (memory-mapped) is copied."""
    return x if isinstance(x, Tensor) else torch.as_tensor(np.require(x, requirements="W"))


def float64(x: Any) -> Tensor:
    """Return a tensor or an array as a float64 tensor, on its own device."""
    return tensor(x).double()
