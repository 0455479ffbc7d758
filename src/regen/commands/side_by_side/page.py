"""One page that opens from disk, without a network; each picture is in it once, however many columns show it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from regen import paths
from regen.commands.side_by_side.comparison import Comparison, chosen, compared
from regen.commands.side_by_side.pictures import Gallery
from regen.data import folders

LARGEST = 20 << 20  # bytes of pictures as they are; more of them are packed, with a small loss
QUALITY = 90  # of packed ones, out of 100


def write(revisions: Sequence[str], models: Sequence[str], out: Path) -> Sequence[str]:
    """Write the page of revisions, of all models or some; returns which these are, see `comparison.chosen`."""
    names, gallery = chosen(revisions), Gallery()
    html = build(compared(names, models, gallery), gallery)
    paths.WORK.mkdir(exist_ok=True)
    folders.write(out, html)
    return names


def build(found: Comparison, gallery: Gallery) -> str:
    """Return the page's HTML."""
    shown = {cell for model in found.models for row in model.pictures for cell in row.cells if cell}
    read = {md5: content for md5 in sorted(shown) if (content := gallery.read(md5)) is not None}
    packed = sum(map(len, read.values())) > LARGEST
    environment = Environment(
        loader=PackageLoader("regen.commands.side_by_side", "templates"), autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        found=found,
        packed=packed,
        problems=gallery.problems,
        pictures={md5: _uri(content, packed) for md5, content in read.items()},
    )


def _uri(content: bytes, packed: bool) -> str:
    kind = "png"
    if packed:
        out = io.BytesIO()
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.convert("RGB").save(out, "WEBP", quality=QUALITY, method=2)
        except OSError:  # a damaged one is shown as the browser shows it
            pass
        else:
            content, kind = out.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
