"""HDF5 files of sections: a group for each brain, in it a 2-D uint8 image for each section, of any size.

Read in blocks, never an image whole: a file may be far larger than the memory. Contiguous, chunked or compressed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from regen import paths
from regen.errors import UserError

BLOCK = 1 << 22  # pixels read at a time
CELL = 64  # pixels a side of the squares whose structure is measured


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file of sections for reading.

    Raises:
        UserError: there is no such file, it is no HDF5 file, or it is cut short.
    """
    if not path.is_file():  # HDF5 would wait for what comes through a pipe
        raise UserError(f"{path}: no such file; expected an HDF5 file of sections")
    try:
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=1 << 20)
    except PermissionError:
        raise
    except OSError as error:
        if "truncated" in str(error):
            raise UserError(f"{path}: cut short: an HDF5 file, but its end is missing; copy it again") from None
        if "signature" in str(error):
            raise UserError(f"{path}: not an HDF5 file; expected groups of 2-D uint8 images, one group a brain") from None
        raise UserError(f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())})") from None
    with file:
        yield file


def blocks(image: h5py.Dataset) -> Iterator[tuple[int, int, np.ndarray]]:
    """Read an image as blocks (top, left, pixels), each of at most about `BLOCK` pixels, whole cells and whole chunks.

    Raises:
        UserError: pixels are missing or damaged.
    """
    height, width = image.shape
    row, column = (-(-side // CELL) * CELL for side in (image.chunks or (1, 1)))
    column = max(column, min(-(-width // CELL) * CELL, BLOCK // row // CELL * CELL))
    row = max(row, BLOCK // column // CELL * CELL)
    inner = max(CELL, BLOCK // column // CELL * CELL)  # a chunk may be larger than a block: read once, worked off in parts
    for top in range(0, height, row):
        for left in range(0, width, column):
            try:
                x = image[top : top + row, left : left + column]
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                where = f"{image.file.filename}: {image.name[1:]}"
                raise UserError(f"{where}: damaged or cut short ({' '.join(str(error).split())}); copy the file again") from None
            for start in range(0, len(x), inner):
                yield top + start, left, x[start : start + inner]


def measure(image: h5py.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return, in one pass, how often each grey level occurs, int64 (256,), and the structure of each cell.

    Structure is the standard deviation of the pixels of a `CELL` x `CELL` square, rounded, uint8 (rows, columns): 0 where
    there is nothing but glass.
    """
    levels = np.zeros(256, np.int64)
    structure = np.zeros(tuple(-(-side // CELL) for side in image.shape), np.uint8)
    for top, left, x in blocks(image):
        levels += np.bincount(x.ravel(), minlength=256)
        y, x0 = np.arange(0, x.shape[0], CELL), np.arange(0, x.shape[1], CELL)
        n = np.outer(np.diff([*y, x.shape[0]]), np.diff([*x0, x.shape[1]]))
        wide = x.astype(np.int32)
        sums = np.add.reduceat(np.add.reduceat(wide, y, 0, dtype=np.int64), x0, 1)
        squares = np.add.reduceat(np.add.reduceat(wide * wide, y, 0, dtype=np.int64), x0, 1)
        deviation = np.sqrt(np.maximum(squares * n - sums**2, 0)) / n
        structure[top // CELL : top // CELL + len(y), left // CELL : left // CELL + len(x0)] = np.rint(deviation)
    return levels, structure


def moments(levels: np.ndarray) -> dict[str, float]:
    """Return min, max, mean and std of pixels from how often each grey level occurs: in integers, rounded once at the end."""
    counts = [int(count) for count in levels]
    present, n = np.flatnonzero(levels), sum(counts)
    sum_ = sum(level * count for level, count in enumerate(counts))
    squares = sum(level**2 * count for level, count in enumerate(counts))
    variance = Fraction(squares, n) - Fraction(sum_, n) ** 2
    return {"min": int(present[0]), "max": int(present[-1]), "mean": float(Fraction(sum_, n)), "std": math.sqrt(variance)}


_hashed: dict[tuple[Any, ...], str] = {}


def digest(path: Path) -> dict[str, Any]:
    """Return size and SHA-256 of a file. It is read whole, once a process: a date of change, that anyone may set, proves nothing.

    Raises:
        UserError: there is no such file.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected an HDF5 file of sections") from None
    if not path.is_file():
        raise UserError(f"{path}: {'a folder' if path.is_dir() else 'no file'}; expected an HDF5 file of sections")
    identity = (path.resolve(), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    if identity not in _hashed:
        with path.open("rb") as file:
            _hashed[identity] = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": state.st_size, "sha256": _hashed[identity]}


def same(one: h5py.Dataset, other: h5py.Dataset) -> bool:
    """Whether two images have the same pixels."""
    if one.shape != other.shape:
        return False
    return all(np.array_equal(x, other[top : top + len(x), left : left + x.shape[1]]) for top, left, x in blocks(one))


def unchanged(source: dict[str, Any], dataset: str) -> Path:
    """Return the file that a data set was prepared from, `source` = its {path, bytes, sha256}, if it is still the same.

    Raises:
        UserError: it is gone or has changed.
    """
    path = paths.located(source["path"])
    remedy = f"prepare it anew with `dvc repro --force download@{dataset}`"
    if not path.exists():
        raise UserError(f"{path}: no such file: data set {dataset} was prepared from it; bring it back, or {remedy}")
    if path.stat().st_size != source["bytes"]:
        raise UserError(
            f"{path}: has changed since it was prepared ({path.stat().st_size} bytes, were {source['bytes']}); {remedy}"
        )
    if digest(path)["sha256"] != source["sha256"]:
        raise UserError(f"{path}: has changed since it was prepared (other content, SHA-256 differs); {remedy}")
    return path
