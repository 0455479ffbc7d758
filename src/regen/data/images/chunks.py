"""Decoding in parallel, chunk by chunk: each is a file of the work folder that appears whole, so a killed run goes on.

A chunk's rows are a function of the index alone, and what stands in it a function of their bytes: neither the number of
processes nor where a run was cut changes a byte.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import imagehash
import numpy as np
from PIL import Image
from tqdm import tqdm

from regen.data import folders
from regen.data.images import decoding, index
from regen.data.images.decoding import BadPictureError, Form, Picture
from regen.data.images.index import Item, Row
from regen.data.images.sources import Source
from regen.errors import UserError
from regen.host import cores

PICTURES = 256  # of a chunk, at most: what a kill costs, for each process
BYTES = 32 << 20  # of a chunk's files together, and of its pixels, unless one alone is more


class Chunk(NamedTuple):
    """Some rows of the index, and what they are read from: a folder, or the bytes that were read from an archive."""

    rows: list[Row]
    target: Path
    form: Form
    remedy: str
    root: Path | None
    contents: list[bytes] | None


@dataclass(frozen=True)
class Found:
    """What all chunks say of n good pictures of N rows, without their pixels.

    Attributes:
        rows: (n,), which row of the index each is.
        digests: (n, 2) 128 bits of BLAKE2b of its prepared pixels (uint64), to tell equal ones.
        hashes: (n,) perceptual hashes, 64 bits each (uint64).
        sizes: (n, 2) width and height of the file's picture.
        formats: (n,) names of its format.
        animated: (n,) whether it has several frames.
        bad: reason by row.
    """

    rows: np.ndarray
    digests: np.ndarray
    hashes: np.ndarray
    sizes: np.ndarray
    formats: np.ndarray
    animated: np.ndarray
    bad: dict[int, str]


def cut(rows: Iterable[Row], form: Form) -> Iterator[list[Row]]:
    """Yield the rows in chunks of bounded bytes, read and written."""
    height, width, channels = form.shape
    most = max(1, min(PICTURES, BYTES // (height * width * channels)))
    chunk: list[Row] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == most or size + row.size > BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += row.size
    if chunk:
        yield chunk


def decode(rows: Iterable[Row], count: int, source: Source, form: Form, work: Path, shown: str, remedy: str) -> list[Path]:
    """Decode all rows that are not decoded yet; return the chunks' files in order.

    Args:
        rows: of the index, in its order.
        count: how many there are at most, for the progress.
        source: that was indexed.
        form: what each picture becomes.
        work: folder that keeps chunks from an earlier run.
        shown: the source as the user wrote it.
        remedy: what to do where a file has changed.

    Raises:
        UserError: a file is gone or has changed since it was indexed, or a process was killed.
    """
    work.mkdir(parents=True, exist_ok=True)
    chunked = cut(rows, form)
    first = list(islice(chunked, 2))
    processes = cores() if len(first) > 1 else 1
    files: list[Path] = []
    items = iter(()) if source.root else source.items()
    running: dict[Future[int], None] = {}
    bar = tqdm(desc=f"decoding {shown}", total=count, unit=" images", disable=None)
    with bar, _pool(processes) as pool:
        try:
            for number, chunk in enumerate(chain(first, chunked)):
                files.append(work / f"{number:07d}.npz")
                members = None if source.root else _members(items, chunk, shown, remedy)
                if files[-1].exists():
                    bar.update(len(list(members or chunk)))  # an archive is read on to the next chunk
                    continue
                contents = None if members is None else [_content(item, row, shown, remedy) for item, row in members]
                running[pool.submit(write, Chunk(chunk, files[-1], form, remedy, source.root, contents))] = None
                while len(running) > processes + 1:
                    _finish(running, bar)
            while running:
                _finish(running, bar)
        except BrokenProcessPool:
            raise UserError(
                f"{shown}: a process that decodes was killed (out of memory?); free some memory and run again: it goes on"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return files


def _pool(processes: int) -> Executor:
    """Return processes of their own, which start afresh so that they are the same everywhere; for one, this process itself."""
    if processes == 1:
        return _Here()
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


class _Here(Executor):
    """Runs what is submitted at once: for less than it takes to start a process."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*args, **options))
        return done


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _finish(running: dict[Future[int], None], bar: tqdm[NoReturn]) -> None:
    for done in wait(running, return_when=FIRST_COMPLETED).done:
        del running[done]
        bar.update(done.result())


