"""The tables against brute force over a handful of small images."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from regen import families
from regen.data.sets import letters
from regen.errors import UserError
from regen.estimators import prefix_tables
from regen.models.base import DataSpec

TOY = ["0110", "0111", "0110", "1000"]  # 2x2 images, one of them twice


def build(images: np.ndarray) -> prefix_tables.Model:
    config = prefix_tables.Config(dataset="toy", family="prefix_tables")
    model = prefix_tables.Model(config, DataSpec(dataset="toy", kind="toy", shape=(1, *images.shape[1:3])))
    model.fit({"x": images})
    return model


@pytest.fixture
def toy() -> prefix_tables.Model:
    return build(np.array([[int(bit) for bit in image] for image in TOY], np.uint8).reshape(4, 2, 2, 1) * 255)


@pytest.fixture(scope="module")
def alphabet() -> prefix_tables.Model:
    return build(letters.parse(letters.GLYPHS))


def every_image() -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).view(-1, 1, 2, 2)


def test_the_likelihood_of_every_image_is_its_frequency(toy):
    expected = [TOY.count("".join(str(int(bit)) for bit in image.flatten())) / 4 for image in every_image()]
    np.testing.assert_allclose(toy.log_likelihood(every_image()).exp(), expected, atol=1e-15)


def test_conditionals_are_counted_from_the_images(toy):
    assert toy.conditional([]) == 1 / 4
    assert toy.conditional([0, 1, 1]) == pytest.approx(1 / 3)
    assert toy.conditional([1]) == 0


def test_dense_tables_hold_the_conditionals_and_nothing_where_no_image_goes(toy):
    for i in range(1, 5):
        table = toy.dense_table(i)
        assert table.shape == (2,) * i
        for prefix in itertools.product((0, 1), repeat=i - 1):
            matching = [image for image in TOY if image.startswith("".join(map(str, prefix)))]
            ones = sum(image[i - 1] == "1" for image in matching)
            expected = [1 - ones / len(matching), ones / len(matching)] if matching else [math.nan, math.nan]
            np.testing.assert_allclose(table[prefix], expected)


def test_an_unreachable_prefix_is_an_error_not_a_half(toy):
    with pytest.raises(UserError, match="no image begins with 11"):
        toy.conditional([1, 1, 0])


@pytest.mark.parametrize("prefix", [[0, 1, 1, 0], [2]])
def test_what_is_no_prefix_is_refused(toy, prefix):
    with pytest.raises(UserError, match="is no prefix"):
        toy.conditional(prefix)


def test_a_table_beyond_2_to_the_24_entries_is_refused(alphabet):
    with pytest.raises(UserError, match="33,554,432 entries"):
        alphabet.dense_table(25)


@pytest.mark.parametrize("i", [0, 26])
def test_a_table_that_does_not_exist_is_refused(alphabet, i):
    with pytest.raises(UserError, match="expected 1 to 25"):
        alphabet.dense_table(i)


def test_images_that_are_not_binary_are_refused():
    with pytest.raises(UserError, match="the value 7"):
        build(np.full((3, 2, 2, 1), 7, np.uint8))


def test_letters_have_the_entropys_likelihood(alphabet):
    x = torch.from_numpy(letters.parse(letters.GLYPHS)).permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(-alphabet.log_likelihood(x) / 25, math.log(26) / 25, rtol=1e-12)


def test_samples_are_letters_in_equal_shares(alphabet):
    known = letters.parse(letters.GLYPHS).reshape(26, 25) // 255
    samples = alphabet.sample(26_000, seed=0).flatten(1).numpy()
    is_letter = (samples[:, None] == known).all(2)
    assert is_letter.any(1).all()
    counts = is_letter.sum(0)
    assert (np.square(counts - 1000) / 1000).sum() < 52.6  # chi-square with 25 degrees of freedom, p = 0.001


def test_kilobytes_hold_what_dense_tables_hold_in_half_a_gigabyte(alphabet, tmp_path):
    families.save(alphabet, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 16_000


def test_a_saved_model_is_the_same_model(alphabet, tmp_path):
    families.save(alphabet, tmp_path)
    assert torch.equal(families.load(tmp_path).sample(50, seed=3), alphabet.sample(50, seed=3))
