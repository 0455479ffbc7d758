"""The letters: 26 different glyphs, from text that a person reads as the letters."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from regen import data
from regen.data.sets import letters
from regen.errors import UserError


@pytest.fixture
def config() -> letters.Config:
    parsed = data.config({"kind": "letters", "source": "drawn"}, "letters")
    assert isinstance(parsed, letters.Config)
    return parsed


def test_there_are_26_different_binary_glyphs_of_25_pixels():
    glyphs = letters.parse(letters.GLYPHS)
    assert glyphs.shape == (26, 5, 5, 1)
    assert set(np.unique(glyphs)) == {0, 255}
    assert len(np.unique(glyphs.reshape(26, -1), axis=0)) == 26


@pytest.mark.parametrize(
    ("letter", "rows"),
    [
        ("a", ".###. ....# .#### #...# .####"),
        ("i", "..#.. ..... .##.. ..#.. .###."),
        ("l", ".##.. ..#.. ..#.. ..#.. ..##."),
        ("z", "##### ...#. ..#.. .#... #####"),
    ],
)
def test_a_label_names_its_glyph(config, tmp_path, letter, rows):
    letters.download(config, tmp_path)
    arrays, description = letters.prepare(config, tmp_path, seed=0)
    at = int(np.flatnonzero(arrays["train_labels"] == description["labels"].index(letter))[0])
    drawn = "".join("#" if pixel else "." for pixel in arrays["train"][at].flatten())
    assert drawn == rows.replace(" ", "")


def test_both_splits_are_the_whole_distribution(config, tmp_path):
    letters.download(config, tmp_path)
    arrays, description = letters.prepare(config, tmp_path, seed=0)
    np.testing.assert_array_equal(arrays["train"], arrays["test"])
    assert description["shape"] == [1, 5, 5]
    assert math.log(len(arrays["train"])) / 25 == pytest.approx(0.130324, abs=5e-7)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("#", "x", 1), "expected 26 glyphs"),
        (lambda text: text[: len(text) // 2], "zip|expected 26 glyphs"),
        (lambda text: "\n\n".join([text.split("\n\n")[0]] * 2 + text.split("\n\n")[2:]), "alike"),
    ],
)
def test_damaged_glyphs_are_refused(config, tmp_path: Path, damage, message):
    (tmp_path / letters.FILE).write_text(damage(letters.GLYPHS))
    with pytest.raises(UserError, match=message):
        letters.prepare(config, tmp_path, seed=0)


def test_a_missing_file_is_named(config, tmp_path):
    with pytest.raises(UserError, match=r"letters\.txt: no such file"):
        letters.prepare(config, tmp_path, seed=0)
