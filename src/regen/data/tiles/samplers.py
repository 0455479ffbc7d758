"""Tiles of sections: where they are taken (`SAMPLERS`), and reading them from an HDF5 file without loading a section whole.

A tile that leaves a section continues in its mirror image: the section is unfolded by reflection at its edges into an
endless pattern of period (2 H, 2 W), so there is neither a seam nor a filling.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from regen.data import arrays
from regen.data.tiles import sections
from regen.errors import UserError
from regen.seeding import numpy_generator

Ints = np.ndarray  # int64
OPEN = 256  # sections held open at a time


class Equal:
    """A brain uniformly, one of its sections uniformly, a position inside it uniformly, the last row and column included.

    Small brains and small sections weigh as much as large ones.
    """

    def __init__(self, sizes: Ints, brains: Ints, tile: int, cells: np.ndarray) -> None:
        self.sizes, self.tile = sizes, tile
        self.order = np.argsort(brains, kind="stable")
        self.first, self.count = np.unique(brains[self.order], return_index=True, return_counts=True)[1:]

    def __call__(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """Return section, top and left of n tiles."""
        brain = rng.integers(len(self.first), size=n)
        section = self.order[self.first[brain] + rng.integers(self.count[brain])]
        low, high = inside(self.sizes[section], self.tile)
        top, left = (rng.integers(low, high + 1)).T
        return section, top, left


class ByPixel:
    """Every pixel of every section equally likely to be seen, those at the edges included.

    With tiles inside the section alone, that is impossible: a corner lies in one tile, a pixel amidst in T^2. So tiles may
    overhang, by half a tile at the most, and continue in the mirror image. Let the unfolded section have period 2 H along an
    axis, and a tile start at u, uniform over one period. Each of the 2 H places is then covered by T of the 2 H starts, and
    each pixel stands at two places, so its expected number of appearances is 2 T / 2 H: the same for all. A start u and its
    mirror image 2 H - T - u show the same tile, one reversed; of the two, the one whose centre lies in the section itself
    is taken. With sections drawn in proportion to H W, a pixel appears T^2 / sum(H W) times a tile, wherever it is.
    """

    def __init__(self, sizes: Ints, brains: Ints, tile: int, cells: np.ndarray) -> None:
        self.sizes, self.tile = sizes, tile
        self.areas = np.cumsum(sizes.prod(1))

    def __call__(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """Return section, top and left of n tiles; the latter from -T/2 to H - T/2."""
        section = np.searchsorted(self.areas, rng.integers(self.areas[-1], size=n), side="right")
        sides = self.sizes[section]
        u = rng.integers(2 * sides)
        centred = u // 2 if self.tile % 2 else np.minimum(u, 2 * sides - u)
        top, left = (centred - self.tile // 2).T
        return section, top, left


class ByDensity:
    """Tiles with structure preferred: a position inside is as likely as the deviation of grey levels around its centre, plus 1.

    The deviation is that of the `sections.CELL` x `CELL` pixels in which the tile's centre lies, rounded, so all weights are
    integers and the distribution is exact.
    """

    def __init__(self, sizes: Ints, brains: Ints, tile: int, cells: np.ndarray) -> None:
        self.tile = tile
        rows, columns = (-(-sizes // sections.CELL)).T
        self.start = np.concatenate([[0], np.cumsum(rows * columns)])  # of each section's cells
        self.columns = columns
        self.low, self.high = inside(sizes, tile)
        weights = np.empty(self.start[-1], np.int64)
        for i in range(len(sizes)):
            down, across = (span(self.low[i, axis], self.high[i, axis], tile, (rows, columns)[axis][i]) for axis in (0, 1))
            n = np.outer(down[1] - down[0] + 1, across[1] - across[0] + 1)  # positions whose centre lies in each cell
            part = slice(self.start[i], self.start[i + 1])
            weights[part] = n.ravel() * (1 + cells[part].astype(np.int64))
        self.weights = np.cumsum(weights)

    def __call__(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """Return section, top and left of n tiles."""
        cell = np.searchsorted(self.weights, rng.integers(self.weights[-1], size=n), side="right")
        section = np.searchsorted(self.start, cell, side="right") - 1
        place = np.stack(np.divmod(cell - self.start[section], self.columns[section]), 1)  # row and column of the cell
        shift = sections.CELL * place - self.tile // 2
        low = np.maximum(self.low[section], shift)
        high = np.minimum(self.high[section], shift + sections.CELL - 1)
        top, left = rng.integers(low, high + 1).T
        return section, top, left


Sampler = Callable[[int, np.random.Generator], tuple[Ints, Ints, Ints]]
Make = Callable[[Ints, Ints, int, np.ndarray], Sampler]
SAMPLERS: dict[str, Make] = {"equal": Equal, "by_pixel": ByPixel, "by_density": ByDensity}


def inside(sizes: Ints, tile: int) -> tuple[Ints, Ints]:
    """Return the first and last position inside sections, each like `sizes`; of a smaller one, the one that centres the tile."""
    room = sizes - tile
    return np.where(room < 0, room // 2, 0), np.where(room < 0, room // 2, room)


def span(low: int, high: int, tile: int, cells: int) -> tuple[Ints, Ints]:
    """Return for each of `cells` along an axis the first and last position from low to high whose centre lies in it."""
    shift = sections.CELL * np.arange(cells) - tile // 2
    first, last = np.maximum(low, shift), np.minimum(high, shift + sections.CELL - 1)
    return first, np.maximum(last, first - 1)


def mirrored(start: int, tile: int, side: int) -> Ints:
    """Return the pixels that `tile` places from `start` on show: ..., 1, 0, 0, 1, ..., side - 1, side - 1, side - 2, ..."""
    place = np.arange(start, start + tile) % (2 * side)
    return np.minimum(place, 2 * side - 1 - place)


class Reader:
    """Reads tiles from an HDF5 file: contiguous, chunked or compressed, in windows.

    HDF5's own functions rather than h5py's slices: a fifth of the time a tile. At most `OPEN` sections are open at a time.
    """

    def __init__(self, path: Path, names: np.ndarray, sizes: Ints, tile: int) -> None:
        self.path, self.names, self.sizes, self.tile = path, names, sizes, tile
        with sections.opened(path):  # a clear word where it cannot be
            pass
        self.file: Any = h5py.File(path, "r", locking=False, rdcc_nbytes=1 << 20)
        self._open: OrderedDict[int, tuple[Any, Any]] = OrderedDict()
        self._state = self._touched()

    def __call__(self, section: Ints, top: Ints, left: Ints) -> np.ndarray:
        """Return tiles uint8 (n, T, T).

        Raises:
            UserError: the file is damaged or was changed meanwhile.
        """
        if self._touched() != self._state:  # HDF5 would give zeros where the end is missing
            raise UserError(f"{self.path}: has changed while it was read; prepare its data set anew")
        tiles = np.empty((len(section), self.tile, self.tile), np.uint8)
        for i in np.lexsort((left, top, section)):  # neighbours one after another: a chunk is decoded once
            self._read(int(section[i]), int(top[i]), int(left[i]), tiles[i])
        return tiles

    def _touched(self) -> tuple[int, int] | None:
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        return state.st_size, state.st_mtime_ns

    def _read(self, section: int, top: int, left: int, out: np.ndarray) -> None:
        height, width = int(self.sizes[section, 0]), int(self.sizes[section, 1])
        if top >= 0 and left >= 0 and top + self.tile <= height and left + self.tile <= width:
            self._window(section, (top, left), out)
            return
        rows, columns = mirrored(top, self.tile, height), mirrored(left, self.tile, width)
        y, x = int(rows.min()), int(columns.min())
        part = np.empty((int(rows.max()) - y + 1, int(columns.max()) - x + 1), np.uint8)
        self._window(section, (y, x), part)
        out[:] = part[rows - y][:, columns - x]

    def _window(self, section: int, start: tuple[int, int], out: np.ndarray) -> None:
        try:
            image, space = self._image(section)
            space.select_hyperslab(start, out.shape)
            image.read(h5py.h5s.create_simple(out.shape), space, out)
        except (OSError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.path}: {self.names[section]}: damaged ({reason}); copy the file again") from None

    def _image(self, section: int) -> tuple[Any, Any]:
        if section in self._open:
            self._open.move_to_end(section)
        else:
            image = h5py.h5d.open(self.file.id, self.names[section].encode())
            self._open[section] = image, image.get_space()
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        return self._open[section]


class Tiles:
    """An endless stream of tiles of one split, in batches: batch k is a function of (seed, k) alone, so k is its whole state.

    As a map, `tiles[i]` is the i-th tile of the stream; as a stream, iterating gives batch after batch, from any `batch(k)`.

    Args:
        folder: the prepared data set.
        split: train, validation or test.
        batch_size: tiles a batch.
        seed: of the positions.
        purpose: names the stream: two of them never share positions.
        sampler: of `SAMPLERS`; by default the data set's own.

    Raises:
        UserError: the folder or the file of the sections is missing, or the file has changed since it was prepared.
    """

    def __init__(
        self, folder: Path, split: str, batch_size: int, seed: int, *, purpose: str = "tiles", sampler: str | None = None
    ) -> None:
        statistics = arrays.statistics(folder)
        index = arrays.load(folder, split)
        self.names, self.brains, self.sizes = index["names"], np.array(index["labels"]), np.array(index["x"])
        self.tile = int(statistics["shape"][-1])
        cells = arrays.mapped(folder, f"cells_{split}.npy")
        self.sampler = SAMPLERS[sampler or statistics["sampler"]](self.sizes, self.brains, self.tile, cells)
        self.read = Reader(sections.unchanged(statistics["file"], folder.name), self.names, self.sizes, self.tile)
        self.batch_size, self.seed, self.purpose = batch_size, seed, purpose
        self._last: tuple[int, np.ndarray] = -1, np.empty(0)

    def positions(self, k: int) -> tuple[Ints, Ints, Ints]:
        """Return section, top and left of the tiles of batch k."""
        return self.sampler(self.batch_size, numpy_generator(self.seed, self.purpose, k))

    def batch(self, k: int, share: slice = slice(None)) -> np.ndarray:
        """Return batch k, or a share of it, uint8 (n, T, T)."""
        section, top, left = self.positions(k)
        return self.read(section[share], top[share], left[share])

    def __getitem__(self, i: int) -> np.ndarray:
        """Return the i-th tile of the stream, uint8 (T, T)."""
        k, place = divmod(i, self.batch_size)
        if self._last[0] != k:
            self._last = k, self.batch(k)
        tile: np.ndarray = self._last[1][place]
        return tile

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield batch after batch, without end."""
        k = 0
        while True:
            yield self.batch(k)
            k += 1
