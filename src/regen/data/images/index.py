"""The index of a source: each picture's name, size in bytes and SHA-256, in a CSV file.

The pictures stay where they are. What is indexed is what is prepared: a file that has changed since is refused by its name.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from regen.data import folders
from regen.errors import UserError

FILE, SUMMARY, LABELS = "index.csv", "index.json", "labels.csv"
LARGEST = 256 << 20  # bytes of one file; no picture within `decoding.LARGEST` pixels is likely to need more
BATCH = 256  # files that are hashed at a time

PICTURES = (".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".mpo", ".pbm",
            ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp")  # fmt: skip
OTHERS = (".arw", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".jxl", ".nef", ".tga")  # not read here
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")  # of files without such a suffix
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # a line break would make two lines of one
HIDDEN = ("__MACOSX",)  # what is hidden besides names that begin with a dot


class Row(NamedTuple):
    """One picture of a source."""

    file: str  # path within the source, `/` between folders
    size: int  # bytes
    sha256: str  # "" where it could not be read
    problem: str  # why it is no picture that can be used, as far as its name and place say; else ""


@dataclass(frozen=True)
class Item:
    """One file of a source as it is found. It is opened at most once; of an archive before the next item is asked for."""

    file: str  # a folder that cannot be read ends with `/`
    size: int  # bytes
    problem: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def hidden(parts: Iterable[str]) -> bool:
    """Whether a path is one that its owner does not see: `.DS_Store`, `.ipynb_checkpoints`, `__MACOSX`."""
    return any(part.startswith(".") or part in HIDDEN for part in parts)


def written(name: str) -> tuple[str, str]:
    """Return a file's name as it is shown and kept, and what is wrong with it."""
    shown = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", name)
    if shown != name:
        return shown.encode("utf-8", "backslashreplace").decode(), "name has a control character"
    try:
        name.encode()
    except UnicodeEncodeError:  # a byte that is no UTF-8 stands in `name` as a lone surrogate
        return name.encode("utf-8", "backslashreplace").decode(), "name is not UTF-8"
    return name, ""


def write(folder: Path, items: Iterable[Item], shown: str, threads: int = 1) -> dict[str, Any]:
    """Write index.csv, index.json (what was left aside, where the labels lie) and labels.csv of a source into `folder`.

    Args:
        folder: where the index goes.
        items: all files of the source, in a fixed order, none of them hidden.
        shown: the source as the user wrote it.
        threads: that read and hash; more than one only where items can be read in any order.

    Raises:
        UserError: there are no pictures.
    """
    left, count, labels, depth = Counter[str](), 0, "", 1 << 20
    bar = tqdm(desc=f"indexing {shown}", unit=" files", disable=None)
    with bar, (folder / FILE).open("w", encoding="utf-8", newline="") as file, ThreadPoolExecutor(threads) as pool:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        waiting, hashed = iter(items), pool.map if threads > 1 else map
        while batch := list(islice(waiting, BATCH if threads > 1 else 1)):
            for item, found in zip(batch, hashed(_row, batch), strict=True):
                bar.update()
                if isinstance(found, Row):
                    table.writerow(found)
                    count += 1
                elif isinstance(found, str):
                    left[found] += 1
                elif (parts := item.file.count("/")) < depth:  # the one that lies highest, and the first of those
                    labels, depth = item.file, parts
                    (folder / LABELS).write_bytes(found)
    if not count:
        looked = ", ".join(f"{number} {kind}" for kind, number in sorted(left.items())) or "nothing"
        raise UserError(f"{shown}: no pictures (there is: {looked}); expected JPEG, PNG, WebP, GIF, TIFF or BMP files")
    folders.write_json(folder / SUMMARY, {"pictures": count, "others": dict(left), "labels": labels})
    with (folder / FILE).open("rb") as file_:
        digest = hashlib.file_digest(file_, "sha256").hexdigest()
    return {FILE: {"sha256": digest, "bytes": (folder / FILE).stat().st_size, "mirrors": []}}


def rows(folder: Path) -> Iterator[Row]:
    """Yield the rows of index.csv, one at a time.

    Raises:
        UserError: it is missing or damaged.
    """
    remedy = f"run `dvc repro --force download@{folder.name}`"
    try:
        with (folder / FILE).open(encoding="utf-8", newline="") as file:
            table = csv.reader(file)
            if tuple(next(table, ())) != Row._fields:
                raise ValueError
            for name, size, sha256, problem in table:
                yield Row(name, int(size), sha256, problem)
    except FileNotFoundError:
        raise UserError(f"{folder / FILE}: no such file; {remedy}") from None
    except (ValueError, csv.Error):
        raise UserError(f"{folder / FILE}: damaged; {remedy}") from None


def _row(item: Item) -> Row | bytes | str:
    """Return the index's row of a picture, the content of a table of labels, or of another file what kind it is."""
    name = os.path.basename(item.file)
    suffix = os.path.splitext(name)[1].lower()
    labels, picture = name == LABELS, suffix in PICTURES or not name
    problem = f"format is not read: {suffix}" if suffix in OTHERS else item.problem
    if not problem and item.size > LARGEST:
        problem = f"too large: {item.size:,} bytes, more than {LARGEST:,}"
    if not problem:
        try:
            with item.open() as file:
                start = file.read(16)
                if labels or picture or is_picture(start):
                    content = start + file.read(LARGEST)
                    return content if labels else Row(item.file, len(content), hashlib.sha256(content).hexdigest(), "")
        except OSError as error:
            problem = f"unreadable: {(error.strerror or 'input or output failed').lower()}"
    if labels and problem:
        raise UserError(f"{item.file}: {problem}; mend it, or remove it: without it, folders are classes")
    if picture or suffix in OTHERS:
        return Row(item.file, item.size, "", problem)
    return suffix or "without a suffix"


def is_picture(start: bytes) -> bool:
    """Whether a file that begins so is a picture of a kind that is read."""
    return start.startswith(MAGIC) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
