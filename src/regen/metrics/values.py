"""What goes into a measure (images, features) and what comes out of it: values with errors, and what they are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regen.errors import UserError

# {measure: {"value": ..., "error": ..., and at most one of "bound", "baseline" and "real"}}
Measured = dict[str, dict[str, float]]
AGAINST = ("bound", "baseline", "real")
EXACT = 0.0  # error of what is counted, and would be the same however often it was measured
ROUNDING = 1e-9  # error of what differs by the rounding of float64 alone
P_VALUE_SPREAD = 12**-0.5  # of a p-value where what is tested holds: it is then uniform from 0 to 1


def measured(
    value: float, error: float, *, bound: float | None = None, baseline: float | None = None, real: float | None = None
) -> dict[str, float]:
    """Return one figure, and what it is held against.

    Args:
        value: of the model.
        error: one standard deviation of the value; `EXACT` or `ROUNDING` where nothing was drawn.
        bound: of theory; nothing can beat it.
        baseline: the same figure of another method of the same size.
        real: the same figure of real data that were not seen in training.

    Raises:
        ValueError: more than one of `bound`, `baseline` and `real`.
    """
    against = {name: other for name, other in zip(AGAINST, (bound, baseline, real), strict=True) if other is not None}
    if len(against) > 1:
        raise ValueError(f"a figure is held against one of {', '.join(AGAINST)}, got {', '.join(against)}")
    return {name: float(number) for name, number in {"value": value, "error": error, **against}.items()}


def mean(
    per_example: Tensor,
    *,
    bound: Tensor | float | None = None,
    baseline: Tensor | float | None = None,
    real: Tensor | float | None = None,
) -> dict[str, float]:
    """Return the mean over examples with its standard error, s / sqrt(n), and the mean of what it is held against.

    Of a share, a mean of noughts and ones, the error is at least `share_error`.
    """
    per_example = per_example.double()
    error = per_example.std().item() / math.sqrt(len(per_example)) if len(per_example) > 1 else 0.0
    if bool(((per_example == 0) | (per_example == 1)).all()):
        error = share_error(error, len(per_example))
    others = {name: _mean(other) for name, other in zip(AGAINST, (bound, baseline, real), strict=True)}
    return measured(per_example.mean().item(), error, **others)


def share_error(error: float, n: int) -> float:
    """Return the error of a share of n examples: none in n, or all, leaves it open whether one in n is so."""
    return max(error, 1 / n)


def _mean(other: Tensor | float | None) -> float | None:
    return other.double().mean().item() if isinstance(other, Tensor) else other


def over_sets(values: Sequence[float], *, real: Sequence[float] = ()) -> dict[str, float]:
    """Return the mean of a figure over several sets of samples, with the standard deviation between sets.

    `real`: the figure of sets of real examples, as large as those of the samples.
    """
    draws = torch.tensor(values, dtype=torch.float64)
    error = draws.std().item() if len(draws) > 1 else 0.0
    return measured(draws.mean().item(), error, real=sum(real) / len(real) if real else None)


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
