"""What a source of images holds: all are counted, some, spread evenly, are looked at. What is guessed from those is called so."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import ExifTags, Image
from tqdm import tqdm

from regen.data.images import chunks, decoding, index, labels, splits
from regen.data.images.index import Item
from regen.data.images.sources import Source
from regen.data.images.vision import Vision
from regen.errors import UserError

LOOKED = 48  # pictures that are looked at, or up to twice as many
FEWEST = 20  # pictures that a training can make anything of
LARGEST = 1024  # pixels a side up to which enlarged pixel art is recognised
COLOURS = 64  # that a portrait of pixel art has at most
SMALL = 64  # pixels a side up to which images keep their own size
AS_A_RULE = decoding.Form(SMALL, crop="centre", resize="smooth", colour=True, background="#ffffff")


@dataclass(frozen=True)
class Look:
    """One picture that was looked at."""

    width: int
    height: int
    block: int  # pixels a side of the squares of one colour that it consists of
    grey: bool
    transparent: bool
    colours: int  # that differ, of some 65,536 pixels that are not transparent
    common: float  # share of the most frequent of them
    seconds: float  # of a processor, to prepare it at 64 pixels a side

    @property
    def side(self) -> int:
        """Pixels a side of the largest square in it, before it was enlarged."""
        return min(self.width, self.height) // self.block


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Attributes:
        count: pictures.
        looks: those that were looked at and could be read.
        unread: those that were looked at and could not.
        labels: names of classes or attributes.
        target: what a classifier can learn of them.
        given: whether folders say which are the test images.
    """

    count: int
    looks: tuple[Look, ...]
    unread: int = 0
    labels: tuple[str, ...] = ()
    target: str = "rotation"
    given: bool = False

    @property
    def grey(self) -> bool:
        """Whether all are grey."""
        return all(look.grey for look in self.looks)

    @property
    def transparent(self) -> float:
        """Share of those with transparent pixels."""
        return sum(look.transparent for look in self.looks) / len(self.looks)

    @property
    def pixel_art(self) -> bool:
        """Whether most are small and of few colours."""
        few = [look.side <= SMALL and look.colours <= COLOURS for look in self.looks]
        return sum(few) > len(few) / 2

    @property
    def photographs(self) -> bool:
        """Whether most have many colours, none of which fills a quarter, and are no small cut-outs.

        So photographs and paintings are told from drawings, digits and icons.
        """
        many = [
            look.colours >= (64 if look.grey else 1000) and look.common < 0.25 and (look.side >= 128 or not look.transparent)
            for look in self.looks
        ]
        return not self.pixel_art and sum(many) > len(many) / 2

    @property
    def size(self) -> int:
        """Pixels a side that fit: 64, and fewer where they are smaller. Networks halve it twice or more, so a multiple of 4."""
        sides = [look.side for look in self.looks]
        side = round(median(sides))
        if self.pixel_art and min(sides) == max(sides):  # enlarged by whole numbers alone
            size = side * (4 // math.gcd(side, 4)) if side >= 8 else side * 8
            return size if size > 8 else 16  # structural similarity looks at 11 pixels a side
        return min(SMALL, max(16, 4 * math.ceil(side / 4)))

    @property
    def seconds(self) -> float:
        """Mean seconds of a processor to prepare a picture."""
        return sum(look.seconds for look in self.looks) / len(self.looks)

    def sides(self) -> str:
        """Return the sizes in words."""
        low, high = ([pick(getattr(look, edge) for look in self.looks) for edge in ("width", "height")] for pick in (min, max))
        return f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if low != high else "") + " pixels"


def survey(source: Source, shown: str) -> Found:
    """Look at a source.

    Args:
        source: the files.
        shown: the source as a person wrote it.

    Raises:
        UserError: there are no pictures, too few, or none that could be read; or a table of labels is wrong.
    """
    names, opened, others, table = list[str](), list[str](), list[str](), None
    looked: dict[int, Look | None] = {}
    stride = 1
    for item in tqdm(source.items(), desc=f"looking at {shown}", unit=" files", disable=None):
        if os.path.basename(item.file) == index.LABELS and not item.problem:
            if table is None or item.file.count("/") < table[0].count("/"):
                table = (item.file, _content(item))
        elif _is_picture(item):
            if len(names) % stride == 0:
                looked[len(names)] = _look(item)
                opened += [item.file] if looked[len(names)] else []
                if len(looked) > 2 * LOOKED:
                    stride *= 2
                    looked = {number: look for number, look in looked.items() if number % stride == 0}
            names.append(item.file)
        elif Path(item.file).suffix.lower() in index.PICTURES + index.OTHERS:  # one that the index will name as bad
            others.append(item.file)
    looks = tuple(look for look in looked.values() if look)
    if len(names) < FEWEST:
        raise UserError(f"{shown}: {len(names)} pictures; expected {FEWEST} at least, and better some thousands")
    if not looks:
        raise UserError(
            f"{shown}: none of {len(looked)} pictures that were looked at can be read; expected JPEG, PNG or the like"
        )
    found, target = _labels(names, opened, others, table, shown)
    if isinstance(source, Vision) and source.classes and target == "class":
        found = tuple(source.classes)
    return Found(len(names), looks, len(looked) - len(looks), found, target, _given(names))


