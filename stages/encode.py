"""Encode one data set of params.yaml: the latents of its images, by a trained model -> data/prepared/<key>.

Beside the latents stand the images that they encode and the model's decoder, so that what another model makes of the
latents can be seen and measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from regen import blocks, families, params, paths
from regen.data import arrays, folders
from regen.data.loaders.arrays import as_images
from regen.errors import reported
from regen.training.distributed import Devices


def main() -> None:
    """Read params, encode each split, write the latents as a data set."""
    key, given = params.chosen("encodings", __doc__)
    config = blocks.parse(blocks.EncodingConfig, given.encodings[key], f"params.yaml: encodings.{key}")
    device = Devices("fp32", given.threads).device
    model, folder = families.load(paths.model(config.model)).to(device), paths.prepared(config.dataset)
    statistics = arrays.statistics(folder)
    latents: dict[str, np.ndarray] = {}
    for split in statistics["splits"]:
        source = arrays.load(folder, split)
        latents[split] = encoded(model, source["x"])
        latents |= {f"{split}_{'images' if name == 'x' else name}": array for name, array in source.items()}
    description = {
        "dataset": key,
        "kind": "encoding",
        "shape": list(latents["train"].shape[1:]),
        "labels": statistics.get("labels", []),
        "encoded": config.model_dump(),
    }
    write(paths.prepared(key), latents, description, paths.model(config.model))


def encoded(model: Any, images: np.ndarray) -> np.ndarray:
    """Return the latents, float32 (N, d), of uint8 images (N, H, W, C)."""
    parts = torch.split(torch.from_numpy(np.array(images)), 500)
    return np.concatenate([model.encode(as_images(part).to(model.device)).cpu().float().numpy() for part in parts])


def write(folder: Path, latents: dict[str, np.ndarray], description: dict[str, object], model: Path) -> None:
    """Write the arrays, then the decoder beside them."""
    arrays.write(folder, latents, description)
    with folders.replacing(folder / "decoder") as decoder:
        for name in ("model.safetensors", "model.json"):
            (decoder / name).write_bytes((model / name).read_bytes())


if __name__ == "__main__":
    with reported():
        main()
