"""Packed arrays: a prepared data set is a folder of a few memory-mapped `.npy` files and `statistics.json`.

A split is one file, `train.npy`, or shards of it, `train-00000.npy`, `train-00001.npy`, ..., where it may be larger than memory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from regen.data import folders
from regen.data.rows import Rows, remedy
from regen.errors import UserError, shown

SPLITS = ("train", "validation", "test")
STATISTICS = "statistics.json"
BLOCK = 1 << 18  # values read at a time: they stay in a core's cache
SHARD = 512 << 20  # bytes of a shard at most, its header included
HEADER = 128  # bytes of an .npy file's


class Split(BaseModel):
    """What statistics.json says of one split."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    count: NonNegativeInt
    min: float
    max: float
    mean: float
    std: float


class Source(BaseModel):
    """The file that a data set leaves where it is."""

    model_config = ConfigDict(strict=True)

    path: str
    bytes: NonNegativeInt
    sha256: str


class Statistics(BaseModel):
    """What statistics.json must and may say of a data set, for what reads it to be sound; kinds add words of their own."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    kind: str = ""
    shape: list[PositiveInt]
    splits: dict[str, Split]
    sha256: dict[str, str]
    labels: list[str] = []
    loader: str = "arrays"
    sampler: str = ""
    file: Source | None = None
    brains: dict[str, dict[str, Any]] = {}
    digit_labels: list[str] = []
    operators: list[str] = []
    features: list[str] = []
    grid: NonNegativeInt = 0
    places: list[PositiveInt] = []
    truth: dict[str, float] = {}


class Described(dict[str, Any]):
    """The content of a statistics.json; what is asked for and is not there is a damage of the file."""

    def __init__(self, content: Mapping[str, Any], folder: Path) -> None:
        super().__init__(content)
        self.folder = folder

    def __missing__(self, key: str) -> Any:
        """Refuse what is asked for and is not there."""
        raise UserError(f"{self.folder / STATISTICS}: damaged ({key}: missing); {remedy(self.folder)}")


@dataclass(frozen=True)
class Moments:
    """Count, extremes, mean and sum of squared deviations m2 of a stream of numbers; parts are merged exactly.

    With d = mean_b - mean_a and n = n_a + n_b, parts a and b merge to mean = mean_a + d n_b / n and
    m2 = m2_a + m2_b + d^2 n_a n_b / n (Chan, Golub & LeVeque 1983, eq. 2.1). Small integers are kept as fractions, so
    that no order of merging and no number of values costs a digit; floats are merged in float64.
    """

    count: int = 0
    min: float = math.inf
    max: float = -math.inf
    mean: Fraction | float = Fraction(0)
    m2: Fraction | float = Fraction(0)

    @classmethod
    def of(cls, x: np.ndarray | Rows) -> Moments:
        """Return the moments of all values of `x`, read in blocks: a memory-mapped array may be larger than the memory."""
        rows = max(1, BLOCK // max(1, math.prod(x.shape[1:])))
        total = cls()
        for start in range(0, len(x), rows):
            total = total.merge(cls._of_block(np.asarray(x[start : start + rows])))
        return total

    @classmethod
    def _of_block(cls, x: np.ndarray) -> Moments:
        if x.size == 0:
            return cls()
        low, high = x.min().item(), x.max().item()
        if x.dtype.kind in "bui" and x.dtype.itemsize <= 2:  # 2^31 squares of 16 bits fit into int64
            wide = x.ravel().astype(np.int64)
            sum_, squares = int(wide.sum()), int(wide @ wide)
            return cls(x.size, low, high, Fraction(sum_, x.size), squares - Fraction(sum_**2, x.size))
        wide = x.astype(np.float64)
        mean = float(wide.mean())
        return cls(x.size, low, high, mean, float(np.square(wide - mean).sum()))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both streams together."""
        if not self.count or not other.count:
            return self if self.count else other
        n, delta = self.count + other.count, other.mean - self.mean
        return Moments(
            n,
            min(self.min, other.min),
            max(self.max, other.max),
            self.mean + delta * other.count / n,
            self.m2 + other.m2 + delta * delta * self.count * other.count / n,
        )

    @property
    def std(self) -> float:
        """Standard deviation of the population, sqrt(m2 / n)."""
        return math.sqrt(self.m2 / self.count)


def first(arrays: Mapping[str, np.ndarray], examples: int) -> dict[str, np.ndarray]:
    """Keep the first so many examples of each split, or all of them where `examples` is 0."""
    return {stem: x[:examples] if examples and stem.split("_")[0] in SPLITS else x for stem, x in arrays.items()}


