"""Pictures of the report: WebP files beside the pages, or within the one page that is sent by e-mail."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from regen.data import folders
from regen.errors import UserError, shown

WIDE = 2.5  # width of a picture, in heights, from which on it gets a row of the page
LARGE = 1_000  # pixels of a longer side, above which the page shows a smaller copy that opens to the whole
SMALL = 760  # longer side of that copy: twice what a column of the page has, for dense screens
QUALITY = 85  # of WebP, where it is not exact: the edges of enlarged pixels stay sharp
DRAWN = 4_096  # colours, up to which a picture is a drawing or pixel art, and tried without any loss
WORTH = 1.5  # times the size that no loss at all may cost
FACE = 176  # pixels a side of a model's picture in the overview
COLLAGES = ("samples", "examples", "completed", "mistakes")  # whose corner shows what all of it is
TILES = 288  # pixels from that corner that hold the first images


@dataclass(frozen=True)
class Shelf:
    """Where pictures are put: a folder, or, without one, the page itself.

    Attributes:
        within: beginning of all places that `folder` stands for; a report of one data set has its folder alone.
    """

    folder: Path | None
    within: str = ""

    def put(self, place: str, content: bytes) -> str:
        """Keep a WebP file; returns its address, seen from the report's root."""
        if self.folder is None:
            return "data:image/webp;base64," + base64.b64encode(content).decode()
        path = self.folder / place.removeprefix(self.within)
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.write(path, content)
        return quote(os.fsencode(place))


@dataclass(frozen=True)
class Picture:
    """One picture of a model.

    Attributes:
        name: of its file in figures/, without the ending.
        src: address of what the page shows; `full`: of the whole picture.
        width, height: of the whole picture, pixels.
    """

    name: str
    title: str
    text: str
    src: str
    full: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether it is too wide for one of the page's columns."""
        return self.width > WIDE * self.height

    @classmethod
    def of(cls, path: Path, place: str, shelf: Shelf, title: str, text: str = "") -> Picture:
        """Read a PNG, and put it on the shelf in the folder `place`.

        Raises:
            UserError: it is damaged.
        """
        image = opened(path)
        width, height = image.size
        full = src = shelf.put(f"{place}/{path.stem}.webp", encoded(image))
        if max(width, height) > LARGE and width <= WIDE * height and shelf.folder:
            image.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
            src = shelf.put(f"{place}/{path.stem}-small.webp", _webp(image, quality=QUALITY, method=4))
        return cls(path.stem, shown(title), text, src, full, width, height)


def opened(path: Path) -> Image.Image:
    """Return a picture's pixels, RGB.

    Raises:
        UserError: it is damaged.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's for what is no PNG inside
        raise UserError(f"{path}: no picture ({error}); run `dvc repro --force` on the stage that draws it") from None


def encoded(image: Image.Image) -> bytes:
    """Return a picture as WebP: of drawings and pixel art without any loss where that costs little, else at `QUALITY`."""
    close = _webp(image, quality=QUALITY, method=4)
    if image.getcolors(DRAWN) is None:
        return close
    exact = _webp(image, lossless=True, quality=60, method=3)
    return exact if len(exact) <= WORTH * len(close) else close


def face(path: Path) -> bytes:
    """Return a small square of a picture for the overview: of a large one its upper left corner, else all of it.

    Raises:
        UserError: it is damaged.
    """
    image = opened(path)
    if min(image.size) >= TILES and path.stem in COLLAGES:
        image = image.crop((0, 0, TILES, TILES))
    image.thumbnail((FACE, FACE), Image.Resampling.LANCZOS)
    return _webp(image, quality=80, method=4)


def _webp(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format="WEBP", **options)
    return content.getvalue()
