"""Prepared folders: exact statistics, memory-mapped loading, all or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regen import data
from regen.data import arrays, folders, loaders
from regen.data.arrays import Moments
from regen.errors import UserError

DESCRIPTION = {"dataset": "toy", "kind": "toy", "source": "made", "shape": [1, 2, 2], "labels": ["a", "b"]}


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 2, 2, 1), dtype=np.uint8)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared" / "toy"
    content = {"train": images(50), "test": images(20, 1), "train_labels": np.arange(50) % 2, "test_labels": np.arange(20) % 2}
    arrays.write(folder, content, DESCRIPTION)
    return folder


def test_a_kill_while_an_old_folder_is_removed_leaves_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "figures"
    for name in ("old", "new"):
        with folders.replacing(folder) as part:
            (part / name).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
    assert [path.name for path in folder.iterdir()] == ["new"]

    def killed(path: Path, **_: Any) -> None:
        if Path(path).exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(folders.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt), folders.replacing(folder) as part:
            (part / "newest").touch()
    assert [path.name for path in folder.iterdir()] == ["newest"]
    with folders.replacing(folder) as part:
        (part / "last").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


# -- moments


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (7, 3), (400, 31, 2)])
def test_moments_agree_with_numpy(dtype: type, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 1000)  # many blocks
    x = (np.random.default_rng(1).normal(size=shape) * 50 + 100).astype(dtype)
    moments, wide = Moments.of(x), x.astype(np.longdouble)
    assert (moments.count, moments.min, moments.max) == (x.size, x.min(), x.max())
    assert float(moments.mean) == pytest.approx(float(wide.mean()), rel=1e-14)
    assert moments.std == pytest.approx(float(wide.std()), rel=1e-13)


def test_moments_of_bytes_are_exact() -> None:
    x = images(3000)
    values = [int(value) for value in x.ravel()]
    mean = Fraction(sum(values), len(values))
    moments = Moments.of(x)
    assert moments.mean == mean
    assert moments.m2 == sum((value - mean) ** 2 for value in values)
    assert float(moments.mean) == x.mean()


@pytest.mark.parametrize("seed", range(20))
def test_parts_merge_to_the_whole_however_a_stream_is_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, rng.integers(2, 500), dtype=np.uint8)
    cuts = np.sort(rng.integers(0, len(x) + 1, rng.integers(0, 6)))  # empty parts among them
    total = Moments()
    for part in np.split(x, cuts):
        total = total.merge(Moments.of(part))
    assert total == Moments.of(x)


def test_moments_of_floats_far_from_zero_keep_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 100)
    noise = np.random.default_rng(0).normal(size=10_000)
    assert Moments.of(noise + 1e9).std == pytest.approx(noise.std(), rel=1e-6)  # sum(x^2)/n - mean^2 would give 0 or NaN


def test_moments_of_a_memory_mapped_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images(1000))
    assert Moments.of(np.load(tmp_path / "x.npy", mmap_mode="r")) == Moments.of(images(1000))


# -- folders


def test_statistics_describe_the_splits(prepared: Path) -> None:
    content = arrays.statistics(prepared)
    train = images(50)
    assert content["splits"]["train"] == {
        "count": 50,
        "min": train.min(),
        "max": train.max(),
        "mean": train.mean(),
        "std": pytest.approx(train.std(), rel=1e-14),
    }
    assert set(content["splits"]) == {"train", "test"}
    assert {key: content[key] for key in DESCRIPTION} == DESCRIPTION


def test_statistics_hold_the_sha256_of_every_file(prepared: Path) -> None:
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in prepared.glob("*.npy")}
    assert arrays.statistics(prepared)["sha256"] == files
    assert len(files) == 4


def test_writing_twice_gives_the_same_bytes(prepared: Path) -> None:
    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    loaded = {stem: np.load(prepared / f"{stem}.npy") for stem in ("test_labels", "test", "train_labels", "train")}
    arrays.write(prepared, loaded, dict(reversed(DESCRIPTION.items())))
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before


def test_loading_gives_memory_maps_of_one_split(prepared: Path) -> None:
    loaded = arrays.load(prepared, "test")
    assert {name: type(x) for name, x in loaded.items()} == {"x": np.memmap, "labels": np.memmap}
    np.testing.assert_array_equal(loaded["x"], images(20, 1))
    np.testing.assert_array_equal(loaded["labels"], np.arange(20) % 2)


def test_a_set_without_labels_loads_without(tmp_path: Path) -> None:
    arrays.write(tmp_path / "toy", {"train": images(3)}, DESCRIPTION)
    assert list(arrays.load(tmp_path / "toy", "train")) == ["x"]


def test_first_examples_are_kept_of_splits_and_labels_alone() -> None:
    kept = arrays.first({"train": images(5), "train_labels": np.arange(5), "template": np.arange(9)}, 2)
    assert {stem: len(x) for stem, x in kept.items()} == {"train": 2, "train_labels": 2, "template": 9}
    assert len(arrays.first({"train": images(5)}, 0)["train"]) == 5


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "statistics.json").unlink(), r"statistics\.json: no such file"),
        (lambda folder: (folder / "statistics.json").write_text("{"), r"statistics\.json: damaged"),
        (lambda folder: (folder / "statistics.json").write_text("[]"), r"statistics\.json: damaged"),
        (lambda folder: (folder / "train.npy").unlink(), r"train\.npy: no such file"),
        (lambda folder: (folder / "train.npy").write_bytes(b""), r"train\.npy: damaged or cut short"),
        (lambda folder: (folder / "train.npy").write_bytes(b"\x80\x04K\x01."), r"train\.npy: damaged or cut short"),  # a pickle
        (lambda folder: cut((folder / "train.npy"), 3), r"train\.npy: damaged or cut short"),
        (lambda folder: cut((folder / "train_labels.npy"), 300), r"train_labels\.npy: damaged or cut short"),
        (lambda folder: np.save(folder / "train_labels.npy", np.arange(49)), r"train has 49 labels, statistics\.json says 50"),
    ],
)
def test_a_damaged_folder_is_named_with_its_remedy(prepared: Path, harm: Callable[[Path], object], told: str) -> None:
    harm(prepared)
    with pytest.raises(UserError, match=rf"{told}.*`dvc repro`, which makes .*toy again$"):
        arrays.load(prepared, "train")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"splits": {"train": {"count": "50"}}}, r"splits\.train\.count: Input should be a valid integer"),
        ({"splits": {"train": 7}}, r"splits\.train: "),
        ({"splits": None}, r"splits: "),
        ({"splits": {"train": {"count": 50, "min": 0, "max": 1, "mean": math.nan, "std": 1}}}, r"splits\.train\.mean: "),
        ({"sha256": ["train.npy"]}, r"sha256: "),
        ({"shape": [3, "16"]}, r"shape\.1: "),
        ({"shape": [0]}, r"shape\.0: "),
        ({"labels": {"a": 1}}, r"labels: "),
        ({"file": "cells.h5"}, r"file: "),
        ({"brains": []}, r"brains: "),
        ({"loader": 7}, r"loader: "),
    ],
    ids=str,
)
def test_damage_within_statistics_says_where_it_is(prepared: Path, change: dict[str, object], told: str) -> None:
    path = prepared / "statistics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=rf"statistics\.json: damaged \({told}.*`dvc repro`, which makes .*toy again$"):
        arrays.load(prepared, "train")


def test_what_statistics_lack_is_told_when_it_is_asked_for(prepared: Path) -> None:
    with pytest.raises(UserError, match=r"statistics\.json: damaged \(palette: missing\); run `dvc repro`"):
        arrays.statistics(prepared)["palette"]


@pytest.mark.parametrize("name", ["nonsense", "../../evil", "arrays.x", "os", ""])
def test_a_loader_that_is_none_is_refused(prepared: Path, name: str) -> None:
    path = prepared / "statistics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"loader": name}))
    with pytest.raises(UserError, match=r"damaged \(loader: no loader is called "):
        loaders.read(prepared, loaders.Share(4, 0))


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def test_an_unknown_split_names_those_there_are(prepared: Path) -> None:
    with pytest.raises(UserError, match=r"has no split 'validation' \(there is: test, train\)"):
        arrays.load(prepared, "validation")


def test_a_failed_writing_leaves_the_old_folder_and_nothing_else(prepared: Path) -> None:
    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    with pytest.raises(UserError, match="values of its train split are NaN, infinite or too large"):
        arrays.write(prepared, {"train": np.array([math.nan])}, DESCRIPTION)
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before
    assert list(prepared.parent.iterdir()) == [prepared]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".toy.part").mkdir()
    (tmp_path / ".toy.part" / "half").touch()
    with folders.replacing(tmp_path / "toy") as folder:
        (folder / "whole").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["toy", "toy/whole"]


# -- the registry


def test_kinds_are_found_by_their_files() -> None:
    assert {"mnist", "punks"} <= set(data.kinds())
    assert not {"arrays", "fetch", "folders", "mirrors", "packages", "web"} & set(data.kinds())


@pytest.mark.parametrize("name", data.kinds())
def test_a_kind_has_a_config_and_its_two_functions(name: str) -> None:
    module = data.kind(name)
    assert {"Config", "download"} <= set(vars(module))
    assert {"prepare", "prepare_into"} & set(vars(module))


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"source": "mirror"}, "datasets.x.kind: missing (there is: "),
        ({"kind": "mnits", "source": "mirror"}, "datasets.x.kind: unknown kind of data set 'mnits' (did you mean mnist?)"),
        ({"kind": "mnist", "source": "miror"}, "datasets.x.source: expected 'mirror', got 'miror'"),
        (
            {"kind": "mnist", "source": "mirror", "digits": [1, 10]},
            "datasets.x.digits: expected different digits from 0 to 9, got",
        ),
        (
            {"kind": "mnist", "source": "mirror", "digits": [1, 1]},
            "datasets.x.digits: expected different digits from 0 to 9, got",
        ),
        ({"kind": "mnist", "source": "mirror", "digit": [1]}, "datasets.x.digit: unknown key (did you mean digits?)"),
    ],
)
def test_a_wrong_block_is_refused_by_name(block: dict[str, object], told: str) -> None:
    with pytest.raises(UserError) as raised:
        data.config(block, "params.yaml: datasets.x")
    assert told in str(raised.value)


def test_a_full_disk_is_told_though_numpy_does_not_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("48 requested and 16 written")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="short write") as raised:
        arrays.write(tmp_path / "toy", {"train": np.zeros((2, 3), np.uint8)}, {"kind": "toy", "shape": [3]})
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


# -- shards


def test_shards_hold_every_row_once_within_their_size() -> None:
    parts = arrays.shards("train", 1_000_000, 64 * 64 * 3)
    assert parts[0][:2] == ("train-00000.npy", 0)
    assert parts[-1][2] == 1_000_000
    assert all(end == start for (_, _, end), (_, start, _) in pairwise(parts))
    assert all((end - start) * 64 * 64 * 3 + 128 <= arrays.SHARD for _, start, end in parts)
    assert len(parts) == 23
    assert [name for name, *_ in parts] == sorted(name for name, *_ in parts)


@pytest.mark.parametrize(("count", "row", "expected"), [(0, 10, [(0, 0)]), (3, arrays.SHARD, [(0, 1), (1, 2), (2, 3)])])
def test_a_split_without_rows_or_with_huge_ones_has_shards_too(count: int, row: int, expected: list[tuple[int, int]]) -> None:
    assert [(start, end) for _, start, end in arrays.shards("test", count, row)] == expected


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """50 training images in shards of 20, 20 and 10, with labels; 20 test images in one."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    for number, part in enumerate(np.split(images(50), [20, 40])):
        np.save(folder / f"train-{number:05d}.npy", part)
    np.save(folder / "test-00000.npy", images(20, 1))
    np.save(folder / "train_labels.npy", np.arange(50) % 2)
    np.save(folder / "test_labels.npy", np.arange(20) % 2)
    arrays.describe(folder, DESCRIPTION)
    return folder


