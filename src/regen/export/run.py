"""One trained model as ONNX files with their description: exports/<key>.

* a decoder: `decoder.onnx`, latents -> images;
* a flow: `velocity.onnx`, the velocity of a path that leads from noise to an example, and `decoder.onnx`, its end -> images;
* a model that answers typed questions: `decoder.onnx`, question -> answer.

`decoder.json` says which, and what a program besides has to know. Of models of other kinds it says "none", and there is no file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen import families
from regen.data import arrays, folders, loaders
from regen.data.loaders.arrays import as_images
from regen.export import answers, flows, latents
from regen.export.graphs import graph
from regen.params import Params

FITTED = 2048  # training images whose latents' distribution is found
EXAMPLES = 8  # test images between which a path leads
POINTS = 600  # test images in the plane of two latents
DIRECTIONS = 8


def run(key: str, given: Params, data: Path, model: Path, folder: Path) -> None:
    """Write the ONNX files of the model `key`.

    Args:
        key: of `models` in params.yaml.
        given: all of params.yaml.
        data: the prepared data set that it was trained on.
        model: folder of the trained model.
        folder: where the files go: all of them or none.

    Raises:
        UserError: the model or the data are missing or damaged.
    """
    torch.set_num_threads(given.threads)  # another number rounds otherwise
    files, description = exported(families.load(model), Images(data, given.seed, key))
    with folders.replacing(folder) as part:
        for name, content in files.items():
            folders.write(part / name, content)
        text = json.dumps(description, sort_keys=True, allow_nan=False)  # in one line: indented, it would be twice as long
        folders.write(part / "decoder.json", f"{text}\n")


def code(family: str, loader: str, decoder: str | None) -> list[str]:
    """Return the modules that an export finds by name: the family, the loader, and the family of what decodes its latents."""
    known = families.modules()
    return [f"regen.data.loaders.{loader}", known[family], *([known[decoder]] if decoder else [])]


class Images:
    """Images of a prepared data set, of latents those that they encode.

    Args:
        folder: of the data set.
        seed: of the tiles that are taken from sections.
        name: of the model, for messages.
    """

    def __init__(self, folder: Path, seed: int, name: str) -> None:
        self.folder, self.seed, self.name = folder, seed, name
        self.statistics = arrays.statistics(folder)
        self.rows = self.statistics.get("loader", "arrays") == "arrays"

    def training(self) -> Tensor:
        """Return training images (N, C, H, W) in [0, 1], at most `FITTED`."""
        count = min(FITTED, self.statistics["splits"]["train"]["count"]) if self.rows else FITTED
        share = loaders.Share(count, self.seed, steps_per_epoch=1, name=self.name)
        return loaders.read(self.folder, share)(0)["x"]

    def test(self, count: int) -> tuple[Tensor, list[str]]:
        """Return at most `count` test images from all over the split, and the name of each one's class where it has one.

        Sections have no rows: their tiles are those of training.
        """
        if not self.rows:
            return self.training()[:count], []
        content = arrays.load(self.folder, "test")
        images = content.get("images", content["x"])
        chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
        labels, names = content.get("labels"), self.statistics.get("labels")
        classes = [names[int(label)] for label in labels[chosen]] if names and labels is not None and labels.ndim == 1 else []
        return as_images(np.array(images[chosen])), classes


def exported(model: Any, images: Images) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the content of each ONNX file of a model by its name, and the description of what they do.

    Raises:
        UserError: the data set is missing or damaged.
    """
    about = {"family": model.config.family, "dataset": model.data.dataset}
    if hasattr(model, "answer_logits") and model.config.source == "text":
        files, description = answers.exported(model)
        return files, about | description
    flow = getattr(model, "latents", model)
    of_images = len(model.data.shape) == 3 and model.data.shape[0] in (1, 3) and hasattr(model, "decode")
    if not of_images or not (hasattr(model, "encode") or hasattr(model, "sample")):
        return {}, about | {"kind": "none"}
    if hasattr(flow, "velocity"):
        files, description = flows.exported(model, flow)
        about["family"] = flow.config.family
    else:
        example = torch.zeros(2, latents.dimensions(model))
        files, description = {"decoder.onnx": graph(model, model.decode, {"latents": example}, ["image"])}, {"kind": "decoder"}
    return files, about | description | {"shape": list(model.data.shape)} | _latents(model, images)


def _latents(model: Any, images: Images) -> dict[str, Any]:
    """Describe the latents: drawn how, their directions, and those of some test images."""
    d = latents.dimensions(model)
    if d > latents.LARGEST:
        return {"latent_dim": d, "components": [], "mean": [], "directions": [], "examples": []}
    components = latents.distribution(model, images.training)
    mean, spread = latents.moments(components)
    found: dict[str, Any] = {
        "latent_dim": d,
        "components": [{"weight": c.weight, "mean": numbers(c.mean), "spread": numbers(c.spread)} for c in components],
        "mean": numbers(mean),
        "directions": numbers(latents.directions(model.decode, mean, spread, DIRECTIONS)),
        "fitted": not hasattr(model, "sample"),
        "examples": [],
    }
    if hasattr(model, "encode"):
        shown, _ = images.test(EXAMPLES)
        found |= {"examples": numbers(model.encode(shown)), "split": "test" if images.rows else "train"}
        if d == 2:
            shown, labels = images.test(POINTS)
            found |= {"points": numbers(model.encode(shown)), "point_labels": labels}
    return found


def numbers(x: Tensor) -> Any:
    """Return a tensor as lists of numbers of five digits."""
    if x.ndim > 1:
        return [numbers(row) for row in x]
    return [float(f"{value:.5g}") for value in x.tolist()]