def _is_picture(item: Item) -> bool:
    suffix = Path(item.file).suffix.lower()
    if item.problem or suffix in index.OTHERS:
        return False
    if suffix in index.PICTURES:
        return True
    return index.is_picture(_content(item, 16))


def _content(item: Item, most: int = index.LARGEST) -> bytes:
    try:
        with item.open() as file:
            return file.read(most)
    except OSError:
        return b""


def _look(item: Item) -> Look | None:
    """Return what can be seen of one picture; None if it cannot be read."""
    content = _content(item)
    try:
        with decoding.limits(), Image.open(io.BytesIO(content), formats=decoding.FORMATS) as image:
            width, height = image.size[:: -1 if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5 else 1]
            if min(width, height) < decoding.SMALLEST or width * height > decoding.LARGEST:
                return None
            image.draft("RGB", (256, 256))  # a JPEG is decoded smaller
            grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
            pixels = np.asarray(image.convert("RGBA"))
            start = time.process_time()
            chunks.perceptual_hash(decoding.decode(content, AS_A_RULE).pixels)
            seconds = time.process_time() - start
    except Exception:  # as in `decoding.decode`: Pillow's decoders raise nearly everything
        return None
    return _seen(pixels, width, height, grey, seconds)


def _seen(pixels: np.ndarray, width: int, height: int, grey: bool, seconds: float) -> Look:
    block = _block(pixels) if max(width, height) <= LARGEST and pixels.shape[:2] == (height, width) else 1
    step = math.ceil(max(pixels.shape[:2]) / 256)
    seen = pixels[::step, ::step].reshape(-1, 4)
    opaque = seen[seen[:, 3] > 0, :3].astype(np.int32)
    _, counts = np.unique(opaque @ np.array([1 << 16, 1 << 8, 1], np.int32), return_counts=True)
    return Look(
        width,
        height,
        block,
        grey or bool(np.ptp(opaque, axis=1).max(initial=0) <= 8),
        bool((seen[:, 3] < 255).any()),
        len(counts),
        float(counts.max(initial=0) / max(1, counts.sum())),
        seconds,
    )


def _block(pixels: np.ndarray) -> int:
    """Return the side of the largest squares, in a grid, that are of one colour each: what changes, changes at their borders."""
    rows = np.flatnonzero((pixels[1:] != pixels[:-1]).any((1, 2))) + 1
    columns = np.flatnonzero((pixels[:, 1:] != pixels[:, :-1]).any((0, 2))) + 1
    if not len(rows) and not len(columns):
        return 1  # of one colour altogether
    return math.gcd(*pixels.shape[:2], *rows.tolist(), *columns.tolist())


def _labels(
    names: Sequence[str], opened: Sequence[str], others: Iterable[str], table: tuple[str, bytes] | None, shown: str
) -> tuple[tuple[str, ...], str]:
    """Return the labels' names, and what a classifier can learn: `class`, `attributes`, or `rotation` where there are none.

    A table has to have a row for each picture that could be `opened`, and may have one for a picture that could not.
    """
    if table:
        place, content = table
        known = {*names, *others}
        values, found = labels.from_table(content, place.removesuffix(index.LABELS), known, opened, f"{shown}/{place}")
        return tuple(found), "class" if values.ndim == 1 else "attributes"
    within = [name[len(labels.common(names)) :] for name in names]
    if labels.are_classes(within):
        _, classes = labels.by_folder(within, shown)
        if len(classes) <= len(names) / 10:  # fewer than ten of each teach nothing about it
            return tuple(classes), "class"
    return (), "rotation"


def _given(names: Iterable[str]) -> bool:
    """Whether all pictures lie in folders called train, test and the like, with some in either."""
    names = list(names)
    inner = len(labels.common(names))
    found = {splits.FOLDERS.get(name[inner:].partition("/")[0].lower()) for name in names}
    return None not in found and {splits.TRAIN, splits.TEST} <= found
