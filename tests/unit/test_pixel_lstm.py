"""The pixel LSTM: causal, normalised, and sampling from the very distribution whose likelihood it tells."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from regen.data import arrays, loaders
from regen.data.loaders import Share
from regen.data.sets import letters
from regen.errors import UserError
from regen.models import pixel_lstm
from regen.models.base import DataSpec
from regen.training.optim import Adam


def build(side: int = 5, **changes: int) -> pixel_lstm.Model:
    torch.manual_seed(0)
    block = {"epochs": 1, "batch_size": 26, "learning_rate": 1e-2, **changes}
    config = pixel_lstm.Config(dataset="letters", family="pixel_lstm", **block)
    return pixel_lstm.Model(config, DataSpec(dataset="letters", kind="letters", shape=(1, side, side)))


@pytest.fixture
def small() -> pixel_lstm.Model:
    model = build(2, hidden=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from a coin
    return model


EVERY = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).view(-1, 1, 2, 2)


def test_the_reference_has_12961_parameters():
    assert sum(parameter.numel() for parameter in build().parameters()) == 12_961


def test_probabilities_of_all_images_sum_to_one(small):
    assert float(small.log_likelihood(EVERY).exp().sum()) == pytest.approx(1, abs=1e-6)


def test_a_pixel_depends_on_the_pixels_before_it_and_on_no_other(small):
    x = EVERY[5:6].clone().requires_grad_()
    for i in range(4):
        (gradient,) = torch.autograd.grad(small.logits(x)[0, i], x, retain_graph=True, allow_unused=True)
        reached = gradient.flatten() != 0
        assert reached.tolist() == [j < i for j in range(4)]


def test_the_loss_is_the_negative_log_likelihood_a_pixel(small):
    with torch.no_grad():
        loss, figures = small.loss({"x": EVERY}, "model")
    assert float(loss) == pytest.approx(float(-small.log_likelihood(EVERY).mean() / 4), rel=1e-6)
    assert float(figures["nats_per_pixel"]) == float(loss)


def test_samples_follow_the_likelihood(small):
    n = 40_000
    samples = small.sample(n, seed=0).flatten(1)
    codes = (samples @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()
    expected = small.log_likelihood(EVERY).exp().numpy() * n
    counts = torch.bincount(codes, minlength=16).numpy()
    assert (np.square(counts - expected) / expected).sum() < 37.7  # chi-square with 15 degrees of freedom, p = 0.001


def test_training_comes_near_the_entropy_of_the_images():
    model = build(2, hidden=8)
    x = EVERY[[3, 5, 6, 12]]
    optimizer = Adam(dict(model.named_parameters()), (0.9, 0.999), 0.0, decoupled=False)
    for _ in range(150):
        loss, _ = model.loss({"x": x}, "model")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(3e-2)
    floor = math.log(4) / 4
    assert floor <= float(loss.detach()) < floor + 0.02


@pytest.fixture
def alphabet(tmp_path):
    """The letters as a prepared data set."""
    images = letters.parse(letters.GLYPHS)
    arrays.write(tmp_path / "letters", {"train": images, "test": images}, {"shape": [1, 5, 5], "kind": "letters"})
    return tmp_path / "letters"


def test_an_epoch_of_several_passes_sees_every_letter_as_often(alphabet):
    batches = loaders.read(alphabet, Share(13, 0, steps_per_epoch=6))
    assert batches.per_epoch == 6
    for start in (0, 2, 4):  # each pass: every letter once
        seen = torch.cat([batches(start + step)["x"] for step in (0, 1)]).flatten(1)
        assert len(torch.unique(seen, dim=0)) == 26
    assert not torch.equal(batches(0)["x"], batches(2)["x"])
    assert torch.equal(batches(5)["x"], batches(5)["x"])


def test_the_loader_gives_pixels_of_0_and_1_that_the_loss_takes(alphabet):
    batch = loaders.read(alphabet, Share(26, 0))(0)
    assert set(batch["x"].unique().tolist()) == {0.0, 1.0}
    loss, _ = build().loss(batch, "network")
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=0.1)  # untrained


def test_a_batch_larger_than_the_alphabet_is_refused(alphabet):
    with pytest.raises(UserError, match=r"batch_size: expected 1 to 26 .*got 27"):
        loaders.read(alphabet, Share(27, 0))
