"""CryptoPunks from one picture and a table of attributes, both tiny here."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regen import data
from regen.data.sets import punks
from regen.errors import UserError

NAMES = ["zombie", "ape", "cap"]  # not in the alphabet's order


def portraits() -> np.ndarray:
    """Six RGBA portraits, no two alike."""
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (6, 24, 24, 4), dtype=np.uint8)
    rgba[..., 3] = rng.choice([0, 128, 255], (6, 24, 24))
    return rgba


def attributes() -> np.ndarray:
    return np.array([[i >> bit & 1 for bit in range(3)] for i in range(6)], np.uint8)  # row i spells i


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "punks"
    folder.mkdir()
    picture = np.zeros((48, 72, 4), np.uint8)  # 2 rows, 3 columns
    for i, portrait in enumerate(portraits()):
        row, column = divmod(i, 3)
        picture[24 * row : 24 * row + 24, 24 * column : 24 * column + 24] = portrait
    Image.fromarray(picture).save(folder / "punks.png")
    table = {str(i): dict(zip(NAMES, map(int, row), strict=True)) for i, row in enumerate(attributes())}
    shuffled = {key: table[key] for key in ("0", "3", "5", "1", "2", "4")}
    (folder / "punks.json").write_text(json.dumps(shuffled))
    return folder


def config(**block: object) -> punks.Config:
    parsed = data.config({"kind": "punks", "source": "mirror", "test_fraction": 0.34, **block}, "params.yaml: datasets.punks")
    assert isinstance(parsed, punks.Config)
    return parsed


def test_portraits_are_cut_row_by_row(raw: Path) -> None:
    np.testing.assert_array_equal(punks.read_grid(raw / "punks.png"), portraits())


def test_attributes_keep_the_files_names_and_the_punks_numbers(raw: Path) -> None:
    table, names = punks.read_attributes(raw / "punks.json")
    assert names == NAMES
    np.testing.assert_array_equal(table, attributes())


def test_compositing_rounds_the_exact_mixture_to_the_nearest_integer() -> None:
    alpha, colour = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    rgba = np.stack([colour, colour, colour, alpha], axis=-1).astype(np.uint8)
    behind = (0x63, 0x85, 0x96)
    expected = [
        [[round(Fraction(a * c + (255 - a) * b, 255)) for b in behind] for c in range(0, 256, 5)] for a in range(0, 256, 3)
    ]
    np.testing.assert_array_equal(punks.composite(rgba, "#638596")[::3, ::5], expected)


def test_transparent_pixels_show_the_background_and_opaque_ones_their_colour() -> None:
    rgba = np.array([[9, 8, 7, 0], [9, 8, 7, 255]], np.uint8)
    assert punks.composite(rgba, "#638596").tolist() == [[0x63, 0x85, 0x96], [9, 8, 7]]


@pytest.mark.parametrize("size", [24, 25, 48, 64, 100])
def test_each_pixel_shows_the_source_pixel_under_its_centre(size: int) -> None:
    source = [int(Fraction(2 * i + 1, 2) * 24 / size) for i in range(size)]
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    expected = np.stack([np.stack([images[:, row, column] for column in source], 1) for row in source], 1)
    np.testing.assert_array_equal(punks.enlarge(images, size), expected)


def test_the_splits_share_the_punks_out_with_their_attributes(raw: Path) -> None:
    arrays, _ = punks.prepare(config(size=48), raw, seed=0)
    assert arrays["train"].shape == (4, 48, 48, 3)
    assert arrays["test"].shape == (2, 48, 48, 3)
    whole = punks.composite(portraits(), "#638596")
    seen = []
    for split in ("train", "test"):
        for image, row in zip(arrays[split], arrays[f"{split}_labels"], strict=True):
            i = int(row @ [1, 2, 4])  # the number that the attributes spell
            np.testing.assert_array_equal(image[::2, ::2], whole[i])
            seen.append(i)
    assert sorted(seen) == list(range(6))


def test_the_split_is_a_matter_of_the_seed_alone(raw: Path) -> None:
    def test_labels(seed: int, **block: object) -> list[list[int]]:
        return punks.prepare(config(**block), raw, seed)[0]["test_labels"].tolist()

    assert test_labels(0) == test_labels(0, size=24, background="#000000")
    assert len({str(test_labels(seed)) for seed in range(8)}) > 1


def test_the_palette_holds_every_colour_once_and_in_order(raw: Path) -> None:
    arrays, description = punks.prepare(config(size=24), raw, seed=0)
    colours = {tuple(map(int, pixel)) for split in ("train", "test") for pixel in arrays[split].reshape(-1, 3)}
    assert [tuple(colour) for colour in description["palette"]] == sorted(colours)
    assert (description["grid"], description["shape"], description["labels"]) == (24, [3, 24, 24], NAMES)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("punks.png", None, "no such file"),
        ("punks.png", b"<html>", "damaged or not a picture"),
        ("punks.json", None, "no such file"),
        ("punks.json", b'{"0": {"alien": 0', "damaged"),
        ("punks.json", b'{"1": {"alien": 0}}', "damaged"),
        ("punks.json", b'{"0": {"alien": 0}}', "6 punks but attributes of 1"),
    ],
)
def test_a_wrong_raw_file_is_named_with_its_remedy(raw: Path, name: str, content: bytes | None, told: str) -> None:
    (raw / name).unlink() if content is None else (raw / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{told}.*dvc repro --force download@punks"):
        punks.prepare(config(), raw, seed=0)


def test_a_picture_cut_short_is_called_damaged(raw: Path) -> None:
    content = (raw / "punks.png").read_bytes()
    (raw / "punks.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged or not a picture"):
        punks.prepare(config(), raw, seed=0)


@pytest.mark.parametrize("block", [{"size": 23}, {"background": "blue"}, {"test_fraction": 1.0}, {"source": "museum"}])
def test_values_out_of_range_are_refused(block: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"params.yaml: datasets.punks.{next(iter(block))}: expected"):
        config(**block)


def test_a_skin_is_told_by_its_colour_and_a_patch_of_it_is_none() -> None:
    people = np.zeros((3, 24, 24, 3), np.uint8)
    people[0, 5:12, 5:12] = punks.SKINS[2]
    people[1, 5:12, 5:12] = punks.SKINS[0]
    people[2, 5, 5:9] = punks.SKINS[0]  # four cells, of something else
    assert punks.skins(people).tolist() == [2, 0, len(punks.SKINS)]


def test_portraits_drawn_anew_repeat_as_many_as_chance_would() -> None:
    even = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]] * 5, np.uint8)  # each two are independent: 4 of 8 are known
    assert punks.drawn_again(even, np.zeros(20, int), seed=0) == pytest.approx(0.5, abs=0.02)
    skins = even[:, 2].astype(int)  # the third attribute again
    assert punks.drawn_again(even, skins, seed=0) == pytest.approx(0.5, abs=0.02)
    never = np.eye(3, dtype=np.uint8)[np.arange(12) % 3]  # one of three: nothing else was seen or can be drawn
    assert punks.drawn_again(never, np.zeros(12, int), seed=0) == 1.0
