"""Where downloads are kept: a cache that may be shared, and a place of this user's own for what is not whole yet.

Whoever may write to a shared folder may plant links in it. So nothing is ever written there under a name that can be foreseen,
nor over what stands there: a whole file is written under a new name and renamed. What is read from it is verified at each use.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from regen.errors import UserError


def cache() -> Path:
    """Return the folder that keeps downloads by SHA-256, made where it is missing; others may write to it, or I may not.

    Raises:
        UserError: `REGEN_CACHE` names a folder that cannot be made.
    """
    if not (given := os.environ.get("REGEN_CACHE")):
        return own().parent
    try:
        folder = Path(given).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # there is no home
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"{given}: cannot keep downloads here ({reason}); set REGEN_CACHE to a writable folder") from None
    return folder


def own() -> Path:
    """Return a folder that nobody else may write to, for locks and parts; one that stays, where there is one."""
    for folder in _candidates():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "partial").mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if private(folder) and private(folder / "partial"):
            return folder / "partial"
    folder = Path(tempfile.mkdtemp(prefix="regen-"), "partial")
    folder.mkdir()
    return folder


def private(folder: Path) -> bool:
    """Whether this is a folder of this user that others may not write to. (My own group may: it often has but one member.)"""
    if not hasattr(os, "geteuid"):  # Windows
        return folder.is_dir()
    state = folder.lstat()
    others = state.st_mode & stat.S_IWOTH or (state.st_mode & stat.S_IWGRP and state.st_gid != os.getegid())
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not others and os.access(folder, os.W_OK | os.X_OK)


def kept(sha256: str) -> Iterator[Path]:
    """Yield the files that stand in the caches under a SHA-256. Whether it is theirs, the reader finds out."""
    for folder in dict.fromkeys((cache(), own().parent)):
        if os.path.isfile(path := folder / sha256):  # pathlib raises where I may not look
            yield path


def _candidates() -> Iterator[Path]:
    user = str(os.geteuid()) if hasattr(os, "geteuid") else "user"
    for place in (os.environ.get("REGEN_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"):
        if place:
            try:
                path = Path(place).expanduser()
            except RuntimeError:  # no home: a container under a number
                continue
            yield path if place == os.environ.get("REGEN_CACHE") else path / "regen"
    yield Path(tempfile.gettempdir(), f"regen-{user}")
