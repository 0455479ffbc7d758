"""Files that somebody sends: bytes flipped and cut, JSON values where others are expected, HDF5 trees of any names and shapes."""

from __future__ import annotations

import copy
import io
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st
from PIL import Image

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 0.5, -0.0, 1e-300, 1e308, math.nan, math.inf, 10**9, 10**18, 10**30, -(10**30), "", "x",
    "..", "../../x", "\x1b[31m", "\0", "\ud800", "x" * 5000, [], [[]], {}, {"": {}}, [0], [1, 1, 1], [10**9] * 3, [-1, 16, 16],
    [None], ["a"] * 300, "vae", "gan", "classifier", "bernoulli", "nan", [math.nan], [[[[[[]]]]]],
]  # fmt: skip
NAMES = ["x", "y", "0", "1", "a b", "ä", "脑", "mouse $\\frac$ a", "\x1b[31m", "a\nb", "..", ".", "x" * 300, "-h", "%s", "{0}"]
odd = st.sampled_from(ODD).map(copy.deepcopy)  # a value that is altered later may not alter the list
DTYPES = ["u1", "u1", "u1", "i1", "u2", "f4", "f8", "c8", "?", "S3", "O"]
LINKS = ["soft", "dangling", "external", "hard", "group"]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes of a file with bits flipped, parts overwritten, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        kind = draw(st.sampled_from(["flip", "flip", "flip", "byte", "run", "cut", "double", "drop"]))
        if not changed:
            break
        if kind == "flip":
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte":
            changed[place] = draw(st.sampled_from([0, 1, 127, 128, 254, 255]))
        elif kind == "run":
            changed[place : place + 8] = draw(st.binary(min_size=8, max_size=8))
        elif kind == "cut":
            del changed[place:]
        elif kind == "double":
            changed[place:place] = changed[place : place + 32]
        else:
            del changed[place : place + draw(st.integers(1, 16))]
    return bytes(changed)


@st.composite
def altered(draw: st.DrawFn, content: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with values replaced, removed or added anywhere in it."""
    changed: dict[str, Any] = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        inside: Any = changed
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(inside[key], dict | list) and inside[key] and draw(st.integers(0, 3)):
                inside = inside[key]
                continue
            kind = draw(st.sampled_from(["odd", "odd", "odd", "number", "remove", "add"]))
            if kind == "remove":
                del inside[key]
            elif kind == "add" and isinstance(inside, dict):
                inside[draw(st.sampled_from(["family", "shape", "latent_dim", "x"]))] = draw(odd)
            else:
                inside[key] = draw(st.integers(-3, 70) if kind == "number" else odd)
            break
    return changed


@st.composite
def tree(draw: st.DrawFn) -> list[tuple[str, str, dict[str, Any]]]:
    """What an HDF5 file holds: (brain, key, how it is made)."""
    items = []
    for _ in range(draw(st.integers(0, 6))):
        how: dict[str, Any] = {"link": draw(st.sampled_from([*LINKS, *[""] * 12]))}
        how["dtype"] = draw(st.sampled_from(DTYPES))
        how["shape"] = draw(st.lists(st.sampled_from([0, 1, 2, 15, 16, 17, 40, 1 << 20, 1 << 40]), min_size=0, max_size=3))
        how["layout"] = draw(st.sampled_from(["", "", "chunked", "gzip", "external", "virtual"]))
        how["level"] = draw(st.integers(0, 3))
        items.append((draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES)), how))
    return items


def build(items: list[tuple[str, str, dict[str, Any]]], path: Path) -> None:
    """Write an HDF5 file; what HDF5 itself refuses to write is left out."""
    with h5py.File(path, "w") as file:
        for brain, key, how in items:
            try:
                _add(file, brain, f"{brain}/{key}", how)
            except (ValueError, TypeError, OSError, RuntimeError, KeyError, OverflowError):
                continue


def _add(file: h5py.File, brain: str, name: str, how: dict[str, Any]) -> None:
    shape, small = tuple(how["shape"]), math.prod(how["shape"]) <= 1 << 12
    if how["link"] == "soft":
        file[name] = h5py.SoftLink("/x/0")
    elif how["link"] == "dangling":
        file[name] = h5py.SoftLink("/nowhere")
    elif how["link"] == "external":
        file[name] = h5py.ExternalLink("other.h5", "/x")
    elif how["link"] == "hard" and len(file):
        file[name] = file[next(iter(file))]
    elif how["link"] == "group":
        file.create_group(name)
    elif how["layout"] == "virtual":
        layout = h5py.VirtualLayout(shape, how["dtype"])
        layout[:] = h5py.VirtualSource("other.h5", "x", shape)
        file.create_virtual_dataset(name, layout)
    elif how["layout"] == "external":
        file.create_dataset(name, shape, how["dtype"], external=[("secret", 0, h5py.h5f.UNLIMITED)])
    elif how["layout"] in ("chunked", "gzip") or not small:
        options = {"compression": "gzip"} if how["layout"] == "gzip" else {}
        image = file.create_dataset(name, shape, how["dtype"], chunks=tuple(min(side, 64) for side in shape), **options)
        if small:
            image[...] = how["level"]
    else:
        noise = np.random.default_rng(how["level"]).integers(0, 200, shape)
        file.create_dataset(name, data=np.full(shape, how["level"]) if how["level"] else noise, dtype=how["dtype"])


def pictures() -> dict[str, bytes]:
    """Small sound pictures of every depth and format, by a file's name."""
    x = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    colour, deep = Image.fromarray(x), Image.fromarray((x[..., 0].astype(np.uint16) << 8) + 7)
    exif = Image.Exif()
    exif[0x0112] = 8
    made = {
        "l.png": (colour.convert("L"), {}), "p.png": (colour.quantize(16), {"transparency": 3}),
        "a.png": (colour.convert("RGBA"), {}), "d.png": (deep, {}),
        "e.jpg": (colour, {"exif": exif}), "c.tif": (colour.convert("CMYK"), {}),
        "z.tif": (colour, {"compression": "tiff_deflate"}), "w.tif": (deep, {"compression": "tiff_lzw"}),
        "b.png": (colour.convert("1"), {}),
        "m.tif": (colour, {"save_all": True, "append_images": [colour]}),
    }  # fmt: skip
    found = {}
    for name, (image, options) in made.items():
        out = io.BytesIO()
        image.save(out, {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[name[-3:]], **options)
        found[name] = out.getvalue()
    return found
