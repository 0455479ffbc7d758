"""The classifier's own augmentation: mixtures of images with the mean of their class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regen.errors import UserError
from regen.models.classifier import _blended
from tests.conftest import build


def test_a_blend_lies_between_an_image_and_the_mean_of_its_class():
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(20)
    x = torch.rand(60, 1, 4, 4)
    mixed = _blended(x, labels, 4, share=1.0)  # the fourth class is in no image
    for image, label, got in zip(x, labels, mixed, strict=True):
        towards = x[labels == label].mean(0) - image
        proportion = (got - image).flatten() @ towards.flatten() / towards.square().sum()
        assert 0 <= proportion <= 1
        torch.testing.assert_close(got, image + proportion * towards)


def test_the_share_of_images_that_are_mixed():
    torch.manual_seed(0)
    x = torch.rand(2000, 1, 2, 2)
    labels = torch.arange(2000) % 10
    assert torch.equal(_blended(x, labels, 10, share=0.0), x)
    changed = (_blended(x, labels, 10, share=0.2) != x).flatten(1).any(1).float().mean()
    assert 0.16 < changed < 0.24


@pytest.mark.parametrize(
    ("target", "labels", "found"),
    [("attributes", np.zeros(4), "class"), ("class", np.zeros((4, 3)), "attributes"), ("class", None, "none")],
)
def test_labels_of_another_kind_are_refused(target, labels, found):
    classifier = build("classifier", target=target)
    with pytest.raises(UserError, match=f"target: {target}, but the labels of .* are: {found}"):
        classifier.columns({} if labels is None else {"labels": labels}, 0)
