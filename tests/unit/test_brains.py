"""Brains: whole brains held out, exact statistics in one pass, a file used in place, and every wrong file told in one line."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from regen import data
from regen.data import arrays, folders
from regen.data.sets import brains
from regen.data.tiles import sections, synthetic
from regen.errors import UserError

BLOCK = {"kind": "brains", "source": "file", "path": "sections.h5", "tile": 16}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def images(seed: int = 0, counts: tuple[int, ...] = (3, 4, 2)) -> dict[str, np.ndarray]:
    """Noise of different sizes in brains called x, y, z."""
    rng = np.random.default_rng(seed)
    names = [f"{brain}/{number}" for brain, count in zip("xyz", counts, strict=False) for number in range(count)]
    return {name: rng.integers(3, 250, rng.integers(16, 200, 2)).astype(np.uint8) for name in names}


def write(content: dict[str, Any], path: str = "sections.h5", **options: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, image in content.items():
            file.create_dataset(name, data=image, **options)


def prepared(name: str = "toy", **changes: Any) -> Path:
    """Download and prepare, as the stages do."""
    config = data.config({**BLOCK, **changes}, "params.yaml: datasets.toy")
    assert isinstance(config, brains.Config)
    raw, folder = Path("data/raw") / name, Path("data/prepared") / name
    with folders.replacing(raw) as part:
        brains.download(config, part)
    made, description = brains.prepare(config, raw, 0)
    arrays.write(folder, made, description | {"dataset": name, "kind": "brains", "source": config.source})
    return folder


# -- statistics and split


@pytest.mark.parametrize("options", [{}, {"chunks": (16, 16)}, {"chunks": (7, 13)}, {"compression": "gzip"}])
def test_statistics_are_numpy_s_of_the_whole_however_it_is_laid_out(options: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(sections, "BLOCK", 1 << 12)  # many blocks
    content = images(counts=(3, 4, 2))
    content["y/0"] = np.random.default_rng(1).integers(1, 256, (300, 400)).astype(np.uint8)
    content["y/0"][77, 311] = 0
    write(content, **options)
    statistics = arrays.statistics(prepared())
    for split, names in {"train": "xy", "test": "z"}.items():
        x = np.concatenate([image.ravel() for name, image in content.items() if name[0] in names])
        found = statistics["splits"][split]
        assert (found["min"], found["max"], found["count"]) == (x.min(), x.max(), sum(name[0] in names for name in content))
        assert found["mean"] == x.mean(dtype=np.float64)  # exact integers, rounded once
        assert found["std"] == pytest.approx(x.std(dtype=np.longdouble), rel=1e-15)
    assert statistics["splits"]["train"]["min"] == 0


def test_each_brain_s_sizes_are_described() -> None:
    content = images()
    write(content)
    described = arrays.statistics(prepared())["brains"]
    assert {brain: (entry["images"], entry["split"]) for brain, entry in described.items()} == {
        "x": (3, "train"), "y": (4, "train"), "z": (2, "test"),
    }  # fmt: skip
    areas = {name: image.size for name, image in content.items() if name[0] == "y"}
    largest = max(areas, key=areas.__getitem__)
    assert described["y"]["largest"] == dict(zip(("key", "height", "width"), (largest[2:], *content[largest].shape), strict=True))
    assert described["y"]["area"]["median"] == np.median(list(areas.values()))
    assert described["y"]["height"]["q1"] == np.quantile([content[name].shape[0] for name in areas], 0.25)


def test_structure_is_the_deviation_of_each_cell() -> None:
    x = images(counts=(1,))["x/0"]
    x = np.tile(x, (2, 2))[:150, :190]
    write({"x/0": x, "y/0": x})
    with sections.opened(Path("sections.h5")) as file:
        structure = sections.measure(file["x/0"])[1]
    expected = [[round(float(x[r : r + 64, c : c + 64].std())) for c in range(0, 190, 64)] for r in range(0, 150, 64)]
    np.testing.assert_array_equal(structure, expected)


@pytest.mark.parametrize(
    ("counts", "changes", "splits"),
    [
        ((3, 4, 2), {}, {"x": "train", "y": "train", "z": "test"}),
        ((2, 4, 2), {}, {"x": "test", "y": "train", "z": "train"}),  # as few: the first by name
        ((3, 4, 2), {"test_brain": "y"}, {"x": "train", "y": "test", "z": "train"}),
        ((3, 4, 2), {"validation_brain": "fewest_images"}, {"x": "validation", "y": "train", "z": "test"}),
        ((3, 4, 2), {"test_brain": "x", "validation_brain": "y"}, {"x": "test", "y": "validation", "z": "train"}),
    ],
)
def test_a_brain_is_in_one_split_as_a_whole(counts: tuple[int, ...], changes: dict[str, str], splits: dict[str, str]) -> None:
    write(images(counts=counts))
    folder = prepared(**changes)
    assert {brain: entry["split"] for brain, entry in arrays.statistics(folder)["brains"].items()} == splits
    for split in set(splits.values()):
        names = arrays.load(folder, split)["names"]
        assert {splits[name[0]] for name in names} == {split}
        assert len(names) == sum(count for brain, count in zip("xyz", counts, strict=True) if splits[brain] == split)


def test_other_pixels_are_another_data_set_to_a_training() -> None:
    write(images())
    before = arrays.statistics(prepared())["sha256"]
    content = images()
    content["x/0"][0, 0] ^= 1
    write(content)
    assert arrays.statistics(prepared())["sha256"] != before


def test_the_file_is_used_where_it_is() -> None:
    write(images())
    folder = prepared()
    assert arrays.statistics(folder)["file"]["path"] == "sections.h5"
    assert sorted(path.name for path in Path("data/raw/toy").iterdir()) == ["source.json"]
    assert not list(Path("data").rglob("*.h5"))


# -- sources


def test_a_folder_of_pictures_becomes_the_same_sections(at_home: Path) -> None:
    content = images(counts=(2, 1))
    for name, suffix in zip(content, (".png", ".tif", ".PNG"), strict=True):
        (at_home / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content[name]).save(at_home / "pictures" / f"{name}{suffix}")
    statistics = arrays.statistics(prepared(source="folder", path="pictures"))
    assert statistics["file"]["path"] == "data/raw/toy/sections.h5"
    with h5py.File("data/raw/toy/sections.h5") as file:
        assert {f"{brain}/{key}" for brain in file for key in file[brain]} == set(content)
        for name, image in content.items():
            np.testing.assert_array_equal(file[name][:], image)


def test_colour_becomes_luminance(at_home: Path) -> None:
    for brain in "yx":
        (at_home / "pictures" / brain).mkdir(parents=True)
        colours = np.random.default_rng(ord(brain)).integers(0, 256, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(colours).save(at_home / "pictures" / brain / "0.png")
    prepared(source="folder", path="pictures")
    with h5py.File("data/raw/toy/sections.h5") as file:
        np.testing.assert_allclose(file["x/0"][:], colours @ [0.299, 0.587, 0.114], atol=1)


def test_synthetic_sections_have_the_layout_and_the_proportions_of_the_reference() -> None:
    folder = prepared(source="synthetic", path="", sections=0.02, scale=0.1, tile=32)
    described = arrays.statistics(folder)["brains"]
    assert {brain: entry["images"] for brain, entry in described.items()} == {"B01": 6, "B02": 8, "B05": 5, "B07": 5, "B20": 4}
    assert described["B20"]["split"] == "test"
    with h5py.File("data/raw/toy/sections.h5") as file:
        assert list(file["B01"]) == [f"{number:04d}" for number in range(6)]
        assert all(image.dtype == np.uint8 and image.ndim == 2 for brain in file.values() for image in brain.values())


def test_synthetic_sections_are_the_same_bytes_each_time() -> None:
    digests = []
    for name in ("one", "two"):
        prepared(name, source="synthetic", path="", sections=0.005, scale=0.1, tile=32)
        digests.append(hashlib.sha256(Path(f"data/raw/{name}/sections.h5").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_synthetic_sizes_are_right_skewed_within_the_reference_s_range() -> None:
    sides = np.array(
        [synthetic.sides(brain, number, 1.0, 0) for brain, count in synthetic.IMAGES.items() for number in range(count)]
    )
    assert len(sides) == 1348
    assert sides.min() >= 484
    assert sides.max() <= 5840
    assert np.all(np.median(sides, 0) < sides.mean(0))
    np.testing.assert_allclose(sides.mean(0), [1162, 1222], rtol=0.06)


def test_synthetic_cells_are_dark_on_light_ground_and_stain_differs_by_brain() -> None:
    means, deviations = [], []
    for brain in synthetic.IMAGES:
        x = [synthetic.section(brain, number, 0.25, 0) for number in range(8)]
        means.append([image.mean() for image in x])
        flat = np.concatenate([image.ravel() for image in x]).astype(float)
        deviations.append(flat.std())
        assert ((flat - flat.mean()) ** 3).mean() < 0 or flat.min() < flat.mean() - 2 * flat.std()  # a tail of dark cells
    assert 120 < np.mean(means) < 190
    assert 35 < np.mean(deviations) < 65
    light = [synthetic.stain(brain, 0) for brain in synthetic.IMAGES]
    assert len({round(stain.cells, 3) for stain in light}) == 5


# -- what can be wrong


def test_a_source_and_its_path_belong_together() -> None:
    for wrong in ({"source": "synthetic"}, {"path": ""}, {"source": "folder", "path": ""}):
        with pytest.raises(UserError, match="a path for source file or folder and none for synthetic"):
            data.config({**BLOCK, **wrong}, "params.yaml: datasets.toy")


def broken(kind: str) -> None:
    """Write a file that is wrong in one way."""
    good = images()
    zoo: dict[str, Any] = {
        "three": {**good, "x/0": np.zeros((20, 20, 3), np.uint8)},
        "float": {**good, "x/0": np.zeros((20, 20))},
        "nan": {**good, "x/0": np.full((20, 20), np.nan)},
        "deep": {**good, "x/0": np.zeros((20, 20), np.uint16)},
        "empty": {**good, "x/0": np.zeros((0, 20), np.uint8)},
        "small": {**good, "x/1": np.zeros((15, 80), np.uint8), "y/0": np.zeros((80, 3), np.uint8)},
        "one": images(counts=(3,)),
        "flat": {"a": good["x/0"]},
    }
    if kind in zoo:
        write(zoo[kind])
    elif kind == "no images":
        write(good)
        with h5py.File("sections.h5", "a") as file:
            file.create_group("w")
    elif kind == "nested":
        write({**good, "x/deep/0": good["x/0"]})
    elif kind == "not":
        Path("sections.h5").write_bytes(b"brains" * 1000)
    elif kind == "folder":
        Path("sections.h5").mkdir()
    elif kind == "pipe":  # that nobody writes into
        os.mkfifo("sections.h5")
    elif kind == "cut":
        write(good)
        os.truncate("sections.h5", Path("sections.h5").stat().st_size // 2)


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("missing", {}, "sections.h5: no such file; expected an HDF5 file of sections"),
        ("folder", {}, "sections.h5: no such file; expected an HDF5 file of sections"),
        ("pipe", {}, "sections.h5: no such file; expected an HDF5 file of sections"),
        ("not", {}, "sections.h5: not an HDF5 file; expected groups of 2-D uint8 images, one group a brain"),
        ("cut", {}, "sections.h5: cut short: an HDF5 file, but its end is missing; copy it again"),
        ("flat", {}, "sections.h5: no groups; expected one group a brain with its images in it"),
        ("no images", {}, "sections.h5: w: no images in this brain"),
        ("nested", {}, "sections.h5: x/deep: expected a 2-D uint8 image, got a group"),
        ("three", {}, "sections.h5: x/0: expected a 2-D uint8 image, got 3 dimensions, shape (20, 20, 3)"),
        ("float", {}, "sections.h5: x/0: expected a 2-D uint8 image, got float64 values"),
        ("nan", {}, "sections.h5: x/0: expected a 2-D uint8 image, got float64 values, NaN among them"),
        ("deep", {}, "sections.h5: x/0: expected a 2-D uint8 image, got uint16 values"),
        ("empty", {}, "sections.h5: x/0: expected a 2-D uint8 image, got an empty one of shape (0, 20)"),
        ("one", {}, "params.yaml: datasets.toy.test_brain: 'fewest_images' leaves no brain to train on (there is: x)"),
        ("good", {"test_brain": "Z"}, "params.yaml: datasets.toy.test_brain: unknown brain 'Z' (there is: x, y, z)"),
        ("good", {"validation_brain": "w"}, "params.yaml: datasets.toy.validation_brain: unknown brain 'w' (there is: x, y, z)"),
        ("good", {"test_brain": "x", "validation_brain": "x"}, "validation_brain: x is the test brain already"),
        ("small", {}, "x/1: 15x80 pixels, smaller than a tile of 16 (and 1 more); set small: pad, or a smaller tile"),
    ],
)
def test_a_wrong_file_or_brain_is_one_clear_line(kind: str, changes: dict[str, Any], told: str) -> None:
    if kind == "good":
        write(images())
    broken(kind)
    with pytest.raises(UserError, match=re.escape(told)) as error:
        prepared(**changes)
    assert "\n" not in str(error.value)


def test_two_brains_leave_none_for_validation() -> None:
    write(images(counts=(2, 3)))
    with pytest.raises(UserError, match=r"leaves no brain to train on .*; set validation_brain: none"):
        prepared(validation_brain="fewest_images")
    assert arrays.statistics(prepared())["brains"]["x"]["split"] == "test"


def test_small_sections_are_kept_where_they_are_to_be_padded() -> None:
    broken("small")
    assert arrays.statistics(prepared(small="pad"))["brains"]["x"]["images"] == 3


def test_the_mistakes_of_a_file_are_told_together() -> None:
    write({"x/0": np.zeros((9, 9, 9), np.uint8), "y/0": np.zeros((9, 9))})
    with pytest.raises(UserError) as error:
        prepared()
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "pictures: no such folder"),
        ("empty", "pictures: no pictures; expected <brain>/<image>.png, jpg or tif in it"),
        ("damaged", "pictures/x/0.png: no picture, or its first bytes are damaged; replace or remove it"),
        ("twice", "pictures/x/0.tif: two pictures of the name 0"),
    ],
)
def test_a_wrong_folder_is_one_clear_line(kind: str, told: str, at_home: Path) -> None:
    x = at_home / "pictures" / "x"
    if kind != "missing":
        x.mkdir(parents=True)
    if kind == "damaged":
        (x / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    elif kind == "twice":
        for suffix in ("png", "tif"):
            Image.new("L", (9, 9)).save(x / f"0.{suffix}")
    with pytest.raises(UserError, match=re.escape(told)):
        prepared(source="folder", path="pictures")


@pytest.mark.parametrize("change", ["gone", "longer", "other pixels", "other pixels, and its time put back", "put back"])
def test_a_file_that_changes_after_it_was_prepared_is_refused(change: str) -> None:
    from regen.data.tiles.samplers import Tiles

    write(images())
    folder = prepared()
    Tiles(folder, "train", 4, 0)
    before = Path("sections.h5").read_bytes()
    state = Path("sections.h5").stat()
    if change == "gone":
        Path("sections.h5").unlink()
    elif change == "longer":
        Path("sections.h5").write_bytes(before + b"\0")
    else:
        with h5py.File("sections.h5", "a") as file:
            file["x/0"][3, 3] ^= 1
        if change == "other pixels, and its time put back":
            os.utime("sections.h5", ns=(state.st_atime_ns, state.st_mtime_ns))
        if change == "put back":
            Path("sections.h5").write_bytes(before)
    if change == "put back":
        Tiles(folder, "train", 4, 0)
        return
    if change.startswith("other pixels"):
        assert Path("sections.h5").stat().st_size == state.st_size
    told = "no such file: data set toy was prepared from it" if change == "gone" else "has changed since it was prepared"
    with pytest.raises(UserError, match=rf"sections\.h5: {told}.*dvc repro --force download@toy"):
        Tiles(folder, "train", 4, 0)


def test_a_file_is_hashed_once_a_process_and_no_process_believes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    write(images())
    first = sections.digest(Path("sections.h5"))
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert sections.digest(Path("sections.h5")) == first
    assert not Path(".work").exists()
    assert first["sha256"] == hashlib.sha256(Path("sections.h5").read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [None, "{", json.dumps({"bytes": 3})])
def test_a_damaged_download_is_named_with_its_remedy(content: str | None) -> None:
    write(images())
    prepared()
    source = Path("data/raw/toy/source.json")
    source.unlink() if content is None else source.write_text(content)
    config = data.config(BLOCK, "toy")
    assert isinstance(config, brains.Config)
    with pytest.raises(UserError, match=r"source\.json: .*dvc repro --force download@toy"):
        brains.prepare(config, Path("data/raw/toy"), 0)
