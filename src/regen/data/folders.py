"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder` to write into; on success it takes the place of `folder`, on failure it is removed.

    What a killed process left behind is removed by the next one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it into it: a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
        error.filename = error.filename or str(path)  # a write does not say where
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that is the same bytes for the same content: sorted keys, `\\n`, no NaN."""
    write(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")
