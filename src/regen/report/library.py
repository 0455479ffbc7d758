"""The library that draws the page's curves: uPlot, pinned by SHA-256, written into each page with its licence."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from regen.data.download import pinned
from regen.data.download.mirrors import File, Package, Url

VERSION = "1.6.32"
ARCHIVE = "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d"


def _file(name: str, sha256: str, size: int) -> File:
    web = Url(f"https://raw.githubusercontent.com/leeoniya/uPlot/{VERSION}/{name}")
    return File(Path(name).name, sha256, size, (web, Package("npm", "uplot", VERSION, ARCHIVE, f"package/{name}")))


SCRIPT = _file("dist/uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f", 51_081)
STYLE = _file("dist/uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04", 1_857)
LICENCE = _file("LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd", 1_078)


@dataclass(frozen=True)
class Library:
    """What a page needs to draw curves; both are empty where it draws none."""

    script: str = ""
    style: str = ""


def uplot() -> Library:
    """Return uPlot, from the cache of downloads or its mirrors.

    Raises:
        UserError: no mirror gave it.
    """
    with tempfile.TemporaryDirectory() as folder:
        pinned.into(Path(folder), (SCRIPT, STYLE, LICENCE))
        script, style, licence = (Path(folder, file.name).read_text(encoding="utf-8") for file in (SCRIPT, STYLE, LICENCE))
    return Library(f"/*\n{licence.strip()}\n*/\n{script.strip()}", style.strip())
