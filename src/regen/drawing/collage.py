"""Collages of images: 10x10 samples, originals above reconstructions, paths from one image to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from regen.errors import UserError, shown

Picture = npt.NDArray[np.uint8]  # (height, width, 3)

BACKGROUND = (246, 246, 243)
INK = (64, 64, 68)
MARGIN = 16
GAP = 4
SMALLEST = 64  # smaller images are enlarged by the integer factor that reaches it
FONT_SIZE = 13
LINE = 18  # height of a line of text
LONGEST = 600  # pixels of a row's caption
PAD = 10  # between a row's caption and its first image


def grid(images: Tensor, columns: int = 10, captions: Sequence[str] | None = None, enlarge: int | None = None) -> Picture:
    """Return (N, C, H, W) images, floats in [0, 1] or uint8, grey or RGB, row by row in a grid; `captions` stand below them.

    `enlarge` is the integer factor of nearest-neighbour enlargement; by default what brings the shorter side to 64 pixels.

    Raises:
        UserError: no images, images that are neither grey nor RGB, or as many captions as there are not images.
    """
    tiles = _tiles(images, enlarge)
    if captions is not None and len(captions) != len(tiles):
        raise UserError(f"collage: {len(captions)} captions for {len(tiles)} images; give one an image")
    lines = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return _draw(lines, below=captions)


def rows(
    named: Mapping[str, Tensor],
    headers: Sequence[str] | None = None,
    enlarge: int | None = None,
) -> Picture:
    """Return one row of images for each name, with the name at its left and `headers` above the columns.

    Raises:
        UserError: no images, or images that are neither grey nor RGB.
    """
    if not named:
        raise UserError("collage: no rows; give at least one")
    return _draw([_tiles(images, enlarge) for images in named.values()], left=list(named), above=headers)


def save(picture: Picture, path: Path) -> None:
    """Write a PNG: the same bytes for the same picture (no time, no program name)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="PNG", optimize=True)


def _tiles(images: Tensor, enlarge: int | None) -> list[Picture]:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise UserError(f"collage: expected (N, 1 or 3, H, W) images, at least one, got {tuple(images.shape)}")
    x = images.detach().cpu()
    if x.is_floating_point():
        x = x.float().nan_to_num(0.0).clamp(0, 1).mul(255).round()  # a diverged model's collage is still drawn
    array = x.permute(0, 2, 3, 1).numpy().astype(np.uint8)
    factor = enlarge or max(1, -(-SMALLEST // min(array.shape[1:3])))
    array = np.repeat(np.repeat(array, factor, axis=1), factor, axis=2)
    return list(np.broadcast_to(array, (*array.shape[:3], 3)))


def _draw(
    lines: list[list[Picture]],
    left: Sequence[str] | None = None,
    above: Sequence[str] | None = None,
    below: Sequence[str] | None = None,
) -> Picture:
    """Set tiles in lines, with captions at the left of the lines, above the columns, or below each tile."""
    font = ImageFont.load_default(FONT_SIZE)
    left, above, below = ([shown(text) for text in texts or ()] for texts in (left, above, below))
    width = max(tile.shape[1] for line in lines for tile in line)
    heights = [max(tile.shape[0] for tile in line) for line in lines]
    x0 = MARGIN + (min(LONGEST, round(max(font.getlength(text) for text in left))) + PAD if left else 0)
    y0 = MARGIN + (LINE + 2 if above else 0)
    step = LINE + 2 if below else 0
    size = (
        x0 + max(len(line) for line in lines) * (width + GAP) - GAP + MARGIN,
        y0 + sum(heights) + (len(lines) - 1) * GAP + len(lines) * step + MARGIN,
    )
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)

    def write(x: float, y: float, text: str, anchor: str, space: float) -> None:
        draw.text((x, y), _fitted(text, font, space), fill=INK, font=font, anchor=anchor)

    for column, text in enumerate(above):
        write(x0 + column * (width + GAP) + width / 2, MARGIN + LINE / 2, text, "mm", width + GAP)
    y, placed = y0, 0
    for row, (line, height) in enumerate(zip(lines, heights, strict=True)):
        if left:
            write(x0 - PAD, y + height / 2, left[row], "rm", x0)
        for column, tile in enumerate(line):
            x = x0 + column * (width + GAP)
            canvas.paste(Image.fromarray(np.ascontiguousarray(tile)), (x, y))
            if below:
                write(x + width / 2, y + height + step / 2, below[placed], "mm", width)
            placed += 1
        y += height + step + GAP
    return np.asarray(canvas)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, space: float) -> str:
    """Return the text, cut with an ellipsis where it is wider than `space` pixels."""
    if font.getlength(text) <= space:
        return text
    while text and font.getlength(text + "…") > space:
        text = text[:-1]
    return text + "…"