def test_shards_have_the_statistics_of_the_whole(sharded: Path, prepared: Path) -> None:
    of_shards, whole = arrays.statistics(sharded), arrays.statistics(prepared)
    assert of_shards["splits"] == whole["splits"]
    assert of_shards["sha256"].keys() == {path.name for path in sharded.glob("*.npy")}


@pytest.mark.parametrize(
    "index",
    [slice(None), slice(5, 45), slice(45, 5, -3), slice(7, 7), [3, 3, 49, 0, 20, 19, -1], [], np.arange(50)[::-1], 41, -50],
)
def test_rows_of_shards_are_read_as_an_arrays(sharded: Path, index: Any) -> None:
    rows = arrays.load(sharded, "train")["x"]
    assert isinstance(rows, arrays.Rows)
    wanted = images(50)[index if isinstance(index, slice | int) else np.asarray(index, dtype=int)]
    assert (len(rows), rows.shape, rows.dtype, rows.ndim) == (50, (50, 2, 2, 1), np.uint8, 4)
    np.testing.assert_array_equal(rows[index], wanted)


def test_a_split_of_one_shard_is_an_array(sharded: Path) -> None:
    np.testing.assert_array_equal(arrays.load(sharded, "test")["x"], images(20, 1))
    np.testing.assert_array_equal(arrays.load(sharded, "train")["labels"], np.arange(50) % 2)
    np.testing.assert_array_equal(np.asarray(arrays.load(sharded, "train")["x"]), images(50))


@pytest.mark.parametrize("index", [50, [-51], [0, 50]])
def test_a_row_that_is_not_there_is_refused(sharded: Path, index: Any) -> None:
    with pytest.raises(IndexError, match="there are 50 rows"):
        arrays.load(sharded, "train")["x"][index]


def test_a_missing_shard_is_one_clear_line(sharded: Path) -> None:
    (sharded / "train-00001.npy").unlink()
    with pytest.raises(UserError, match=r"train-00001.npy: no such file; run `dvc repro`"):
        arrays.load(sharded, "train")


def test_a_shard_cut_short_while_it_is_read_is_one_clear_line(sharded: Path) -> None:
    rows = arrays.load(sharded, "train")["x"]
    with (sharded / "train-00001.npy").open("r+b") as file:
        file.truncate(150)
    with pytest.raises(UserError, match=r"train-00001.npy: cut short; run `dvc repro`"):
        rows[:]


def test_shards_of_different_shapes_are_refused(sharded: Path) -> None:
    np.save(sharded / "train-00002.npy", np.zeros((10, 3, 2, 1), np.uint8))
    with pytest.raises(UserError, match=r"train-00000.npy: differs from its other shards in shape"):
        arrays.load(sharded, "train")