def _members(items: Iterator[Item], rows: list[Row], shown: str, remedy: str) -> Iterator[tuple[Item, Row]]:
    """Yield each row of an archive with its member, in the order of both."""
    for row in rows:
        item = next((item for item in items if item.file == row.file), None)
        if item is None:
            raise UserError(f"{shown}: {row.file}: gone since it was indexed; {remedy}")
        yield item, row


def _content(item: Item, row: Row, shown: str, remedy: str) -> bytes:
    if row.problem:
        return b""
    try:
        with item.open() as file:
            return file.read(row.size + 1)
    except OSError as error:
        raise UserError(
            f"{shown}: {row.file}: {error.strerror or 'damaged'}: has changed since it was indexed; {remedy}"
        ) from None


def write(chunk: Chunk) -> int:
    """Decode one chunk and write its file; return the number of its rows. This runs in a process of its own.

    Raises:
        UserError: a file is gone or has changed since it was indexed.
    """
    good, bad, reasons = list[int](), list[int](), list[str]()
    pictures, hashes, digests = list[Picture](), list[int](), list[bytes]()
    with decoding.limits():
        for number, row in enumerate(chunk.rows):
            content = b"" if row.problem else chunk.contents[number] if chunk.contents else _read(chunk, row)
            try:
                if row.problem:
                    raise BadPictureError(row.problem)
                if len(content) != row.size or hashlib.sha256(content).hexdigest() != row.sha256:
                    raise UserError(f"{row.file}: has changed since it was indexed; {chunk.remedy}")
                picture = decoding.decode(content, chunk.form)
            except BadPictureError as reason:
                bad.append(number)
                reasons.append(str(reason))
                continue
            good.append(number)
            pictures.append(picture)
            hashes.append(perceptual_hash(picture.pixels))
            digests.append(hashlib.blake2b(picture.pixels.tobytes(), digest_size=16).digest())
    packed: dict[str, Any] = {
        "good": np.array(good, np.int32),
        "pixels": np.stack([picture.pixels for picture in pictures]) if pictures else np.empty((0, *chunk.form.shape), np.uint8),
        "hashes": np.array(hashes, np.uint64),
        "digests": np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2),
        "sizes": np.array([(picture.width, picture.height) for picture in pictures], np.int32).reshape(-1, 2),
        "formats": np.array([picture.format for picture in pictures], "U8"),
        "animated": np.array([picture.animated for picture in pictures], bool),
        "bad": np.array(bad, np.int32),
        "reasons": np.array(reasons, str),
        "rows": np.array(len(chunk.rows)),
    }
    partial = chunk.target.with_suffix(f".{os.getpid()}.partial")
    try:
        with folders.naming(chunk.target), partial.open("wb") as file:
            np.savez(file, **packed)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, chunk.target)
    finally:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
    return len(chunk.rows)


def perceptual_hash(pixels: np.ndarray) -> int:
    """Return the 64 bits of pHash: which of the 8 x 8 lowest frequencies of the luminance exceed their median."""
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")


def _read(chunk: Chunk, row: Row) -> bytes:
    assert chunk.root is not None
    try:
        with (chunk.root / row.file).open("rb") as file:
            return file.read(min(row.size, index.LARGEST) + 1)
    except OSError as error:
        what = "gone" if isinstance(error, FileNotFoundError | NotADirectoryError) else (error.strerror or "unreadable").lower()
        raise UserError(f"{row.file}: {what} since it was indexed; {chunk.remedy}") from None


def gather(files: Iterable[Path]) -> Found:
    """Return what all chunks say of their pictures, without reading the pixels."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("good", "digests", "hashes", "sizes", "formats", "animated")}
    bad: dict[int, str] = {}
    first = 0
    for path in files:
        with np.load(path, allow_pickle=False) as content:
            for name, arrays in parts.items():
                arrays.append(content[name] + first if name == "good" else content[name])
            bad |= {first + int(row): str(reason) for row, reason in zip(content["bad"], content["reasons"], strict=True)}
            first += int(content["rows"])
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return Found(joined["good"], joined["digests"], joined["hashes"], joined["sizes"], joined["formats"], joined["animated"], bad)
