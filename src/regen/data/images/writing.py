"""The prepared folder: shards and labels of each split in the index's order, and a table of what became of each file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from regen.data import arrays
from regen.data.images.chunks import Found
from regen.data.images.splits import LEFT_OUT, NAMES

TABLE = "images.csv"


def shards(folder: Path, files: Sequence[Path], split: np.ndarray, shape: tuple[int, int, int]) -> None:
    """Copy the pixels of all chunks into shards, one chunk in memory at a time."""
    writers = {side: Writer(folder, name, int((split == side).sum()), shape) for side, name in NAMES.items()}
    first = 0
    for path in files:
        with np.load(path, allow_pickle=False) as content:
            pixels = content["pixels"]
        sides = split[first : first + len(pixels)]
        for side, writer in writers.items():
            writer.append(pixels[sides == side])
        first += len(pixels)
    for writer in writers.values():
        writer.close()


class Writer:
    """Writes the shards of one split, row after row: uint8 (count, *shape) in all. A split without rows leaves no file."""

    def __init__(self, folder: Path, split: str, count: int, shape: tuple[int, int, int]) -> None:
        self.folder, self.shape, self.row = folder, shape, 0
        self.waiting = arrays.shards(split, count, int(np.prod(shape))) if count else []
        self.file: BinaryIO | None = None
        self.end = 0

    def append(self, pixels: np.ndarray) -> None:
        """Write rows, uint8 (n, *shape)."""
        while len(pixels):
            if self.row == self.end:
                self._next()
            assert self.file is not None
            part = pixels[: self.end - self.row]
            self.file.write(np.ascontiguousarray(part).data)
            self.row += len(part)
            pixels = pixels[len(part) :]

    def close(self) -> None:
        """End the last shard."""
        if self.file is not None:
            self.file.close()

    def _next(self) -> None:
        self.close()
        name, start, self.end = self.waiting.pop(0)
        self.file = (self.folder / name).open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.end - start, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)


def labels(folder: Path, labelled: np.ndarray, split: np.ndarray) -> None:
    """Write the labels of each split that has pictures."""
    for side, name in NAMES.items():
        if (split == side).any():
            content = io.BytesIO()  # numpy does not say why it wrote less to a file
            np.save(content, labelled[split == side], allow_pickle=False)
            (folder / f"{name}_labels.npy").write_bytes(content.getvalue())


def table(folder: Path, names: Sequence[str], found: Found, split: np.ndarray, same: np.ndarray, near: np.ndarray) -> None:
    """Write images.csv: what each file became.

    Its columns: `file`; `split` and `row`, where its pixels lie (neither for one that is left out); `copy_of` and `near`, the
    first picture with the same pixels and the first of its chain of near-duplicates, if it is not that; and `bad`, the reason.
    """
    rows = np.zeros(len(split), np.int64)
    for number in NAMES:
        rows[split == number] = np.arange((split == number).sum())
    place = np.zeros(len(names), np.int64)
    place[found.rows] = np.arange(len(found.rows))
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["file", "split", "row", "copy_of", "near", "bad"])
        for row, name in enumerate(names):
            if row in found.bad:
                out.writerow([name, "", "", "", "", found.bad[row]])
                continue
            i = place[row]
            side = (NAMES[int(split[i])], int(rows[i])) if split[i] != LEFT_OUT else ("", "")
            firsts = [names[found.rows[other[i]]] if other[i] != i else "" for other in (same, near)]
            out.writerow([name, *side, *firsts, ""])
