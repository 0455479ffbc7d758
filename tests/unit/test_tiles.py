"""Tiles: each sampler of positions against its exact probabilities, and windows of a file against slices of the whole."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.stats import chisquare

from regen.data import arrays, folders
from regen.data.tiles import sections
from regen.data.tiles.samplers import SAMPLERS, ByPixel, Tiles, mirrored
from regen.errors import UserError
from regen.metrics import coverage
from regen.seeding import numpy_generator

SIZES = np.array([[40, 33], [16, 50], [70, 71], [29, 16]])
BRAINS = np.array([1, 0, 1, 1])
TILE = 16


def sampler(name: str, sizes: np.ndarray = SIZES, tile: int = TILE, cells: np.ndarray | None = None) -> Any:
    count = int(np.prod(-(-sizes // sections.CELL), axis=1).sum())
    return SAMPLERS[name](sizes, BRAINS[: len(sizes)], tile, np.zeros(count, np.uint8) if cells is None else cells)


def counted(positions: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[tuple[int, int, int], int]:
    section, top, left = positions
    found, counts = np.unique((section * 1000 + top) * 1000 + left, return_counts=True)
    return {(key // 1_000_000, key // 1000 % 1000, key % 1000): n for key, n in zip(found.tolist(), counts.tolist(), strict=True)}


def agree(drawn: dict[tuple[int, int, int], int], probabilities: dict[tuple[int, int, int], float]) -> float:
    """Return the p-value of positions drawn with these probabilities; nothing else may have been drawn."""
    assert not set(drawn) - set(probabilities)
    n = sum(drawn.values())
    assert sum(probabilities.values()) == pytest.approx(1)
    return float(chisquare([drawn.get(key, 0) for key in probabilities], [n * p for p in probabilities.values()]).pvalue)


def positions(size: np.ndarray) -> list[tuple[int, int]]:
    return list(itertools.product(range(size[0] - TILE + 1), range(size[1] - TILE + 1)))


# -- samplers


def test_equal_draws_a_brain_then_a_section_then_a_position_the_last_row_and_column_included() -> None:
    drawn = counted(sampler("equal")(2_000_000, np.random.default_rng(0)))
    expected = {
        (i, *place): 1 / 2 / (BRAINS[i] == BRAINS).sum() / len(positions(size))
        for i, size in enumerate(SIZES)
        for place in positions(size)
    }
    assert agree(drawn, expected) > 0.01
    for i, (height, width) in enumerate(SIZES):
        assert (i, height - TILE, width - TILE) in drawn


def test_by_density_draws_positions_by_the_structure_around_their_centres() -> None:
    sizes = np.array([[150, 100], [64, 129]])
    cells = np.array([0, 9, 3, 50, 7, 1, 20, 0, 100], np.uint8)  # 3 x 2 and 1 x 3
    tile = 40
    drawn = counted(sampler("by_density", sizes, tile, cells)(4_000_000, np.random.default_rng(1)))
    grids = [cells[:6].reshape(3, 2), cells[6:].reshape(1, 3)]
    weights = {
        (i, y, x): 1.0 + grids[i][(y + tile // 2) // 64, (x + tile // 2) // 64]
        for i, (height, width) in enumerate(sizes)
        for y in range(height - tile + 1)
        for x in range(width - tile + 1)
    }
    total = sum(weights.values())
    assert agree(drawn, {key: weight / total for key, weight in weights.items()}) > 0.01


@pytest.mark.parametrize("tile", [1, 2, 5, 16, 17])
@pytest.mark.parametrize("side", [1, 2, 7, 16, 17, 40])
def test_by_pixel_shows_each_pixel_of_an_axis_equally_often_exactly(side: int, tile: int) -> None:
    sampler = ByPixel(np.array([[side, side]]), np.array([0]), tile, np.zeros(1, np.uint8))

    class Every:  # every value that the generator can give, once
        def integers(self, high: Any, size: int | None = None) -> np.ndarray:
            return np.stack([np.arange(2 * side)] * 2, 1) if np.ndim(high) else np.zeros(size, np.int64)

    _, top, _ = sampler(2 * side, Every())  # type: ignore[arg-type]
    assert np.all(2 * top + tile - 1 >= -1)  # the tile's centre lies in the section
    assert np.all(2 * top + tile - 1 <= 2 * side - 1)
    seen = np.zeros(side, int)
    for start in top:
        np.add.at(seen, mirrored(int(start), tile, side), 1)
    assert [Fraction(int(count), 2 * side) for count in seen] == [Fraction(tile, side)] * side


def pixels_of(sampler: Any, sizes: np.ndarray, tile: int, draws: int) -> np.ndarray:
    """Count, for every pixel of all sections, one pixel of each tile drawn, chosen uniformly."""
    start = np.concatenate([[0], np.cumsum(sizes.prod(1))])
    seen = np.zeros(start[-1], np.int64)
    for k in range(draws // 500_000):
        rng = numpy_generator(3, "pixels", k)
        section, top, left = sampler(500_000, rng)
        folded = []
        for axis, first in enumerate((top, left)):
            side = sizes[section, axis]
            place = (first + rng.integers(tile, size=len(first))) % (2 * side)
            folded.append(np.minimum(place, 2 * side - 1 - place))
        seen += np.bincount(start[section] + folded[0] * sizes[section, 1] + folded[1], minlength=len(seen))
    return seen


def test_by_pixel_sees_every_pixel_equally_often_over_ten_million_tiles() -> None:
    assert chisquare(pixels_of(sampler("by_pixel"), SIZES, TILE, 10_000_000)).pvalue > 0.01


def test_positions_inside_alone_do_not_see_every_pixel_equally_often() -> None:
    for uneven in (sampler("equal", SIZES[2:3]), coverage.InsideWithoutLast(SIZES[2:3], TILE)):
        assert chisquare(pixels_of(uneven, SIZES[2:3], TILE, 500_000)).pvalue < 1e-100


def test_the_measure_of_coverage_tells_even_from_uneven() -> None:
    sizes = np.array([[200, 300], [90, 500], [64, 64], [400, 100], [130, 90]])
    even = sampler("by_pixel", sizes[:4], 64)
    assert coverage.coverage_measures(even, sizes[:4], 64, draws=2_000_000)["coverage_p"]["value"] > 0.01
    for uneven in (sampler("equal", sizes[:4], 64), coverage.InsideWithoutLast(sizes[:4], 64)):
        assert coverage.coverage_measures(uneven, sizes[:4], 64, draws=500_000)["coverage_p"]["value"] < 1e-10


def test_a_section_smaller_than_a_tile_has_one_position_inside_that_centres_it() -> None:
    sizes = np.array([[10, 40], [40, 40]])
    for name in ("equal", "by_density"):
        section, top, left = sampler(name, sizes)(20_000, np.random.default_rng(0))
        assert set(top[section == 0]) == {-3}
        assert left[section == 0].min() == 0
        assert left[section == 0].max() == 24


@pytest.mark.parametrize("name", SAMPLERS)
def test_positions_follow_from_the_generator(name: str) -> None:
    one, same, other = (np.stack(sampler(name)(50, np.random.default_rng(seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


# -- reading


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of noise of `SIZES`, as the stages write it."""
    monkeypatch.chdir(tmp_path)
    return index(tmp_path)


