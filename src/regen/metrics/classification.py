"""How often a classifier reads test images right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regen.errors import UserError
from regen.metrics.bootstrap import standard_error
from regen.metrics.values import Measured, features, mean, measured


def class_measures(logits: Tensor, labels: Tensor) -> Measured:
    """Return the accuracy of (N, classes) logits against (N,) labels, with its standard error sqrt(p (1 - p) / N).

    Raises:
        UserError: another number of labels, labels that are no class, or logits that are not finite.
    """
    scores = features(logits, "logits", at_least=1)
    if labels.ndim != 1 or len(labels) != len(scores):
        raise UserError(f"labels: expected {len(scores)} classes, one an image, got {tuple(labels.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= scores.shape[1]:
        raise UserError(
            f"labels: {int(labels.min())} to {int(labels.max())} for {scores.shape[1]} classes; prepare the data again"
        )
    return {"accuracy": _proportion(scores.argmax(1) == labels.cpu())}


def rotation_measures(logits: Tensor) -> Measured:
    """Return how often (4, N, 4) logits tell by how many quarter turns each of N images was rotated: [k] are those of k turns.

    * rotation_accuracy: share of the 4 N images that are read right, beside 1/4, of guessing. Its error is over the N images,
      since the four rotations of one are not read independently.

    Raises:
        UserError: another shape, or logits that are not finite.
    """
    if logits.ndim != 3 or logits.shape[0] != 4 or logits.shape[2] != 4:
        raise UserError(f"logits: expected those of four rotations of N images, (4, N, 4), got {tuple(logits.shape)}")
    read = features(logits.flatten(0, 1), "logits").argmax(1).view(4, -1)
    return {"rotation_accuracy": mean((read == torch.arange(4)[:, None]).double().mean(0), baseline=0.25)}


def attribute_measures(logits: Tensor, labels: Tensor) -> Measured:
    """Return how well (N, A) log-odds tell (N, A) binary attributes; an attribute is read where its log-odds are above 0.

    * attribute_accuracy: share of all N x A readings that are right. Most attributes are rare, so it is high by itself.
    * exact_match: share of images all of whose attributes are right.
    * macro_f1: mean of F1 = 2 TP / (2 TP + FP + FN) over the attributes that occur among the test images; its error is
      bootstrapped over images.

    Raises:
        UserError: different shapes, or logits that are not finite.
    """
    read, true = _readings(logits, labels)
    both = torch.stack([read, true], 1)  # (N, 2, A)
    return {
        "attribute_accuracy": mean((read == true).double().mean(1), bound=1.0),
        "exact_match": _proportion((read == true).all(1)),
        "macro_f1": measured(_macro_f1(both), standard_error(_macro_f1, both), bound=1.0),
    }


def _macro_f1(both: Tensor) -> float:
    """Return the macro F1 of readings and truth, (N, 2, A)."""
    read, true = both.unbind(1)
    tp, wrong = _counts(read, true)
    f1 = (2 * tp / (2 * tp + wrong).clamp_min(1))[true.any(0)]
    return f1.mean().item() if len(f1) else math.nan


def worst_attributes(logits: Tensor, labels: Tensor, names: list[str], count: int = 10) -> list[dict[str, str | int | float]]:
    """Return the `count` attributes of lowest F1 among those that occur: name, images that have it, missed, imagined, F1.

    Raises:
        UserError: different shapes, another number of names, or logits that are not finite.
    """
    read, true = _readings(logits, labels)
    if len(names) != true.shape[1]:
        raise UserError(f"names: {len(names)} for {true.shape[1]} attributes")
    tp, wrong = _counts(read, true)
    rows: list[dict[str, str | int | float]] = []
    for index, name in enumerate(names):
        if bool(true[:, index].any()):
            missed, imagined = int((true & ~read)[:, index].sum()), int((read & ~true)[:, index].sum())
            f1 = float(2 * tp[index] / (2 * tp[index] + wrong[index]))
            rows.append(
                {"attribute": name, "images": int(true[:, index].sum()), "missed": missed, "imagined": imagined, "f1": f1}
            )
    return sorted(rows, key=lambda row: (row["f1"], row["attribute"]))[:count]


def _readings(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    scores = features(logits, "logits", at_least=1)
    if labels.shape != scores.shape:
        raise UserError(f"labels: expected binary attributes of shape {tuple(scores.shape)}, got {tuple(labels.shape)}")
    return scores > 0, labels.cpu() > 0


def _counts(read: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return true positives and errors of either kind of each attribute, (A,)."""
    return (read & true).sum(0).double(), (read != true).sum(0).double()


def _proportion(right: Tensor) -> dict[str, float]:
    p = right.double().mean().item()
    return measured(p, math.sqrt(p * (1 - p) / len(right)), bound=1.0)
