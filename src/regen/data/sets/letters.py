"""Letters: the 26 lowercase letters as 5x5 binary images, all different, drawn for regen and equally likely.

They are the whole distribution: train and test hold the same 26 images, and log 26 / 25 nats a pixel is the least loss of any
model.
"""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regen.blocks import DatasetConfig
from regen.errors import UserError

SIZE = 5  # pixels a side
FILE = "letters.txt"
EXAMPLES = "letters"
GLYPHS = """\
.###.  #....  .....  ....#  .###.  ..##.  .####
....#  #....  .####  ....#  #...#  .#...  #...#
.####  ####.  #....  .####  #####  ####.  .####
#...#  #...#  #....  #...#  #....  .#...  ....#
.####  ####.  .####  .####  .###.  .#...  .###.

#....  ..#..  ...#.  #..#.  .##..  .....  .....
#....  .....  .....  #.#..  ..#..  ##.#.  ####.
####.  .##..  ...#.  ##...  ..#..  #.#.#  #...#
#...#  ..#..  #..#.  #.#..  ..#..  #.#.#  #...#
#...#  .###.  .##..  #..#.  ..##.  #.#.#  #...#

.....  ####.  .####  .....  .####  .#...  .....
.###.  #...#  #...#  #.##.  #....  ####.  #...#
#...#  ####.  .####  ##...  .###.  .#...  #...#
#...#  #....  ....#  #....  ....#  .#..#  #...#
.###.  #....  ....#  #....  ####.  ..##.  .####

.....  .....  #...#  #...#  #####
#...#  #...#  .#.#.  #...#  ...#.
#...#  #.#.#  ..#..  .####  ..#..
.#.#.  #.#.#  .#.#.  ....#  .#...
..#..  .#.#.  #...#  .###.  #####
"""


class Config(DatasetConfig):
    """The letters' block of params.yaml."""

    source: Literal["drawn"]


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the glyphs as text."""
    (folder / FILE).write_text(GLYPHS, encoding="utf-8", newline="\n")
    return {FILE: {"sha256": hashlib.sha256(GLYPHS.encode()).hexdigest(), "bytes": len(GLYPHS), "mirrors": []}}


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the images uint8 (26, 5, 5, 1), 255 where a letter is, and labels int64 (26,), a to z, as both splits.

    Raises:
        UserError: the raw file is missing, or holds no 26 different glyphs.
    """
    try:
        images = parse((raw / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"{raw / FILE}: {reason}; run `dvc repro --force download@{raw.name}`") from None
    labels = np.arange(len(images))
    arrays = {"train": images, "train_labels": labels, "test": images, "test_labels": labels}
    return arrays, {"shape": [1, SIZE, SIZE], "labels": list(string.ascii_lowercase)}


def parse(text: str) -> np.ndarray:
    """Read rows of glyphs, uint8 (26, 5, 5, 1): `#` is 255, `.` is 0; a blank line between rows, blanks between glyphs.

    Raises:
        ValueError: a glyph of another size or with another sign, not 26 of them, or two alike.
    """
    glyphs = []
    for band in text.strip("\n").split("\n\n"):
        lines = [line.split() for line in band.splitlines()]
        glyphs += ["".join(rows) for rows in zip(*lines, strict=True)]
    if len(glyphs) != 26 or any(len(glyph) != SIZE**2 or set(glyph) - {"#", "."} for glyph in glyphs):
        raise ValueError(f"expected 26 glyphs of {SIZE} x {SIZE} signs # and .")
    if len(set(glyphs)) < 26:
        raise ValueError("two glyphs are alike")
    pixels = np.array([[sign == "#" for sign in glyph] for glyph in glyphs])
    return pixels.reshape(26, SIZE, SIZE, 1).astype(np.uint8) * np.uint8(255)
