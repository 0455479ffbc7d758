"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from regen.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a write says when there is no room left


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder` to write into; on success it takes the place of `folder`, on failure it is removed.

    What a killed process left behind is removed by the next one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part, old = (folder.with_name(f".{folder.name}{end}") for end in (".part", ".old.part"))
    for left in (part, old):
        with suppress(FileNotFoundError):
            shutil.rmtree(left)
    part.mkdir()
    try:
        with naming(folder):
            yield part
        if folder.is_dir() and not folder.is_symlink():
            os.replace(folder, old)  # a kill while it is removed leaves no half of it under its name
        else:
            folder.unlink(missing_ok=True)
        os.replace(part, folder)
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def flush(folder: Path, within: bool = True) -> None:
    """Have the disk hold a folder's names, and all files and folders `within` it: a power cut then takes none of them."""
    for path in [*(sorted(folder.rglob("*")) if within else ()), folder]:
        if path.is_file() or os.name == "posix":  # elsewhere a folder cannot be opened
            file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                os.fsync(file)
            finally:
                os.close(file)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a write within that finds the disk full say where: most do not, and HDF5 tells even the reason in its text alone."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        told = getattr(error, "errno", None) or next((number for number in FULL if f"errno = {number}," in str(error)), None)
        if told not in FULL or getattr(error, "filename", None):
            raise
        raise OSError(told, os.strerror(told), str(path)) from error


@contextmanager
def held(folder: Path, task: str) -> Iterator[None]:
    """Hold a work folder; it is removed when the block succeeds and kept for a resume when it fails.

    The lock is the operating system's: it ends with its process, however that ends.

    Args:
        folder: what an interrupted `task` goes on from.
        task: `training of punks_vae`, for the message.

    Raises:
        UserError: another process is at work in this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder.with_suffix(".pid")
    import filelock  # on demand: a model is loaded without it

    lock = filelock.FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        pid = holder.read_text().strip() if holder.exists() else "unknown"
        raise UserError(
            f"{folder}: another {task} is at work here (process {pid}); "
            "wait for it or stop it, then run again: it resumes where it was"
        ) from None
    try:
        write(holder, f"{os.getpid()}\n")
        yield
        shutil.rmtree(folder, ignore_errors=True)
        holder.unlink(missing_ok=True)
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: who has opened it meanwhile asks again
    finally:
        lock.release()


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it into it: a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.part")
    try:
        with naming(path):
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that is the same bytes for the same content: sorted keys, `\\n`, no NaN."""
    write(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")
