"""Where images come from: a folder, where it lies, or an archive, member by member. Neither is copied, nothing is extracted."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Protocol, cast

from regen.data.images import index
from regen.data.images.index import Item
from regen.errors import UserError

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


class Source(Protocol):
    """Files in a fixed order."""

    root: Path | None  # of a folder: any process may read any of its files. Otherwise the files are read in order, by one

    def items(self) -> Iterator[Item]:
        """Yield all files that are not hidden."""
        ...


class Folder:
    """All files of a folder and its sub-folders, by name. Hidden ones, and folders that are links, are not looked into.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, root: Path, shown: str) -> None:
        if not root.is_dir():
            what = "a file; set source: archive for a zip or tar" if root.exists() else "no such folder"
            raise UserError(f"{shown}: {what}; expected a folder of images")
        self.root: Path | None = root

    def items(self) -> Iterator[Item]:
        """Yield all files; what is wrong with a link or a name stands beside it."""
        assert self.root is not None
        real = self.root.resolve()
        waiting = [iter(_entries(self.root))]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
                continue
            if index.hidden([entry.name]):
                continue
            path = Path(entry.path)
            name, problem = index.written(path.relative_to(self.root).as_posix())
            if entry.is_dir(follow_symlinks=False):
                try:
                    waiting.append(iter(_entries(path)))
                except OSError as error:
                    yield Item(f"{name}/", 0, _unreadable(error), partial(_opened, path))
                continue
            size = 0
            try:
                problem = problem or (_link(path, real) if entry.is_symlink() else "")
                if path.is_dir():
                    if not problem:
                        continue  # a link to a folder within: its files are found there
                    name += "/"
                if not problem and not path.is_file():
                    problem = "no regular file"
                size = 0 if problem else path.stat().st_size
            except OSError as error:  # a folder that may not be entered, a file that has just gone
                problem = problem or _unreadable(error)
            yield Item(name, size, problem, partial(_opened, path))


def _unreadable(error: OSError) -> str:
    return f"unreadable: {(error.strerror or 'input or output failed').lower()}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _link(path: Path, root: Path) -> str:
    """Return what is wrong with a symbolic link: "" if it leads to something within the folder."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop
        return "a link to nothing"
    return "" if target.is_relative_to(root) else "a link that leaves the folder"


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


class Archive:
    """The members of a zip or a tar (plain, gzip, bzip2 or xz), in its own order, read by their place in it.

    Raises:
        UserError: there is no such file, or it is neither.
    """

    root: Path | None = None

    def __init__(self, path: Path, shown: str) -> None:
        self.path, self.shown = path, shown
        if not path.is_file():
            what = "a folder; set source: folder" if path.is_dir() else "no such file"
            raise UserError(f"{shown}: {what}; expected a zip or tar archive of images")
        with path.open("rb") as file:
            self.zipped = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        if not self.zipped and not tarfile.is_tarfile(path):
            raise UserError(f"{shown}: neither a zip nor a tar, or damaged; expected .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz")

    def items(self) -> Iterator[Item]:
        """Yield all members that are files; each has to be read before the next one is asked for.

        Raises:
            UserError: the archive is damaged or cut short.
        """
        seen: set[str] = set()
        count = 0
        try:
            for name, size, problem, opened in self._zip() if self.zipped else self._tar():
                count += 1
                parts = [part for part in name.split("/") if part not in ("", ".")]
                if index.hidden(part for part in parts if part != ".."):
                    continue
                file, wrong = index.written("/".join(parts))
                if name.startswith("/") or ".." in parts:
                    wrong = "a path that leaves the archive"
                elif file in seen:
                    wrong = "a second file of this name"
                seen.add(file)
                yield Item(file, size, wrong or problem, opened)
        except DAMAGED:
            raise self._damaged(count) from None

    def _damaged(self, count: int) -> UserError:
        return UserError(f"{self.shown}: damaged or cut short after {count:,} files; copy or download it again")

    def _zip(self) -> Iterator[tuple[str, int, str, Callable[[], AbstractContextManager[IO[bytes]]]]]:
        try:
            opened = zipfile.ZipFile(self.path)
        except (NotImplementedError, UnicodeDecodeError):  # a version, or names, that its list only claims to have
            raise zipfile.BadZipFile from None
        with opened as box:
            for info in box.infolist():
                if not info.is_dir():
                    link = stat.S_ISLNK(info.external_attr >> 16)
                    problem = "a link" if link else "encrypted" if info.flag_bits & 1 else ""
                    yield info.filename, info.file_size, problem, partial(_member, box, info)

    def _tar(self) -> Iterator[tuple[str, int, str, Callable[[], AbstractContextManager[IO[bytes]]]]]:
        count = 0
        with self._opened() as tar:
            while (entry := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else all that were read are kept
                count += 1
                if not entry.isdir():
                    problem = "" if entry.isreg() else "a link" if entry.issym() or entry.islnk() else "no regular file"
                    yield entry.name, entry.size, problem, partial(self._extracted, tar, entry, count)

    @contextmanager
    def _extracted(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, count: int) -> Iterator[IO[bytes]]:
        try:
            with cast(IO[bytes], tar.extractfile(entry)) as file:  # None only for what is no regular file
                yield file
        except DAMAGED:  # what comes after it cannot be found
            raise self._damaged(count) from None

    def _opened(self) -> tarfile.TarFile:
        try:
            return tarfile.open(self.path, "r:")
        except tarfile.ReadError:  # packed: read from front to end, never back
            return tarfile.open(self.path, "r|*")


@contextmanager
def _member(box: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """Open a member of a zip. A damaged one is like an unreadable file: the others are found without it."""
    try:
        with box.open(info) as file:
            yield file
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError):
        raise OSError(errno.EIO, "damaged in the archive") from None
    except (NotImplementedError, RuntimeError):
        raise OSError(errno.EIO, "packed by a method that is not read") from None
