"""The README's picture: real images and what each model of one data set makes, side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from regen import paths

SIDE, GAP, LINE = 420, 16, 34  # pixels


def showcase(panels: dict[str, tuple[str, str]]) -> Image.Image:
    """Return the collages `(model, picture)` of each title in one row, each with its title above."""
    canvas = Image.new("RGB", (GAP + len(panels) * (SIDE + GAP), LINE + SIDE + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(18)
    for column, (title, (key, picture)) in enumerate(panels.items()):
        left = GAP + column * (SIDE + GAP)
        draw.text((left, 8), title, fill="#404044", font=font)
        with Image.open(paths.figures(key) / f"{picture}.png") as collage:
            canvas.paste(collage.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, LINE))
    return canvas


def write(panels: dict[str, tuple[str, str]], path: Path) -> None:
    """Write the picture, the same bytes for the same collages."""
    path.parent.mkdir(exist_ok=True)
    showcase(panels).save(path, format="PNG", optimize=True)
