"""The classifier: its augmentation moves images and no labels, and labels of another kind are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regen import families
from regen.errors import UserError
from regen.models.base import DataSpec
from regen.models.classifier import _moved, rotated
from tests.conftest import block, build


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


def test_each_image_is_rotated_by_0_to_3_quarter_turns_against_the_clock():
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0]])[None, None].repeat(2, 1, 1, 1)
    x[1] += 10
    turned, turns = rotated(x)
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    found = [image.flatten().tolist() for image in turned[::2]]
    assert found == [[0, 1, 2, 3], [1, 3, 0, 2], [3, 2, 1, 0], [2, 0, 3, 1]]
    assert torch.equal(turned[1::2], turned[::2] + 10)


def test_rotations_are_learned_without_labels():
    torch.manual_seed(0)
    x = torch.rand(64, 3, 16, 16) * 0.5
    x[:, :, :8] += 0.5  # the upper half is bright
    classifier = build("classifier", target="rotation")
    optimizer = torch.optim.Adam(classifier.parameters(), 1e-2)
    for _ in range(15):
        loss, figures = classifier.loss({"x": x}, "network")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert figures["accuracy"] == 1
    turned, turns = rotated(x)
    assert torch.equal(classifier.eval().logits(turned).argmax(1), turns)
    assert classifier.labels == ("0 degrees", "90 degrees", "180 degrees", "270 degrees")


def test_labels_of_the_data_do_not_matter_to_rotations():
    x = torch.rand(4, 3, 16, 16)
    losses = [
        build("classifier", target="rotation").loss({"x": x, **labels}, "network")[0]
        for labels in ({}, {"labels": torch.ones(4, 3)}, {"labels": torch.ones(4)})
    ]
    assert losses[0] == losses[1] == losses[2]


def test_rotations_of_images_that_are_no_squares_are_refused():
    config = families.config(block("classifier", target="rotation"), "toy")
    with pytest.raises(UserError, match="target: rotation turns square images, those of toy are 16x32; prepare squares"):
        families.build(config, DataSpec(dataset="toy", kind="toy", shape=(3, 16, 32)))


def test_features_of_images_of_another_size_are_one_clear_line():
    with pytest.raises(UserError, match="trained on the images of toy, 3 x 16 x 16, got images of 1 x 16 x 16"):
        build("classifier").features(torch.rand(2, 1, 16, 16))
