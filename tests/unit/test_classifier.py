"""The classifier: its augmentation moves images and no labels, and labels of another kind are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regen.errors import UserError
from regen.models.classifier import _moved
from tests.conftest import build


def test_an_augmented_image_is_rotated_by_15_degrees_and_shifted_by_15_percent_at_most():
    torch.manual_seed(0)
    x = torch.zeros(500, 1, 41, 41)
    x[:, :, 20, 20] = 1  # the middle
    x[:, :, 20, 32] = 2  # 12 pixels to its right
    moved = _moved(x, 1.0)
    assert moved.shape == x.shape
    grid = torch.stack(torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij"))
    centre = (moved * grid).sum((2, 3)) / moved.sum((2, 3))  # (N, 2): of the three units of ink, at (20, 28) before
    assert float((centre - torch.tensor([20.0, 28.0])).abs().max()) < 0.15 * 20.5 + 8 * (0.15 + 0.27)
    assert float(centre.std(0).min()) > 0.5


def test_without_strength_nothing_is_moved():
    x = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(_moved(x, 0.0), x)


def test_labels_of_classes_are_smoothed_towards_all_classes():
    model = build("classifier", target="class", label_smoothing=0.3).eval()
    x, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 1])
    log_p = model.logits(x).log_softmax(1)
    expected = -(0.7 * log_p[torch.arange(4), labels] + 0.3 * log_p.mean(1)).mean()
    loss, figures = model.loss({"x": x, "labels": labels}, "network")
    torch.testing.assert_close(loss.detach(), expected)
    assert float(figures["accuracy"]) == float((log_p.argmax(1) == labels).float().mean())


@pytest.mark.parametrize(
    ("target", "labels", "found"),
    [("attributes", np.zeros(4), "class"), ("class", np.zeros((4, 3)), "attributes"), ("class", None, "none")],
)
def test_labels_of_another_kind_are_refused(target, labels, found):
    classifier = build("classifier", target=target)
    batch = {"x": torch.rand(4, 3, 16, 16)} | ({} if labels is None else {"labels": torch.from_numpy(labels)})
    with pytest.raises(UserError, match=f"target: {target}, but the labels of .* are: {found}"):
        classifier.loss(batch, "network")
