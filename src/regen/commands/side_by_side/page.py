"""One page that opens from disk, without a network; each picture is in it once, however many columns show it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from regen import paths
from regen.commands import html
from regen.commands.side_by_side.comparison import Comparison, chosen, compared
from regen.commands.side_by_side.pictures import Gallery
from regen.data import folders
from regen.host import cores

LARGEST = (
    20_000_000  # bytes of all pictures; more than these are packed with a small loss, and made smaller where that is too little
)
QUALITY = 85  # of packed ones, out of 100
SAMPLE = 32  # packed pictures from which it is found how small they have to be
SMALLER = 0.8  # of a step in which that is found


def write(revisions: Sequence[str], models: Sequence[str], out: Path) -> Sequence[str]:
    """Write the page of revisions, of all models or some; returns which these are, see `comparison.chosen`."""
    names, gallery = chosen(revisions), Gallery()
    content = build(compared(names, models, gallery), gallery)
    paths.WORK.mkdir(exist_ok=True)
    folders.write(out, content)
    return names


def build(found: Comparison, gallery: Gallery) -> str:
    """Return the page's HTML."""
    shown = {cell for model in found.models for row in model.pictures for cell in row.cells if cell}
    read = {md5: content for md5 in sorted(shown) if (content := gallery.read(md5)) is not None}
    pictures, scale = packed(read) if sum(map(len, read.values())) > LARGEST else (read, None)
    return html.page(
        "regen.commands.side_by_side", found=found, scale=scale, problems=gallery.problems,
        meanings={figure.name: figure.meaning for model in found.models for figure in model.figures if figure.meaning},
        pictures={md5: _uri(content) for md5, content in pictures.items()},
    )  # fmt: skip


def packed(read: Mapping[str, bytes]) -> tuple[dict[str, bytes], float]:
    """Return pictures as WebP of about `LARGEST` bytes together, and to which part of its width each was made smaller.

    It is the same part for all of them, so that they can be laid over each other.
    """
    contents, scale = list(read.values()), 1.0
    some = contents[:: -(-len(contents) // SAMPLE)]
    with ThreadPoolExecutor(cores()) as pool:  # Pillow compresses side by side
        while sum(map(len, pool.map(partial(_webp, scale=scale), some))) * len(contents) > LARGEST * len(some) and scale > 0.05:
            scale *= SMALLER
        return dict(zip(read, pool.map(partial(_webp, scale=scale), contents), strict=True)), scale


def _webp(content: bytes, scale: float) -> bytes:
    """Return a picture as WebP; a damaged one as it is, which is shown as the browser shows it."""
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as image:
            picture = image.convert("RGB")
        if scale < 1:
            width, height = (max(1, round(scale * side)) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        picture.save(out, "WEBP", quality=QUALITY, method=2)
    except OSError:
        return content
    return out.getvalue()


def _uri(content: bytes) -> str:
    kind = "webp" if content[8:12] == b"WEBP" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
