"""What stages have written, read for the page; what is missing or damaged is told in one line."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from regen import paths
from regen.errors import UserError
from regen.evaluation import figures
from regen.metrics.values import Measured

WIDE = 2.5  # width of a picture, in heights, from which on it gets a row of the page


@dataclass(frozen=True)
class Picture:
    """One picture, embedded."""

    name: str
    title: str
    text: str
    uri: str
    wide: bool  # too wide for one of the page's columns

    @classmethod
    def of(cls, path: Path, title: str, text: str = "") -> Picture:
        """Read a PNG.

        Raises:
            UserError: it is damaged.
        """
        try:
            with Image.open(path) as image:
                width, height = image.size
        except OSError as error:
            raise UserError(f"{path}: no picture ({error}); run `dvc repro --force` on the stage that draws it") from None
        uri = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        return cls(path.stem, title, text, uri, width > WIDE * height)


def written(path: Path, stage: str) -> Any:
    """Return what a stage has written as JSON.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro {stage}`") from None
    except ValueError as error:
        raise UserError(f"{path}: no valid JSON ({error}); run `dvc repro --force {stage}`") from None


def measured(key: str) -> Measured:
    """Return a model's figures.

    Raises:
        UserError: they are missing or damaged.
    """
    path, stage = paths.metrics(key), f"evaluate@{key}"
    try:
        return figures.read(path)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; run `dvc repro {stage}`") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run `dvc repro --force {stage}`") from None


def pictures(key: str) -> list[Path]:
    """Return a model's pictures.

    Raises:
        UserError: there is no folder of them.
    """
    folder = paths.figures(key)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; run `dvc repro evaluate@{key}`")
    return sorted(folder.glob("*.png"))