def index(folder: Path, **options: Any) -> Path:
    content = whole()
    names = sorted(content)
    with h5py.File(folder / "sections.h5", "w") as file:
        for name, image in content.items():
            file.create_dataset(name, data=image, **options)
    made = {
        "train": np.array([content[name].shape for name in names]),
        "train_names": np.array(names),
        "train_labels": np.array([0, 1, 1, 1]),
        "cells_train": np.ones(7, np.uint8),
    }
    source = {"path": str(folder / "sections.h5"), **sections.digest(folder / "sections.h5")}
    arrays.write(
        folder / "prepared",
        made,
        {
            "shape": [1, TILE, TILE],
            "labels": ["a", "b"],
            "kind": "brains",
            "file": source,
            "sampler": "by_pixel",
            "loader": "tiles",
        },
    )
    return folder / "prepared"


def whole() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"{'ab'[BRAINS[i]]}/{i}": rng.integers(0, 256, size).astype(np.uint8) for i, size in enumerate(SIZES)}


@pytest.mark.parametrize("options", [{}, {"chunks": (9, 13)}, {"chunks": (16, 16), "compression": "gzip"}])
@pytest.mark.parametrize("name", SAMPLERS)
def test_tiles_are_windows_of_the_mirrored_sections(name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    tiles = Tiles(index(tmp_path, **options), "train", 400, 0, sampler=name)
    content = whole()
    for tile, section, top, left in zip(tiles.batch(0), *tiles.positions(0), strict=True):
        unfolded = np.pad(content[str(tiles.names[section])], TILE, mode="symmetric")
        np.testing.assert_array_equal(tile, unfolded[top + TILE : top + 2 * TILE, left + TILE : left + 2 * TILE])


def test_a_batch_is_a_function_of_its_number_alone(prepared: Path) -> None:
    tiles = Tiles(prepared, "train", 8, seed=5)
    stream = list(itertools.islice(tiles, 4))
    again = Tiles(prepared, "train", 8, seed=5)
    np.testing.assert_array_equal(again.batch(3), stream[3])  # without the ones before
    np.testing.assert_array_equal(again.batch(1), stream[1])
    assert not np.array_equal(Tiles(prepared, "train", 8, seed=6).batch(0), stream[0])
    assert not np.array_equal(Tiles(prepared, "train", 8, 5, purpose="validation").batch(0), stream[0])


def test_tiles_are_taken_where_the_data_set_s_own_sampler_takes_them(prepared: Path) -> None:
    assert isinstance(Tiles(prepared, "train", 8, 0).sampler, ByPixel)
    assert isinstance(Tiles(prepared, "train", 8, 0, sampler="equal").sampler, SAMPLERS["equal"])


def test_as_a_map_the_stream_is_the_same(prepared: Path) -> None:
    tiles = Tiles(prepared, "train", 8, 0, sampler="equal")
    stream = np.concatenate(list(itertools.islice(tiles, 3)))
    for i in (17, 0, 23, 8):
        np.testing.assert_array_equal(tiles[i], stream[i])


def test_processes_share_a_batch_without_overlap(prepared: Path) -> None:
    tiles = Tiles(prepared, "train", 9, 0)
    shares = [tiles.batch(2, slice(rank, None, 2)) for rank in (0, 1)]
    merged = np.empty((9, TILE, TILE), np.uint8)
    merged[0::2], merged[1::2] = shares
    np.testing.assert_array_equal(merged, tiles.batch(2))


def test_few_sections_are_open_at_a_time(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regen.data.tiles.samplers.OPEN", 2)
    tiles = Tiles(prepared, "train", 100, 0, sampler="equal")
    expected = tiles.batch(0)
    assert len(tiles.read._open) == 2
    np.testing.assert_array_equal(tiles.batch(0), expected)


def test_a_file_that_changes_while_it_is_read_is_one_clear_line(prepared: Path) -> None:
    tiles = Tiles(prepared, "train", 64, 0, sampler="equal")
    tiles.batch(0)
    with Path("sections.h5").open("rb+") as file:
        file.truncate(6000)
    with pytest.raises(UserError, match=r"sections\.h5: has changed while it was read; "):
        tiles.batch(1)


def test_a_chunk_that_cannot_be_decoded_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = index(tmp_path, chunks=(16, 16), compression="gzip")
    with h5py.File("sections.h5") as file:
        at = [file[name].id.get_chunk_info(0).byte_offset for name in whole()]
    with Path("sections.h5").open("rb+") as handle:
        for offset in at:
            handle.seek(offset)
            handle.write(b"\xff" * 40)
    statistics = arrays.statistics(folder)
    statistics["file"] |= sections.digest(Path("sections.h5"))
    folders.write_json(folder / "statistics.json", statistics)
    with pytest.raises(UserError, match=r"sections\.h5: [ab]/\d: damaged "):
        Tiles(folder, "train", 400, 0, sampler="equal").batch(0)
