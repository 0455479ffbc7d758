"""MNIST from IDX files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from regen import data
from regen.data.sets import mnist
from regen.errors import UserError

LABELS = {"train": [5, 0, 4, 1, 9, 4], "t10k": [7, 4, 1]}


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for stem, labels in LABELS.items():
        idx(folder / f"{stem}-images-idx3-ubyte", pixels(len(labels)))
        idx(folder / f"{stem}-labels-idx1-ubyte", np.array(labels))
    return folder


def config(**block: object) -> mnist.Config:
    parsed = data.config({"kind": "mnist", "source": "mirror", **block}, "params.yaml: datasets.mnist")
    assert isinstance(parsed, mnist.Config)
    return parsed


def test_both_splits_keep_their_order(raw: Path) -> None:
    arrays, description = mnist.prepare(config(), raw, seed=0)
    np.testing.assert_array_equal(arrays["train"], pixels(6)[..., None])
    np.testing.assert_array_equal(arrays["test"], pixels(3)[..., None])
    assert arrays["train_labels"].tolist() == LABELS["train"]
    assert arrays["test_labels"].tolist() == LABELS["t10k"]
    assert arrays["train"].dtype == np.uint8
    assert arrays["train_labels"].dtype == np.int64
    assert description == {"shape": [1, 28, 28], "labels": [str(digit) for digit in range(10)]}


def test_a_choice_of_digits_keeps_those_and_numbers_them_in_order(raw: Path) -> None:
    arrays, description = mnist.prepare(config(digits=[4, 1]), raw, seed=0)
    np.testing.assert_array_equal(arrays["train"], pixels(6)[[2, 3, 5], :, :, None])
    assert arrays["train_labels"].tolist() == [1, 0, 1]
    assert arrays["test_labels"].tolist() == [1, 0]
    assert description["labels"] == ["1", "4"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file"),
        (b"", "not an IDX file of 3 dimensions"),
        (b"<html>", "not an IDX file of 3 dimensions"),
        (struct.pack(">HBB3I", 0, 8, 3, 2, 28, 28) + bytes(2 * 28 * 28 - 1), r"1,567 values, its header says \(2, 28, 28\)"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31), "0 values, its header says"),  # the product overflows 64 bits
        (struct.pack(">HBB3I", 0, 8, 3, 1, 28, 28) + bytes(28 * 28), "1 train images but 6 labels"),
    ],
)
def test_a_wrong_raw_file_is_named_with_its_remedy(raw: Path, content: bytes | None, told: str) -> None:
    path = raw / "train-images-idx3-ubyte"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{told}.*dvc repro --force download@mnist"):
        mnist.prepare(config(), raw, seed=0)


def test_every_mirror_names_the_file_it_stands_for() -> None:
    for file in mnist.SOURCES["mirror"]:
        assert [file.name in str(mirror.provenance()) for mirror in file.mirrors] == [True, True, True]
