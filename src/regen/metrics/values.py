"""What goes into a measure (images, features) and what comes out of it (values beside limits)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regen.errors import UserError

Measured = dict[str, dict[str, float]]  # {measure: {"value": ..., "limit"?: ..., "error"?: ...}}, as in metrics/<model>.json


def measured(value: float, limit: float | None = None, error: float | None = None) -> dict[str, float]:
    """Return one entry of metrics/<model>.json."""
    entry = {"value": float(value)}
    if limit is not None:
        entry["limit"] = float(limit)
    if error is not None:
        entry["error"] = float(error)
    return entry


def mean(per_example: Tensor, limit: Tensor | float | None = None) -> dict[str, float]:
    """Return the mean over examples with its standard error, s / sqrt(n), beside the mean of the limit."""
    per_example = per_example.double()
    error = per_example.std().item() / math.sqrt(len(per_example)) if len(per_example) > 1 else 0.0
    return measured(per_example.mean().item(), limit.double().mean().item() if isinstance(limit, Tensor) else limit, error)


def features(x: Tensor, name: str, at_least: int = 2) -> Tensor:
    """Return (n, d) features as float64 on the CPU, where every device gives the same figure.

    Raises:
        UserError: no matrix, too few rows, or values that are not finite.
    """
    if x.ndim != 2 or x.shape[1] == 0:
        raise UserError(f"{name}: expected features of shape (examples, dimensions), got {tuple(x.shape)}")
    if len(x) < at_least:
        raise UserError(f"{name}: {len(x)} examples are too few; at least {at_least} are needed: raise the number of samples")
    x = x.detach().to("cpu", torch.float64)
    if not bool(x.isfinite().all()):
        rows = int((~x.isfinite()).any(1).sum())
        raise UserError(f"{name}: {rows} of {len(x)} examples have NaN or infinite values; the model that gave them has diverged")
    return x


def same_dimensions(**sets: Tensor) -> None:
    """Refuse sets of examples whose shapes differ in more than their number.

    Raises:
        UserError: naming the two that differ.
    """
    (first, x), *others = sets.items()
    for name, y in others:
        if y.shape[1:] != x.shape[1:]:
            shapes = f"{tuple(x.shape[1:])} and {tuple(y.shape[1:])}"
            raise UserError(f"{first} and {name}: examples differ in shape, {shapes}; take both from one model and data set")


def confusion(found: Tensor, true: Tensor, classes: int) -> Tensor:
    """Return how many examples of each class (rows) were taken for each class (columns), from their labels (N,)."""
    return torch.bincount(true * classes + found, minlength=classes**2).view(classes, classes)


def pixels(images: Tensor) -> Tensor:
    """Return images as floats in [0, 1]: uint8 is divided by 255, floats stay as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def images(x: Tensor, name: str, at_least: int = 1) -> Tensor:
    """Check (N, C, H, W) images, floats in [0, 1] or uint8, and return them unchanged.

    Raises:
        UserError: another shape, too few of them, or values that are not finite.
    """
    if x.ndim != 4:
        raise UserError(f"{name}: expected images of shape (N, C, H, W), got {tuple(x.shape)}")
    if len(x) < at_least:
        raise UserError(f"{name}: {len(x)} images are too few; at least {at_least} are needed: raise the number of samples")
    if x.is_floating_point() and not all(bool(part.isfinite().all()) for part in torch.split(x, 1000)):
        raise UserError(f"{name}: NaN or infinite pixels; the model that gave them has diverged")
    return x
