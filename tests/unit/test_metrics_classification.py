"""Classifiers' readings against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from regen.errors import UserError
from regen.metrics.classification import attribute_measures, class_measures, rotation_measures, worst_attributes


@pytest.fixture(scope="module")
def attributes() -> tuple[torch.Tensor, torch.Tensor]:
    """Log-odds and truth of 6 attributes, from common to absent, some read wrong."""
    generator = np.random.default_rng(0)
    true = generator.random((400, 6)) < np.array([0.5, 0.3, 0.1, 0.03, 0.01, 0.0])
    odds = np.where(true ^ (generator.random((400, 6)) < 0.05), 1.0, -1.0) * generator.random((400, 6))
    return torch.from_numpy(odds), torch.from_numpy(true.astype(np.uint8))


def test_accuracy_agrees_with_scikit_learn() -> None:
    logits, labels = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 5
    p = accuracy_score(labels, logits.argmax(1))
    assert class_measures(logits, labels)["accuracy"] == pytest.approx(
        {"value": p, "bound": 1, "error": math.sqrt(p * (1 - p) / 200)}
    )


def test_rotations_are_counted_over_all_four_of_each_image_and_their_error_is_over_images() -> None:
    logits = torch.randn(4, 90, 4, generator=torch.Generator().manual_seed(0))
    logits[torch.arange(4), :, torch.arange(4)] += 1
    true = torch.arange(4).repeat_interleave(90)
    an_image = (logits.argmax(2) == torch.arange(4)[:, None]).double().mean(0)
    assert rotation_measures(logits)["rotation_accuracy"] == pytest.approx(
        {
            "value": accuracy_score(true, logits.flatten(0, 1).argmax(1)),
            "baseline": 0.25,
            "error": float(an_image.std()) / math.sqrt(90),
        }
    )


def test_readings_of_other_than_four_rotations_are_refused() -> None:
    with pytest.raises(UserError, match=r"four rotations of N images, \(4, N, 4\), got \(9, 4\)"):
        rotation_measures(torch.randn(9, 4))


def test_attribute_measures_agree_with_scikit_learn(attributes) -> None:
    odds, true = attributes
    read = (odds > 0).numpy().astype(int)
    got = attribute_measures(odds, true)
    assert got["attribute_accuracy"]["value"] == pytest.approx((read == true.numpy()).mean())
    assert got["exact_match"]["value"] == pytest.approx(accuracy_score(true.numpy(), read))
    present = true.numpy().any(0)
    assert present.tolist() == [True] * 5 + [False]
    oracle = f1_score(true.numpy()[:, present], read[:, present], average="macro", zero_division=0)
    assert got["macro_f1"]["value"] == pytest.approx(oracle)


def test_a_perfect_classifier_scores_one(attributes) -> None:
    _, true = attributes
    assert {entry["value"] for entry in attribute_measures(true.double() - 0.5, true).values()} == {1.0}


def test_worst_attributes_come_first_and_absent_ones_not_at_all(attributes) -> None:
    odds, true = attributes
    rows = worst_attributes(odds, true, list("abcdef"))
    read = (odds > 0).numpy().astype(int)
    oracle = f1_score(true.numpy(), read, average=None, zero_division=0)
    assert {row["attribute"]: pytest.approx(row["f1"]) for row in rows} == dict(zip("abcde", oracle, strict=False))
    assert [row["f1"] for row in rows] == sorted(row["f1"] for row in rows)
    first = rows[0]
    column = "abcdef".index(str(first["attribute"]))
    assert first["images"] == int(true[:, column].sum())
    assert first["missed"] == int(((read[:, column] == 0) & (true[:, column].numpy() == 1)).sum())
    assert first["imagined"] == int(((read[:, column] == 1) & (true[:, column].numpy() == 0)).sum())


def test_labels_of_another_kind_are_refused() -> None:
    with pytest.raises(UserError, match="expected 4 classes, one an image"):
        class_measures(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(UserError, match="0 to 3 for 3 classes"):
        class_measures(torch.zeros(4, 3), torch.arange(4))
    with pytest.raises(UserError, match=r"expected binary attributes of shape \(4, 3\)"):
        attribute_measures(torch.zeros(4, 3), torch.zeros(4))
