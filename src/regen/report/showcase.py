"""The README's picture: real images and what models of one data set make, side by side. `python -m regen.report.showcase`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from regen import params, paths
from regen.data import arrays, folders
from regen.data.loaders.arrays import as_images
from regen.drawing import collage
from regen.errors import UserError, reported
from regen.params import Params

SIDE, GAP, LINE = 400, 16, 34  # pixels
COLOURS = 256  # of the palette
TITLES = {"autoencoder": "Autoencoder", "vae": "VAE", "vade": "VaDE", "gan": "GAN", "flow": "Flow"}  # of families that are shown


def chosen(given: Params) -> tuple[str, dict[str, str]]:
    """Return the first data set of params.yaml whose images at least one evaluated model makes, and {title: model}.

    One model a family, the first in params.yaml, and one flow of the latents of each family. More are preferred to fewer.

    Raises:
        UserError: there is no such model.
    """
    best: tuple[str, dict[str, str]] = ("", {})
    for dataset in given.datasets:
        found: dict[str, str] = {}
        for key, block in given.models.items():
            title = _title(given, block)
            if title and given.encoded(block["dataset"]) == dataset and (paths.figures(key) / "samples.png").exists():
                found.setdefault(title, key)
        if len(found) > len(best[1]):
            order = [f"{title}{more}" for title in TITLES.values() for more in ("", " and flow")]
            best = dataset, {title: found[title] for title in order if title in found}
    if not best[1]:
        raise UserError("figures: no autoencoder, VAE or GAN has been evaluated yet; run `dvc repro`")
    return best


def _title(given: Params, block: Mapping[str, Any]) -> str | None:
    """Return what stands above a model's images; of a flow of latents, also whose latents they are."""
    title = TITLES.get(block["family"])
    encoding = given.encodings.get(block["dataset"])
    first = TITLES.get(given.models[encoding["model"]]["family"]) if encoding else None
    return f"{first} and {title.lower()}" if title and first else title


def showcase(dataset: str, models: dict[str, str]) -> Image.Image:
    """Return test images of a data set and the new images of its models, in one row, each with its title above."""
    panels = {"Real, unseen": Image.fromarray(_real(dataset))} if (paths.prepared(dataset) / "test.npy").exists() else {}
    for title, key in models.items():
        with Image.open(paths.figures(key) / "samples.png") as picture:
            panels[title] = picture.convert("RGB")
    canvas = Image.new("RGB", (GAP + len(panels) * (SIDE + GAP), LINE + SIDE + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(18)
    for column, (title, panel) in enumerate(panels.items()):
        left = GAP + column * (SIDE + GAP)
        draw.text((left, 8), title, fill="#404044", font=font)
        canvas.paste(panel.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, LINE))
    return canvas


def write(given: Params, path: Path = paths.README_PICTURE) -> None:
    """Write the picture, the same bytes for the same pictures of the models.

    Raises:
        UserError: no model of images has been evaluated.
    """
    content = io.BytesIO()
    picture = showcase(*chosen(given)).quantize(COLOURS)  # a third of the bytes, which every later picture adds to the history
    picture.save(content, format="PNG", optimize=True)
    path.parent.mkdir(exist_ok=True)
    folders.write(path, content.getvalue())


def _real(dataset: str) -> collage.Picture:
    return collage.grid(as_images(np.array(arrays.load(paths.prepared(dataset), "test")["x"][:100])))


if __name__ == "__main__":
    with reported():
        write(params.read())
