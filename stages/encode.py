"""Encode one data set of params.yaml: the latents of its images, by a trained model -> data/prepared/<key>.

Beside the latents stand the images that they encode and the model's decoder, so that what another model makes of the
latents can be seen and measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import regen.process  # noqa: F401
from regen import blocks, families, params, paths
from regen.data import arrays, folders
from regen.data.loaders.arrays import as_images
from regen.data.rows import Rows
from regen.errors import reported
from regen.models.base import ENCODING
from regen.training.distributed import Devices

BLOCK = 500  # images in memory at a time


def main() -> None:
    """Read params, encode each split, write the latents as a data set."""
    key, given = params.chosen("encodings", __doc__)
    config = blocks.parse(blocks.EncodingConfig, given.encodings[key], f"params.yaml: encodings.{key}")
    device = Devices("fp32", given.threads).device
    model, folder = families.load(paths.model(config.model)).to(device), paths.prepared(config.dataset)
    statistics = arrays.statistics(folder)
    latents: dict[str, np.ndarray | Rows] = {}
    for split in statistics["splits"]:
        source = arrays.load(folder, split)
        latents[split] = encoded(model, source["x"])
        latents |= {f"{split}_{'images' if name == 'x' else name}": array for name, array in source.items()}
    kept: dict[str, Any] = {name: statistics[name] for name in ("grid", "palette") if name in statistics}  # of the images
    if places := getattr(model, "latent_shape", ())[1:]:
        kept["places"] = list(places)  # down and across, of latents that keep theirs
    description = kept | {
        "dataset": key,
        "kind": ENCODING,
        "shape": list(latents["train"].shape[1:]),
        "labels": statistics.get("labels", []),
        "encoded": config.model_dump(),
    }
    with folders.replacing(paths.prepared(key)) as part:
        write(part, latents, description, paths.model(config.model))


def encoded(model: Any, images: np.ndarray | Rows) -> np.ndarray:
    """Return the latents, float32 (N, d), of uint8 images (N, H, W, C)."""
    return np.concatenate([
        model.encode(as_images(np.array(images[start : start + BLOCK])).to(model.device)).cpu().float().numpy()
        for start in range(0, len(images), BLOCK)
    ])  # fmt: skip


def write(folder: Path, latents: Mapping[str, np.ndarray | Rows], description: dict[str, object], model: Path) -> None:
    """Write the arrays, a part of each in memory at a time, then the decoder beside them."""
    for stem, array in latents.items():
        with (folder / f"{stem}.npy").open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(array), BLOCK):
                file.write(np.ascontiguousarray(array[start : start + BLOCK]).tobytes())
    arrays.describe(folder, description)
    with folders.replacing(folder / "decoder") as decoder:
        for name in ("model.safetensors", "model.json"):
            (decoder / name).write_bytes((model / name).read_bytes())


if __name__ == "__main__":
    with reported():
        main()