def shards(stem: str, count: int, row_bytes: int) -> list[tuple[str, int, int]]:
    """Return the shards of a split of `count` rows of `row_bytes` each: file name, first row, row after the last.

    At least one, which is empty where there are no rows; a row larger than a shard has one of its own.
    """
    rows = max(1, (SHARD - HEADER) // max(1, row_bytes))
    starts = range(0, max(count, 1), rows)
    return [(f"{stem}-{number:05d}.npy", start, min(start + rows, count)) for number, start in enumerate(starts)]


def write(folder: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write arrays as `<stem>.npy` and `statistics.json`: all of them or nothing."""
    with folders.replacing(folder) as part:
        for stem, array in arrays.items():
            try:
                np.save(part / f"{stem}.npy", array, allow_pickle=False)
            except OSError as error:  # numpy says how many items it wrote, and not why no more
                raise OSError(error.errno or errno.ENOSPC, "short write", str(folder / f"{stem}.npy")) from None
        describe(part, description)


def describe(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the `statistics.json` of the arrays that lie in `folder`.

    It holds the description, the SHA-256 of each file and, for each split, the number of examples and min, max, mean and standard
    deviation over all its values, in the units of the array (0 to 255 for images). A description has `splits` of its own where
    what lies there is an index and not the values.
    """
    names = sorted(path.name for path in folder.glob("*.npy"))
    splits = {}
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(names, pool.map(_sha256, [folder / name for name in names]), strict=True))
        for split in SPLITS:
            if not (files := _files(split, names)):
                continue
            count, moments = 0, Moments()
            for number, part in pool.map(_measured, [folder / name for name in files]):
                count, moments = count + number, moments.merge(part)
            _refuse_useless(split, count, moments, description)
            splits[split] = {
                "count": count,
                "min": moments.min,
                "max": moments.max,
                "mean": float(moments.mean),
                "std": moments.std,
            }
    splits |= description.get("splits", {})
    folders.write_json(folder / STATISTICS, {**description, "splits": splits, "sha256": digests})


def _refuse_useless(split: str, count: int, moments: Moments, description: Mapping[str, Any]) -> None:
    where = f"params.yaml: datasets.{description.get('dataset', '?')}"
    if not count:
        raise UserError(f"{where}: no examples in its {split} split; change its shares, as test_fraction, or take more examples")
    if not all(map(math.isfinite, (moments.min, moments.max, moments.mean, moments.m2))):
        raise UserError(f"{where}: values of its {split} split are NaN, infinite or too large to be summed; mend its files")


def load(folder: Path, split: str) -> dict[str, np.ndarray]:
    """Memory-map one split: `x` and what goes with it by its file's name: `labels` of `train_labels.npy`, `edges`, `targets`.

    Where the split has several shards, `x` is a `Rows` and is read in parts.

    Raises:
        UserError: the folder or the split is missing, or a file is damaged or cut short.
    """
    content = statistics(folder)
    if split not in content["splits"]:
        raise UserError(f"{folder}: has no split {split!r} (there is: {', '.join(sorted(content['splits']))})")
    files = [mapped(folder, name) for name in _files(split, content["sha256"]) or [f"{split}.npy"]]
    loaded: dict[str, Any] = {"x": Rows(files) if len(files) > 1 else files[0]}
    for name in sorted(content["sha256"]):
        if name.startswith(f"{split}_"):
            loaded[name.removeprefix(f"{split}_").removesuffix(".npy")] = mapped(folder, name)
    for name, array in loaded.items():
        if len(array) != content["splits"][split]["count"]:
            count = content["splits"][split]["count"]
            raise UserError(f"{folder}: {split} has {len(array)} {name}, statistics.json says {count}; {remedy(folder)}")
    return loaded


def statistics(folder: Path) -> dict[str, Any]:
    """Return statistics.json.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / STATISTICS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        Statistics.model_validate(content)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; {remedy(folder)}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(shown(str(part)) for part in problem["loc"])
        raise UserError(f"{path}: damaged ({where}{': ' if where else ''}{problem['msg']}); {remedy(folder)}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: damaged; {remedy(folder)}") from None
    return Described(content, folder)


def mapped(folder: Path, name: str) -> np.memmap:
    """Memory-map one file of a data set.

    Raises:
        UserError: it is missing, damaged or cut short.
    """
    try:
        array = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{folder / name}: no such file; {remedy(folder)}") from None
    except (ValueError, EOFError, SyntaxError) as error:
        raise UserError(f"{folder / name}: damaged or cut short ({str(error).splitlines()[0]}); {remedy(folder)}") from None
    assert isinstance(array, np.memmap)
    return array


def _files(split: str, names: Iterable[str]) -> list[str]:
    """Return the files of a split's rows among others: itself, or its shards in order."""
    return sorted(name for name in names if name == f"{split}.npy" or name.startswith(f"{split}-"))


def _measured(path: Path) -> tuple[int, Moments]:
    """Return the number of rows of a file, and the moments of their values."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return len(mapped), Moments.of(Rows([mapped]) if mapped.flags.c_contiguous else mapped)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest()
