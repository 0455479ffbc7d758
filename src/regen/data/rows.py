"""The rows of several files as one array that may be larger than memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from regen.errors import UserError


class Rows:
    """The rows of several shards as one array, from which slices and index arrays are read.

    What is asked for is read into new memory, in the order in which it lies, and without Python's lock: a thread that reads holds
    up no training, and no page of a file counts as this process's memory.

    Args:
        shards: memory-mapped `.npy` files whose rows have one shape and type.

    Attributes:
        shape, dtype, ndim: as an array's.
    """

    def __init__(self, shards: Sequence[np.memmap]) -> None:
        if len({(shard.shape[1:], shard.dtype) for shard in shards}) > 1 or not all(x.flags.c_contiguous for x in shards):
            first = Path(str(shards[0].filename))
            raise UserError(f"{first}: differs from its other shards in shape, type or order; {remedy(first.parent)}")
        self.files = [(str(shard.filename), shard.offset) for shard in shards]
        self.ends = np.cumsum([len(shard) for shard in shards])
        self.shape: tuple[int, ...] = (int(self.ends[-1]), *shards[0].shape[1:])
        self.dtype, self.ndim = shards[0].dtype, shards[0].ndim
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the rows of a slice or of an array of places (k,), in its order: (k, ...); of one place: its row."""
        if isinstance(index, slice):
            places = np.arange(*index.indices(len(self)))
        else:
            places = np.atleast_1d(np.asarray(index, dtype=np.int64))
        if len(places) and not -len(self) <= places.min() <= places.max() < len(self):
            raise IndexError(f"there are {len(self)} rows, asked for {places.min()} to {places.max()}")
        rows = np.empty((len(places), *self.shape[1:]), self.dtype)
        if rows.size:
            self._read(np.where(places < 0, places + len(self), places), rows.data.cast("B"))
        return np.asarray(rows[0]) if isinstance(index, int | np.integer) else rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all rows: they have to fit in memory."""
        return np.asarray(self[:], dtype)

    def _read(self, places: np.ndarray, buffer: memoryview) -> None:
        """Read the rows at `places` into `buffer`, in the order in which they lie: neighbours by one call."""
        order = np.argsort(places, kind="stable")
        places = places[order]
        shard = np.searchsorted(self.ends, places, side="right")
        at = (places - np.where(shard > 0, self.ends[shard - 1], 0)) * self._row  # bytes into the shard's rows
        cuts = np.flatnonzero((np.diff(places) != 1) | (np.diff(order) != 1) | (np.diff(shard) != 0)) + 1
        starts = np.concatenate([[0], cuts])
        lengths = np.diff(starts, append=len(places)) * self._row
        runs = zip(
            shard[starts].tolist(), at[starts].tolist(), (order[starts] * self._row).tolist(), lengths.tolist(), strict=True
        )
        for number, of_shard in groupby(runs, key=lambda run: run[0]):
            path, offset = self.files[number]
            wanted = [(offset + first, buffer[place : place + length]) for _, first, place, length in of_shard]
            file = os.open(path, os.O_RDONLY)
            try:
                if len(wanted) > 1 and hasattr(os, "posix_fadvise"):
                    for first, part in wanted:  # the disk fetches them side by side
                        os.posix_fadvise(file, first, len(part), os.POSIX_FADV_WILLNEED)
                for first, part in wanted:
                    _fill(file, part, first, Path(path))
            finally:
                os.close(file)


def remedy(folder: Path) -> str:
    """Say what a person does about a damaged file of a prepared data set."""
    return f"run `dvc repro`, which makes {folder} again"


def _fill(file: int, buffer: memoryview, offset: int, path: Path) -> None:
    """Read as many bytes as `buffer` has."""
    done = 0
    while done < len(buffer):
        if not (got := os.preadv(file, [buffer[done:]], offset + done)):
            raise UserError(f"{path}: cut short; {remedy(path.parent)}")
        done += got
